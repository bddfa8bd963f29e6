//===- TensorBoardObserver.cpp - a run's scalars for TensorBoard ------------===//
#include "runtime/train/TensorBoardObserver.h"

#include <algorithm>

namespace pg::rt {

Status TensorBoardObserver::onStart(const RunView &view) {
  run = view;
  auto created = TensorBoardFile::create(run.folder);
  if (!created)
    return created.status();
  file = std::move(*created);
  return Status::ok();
}

Status TensorBoardObserver::onStep(const StepReport &step) {
  if (step.step != 1 && !step.isLast && step.step % std::max<int64_t>(1, run.logEvery) != 0)
    return Status::ok();
  Scalars scalars = {{"train/loss", step.loss},
                     {"train/grad_norm", step.gradientNorm},
                     {"train/lr_multiplier", step.multiplier},
                     {"train/tokens_per_second", double(run.stepTokens) / std::max(step.seconds, 1e-9)}};
  for (size_t i = 0; step.scalars && i < run.scalarNames.size(); ++i)
    if (run.scalarNames[i].ends_with(".lr"))
      scalars.push_back({"lr/" + run.scalarNames[i].substr(0, run.scalarNames[i].size() - 3), (*step.scalars)[i]});
  return file.add(step.step, scalars);
}

Status TensorBoardObserver::onValidate(int64_t step, const EvalResult &result) {
  Scalars scalars = {{"validate/loss", result.loss()}};
  if (result.bytes > 0)
    scalars.push_back({"validate/bpb", result.bitsPerByte()});
  return file.add(step, scalars);
}

} // namespace pg::rt
