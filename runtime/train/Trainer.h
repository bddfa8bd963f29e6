//===- Trainer.h - the training protocol ---------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_TRAINER_H
#define PG_RUNTIME_TRAIN_TRAINER_H

#include "runtime/exec/Executor.h"
#include "runtime/train/Observer.h"
#include "runtime/train/Recipe.h"

namespace pg::rt {

struct TrainOptions {
  std::string dataFolder, runFolder;
  std::string initialWeights;   ///< "" = initialisers
  bool resume = false;          ///< continue the run in runFolder from its newest checkpoint, if it has one
  std::string replayFolder;     ///< run folder whose clock is repeated, "" = none
  Json about = Json::object();  ///< more of config.json: paths of package and data, versions
  TimeLedger *ledger = nullptr; ///< of the process; one of its own when null
  std::vector<TrainObserver *> observers; ///< besides metrics.jsonl
};

struct TrainResult {
  int64_t steps = 0;            ///< of the whole run
  int64_t resumedFrom = -1;     ///< step of the checkpoint it went on from, -1 = began anew
  double lastLoss = 0;          ///< mean NLL of the last step
  double seconds = 0;           ///< of training, in all processes of the run
  int64_t tokens = 0;
  std::string weights;          ///< path
  std::string averages;         ///< path of the averaged weights, "" when there are none
  int64_t bestStep = -1;        ///< of the lowest validation loss
  double bestLoss = 0;
  int signal = 0;               ///< that ended the run early, 0 = none
};

/// The train protocol. Before step 0: data and recipe checked, the folder
/// locked, parameters and states initialised, loaded or restored, and the
/// state-restoring warm-up. Then, until the budget is spent: accumulate over
/// the step's tokens, clip, apply; report; validate and write checkpoints when
/// they are due. State changes in apply alone, so at any instant the run is
/// between two steps and can be saved.
///
/// SIGINT and SIGTERM abandon the step in flight, write a checkpoint, and end
/// the run with `signal` set. Any error writes a checkpoint too, unless the
/// values are not finite: Numerical, naming the first bad tensor, then the last
/// checkpoint before stays the newest.
StatusOr<TrainResult> train(Executor &executor, const Recipe &recipe, const TrainOptions &options);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_TRAINER_H
