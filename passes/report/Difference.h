//===- Difference.h - two compiled models, compared and priced
//-------------===//
#ifndef PG_PASSES_REPORT_DIFFERENCE_H
#define PG_PASSES_REPORT_DIFFERENCE_H

#include "passes/fuse/Report.h"

namespace pg::report {

/// What a change of model costs. Every quantity holds both sides; what is
/// equal is kept in `json` and left out of `text` where it would only be noise.
struct Difference {
  /// A key of the specification; a side without it is "".
  struct Setting {
    std::string path, before, after;
  };
  /// A parameter present on one side only, or with another shape.
  struct Parameter {
    std::string name, before, after; ///< shapes, "" = absent
    int64_t beforeValues = 0, afterValues = 0;
  };
  struct Quantity {
    std::string name;
    double before = 0, after = 0;
  };
  /// An entry of either side; an absent one counts 0 everywhere.
  struct Entry {
    std::string name;
    std::vector<Quantity> quantities; ///< flops, bytes, arena, launches
  };
  /// A kernel of one side: its name there, its ops, lines it comes from.
  struct Kernel {
    std::string name;
    std::vector<std::string> ops, sources;
  };

  std::string before, after; ///< names of the models
  int64_t maxTokens = 0;
  std::vector<Setting> settings;
  std::vector<Parameter> parameters;
  std::vector<Quantity> totals; ///< parameters, artifact, memory, kernels
  std::vector<Entry> entries;
  std::vector<Kernel> added, removed;
  int64_t resized = 0; ///< kernels that have a counterpart of other sizes

  bool isEmpty() const;
  std::string text() const;
  llvm::json::Value json() const;
};

/// Compares two planned modules. `settings` says what differs in the
/// specifications; modules do not know.
Difference compare(mlir::ModuleOp before, mlir::ModuleOp after,
                   std::vector<Difference::Setting> settings);

} // namespace pg::report

#endif // PG_PASSES_REPORT_DIFFERENCE_H
