//===- ProgressDisplay.cpp - the progress line of a training run ------------===//
#include "runtime/train/ProgressDisplay.h"
#include "runtime/report/ByteLedger.h"
#include "runtime/support/Process.h"

#include <algorithm>

namespace pg::rt {

Status ProgressDisplay::onStart(const RunView &view) {
  run = view;
  return Status::ok();
}

int64_t ProgressDisplay::predictedBytes() {
  double start = monotonicSeconds();
  if (!executor || start < predictAgain)
    return artifactBytes;
  std::string held;
  artifactBytes =
      estimateBytes(executor->package(), [&](size_t i) { return executor->hostParameter(i, held); }).artifactBytes();
  double now = monotonicSeconds();
  predictAgain = now + std::max(30.0, 100 * (now - start));
  return artifactBytes;
}

double ProgressDisplay::utilisation(std::string_view phase, double tokensPerSecond) const {
  if (!executor || peakFlops <= 0)
    return -1;
  for (const Entry &entry : executor->package().entries)
    if (entry.role == "accumulate" && (entry.phase.empty() || entry.phase == phase))
      return flopsPerToken(executor->package(), entry) * tokensPerSecond / peakFlops;
  return -1;
}

Status ProgressDisplay::onStep(const StepReport &step) {
  times.add(step.seconds);
  if (!progress.isDue() && step.step != 1 && !step.isLast)
    return Status::ok();
  ProgressState state;
  state.stage = "train";
  state.phase = step.phase;
  state.step = step.step;
  state.steps = run.steps;
  state.loss = step.loss;
  state.tokensPerSecond = double(run.stepTokens) / std::max(step.seconds, 1e-9);
  state.utilisation = utilisation(step.phase, state.tokensPerSecond);
  state.memoryBytes = peakResidentBytes();
  state.artifactBytes = predictedBytes();
  if (run.maxSeconds > 0)
    state.budgetLeft = std::max(0.0, run.maxSeconds - step.elapsed - step.seconds);
  int64_t stepsLeft = run.steps > 0 ? run.steps - step.step : -1;
  if (run.maxTokens > 0) {
    int64_t byTokens = std::max<int64_t>(0, (run.maxTokens - step.tokens + run.stepTokens - 1) / run.stepTokens);
    stepsLeft = stepsLeft < 0 ? byTokens : std::min(stepsLeft, byTokens);
  }
  state.remaining = remainingSeconds(times, stepsLeft, state.budgetLeft);
  progress.show(progressText(state));
  if (step.isLast)
    progress.finish();
  return Status::ok();
}

Status ProgressDisplay::onValidate(int64_t step, const EvalResult &result) {
  progress.finish();
  note("step " + std::to_string(step) + "  validation loss " + formatFixed(result.loss(), 4) +
       (result.bytes > 0 ? "  " + formatFixed(result.bitsPerByte(), 4) + " bits per byte" : "") + "  " +
       formatDuration(result.seconds));
  return Status::ok();
}

Status ProgressDisplay::onEvent(const RunEvent &event) {
  if (event.name == "failed" || event.name == "interrupted" || event.name == "end")
    progress.finish();
  return Status::ok();
}

} // namespace pg::rt
