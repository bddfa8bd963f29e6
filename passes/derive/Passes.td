//===- Passes.td - passes that derive the programs ------------------------===//
#ifndef PG_PASSES_DERIVE_PASSES_TD
#define PG_PASSES_DERIVE_PASSES_TD

include "mlir/Pass/PassBase.td"

def InlinePass : Pass<"pg-inline", "::mlir::ModuleOp"> {
  let summary = "replaces every call by the callee's body and drops private functions";
  let description = [{
    Callees first, so that a body is copied once per call. The copied ops carry
    a call-site location: the block's line inside the caller's. A cycle of
    calls is an error.
  }];
  let dependentDialects = ["::pg::PgDialect", "::mlir::func::FuncDialect"];
}

def PrecisionPass : Pass<"pg-precision", "::mlir::ModuleOp"> {
  let summary = "retypes the module for a precision policy";
  let description = [{
    The front end builds everything in f32, the type of all maths under `f32` and
    `bf16`; `f64` widens every f32 type and constant. A rounding that belongs to the model (`pg.round`)
    keeps its target type under every policy. Runs before constants are folded,
    so that they are folded in the policy's type.
  }];
  let dependentDialects = ["::pg::PgDialect"];
  let options = [Option<"policy", "policy", "std::string", "\"f32\"", "f32, f64 or bf16">];
}

def AttachPass : Pass<"pg-attach", "::mlir::ModuleOp"> {
  let summary = "attaches adapters at the declared sites";
  let description = [{
    When the module's `pg.programs` has "adapt": `adapted@P` is a copy of `forward@P`
    in which site i of name n, from x to y, holds y + scale (x A^T) B^T with the
    states `adapter.n.i.a` and `adapter.n.i.b`, one matrix per slot, and the run-time
    scalar "adapter_scale". Elsewhere a site is the value of its `to`. No site is left.
  }];
  let dependentDialects = ["::pg::PgDialect", "::mlir::func::FuncDialect"];
}

def TapPass : Pass<"pg-tap", "::mlir::ModuleOp"> {
  let summary = "makes the calibrate entry of each phase";
  let description = [{
    When the module's `pg.programs` has "calibrate": `calibrate@P` is a copy of
    `forward@P` without outputs that adds x^T x to the state `hessian.<w>` for every
    product of a token tensor x and a parameter w with a quantisation label.
  }];
  let dependentDialects = ["::pg::PgDialect", "::mlir::func::FuncDialect"];
}

def FuseHeadPass : Pass<"pg-fuse-head", "::mlir::ModuleOp"> {
  let summary = "merges cross_entropy with the product that makes the logits";
  let description = [{
    `cross_entropy(c tanh(matmul(x, w, transpose_b) / c))`, or without the
    softcap, becomes `linear_cross_entropy`, which needs no [N, V] tensor.
    Recognised by structure; other users of the logits keep them.
  }];
  let dependentDialects = ["::pg::PgDialect"];
}

def DerivePass : Pass<"pg-derive", "::mlir::ModuleOp"> {
  let summary = "makes the entries of each phase";
  let description = [{
    From `forward@P`, which is removed, those that `pg.programs` asks for (without
    it the first three): `score@P` outputs nll; `logits@P` outputs the logits of the
    tokens listed in the input "rows"; `accumulate@P` outputs nll and adds the
    gradient of sum(loss_scale nll) to the states `grad.<parameter>`, which are
    created for every parameter. From `adapted@P`, which is removed: `adapt_score@P`
    outputs nll; `adapt@P` outputs nll and adds the gradient of sum(loss_scale
    loss_weight nll), `loss_weight` an input per token, to the states
    `grad.<adapter state>`; parameters are constants there. Ops of the backward part
    carry the unit attribute `pg.backward`.
  }];
  let dependentDialects = ["::pg::PgDialect", "::mlir::func::FuncDialect"];
}

def ReadCodesPass : Pass<"pg-read-codes", "::mlir::ModuleOp"> {
  let summary = "changes where weights come from: codes, scales and corrections";
  let description = [{
    A parameter W of rank 2 marked `pg.codes = {bits, rank}` is replaced by `W.codes`
    (i8), `W.scale` (one for each row) and, with a rank above 0, the optional `W.left`
    and `W.right`; its reads become `pg.dequantise`. A state that belongs to W
    (a gradient, a moment) is an error.
  }];
  let dependentDialects = ["::pg::PgDialect"];
}

def DecomposePass : Pass<"pg-decompose", "::mlir::ModuleOp"> {
  let summary = "writes norms, cross-entropy and small products in row-wise ops; takes dequantise apart";
  let dependentDialects = ["::pg::PgDialect"];
  let options = [Option<"smallProduct", "small-product", "int64_t", "4096",
      "largest static operand or result, in elements, of a small product">];
}

def VerifyPhasePass : Pass<"pg-verify-phase", "::mlir::ModuleOp"> {
  let summary = "checks which ops and entries the module holds after a phase";
  let options = [Option<"phase", "phase", "std::string", "\"spec\"",
      "spec, inlined, derived, decomposed, fused, outlined or planned">];
}

def CheckHorizonPass : Pass<"pg-check-horizon", "::mlir::ModuleOp"> {
  let summary = "rejects an nll that could depend on a later token";
  let description = [{
    Every value is independent of tokens, known at its own token, or possibly
    dependent on later tokens. Horizons `Later` and `All`, a static value made
    from a token tensor, and a use of the targets outside the loss lead to the
    last. An output "nll" in that state is an error.
  }];
}

#endif // PG_PASSES_DERIVE_PASSES_TD
