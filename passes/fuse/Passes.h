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

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace pg {

/// Something that rewrites a module and may fail with a diagnostic.
using ModuleStep = std::function<mlir::LogicalResult(mlir::ModuleOp)>;

/// What pgc and its passes may be told about the logits of a loss (pg-keep-logits).
enum class LogitsRule {
  Automatic, ///< keep them where that saves time and the memory is there
  Keep,
  Rebuild
};
/// "auto", "keep" or "rebuild"; nothing for another name.
std::optional<LogitsRule> parseLogitsRule(llvm::StringRef name);
struct LogitsChoice {
  LogitsRule rule = LogitsRule::Automatic;
  /// Rule Automatic: kept logits may take this share of the bytes that wait for
  /// the gradients anyway, or so many bytes at the maximum of tokens.
  double share = 0.25;
  int64_t smallBytes = int64_t(64) << 20;
  std::string reason = "asked for"; ///< of rule Rebuild, for the report
};
/// String attribute of entries with a loss and its gradients: "kept", or
/// "rebuilt: " and why.
inline constexpr llvm::StringLiteral kLogitsAttr = "pg.logits";
/// Writes losses and their gradients as three products and rows between them, by
/// the rule (pg-keep-logits). Returns the entries that now keep logits.
llvm::SmallVector<mlir::func::FuncOp> keepLogits(mlir::ModuleOp module,
                                                 const LogitsChoice &choice);
/// Bytes for a token that the forward part of `entry` leaves for the backward
/// part after pg-recompute without a limit.
double keptBytesPerToken(mlir::func::FuncOp entry);

/// Orders the ops of one entry for fusion (pg-schedule).
void scheduleEntry(mlir::func::FuncOp entry);
/// On a map of static tensors that only one product reads: the product makes it as it
/// packs, for a target where that is cheap.
inline constexpr llvm::StringLiteral kIntoProductAttr = "pg.into_product";
/// Turns the ops of one scheduled entry into pg.kernel ops (pg-fuse).
/// `numAbsorbed` gains the ops taken into prologues and epilogues.
mlir::LogicalResult fuseEntry(mlir::func::FuncOp entry, int64_t &numAbsorbed);
/// Storage types of a precision policy (pg-narrow); fails on an unknown name.
/// `rounded`: what entries without a token axis round to bf16 themselves is stored as
/// bf16, for targets that multiply bf16 faster; products of such values may be summed up
/// in another order, nothing else changes.
mlir::LogicalResult narrowStorage(mlir::ModuleOp module, llvm::StringRef policy,
                                  bool rounded = false);
/// Kernels to kernel_defs and launches (pg-outline); returns the number of
/// distinct kernels.
mlir::FailureOr<int64_t> outlineKernels(mlir::ModuleOp module);
struct MemoryRules {
  /// Within the largest arena, launches of entries without a token axis share
  /// memory as little as possible, for targets that run them side by side.
  bool spreads = false;
  /// Row kernels may write a result over an operand that ends there (InPlace.h),
  /// for targets that run a row's loops in the order of RowPlan.
  bool inPlace = false;
  /// What structured ops of the forward and of the backward part read is kept while memory
  /// suffices (pg-recompute). Measured on CPUs only.
  bool keepsOperands = true;
};
/// Arena offsets for all launches (pg-plan-memory); returns the largest arena.
mlir::FailureOr<int64_t> planMemory(mlir::ModuleOp module, MemoryRules rules = {});

/// What happens between recomputation and the plan, so that a trial plan counts
/// the buffers there will be.
struct TrialSteps {
  ModuleStep beforeFuse;    ///< the target's wishes; may be empty
  ModuleStep beforeOutline; ///< narrowStorage; may be empty
  MemoryRules memory;
};
/// Recomputation (pg-recompute); 0 = no limit. Returns the number of cloned ops.
mlir::FailureOr<int64_t> recompute(mlir::ModuleOp module, int64_t memoryLimit,
                                   const TrialSteps &steps);
/// Whether some choice of recompute() meets the limit. Changes nothing.
mlir::FailureOr<bool> canMeetLimit(mlir::ModuleOp module, int64_t memoryLimit,
                                   const TrialSteps &steps);

#define GEN_PASS_DECL
#include "passes/fuse/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/fuse/Passes.h.inc"

} // namespace pg

#endif // PG_PASSES_FUSE_PASSES_H
