//===- StructuredKernels.h - kernels with a shape of their own -------------===//
//
// One emitter per structured op. A kernel_def with such an op (or with nothing
// but one static 2-D transpose) is emitted here; every other one is a row
// kernel.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_STRUCTUREDKERNELS_H
#define PG_PASSES_CPU_STRUCTUREDKERNELS_H

#include "dialect/Pg.h"
#include "passes/cpu/Emitter.h"

#include "mlir/Pass/Pass.h"

#include <memory>

namespace pg {

/// Everything an emitter of a structured kernel is given.
struct StructuredKernel {
  KernelDefOp def;
  mlir::Operation *op; ///< the structured op, or the lone transpose
  Emitter &e;
};

/// A tensor in memory: an argument, or a yield (to be added to where the launch
/// accumulates). Elements are widened and rounded on the way.
struct StoredTensor {
  Val pointer; ///< null when nothing takes the result
  mlir::Type element;
  bool accumulates = false;

  explicit operator bool() const { return static_cast<bool>(pointer); }
  /// A tensor of bf16 numbers, whose rows have an even number of them, as one of pairs.
  StoredTensor asPairs(Emitter &e) const { return {pointer, e.floatType()}; }
  /// Writes a scalar or vector of the emitter's float type.
  void put(Emitter &e, Val value, Val index) const;
};

/// The op of `def` that has an emitter here; null for a row kernel.
mlir::Operation *findStructuredOp(KernelDefOp def);

/// Whether the factors of a product, of the product of a head, or of attention with
/// whole pairs of features, are bf16 numbers (or codes, which bf16 holds), one of them
/// bf16 at least, and the sums f32.
bool hasBf16Factors(mlir::Operation *op);

/// Emits `def` as function `@<its symbol>` into `module`; `def` must have a
/// structured op. An unsupported form is reported at the op.
mlir::FailureOr<KernelShape> emitStructuredKernel(KernelDefOp def,
                                                  mlir::ModuleOp module,
                                                  const CpuTarget &target);

// One per kernel shape; each sets items and category, the dispatcher the rest.
mlir::FailureOr<KernelShape> emitMatmul(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitGroupedMatmul(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitGroupedOuter(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitTranspose(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitAttention(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitAttentionGrad(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitLinearCrossEntropy(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitLinearCrossEntropyGradX(StructuredKernel kernel);
mlir::FailureOr<KernelShape> emitLinearCrossEntropyGradW(StructuredKernel kernel);

/// Moves factors of channels from tokens to weights: see FoldFactors.cpp.
void foldFactors(mlir::ModuleOp module);

/// `--pg-cpu-prepare`: see CpuPrepare.cpp.
std::unique_ptr<mlir::Pass> createCpuPreparePass();

} // namespace pg

#endif // PG_PASSES_CPU_STRUCTUREDKERNELS_H
