//===- Loss.td - softcapped cross-entropy ----------------------------------===//

def Pg_CrossEntropyOp : Pg_PureOp<"cross_entropy", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "negative log-likelihood of each target under softmax(logits)";
  let description = [{
    nll_t = logsumexp(z_t) - z_t[target_t]. C1 logits [N, V], targets [N] i32.
    C2 nll [N]. Gradient: dz = (softmax(z) - onehot(target)) dnll. Decomposed by pg-decompose, or merged with the product that makes
    the logits by pg-fuse-head so that no [N, V] tensor exists.
  }];
  let arguments = (ins Pg_FloatTensor:$logits, Pg_IntTensor:$targets);
  let results = (outs Pg_FloatTensor:$nll);
  let assemblyFormat = "$logits `,` $targets attr-dict `:` type($logits) `,` type($targets) `->` type($nll)";
  let hasVerifier = 1;
}

def Pg_LinearCrossEntropyOp : Pg_PureOp<"linear_cross_entropy", [AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "cross-entropy of softcap(x w^T) in vocabulary tiles";
  let description = [{
    x [N, D], w [V, D], targets [N]; z = c tanh(x w^T / c) with softcap c, or
    x w^T when c = 0; nll [N], lse [N]. C1 these shapes and one element type of
    x and w. C2 c >= 0. C3 results [N] of that type, or f32 when it is bf16. Gradient: the two ops below; none through lse.
    w may hold i8 codes; then x w^T stands for scale (x w^T) + p q^T, with a scale [V]
    and, together or neither, p [N, r] and q [V, r]. C4 scale, p and q have these
    shapes and the results' type, and come with codes alone. No gradient then.
    `%nll, %lse = pg.linear_cross_entropy %x, %w, %t {softcap = 30.0 : f64} :
    (tensor<?x512xf32>, tensor<8192x512xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)`
  }];
  let arguments = (ins Pg_FloatTensor:$x, Pg_FloatOrCodeTensor:$w, Pg_IntTensor:$targets,
                       Optional<Pg_FloatTensor>:$scale, Optional<Pg_FloatTensor>:$p,
                       Optional<Pg_FloatTensor>:$q,
                       DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let builders = [OpBuilder<(ins "::mlir::Type":$nll, "::mlir::Type":$lse, "::mlir::Value":$x,
                                 "::mlir::Value":$w, "::mlir::Value":$targets, "::mlir::FloatAttr":$softcap),
    [{ build($_builder, $_state, nll, lse, x, w, targets, ::mlir::Value(), ::mlir::Value(), ::mlir::Value(), softcap); }]>];
  let results = (outs Pg_FloatTensor:$nll, Pg_FloatTensor:$lse);
  let assemblyFormat = [{
    $x `,` $w `,` $targets (`scaled` $scale^)? (`plus` $p^ `,` $q)? attr-dict `:`
    functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

/// Two ops, because the two results are cut differently (by tokens, by words).
class Pg_LinearCrossEntropyGradBase<string mnemonic, string formula> : Pg_PureOp<mnemonic, [
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let description = "With g [N, V] = (e^(z - lse) - onehot(target)) dnll (1 - (z / c)^2), the\n"
      # "last factor only under a softcap: " # formula # ". g is made tile by tile.\n"
      # "C1, C2 as linear_cross_entropy. C3 lse and dnll are [N] of the result's type. C4 the result has the\n"
      # "shape of " # !if(!eq(mnemonic, "linear_cross_entropy_grad_x"), "x", "w")
      # " and its type, or f32 when that is bf16. No second derivative.";
  let arguments = (ins Pg_FloatTensor:$x, Pg_FloatTensor:$w, Pg_IntTensor:$targets,
                       Pg_FloatTensor:$lse, Pg_FloatTensor:$dnll,
                       DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x `,` $w `,` $targets `,` $lse `,` $dnll attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def Pg_LinearCrossEntropyGradXOp : Pg_LinearCrossEntropyGradBase<"linear_cross_entropy_grad_x", "dx = g w"> {
  let summary = "dx [N, D] of linear_cross_entropy; logits recomputed tile by tile";
}
def Pg_LinearCrossEntropyGradWOp : Pg_LinearCrossEntropyGradBase<"linear_cross_entropy_grad_w", "dw = g^T x"> {
  let summary = "dw [V, D] of linear_cross_entropy; logits recomputed tile by tile";
}
