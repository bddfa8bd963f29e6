//===- Setup.h - what a recipe says about a run, checked -----------------------===//
#ifndef PG_RUNTIME_TRAIN_SETUP_H
#define PG_RUNTIME_TRAIN_SETUP_H

#include "runtime/data/Prefetcher.h"
#include "runtime/eval/Bpb.h"
#include "runtime/train/Recipe.h"
#include "runtime/train/Step.h"

namespace pg::rt {

/// schedule.*; Usage when nothing ends the run, Invalid for unknown words.
StatusOr<Schedule> scheduleFrom(const Recipe &recipe);

/// The training shards of a folder, checked as data.check says, and a loader at
/// their beginning.
StatusOr<Loader> openTrainingData(const std::string &folder, const Recipe &recipe, const StepShape &shape,
                                  int64_t vocabulary, ThreadPool &pool);

/// Evaluation during training: eval.* and the segments of training.
EvalOptions validationFrom(const Recipe &recipe, const std::string &phase);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_SETUP_H
