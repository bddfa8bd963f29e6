//===- Passes.td - fusion, outlining and memory planning ------------------===//
#ifndef PG_FUSE_PASSES_TD
#define PG_FUSE_PASSES_TD

include "mlir/Pass/PassBase.td"

def KeepLogitsPass : Pass<"pg-keep-logits", "::mlir::ModuleOp"> {
  let summary = "a loss and its gradients as three products and the rows between them";
  let description = [{
    `linear_cross_entropy` and its gradients make the logits in tiles, once each. In
    an entry that has the loss and gradients of it, all reading the same operands,
    they are written as x w^T, row-wise ops and the two products of the logits'
    gradient: [N, V] numbers in memory instead of a product for each gradient.
    `auto` does so where a byte that crosses memory saves at least 12 flops and
    the logits take at most `share` of the bytes that the forward part leaves for
    the backward part anyway, or at most `small-bytes` at pg.max_tokens. Not under a precision policy that would round them.
    Runs before pg-recompute; leaves its answer as `pg.logits` on the entry.
  }];
  let options = [
    Option<"rule", "rule", "std::string", "\"auto\"", "auto, keep or rebuild">,
    Option<"share", "share", "double", "0.25",
           "auto: most bytes the logits may add, as a share of those kept anyway">,
    Option<"smallBytes", "small-bytes", "int64_t", "67108864",
           "auto: bytes the logits may add whatever is kept">];
  let statistics = [
    Statistic<"numEntries", "entries", "entries that keep logits">];
}

def RecomputePass : Pass<"pg-recompute", "::mlir::ModuleOp"> {
  let summary = "clone forward values that are cheap to rebuild into the backward part";
  let description = [{
    Ops of the backward part carry `pg.backward`. A row-wise forward value the
    backward part reads is rebuilt there from stored values when that costs
    less than keeping it; the clones carry `pg.backward` and `pg.recompute`.
    Kept is what products and attention of both parts read, unless they can make
    it for themselves.
    With a memory limit, that is rebuilt, then products and attention too, those
    with the most bytes for a flop first, until the memory plan fits.
  }];
  let options = [
    Option<"memoryLimit", "memory-limit", "int64_t", "0",
           "arena bytes the plan may use; 0 means no limit">,
    Option<"keepsOperands", "keeps-operands", "bool", "true",
           "keep what structured ops of both parts read">];
  let statistics = [
    Statistic<"numClones", "clones", "ops cloned into the backward part">];
}

def SchedulePass : Pass<"pg-schedule", "::mlir::ModuleOp"> {
  let summary = "structured ops in program order, row-wise ops just before their first needer";
}

def FusePass : Pass<"pg-fuse", "::mlir::ModuleOp"> {
  let summary = "group ops into pg.kernel regions";
  let statistics = [
    Statistic<"numKernels", "kernels", "kernels made">,
    Statistic<"numAbsorbed", "absorbed", "ops taken into a product's prologue or epilogue">];
}

def NarrowPass : Pass<"pg-narrow", "::mlir::ModuleOp"> {
  let summary = "gives what crosses from kernel to kernel, and factors of products, the policy's storage types";
  let description = [{
    Token tensors between kernels and the factors of products (weights among
    them) become narrow where the precision policy says so; casts stand inside
    the kernels that write and read them. Row-wise maths, sums, statistics of rows
    and heads, partial sums, gradients, parameters and outputs stay wide.
    Logits that a loss keeps for its gradients (pg.wide) stay wide too. With
    `rounded`, entries without a token axis keep what they round to bf16 themselves
    as bf16 between kernels: no value changes by that, but their products are then
    ones of bf16 factors, which targets may sum up in another order.
  }];
  let options = [
    Option<"policy", "policy", "std::string", "\"\"",
           "f32, f64 or bf16; default: the module's pg.precision">,
    Option<"rounded", "rounded", "bool", "false",
           "entries without a token axis: values the program rounds to bf16 are stored as bf16">];
}

def OutlinePass : Pass<"pg-outline", "::mlir::ModuleOp"> {
  let summary = "one pg.kernel_def for each distinct kernel, pg.launch in place of kernels";
  let statistics = [
    Statistic<"numDefs", "definitions", "distinct kernels">];
}

def PlanMemoryPass : Pass<"pg-plan-memory", "::mlir::ModuleOp"> {
  let summary = "arena offsets of every launch result at pg.max_tokens tokens";
  let options = [
    Option<"spreads", "spread", "bool", "false",
           "entries without a token axis share memory as little as the largest arena allows">,
    Option<"inPlace", "in-place", "bool", "false",
           "row kernels may write a result over an operand nothing reads afterwards">];
  let statistics = [
    Statistic<"arenaBytes", "arena-bytes", "largest arena of the module's entries">];
}

#endif // PG_FUSE_PASSES_TD
