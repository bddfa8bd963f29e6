//===- Metrics.cpp - metrics.jsonl -------------------------------------------===//
#include "runtime/train/Metrics.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {

JsonLine &MetricsWriter::begin(const char *stage, int64_t step) {
  double t = std::round(run.ledger->total() * 1e6) * 1e-6;
  return line.begin().add("run", run.folder).add("t", t).add("step", step).add("stage", stage);
}

Status MetricsWriter::onStart(const RunView &view) {
  run = view;
  return Status::ok();
}

Status MetricsWriter::onStep(const StepReport &step) {
  if (step.step != 1 && !step.isLast && step.step % std::max<int64_t>(1, run.logEvery) != 0)
    return Status::ok();
  begin("train", step.step)
      .add("loss", step.loss)
      .add("grad_norm", step.gradientNorm)
      .add("lr_multiplier", step.multiplier)
      .add("fraction", step.fraction)
      .add("elapsed", step.elapsed)
      .add("step_seconds", step.seconds)
      .add("tokens", step.tokens)
      .add("tokens_per_second", double(run.stepTokens) / std::max(step.seconds, 1e-9))
      .add("phase", step.phase)
      .beginObject("scalars");
  for (size_t i = 0; i < run.scalarNames.size(); ++i)
    line.add(run.scalarNames[i], (*step.scalars)[i]);
  return file.append(line.endObject().end());
}

Status MetricsWriter::onValidate(int64_t step, const EvalResult &result) {
  begin("validate", step).add("val_loss", result.loss()).add("val_tokens", result.tokens).add("val_seconds", result.seconds);
  if (result.bytes > 0)
    line.add("val_bpb", result.bitsPerByte()).add("val_bytes", result.bytes);
  return file.append(line.end());
}

Status MetricsWriter::onEvent(const RunEvent &event) {
  begin("event", event.step).add("event", event.name);
  for (const auto &[key, value] : event.fields.items())
    line.addRaw(key, value.dump(-1, ' ', false, Json::error_handler_t::replace));
  return file.append(line.end());
}

} // namespace pg::rt
