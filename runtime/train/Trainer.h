//===- Trainer.h - the training protocol ---------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_TRAINER_H
#define PG_RUNTIME_TRAIN_TRAINER_H

#include "runtime/exec/Executor.h"
#include "runtime/train/Recipe.h"

namespace pg::rt {

struct TrainOptions {
  std::string dataFolder, runFolder;
  std::string initialWeights;   ///< "" = initialisers
};

struct TrainResult {
  int64_t steps = 0;
  double lastLoss = 0;          ///< mean NLL of the last step
  double seconds = 0;           ///< of training
  int64_t tokens = 0;
  std::string weights;          ///< path
  int signal = 0;               ///< that ended the run early, 0 = none
};

/// Per step: zero the gradients; run accumulate@phase for every micro-batch
/// with loss_scale = 1 / tokens of the step; clip; set the scalars; run apply.
/// Stops at the step or time budget, or at SIGINT / SIGTERM after the running
/// step; weights are written in each case. Numerical when the loss stops being
/// finite: the weights from before that step are written.
StatusOr<TrainResult> train(Executor &executor, const Recipe &recipe, const TrainOptions &options);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_TRAINER_H
