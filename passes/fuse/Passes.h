//===- Passes.h - fusion, outlining, memory plan: passes and functions ----===//
//
// Each pass is a thin wrapper around a function of the same job, because the
// recomputation choice under a memory limit runs the functions on a copy of the
// module to learn what the plan would need.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_FUSE_PASSES_H
#define PG_PASSES_FUSE_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <functional>
#include <memory>

namespace pg {

/// Something that rewrites a module and may fail with a diagnostic.
using ModuleStep = std::function<mlir::LogicalResult(mlir::ModuleOp)>;

/// Orders the ops of one entry for fusion (pg-schedule).
void scheduleEntry(mlir::func::FuncOp entry);
/// Turns the ops of one scheduled entry into pg.kernel ops (pg-fuse).
/// `numAbsorbed` gains the ops taken into prologues and epilogues.
mlir::LogicalResult fuseEntry(mlir::func::FuncOp entry, int64_t &numAbsorbed);
/// Storage types of a precision policy (pg-narrow); fails on an unknown name.
/// `rounded`: what entries without a token axis round to bf16 themselves is stored as
/// bf16, for targets that multiply bf16 faster; no bit changes.
mlir::LogicalResult narrowStorage(mlir::ModuleOp module, llvm::StringRef policy,
                                  bool rounded = false);
/// Kernels to kernel_defs and launches (pg-outline); returns the number of
/// distinct kernels.
mlir::FailureOr<int64_t> outlineKernels(mlir::ModuleOp module);
/// Arena offsets for all launches (pg-plan-memory); returns the largest arena.
/// `spreads`: within it, launches of entries without a token axis share memory as
/// little as possible, for targets that run them side by side.
mlir::FailureOr<int64_t> planMemory(mlir::ModuleOp module, bool spreads = false);
/// Recomputation (pg-recompute). `beforeOutline`, when set, is what happens to
/// the fused module (narrowStorage), so that a trial plan counts its buffers.
/// Returns the number of cloned ops.
mlir::FailureOr<int64_t> recompute(mlir::ModuleOp module, int64_t memoryLimit,
                                   const ModuleStep &beforeFuse,
                                   const ModuleStep &beforeOutline);

#define GEN_PASS_DECL
#include "passes/fuse/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/fuse/Passes.h.inc"

} // namespace pg

#endif // PG_PASSES_FUSE_PASSES_H
