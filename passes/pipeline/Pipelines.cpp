//===- Pipelines.cpp - which pass runs when, and why there ------------------===//
#include "passes/pipeline/Pipelines.h"

#include "passes/derive/Passes.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/ADT/STLExtras.h"

#include <mutex>

namespace pg {
namespace {

constexpr llvm::StringLiteral kPhases[] = {"spec",  "inlined",  "derived",
                                           "decomposed", "fused", "outlined",
                                           "planned"};

void registerOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    mlir::registerTransformsPasses();
    registerDerivePasses();
  });
}

mlir::LogicalResult runPasses(mlir::ModuleOp module, const std::string &text) {
  registerOnce();
  auto manager = mlir::PassManager::on<mlir::ModuleOp>(module.getContext());
  if (mlir::failed(mlir::parsePassPipeline(text, manager)))
    return module.emitError() << "pass pipeline '" << text << "' does not parse";
  return manager.run(module);
}

/// Block functions become straight-line entries; one element type policy.
mlir::LogicalResult inlinePhase(mlir::ModuleOp module, const PipelineOptions &o) {
  return runPasses(module,
                   // Locations of block and caller are combined while calls exist.
                   "pg-inline,"
                   // Before anything is derived, so that derived ops inherit the policy.
                   "pg-precision{policy=" + o.precision + "},"
                   "canonicalize,cse");
}

/// The forward function of each phase becomes its entries.
mlir::LogicalResult derivePhase(mlir::ModuleOp module) {
  return runPasses(module,
                   // First, while every product of the forward part is plain:
                   // sites become adapters or nothing, inputs are tapped.
                   "pg-attach,"
                   "pg-tap,"
                   // Before differentiation: the gradient of the merged head is
                   // what keeps [N, V] out of the backward part.
                   "pg-fuse-head,"
                   "pg-derive,"
                   // Behind it, so that every program reads weights the same way.
                   "pg-read-codes,"
                   // The static rule of the legality audit, on what will be scored.
                   "pg-check-horizon");
}

/// Ops that fusion handles better in pieces. Not before differentiation: the
/// gradients of the whole ops are shorter.
mlir::LogicalResult decomposePhase(mlir::ModuleOp module) {
  return runPasses(module, "pg-decompose,canonicalize,cse");
}

/// Losses and gradients that keep their logits. Under a limit logits are the last
/// to be given up, for they free the fewest bytes for a flop, and rounding differs.
mlir::LogicalResult chooseLogits(mlir::ModuleOp module, const PipelineOptions &o,
                                 const TrialSteps &steps) {
  LogitsChoice choice = o.logits;
  if (o.memoryLimit > 0 && choice.rule == LogitsRule::Automatic) {
    mlir::OwningOpRef<mlir::ModuleOp> copy(mlir::cast<mlir::ModuleOp>(module->clone()));
    if (!keepLogits(*copy, choice).empty()) {
      mlir::FailureOr<bool> fits = canMeetLimit(*copy, o.memoryLimit, steps);
      if (mlir::failed(fits))
        return mlir::failure();
      if (!*fits) {
        choice.rule = LogitsRule::Rebuild;
        choice.reason = "the memory limit leaves no room for them";
      }
    }
  }
  keepLogits(module, choice);
  return mlir::success();
}

mlir::LogicalResult fusePhase(mlir::ModuleOp module, const PipelineOptions &o) {
  // Recomputation first: it decides which values live across the turn, and the
  // clones must be there when kernels are formed. It tries plans on copies.
  auto narrow = [&](mlir::ModuleOp fused) {
    return narrowStorage(fused, o.precision, o.storesRounded);
  };
  TrialSteps steps{o.prepareTarget, narrow, o.memory};
  // Before it, because it sees products and rows where the loss was.
  if (mlir::failed(chooseLogits(module, o, steps)) ||
      mlir::failed(recompute(module, o.memoryLimit, steps)))
    return mlir::failure();
  // The target's wishes are value-level ops, so that they fuse and are planned
  // like any other.
  if (o.prepareTarget && mlir::failed(o.prepareTarget(module)))
    return mlir::failure();
  for (mlir::func::FuncOp entry : module.getOps<mlir::func::FuncOp>()) {
    scheduleEntry(entry);
    int64_t absorbed = 0;
    if (mlir::failed(fuseEntry(entry, absorbed)))
      return mlir::failure();
  }
  // Last, because only now is it known what crosses between kernels.
  return narrow(module);
}

mlir::LogicalResult runPhase(llvm::StringRef phase, mlir::ModuleOp module,
                             const PipelineOptions &o) {
  if (phase == "inlined")
    return inlinePhase(module, o);
  if (phase == "derived")
    return derivePhase(module);
  if (phase == "decomposed")
    return decomposePhase(module);
  if (phase == "fused")
    return fusePhase(module, o);
  if (phase == "outlined")
    return mlir::success(mlir::succeeded(outlineKernels(module)));
  return mlir::success(mlir::succeeded(planMemory(module, o.memory)));
}

} // namespace

llvm::ArrayRef<llvm::StringRef> pipelinePhases() {
  static const llvm::SmallVector<llvm::StringRef> phases(std::begin(kPhases),
                                                         std::end(kPhases));
  return phases;
}

mlir::LogicalResult
runPipeline(mlir::ModuleOp module, llvm::StringRef from, llvm::StringRef to,
            const PipelineOptions &options,
            llvm::function_ref<void(llvm::StringRef)> afterPhase) {
  bool started = false;
  for (llvm::StringRef phase : pipelinePhases()) {
    if (started) {
      if (mlir::failed(runPhase(phase, module, options)) ||
          mlir::failed(mlir::verify(module)) ||
          mlir::failed(runPasses(module, "pg-verify-phase{phase=" + phase.str() + "}")))
        return mlir::failure();
      afterPhase(phase);
    }
    started |= phase == from;
    if (phase == to)
      break;
  }
  return mlir::success();
}

} // namespace pg
