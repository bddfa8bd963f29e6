//===- TensorBoardObserver.h - a run's scalars for TensorBoard -------------------===//
#ifndef PG_RUNTIME_TRAIN_TENSORBOARDOBSERVER_H
#define PG_RUNTIME_TRAIN_TENSORBOARDOBSERVER_H

#include "runtime/report/TensorBoard.h"
#include "runtime/train/Observer.h"

namespace pg::rt {

/// Writes what metrics.jsonl logs into an event file in the run folder: loss,
/// gradient norm, speed and learning rates of the logged steps, and every
/// validation. Allocates for the steps it logs only.
class TensorBoardObserver : public TrainObserver {
public:
  Status onStart(const RunView &run) override;
  Status onStep(const StepReport &step) override;
  Status onValidate(int64_t step, const EvalResult &result) override;

private:
  RunView run;
  TensorBoardFile file;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_TENSORBOARDOBSERVER_H
