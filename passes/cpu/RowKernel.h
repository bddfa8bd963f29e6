//===- RowKernel.h - kernels without a shape of their own --------------------===//
#ifndef PG_PASSES_CPU_ROWKERNEL_H
#define PG_PASSES_CPU_ROWKERNEL_H

#include "dialect/Pg.h"
#include "passes/cpu/Emitter.h"

namespace pg {

/// Emits a row kernel, pg.take_rows included (docs/architecture.md §3.2), as
/// function `@<its symbol>` at the end of `module`.
mlir::FailureOr<KernelShape> emitRowKernel(KernelDefOp def,
                                           mlir::ModuleOp module,
                                           const CpuTarget &target);
/// The kernels cut by feature columns: pg.combine and pg.gather_grad.
mlir::FailureOr<KernelShape> emitCombineKernel(KernelDefOp def,
                                               mlir::ModuleOp module,
                                               const CpuTarget &target);
mlir::FailureOr<KernelShape> emitGatherGradKernel(KernelDefOp def,
                                                  mlir::ModuleOp module,
                                                  const CpuTarget &target);
/// Any kernel: picks the emitter by the structured op of the body.
mlir::FailureOr<KernelShape> emitKernel(KernelDefOp def, mlir::ModuleOp module,
                                        const CpuTarget &target);

/// The float type that decides a kernel's lanes: f64 when any value is f64.
mlir::Type kernelFloatType(KernelDefOp def);
/// Index of the buffer of yield `index`: after the tensor arguments.
int64_t yieldBuffer(KernelDefOp def, unsigned index);

} // namespace pg

#endif // PG_PASSES_CPU_ROWKERNEL_H
