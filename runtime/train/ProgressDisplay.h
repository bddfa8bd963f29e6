//===- ProgressDisplay.h - the progress line of a training run -----------------===//
#ifndef PG_RUNTIME_TRAIN_PROGRESSDISPLAY_H
#define PG_RUNTIME_TRAIN_PROGRESSDISPLAY_H

#include "runtime/exec/Executor.h"
#include "runtime/report/ProgressText.h"
#include "runtime/support/Log.h"
#include "runtime/train/Observer.h"

namespace pg::rt {

/// Shows the first and the last step, and as often as Progress allows in
/// between; events of note on lines of their own.
///
/// With an executor the line also predicts the artifact's bytes from the
/// current weights. That is computed again only when it would take less than
/// one percent of the time since, and at most every 30 seconds; the weights are
/// read, never changed. With the peak of the machine it shows the share of it
/// that the model's operations reach.
class ProgressDisplay : public TrainObserver {
public:
  explicit ProgressDisplay(const Executor *executor = nullptr, double peakFlops = 0)
      : executor(executor), peakFlops(peakFlops) {}
  Status onStart(const RunView &run) override;
  Status onStep(const StepReport &step) override;
  Status onValidate(int64_t step, const EvalResult &result) override;
  Status onEvent(const RunEvent &event) override;

private:
  int64_t predictedBytes();
  double utilisation(std::string_view phase, double tokensPerSecond) const;

  const Executor *executor;
  double peakFlops;
  int64_t artifactBytes = -1;
  double predictAgain = 0;      ///< monotonic time
  RunView run;
  StepTimes times;
  Progress progress;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_PROGRESSDISPLAY_H
