//===- CaseMap.h - hyper-parameters of a stack to model overrides
//----------===//
//
// The map is data (test/golden/<stack>.map.yaml), so that this tool knows no
// technique and no parameter of any script:
//
//   model: ../../models/pr1693.model.yaml       # relative to the map
//   complete: [hyperparameters, rope]           # every key of these is mapped
//   map:
//     - {from: hyperparameters.num_layers, to: dims.L}
//     - {from: rope.inv_freq, to: options.rope_bf16, values: {float32: false}}
//     - {from: hyperparameters.train_seq_len, ignore: why it has no effect}
//   phase: {from: case.loops_on, values: {false: plain, true: looped}, default:
//   plain}
//
//===----------------------------------------------------------------------===//
#ifndef PG_TOOLS_PGGOLDEN_CASEMAP_H
#define PG_TOOLS_PGGOLDEN_CASEMAP_H

#include "runtime/support/Json.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pg::golden {

/// One line of a map.
struct MapRule {
  std::string from;                          ///< dotted path in case.json
  std::string to;                            ///< override path; "" = ignored
  std::map<std::string, std::string> values; ///< translation; empty = as it is
  std::optional<std::string> fallback;       ///< when the case has no such key
};

/// A model with overrides.
struct ModelChoice {
  std::string modelPath;
  std::vector<std::string> overrides; ///< "dims.L=6"
  std::string phase;                  ///< "" = the model's only one
};

class CaseMap {
public:
  /// Reads a map file. Errors carry file:line:column.
  static rt::StatusOr<CaseMap> read(const std::string &path);

  /// Applies the map to case.json. Invalid, listing every key of the complete
  /// sections that no rule mentions and every value without translation.
  rt::StatusOr<ModelChoice> apply(const rt::Json &spec) const;

private:
  std::string model;
  std::vector<std::string> complete;
  std::vector<MapRule> rules;
  std::optional<MapRule> phase;
};

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_CASEMAP_H
