//===- Report.h - what a compiled model costs
//------------------------------===//
//
// Read off a planned module: parameters, work and traffic for a token, memory
// of the plan, kernels and what was fused into them, estimated artifact size.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_FUSE_REPORT_H
#define PG_PASSES_FUSE_REPORT_H

#include "passes/fuse/Tensors.h"

#include "llvm/Support/JSON.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pg {

struct Report {
  /// Parameters that share a label.
  struct Group {
    std::string name;
    int64_t tensors = 0, values = 0;
  };
  struct Entry {
    std::string name; ///< "accumulate@looped"
    int64_t launches = 0;
    PerToken flops;         ///< kCostContext keys per attending token
    PerToken bytes;         ///< moved by the launches
    PerToken unfusedBytes;  ///< moved if every op read and wrote its tensors
    int64_t arenaBytes = 0; ///< planned
    int64_t liveBytes = 0;  ///< largest live set, the least any plan needs
    std::string logits;     ///< kLogitsAttr; empty without a loss that has gradients
    /// Moved over unfused bytes at maxTokens tokens.
    double fusedRatio(int64_t maxTokens) const;
  };
  struct Kernel {
    std::string name;
    int64_t launches = 0;             ///< over all entries
    std::vector<std::string> ops;     ///< in order, index ops left out
    std::vector<std::string> sources; ///< file:line:column
    PerToken flops, bytes;            ///< of one launch
  };

  std::string model, precision;
  int64_t maxTokens = 0;
  int64_t parameterValues = 0;
  int64_t parameterBytes = 0, stateBytes = 0;
  std::vector<Group> groups;      ///< by optimizer group label
  std::vector<Group> quantGroups; ///< by quantisation label; "" passes through
  std::vector<Entry> entries;
  std::vector<Kernel> kernels;
  int64_t artifactBytes = 0; ///< estimate

  /// Parameters, states and the largest arena.
  int64_t peakBytes() const;
  std::string text() const;
  llvm::json::Value json() const;
};

/// Reads `module`, which must be planned.
Report buildReport(mlir::ModuleOp module);

} // namespace pg

#endif // PG_PASSES_FUSE_REPORT_H
