//===- Pipelines.h - named phases from the front end to the plan ------------===//
#ifndef PG_PASSES_PIPELINE_PIPELINES_H
#define PG_PASSES_PIPELINE_PIPELINES_H

#include "passes/fuse/Passes.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>

namespace pg {

struct PipelineOptions {
  std::string precision = "f32"; ///< a precision policy
  int64_t memoryLimit = 0;       ///< arena bytes, 0 = none
  MemoryRules memory;            ///< of the plan, by target
  LogitsChoice logits;           ///< of losses with gradients
  bool storesRounded = false;    ///< as bf16 what such entries round to it themselves
  ModuleStep prepareTarget;      ///< the target's wishes on value-level ops; may be empty
};

/// Phases in order: spec, inlined, derived, decomposed, fused, outlined,
/// planned. A dump taken after one of them is input for the next.
llvm::ArrayRef<llvm::StringRef> pipelinePhases();

/// Runs the phases after `from` up to and including `to` on `module`, which
/// must be legal after `from`. Each phase ends with the verifier of what is
/// legal then. `afterPhase` is called with each finished phase's name.
/// Fails with a diagnostic; unknown phase names are the caller's bug.
mlir::LogicalResult
runPipeline(mlir::ModuleOp module, llvm::StringRef from, llvm::StringRef to,
            const PipelineOptions &options,
            llvm::function_ref<void(llvm::StringRef)> afterPhase);

} // namespace pg

#endif // PG_PASSES_PIPELINE_PIPELINES_H
