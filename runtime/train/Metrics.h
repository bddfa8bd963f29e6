//===- Metrics.h - metrics.jsonl ------------------------------------------------===//
//
// Every line has run, t (seconds of the run's ledger: those of all its
// processes), step (steps done) and stage.
//   stage "train"     loss, grad_norm, lr_multiplier, fraction, elapsed,
//                     step_seconds, tokens, tokens_per_second, phase, scalars {name: value}
//   stage "validate"  val_loss, val_tokens, val_seconds; val_bpb and val_bytes
//                     when bytes are known
//   stage "event"     event, and what the event says (RunEvent)
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_METRICS_H
#define PG_RUNTIME_TRAIN_METRICS_H

#include "runtime/support/File.h"
#include "runtime/support/JsonLine.h"
#include "runtime/train/Observer.h"

namespace pg::rt {

/// Writes the first and the last step, every `logEvery`-th, and all else.
class MetricsWriter : public TrainObserver {
public:
  explicit MetricsWriter(AppendFile &file) : file(file) {}
  Status onStart(const RunView &run) override;
  Status onStep(const StepReport &step) override;
  Status onValidate(int64_t step, const EvalResult &result) override;
  Status onEvent(const RunEvent &event) override;

private:
  JsonLine &begin(const char *stage, int64_t step);
  AppendFile &file;
  JsonLine line;
  RunView run;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_METRICS_H
