//===- TrainRun.h - one training run of pgrun train ------------------------------===//
#ifndef PG_TOOLS_PGRUN_TRAINRUN_H
#define PG_TOOLS_PGRUN_TRAINRUN_H

#include "runtime/support/TimeLedger.h"
#include "runtime/train/Trainer.h"
#include "tools/pgrun/Verbs.h"

#include <optional>

namespace pg::rt {

struct TrainRunOptions {
  CommonOptions common;
  TrainOptions train;
  int64_t steps = 0;
  int64_t seed = -1;
  std::vector<std::string> overrides;
  std::string tokenizer;        ///< with one, or with `evaluates`, the final weights are scored on the validation shards
  bool evaluates = false;
  bool tensorBoard = false;
  double peakTflops = 0;
  bool quiet = false;
};

struct TrainRunResult {
  TrainResult train;
  int64_t seed = 0;
  Json ledger;                  ///< seconds by stage
  double wall = 0;              ///< seconds
  int64_t artifactBytes = 0;    ///< predicted from the final weights
  std::optional<EvalResult> evaluation;
};

/// Opens the package, trains, and leaves bytes.json and, when asked for,
/// evaluation.json in the run folder.
StatusOr<TrainRunResult> trainRun(const TrainRunOptions &options);

/// The seed that a run with these options begins with.
StatusOr<int64_t> seedOf(const TrainRunOptions &options);

} // namespace pg::rt

#endif // PG_TOOLS_PGRUN_TRAINRUN_H
