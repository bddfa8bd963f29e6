//===- Step.h - one optimizer step --------------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_STEP_H
#define PG_RUNTIME_TRAIN_STEP_H

#include "runtime/data/BatchTables.h"
#include "runtime/data/Prefetcher.h"
#include "runtime/exec/Gradients.h"
#include "runtime/train/Recipe.h"
#include "runtime/train/Schedule.h"

namespace pg::rt {

/// What a step reads: `accumulation` takes of one span for each of `ranks`
/// logical ranks. A span of rankTokens is cut into calls of microTokens and
/// those into rows; ranks and spans keep their order whatever runs them.
struct StepShape {
  int64_t ranks = 1, accumulation = 1;
  int64_t rankTokens = 0, microTokens = 0, rowLength = 0;
  int32_t bosId = -1;          ///< segments begin here; -1 = rows are one segment
  int64_t maxSegment = 0;

  int64_t spans() const { return ranks * accumulation; }
  int64_t stepTokens() const { return spans() * rankTokens; }
  /// From batch.*; Invalid names what does not divide what.
  static StatusOr<StepShape> from(const Recipe &recipe);
};

/// What the numbers of a step depend on.
struct StepMoment {
  int64_t step = 0;            ///< steps done
  double fraction = 0;         ///< of the budget
  double multiplier = 1;       ///< of the learning rates
};

/// accumulate and apply of a package, with everything a step needs allocated.
class Step {
public:
  struct Result {
    double loss = 0;           ///< mean NLL of the tokens
    double norm = 0;           ///< of the gradients before clipping; clipping per rank: mean over the ranks
  };

  Step(Executor &executor, const Recipe &recipe, const StepShape &shape);
  /// Finds the programs, sizes buffers; Usage or Invalid say what does not fit.
  Status prepare();

  const std::vector<std::string> &phases() const { return phaseNames; }
  const std::vector<std::string> &scalarNames() const;
  const std::vector<double> &scalars() const { return scalarValues; }

  /// Gradients of the step's mean loss, clipped, in the gradient states.
  /// Changes nothing else. Interrupted when the executor's flag was set.
  StatusOr<Result> accumulate(int phase, const StepTokens &tokens, const StepMoment &moment);
  /// accumulate again, launch by launch: what first held a NaN or an infinity
  /// (launchNotFinite), "" when nothing does. Slow; leaves the gradients half-summed.
  StatusOr<std::string> locateNotFinite(int phase, const StepTokens &tokens);
  /// Sets the scalars of step `step` (from 0) and runs apply.
  Status apply(int64_t step, double multiplier);

private:
  struct ScalarRule {
    enum class Kind { Step, LearningRate, LossScale, QuantisationOn, Plain } kind = Kind::Plain;
    Ramp value;
  };
  StatusOr<std::vector<ScalarRule>> rulesOf(int entry) const;
  double valueOf(const ScalarRule &rule, const StepMoment &moment) const;
  void fillBatch(const int32_t *tokens);

  Executor &executor;
  const Recipe &recipe;
  StepShape shape;
  Gradients gradients;
  std::vector<std::string> phaseNames;
  std::vector<int> entries;          ///< accumulate of every phase
  int applyEntry = -1;
  std::vector<ScalarRule> rules;     ///< of apply
  std::vector<std::vector<ScalarRule>> phaseRules; ///< of accumulate of every phase
  std::vector<double> scalarValues;
  double clipNorm = 0;
  bool clipsPerRank = false;
  double lossScale = 0;
  double quantiseFrom = 0, quantiseBelow = 0; ///< qat.start_fraction, qat.lr_below
  int64_t warmupSteps = 0;
  BatchTables batch;
  std::vector<double> nll;           ///< of one call
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_STEP_H
