//===- Roofline.h - the least time a GPU can take for an entry ---------------===//
#ifndef PG_PASSES_REPORT_ROOFLINE_H
#define PG_PASSES_REPORT_ROOFLINE_H

#include "mlir/IR/BuiltinOps.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/JSON.h"

#include <string>
#include <vector>

namespace pg {

/// What a GPU can do at best, and what the best code known to us reaches of it.
struct GpuModel {
  const char *name;
  double bytesPerSecond;        ///< data sheet
  double tensorFlops;           ///< bf16, f32 accumulation, dense; data sheet
  double vectorFlops;           ///< f32 outside the tensor cores; data sheet
  double bandwidthShare;        ///< a copy kernel's share of bytesPerSecond
  double tensorShare;           ///< a library product's share of tensorFlops
};

/// The GPUs that estimates are made for.
llvm::ArrayRef<GpuModel> gpuModels();

struct RooflineEntry {
  std::string entry;
  int64_t launches = 0;         ///< launches of the plan
  int64_t stages = 0;           ///< CUDA kernels those launch
  int64_t tokens = 0;           ///< pg.max_tokens; 0 without a token axis
  double flops = 0, bytes = 0;  ///< at that many tokens
  /// Per GPU: sum over launches of the larger of its time for arithmetic and for
  /// memory, at the attainable rates. Launch overhead is not in it.
  std::vector<double> seconds;
};

/// The estimate for every entry of a planned module. `stagesOf` gives the number
/// of CUDA kernels of a kernel_def by symbol.
std::vector<RooflineEntry> roofline(mlir::ModuleOp module, llvm::function_ref<int64_t(llvm::StringRef)> stagesOf);

/// One more entry "step@P" for every "accumulate@P": as many calls as `stepTokens`
/// take and one "apply", which is what an optimizer step launches and moves.
void addSteps(std::vector<RooflineEntry> &entries, int64_t stepTokens);

std::string rooflineText(llvm::ArrayRef<RooflineEntry> entries);
llvm::json::Array rooflineJson(llvm::ArrayRef<RooflineEntry> entries);

} // namespace pg

#endif // PG_PASSES_REPORT_ROOFLINE_H
