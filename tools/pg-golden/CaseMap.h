//===- CaseMap.h - hyper-parameters of a stack to model overrides
//----------===//
//
// The map is data (test/golden/<stack>.map.yaml), so that this tool knows no
// technique and no parameter of any script:
//
//   model: ../../models/pr1693.model.yaml       # relative to the map
//   recipe: ../../models/recipes/x.recipe.yaml  # of kinds that need one; rules
//                                               # reach it by `to: recipe.<path>`
//   adapters: {q: "q_loras.{}", head: lm_head_lora}   # site -> name in the case
//   complete: [hyperparameters, rope]           # every key of these is mapped
//   map:
//     - {from: hyperparameters.num_layers, to: dims.L}
//     - {from: rope.inv_freq, to: options.rope_bf16, values: {float32: false}}
//     - {from: hyperparameters.train_seq_len, ignore: why it has no effect}
//   phase: {from: case.loops_on, also: loops_on, values: {false: plain, true: looped}, default:
//   plain}
//   training:                                   # for cases of a whole run
//     recipe: ../../models/recipes/x.recipe.yaml
//     set: [log.every=1]                        # for every case
//     map:                                      # before the rules of `map`
//       - {from: hyperparameters.train_batch_tokens, over: grad_accumulation,
//          to: batch.rank_tokens}               # an integer division
//     groups: {matrices: matrix}                # recorded name -> group
//     momentum: matrix.momentum                 # scalar of muon_momentum_...
//
//===----------------------------------------------------------------------===//
#ifndef PG_TOOLS_PGGOLDEN_CASEMAP_H
#define PG_TOOLS_PGGOLDEN_CASEMAP_H

#include "tools/pg-golden/MapFile.h"

#include <optional>
#include <string>
#include <vector>

namespace pg::golden {

/// A model with overrides.
struct ModelChoice {
  std::string modelPath;
  std::vector<std::string> overrides; ///< "dims.L=6"
  std::string phase;                  ///< "" = the model's only one

  /// The value of an override, "" when there is none.
  std::string valueOf(const std::string &path) const;
};

/// What a map says of runs.
struct TrainingMap {
  std::string recipePath;
  std::vector<std::string> settings;
  std::vector<MapRule> rules;
  std::map<std::string, std::string> groups; ///< recorded name -> group
  std::string momentum;                      ///< scalar of apply
};

class CaseMap {
public:
  /// Reads a map file. Errors carry file:line:column.
  static rt::StatusOr<CaseMap> read(const std::string &path);

  /// Applies the map to case.json. Invalid, listing every key of the complete
  /// sections that no rule mentions and every value without translation.
  rt::StatusOr<ModelChoice> apply(const rt::Json &spec) const;
  /// The same for a run: the rules of `training` come first.
  rt::StatusOr<ModelChoice> applyForTraining(const rt::Json &spec) const;
  const std::optional<TrainingMap> &trainingMap() const { return training; }
  /// Phase of a recorded value of the phase rule, "" without one.
  std::string phaseOf(const std::string &value) const;

  /// Recipe of the kinds of case that need one; "" = none.
  const std::string &recipePath() const { return recipe; }
  /// Sites of the model to names of adapters in a case, "{}" for the number.
  const std::map<std::string, std::string> &adapterNames() const {
    return adapters;
  }

private:
  rt::StatusOr<ModelChoice> applyRules(const rt::Json &spec,
                                       const std::vector<MapRule> &all) const;

  std::string model, recipe;
  std::map<std::string, std::string> adapters;
  std::vector<std::string> complete;
  std::vector<MapRule> rules;
  std::optional<MapRule> phase;
  std::optional<TrainingMap> training;
};

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_CASEMAP_H
