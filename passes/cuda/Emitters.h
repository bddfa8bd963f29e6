//===- Emitters.h - one emitter per kind of kernel ----------------------------===//
//
// Each returns the stages and the text of one kernel_def; CudaBackend.cpp
// chooses. A structured op decides the emitter, a kernel without one is a row
// kernel. An unsupported form is reported at the op.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CUDA_EMITTERS_H
#define PG_PASSES_CUDA_EMITTERS_H

#include "dialect/Pg.h"
#include "passes/cuda/CudaBackend.h"

namespace pg::cuda {

/// Any kernel: picks the emitter.
mlir::FailureOr<EmittedKernel> emitKernel(KernelDefOp def);
/// True for kernels with a product, attention or head.
bool hasStructuredOp(KernelDefOp def);

// Without structured op.
mlir::FailureOr<EmittedKernel> emitRowKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitCombineKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitGatherGradKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitTransposeKernel(KernelDefOp def);

// By the structured op of the body.
mlir::FailureOr<EmittedKernel> emitMatmulKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitGroupedMatmulKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitGroupedOuterKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitAttentionKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitAttentionGradKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel> emitLinearCrossEntropyKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel>
emitLinearCrossEntropyGradXKernel(KernelDefOp def);
mlir::FailureOr<EmittedKernel>
emitLinearCrossEntropyGradWKernel(KernelDefOp def);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_EMITTERS_H
