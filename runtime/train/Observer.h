//===- Observer.h - who wants to know how a training run goes ----------------===//
//
// The trainer tells what happened; files, progress lines and event streams are
// observers. Calls come from the training thread, between steps; what an
// observer does there is time of the run, and onStep must not allocate.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_OBSERVER_H
#define PG_RUNTIME_TRAIN_OBSERVER_H

#include "runtime/eval/Bpb.h"
#include "runtime/support/TimeLedger.h"

#include <string>
#include <string_view>
#include <vector>

namespace pg::rt {

/// What every report of a run can say about where it is.
struct RunView {
  std::string folder;                ///< run folder as it was given
  std::string model;
  int64_t steps = 0;                 ///< step budget, 0 = none
  double maxSeconds = 0;             ///< clock budget, 0 = none
  int64_t maxTokens = 0;             ///< token budget, 0 = none
  int64_t stepTokens = 0;
  int64_t logEvery = 1;
  std::vector<std::string> scalarNames; ///< of apply: "step", "<group>.lr", "<group>.<argument>"
  const TimeLedger *ledger = nullptr;
};

struct StepReport {
  int64_t step = 0;        ///< steps done, this one included
  double loss = 0;         ///< mean NLL of the step's tokens, nats
  double gradientNorm = 0; ///< before clipping; with clipping per logical rank the mean over the ranks
  double multiplier = 1;   ///< of the learning rates
  double fraction = 0;     ///< of the budget, before the step
  double elapsed = 0;      ///< seconds on the run's clock, before the step
  double seconds = 0;      ///< of this step
  int64_t tokens = 0;      ///< trained on so far
  std::string_view phase;
  const std::vector<double> *scalars = nullptr; ///< values of scalarNames
  bool isLast = false;
};

/// Something that happened once: "start", "resume", "warm_up", "phase",
/// "checkpoint", "interrupted", "failed", "end".
struct RunEvent {
  std::string name;
  int64_t step = 0;        ///< steps done
  Json fields = Json::object();
};

class TrainObserver {
public:
  virtual ~TrainObserver() = default;
  virtual Status onStart(const RunView &) { return Status::ok(); }
  virtual Status onStep(const StepReport &) { return Status::ok(); }
  virtual Status onValidate(int64_t /*step*/, const EvalResult &) { return Status::ok(); }
  virtual Status onEvent(const RunEvent &) { return Status::ok(); }
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_OBSERVER_H
