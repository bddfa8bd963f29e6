//===- TimeLedger.h - every second of a process, assigned once ---------------===//
#ifndef PG_RUNTIME_SUPPORT_TIMELEDGER_H
#define PG_RUNTIME_SUPPORT_TIMELEDGER_H

#include "runtime/support/Json.h"

#include <array>

namespace pg::rt {

/// What a second may be spent on. The order is the order of reports.
enum class Stage {
  Load,       ///< reading packages, weights and data, initialising
  Compile,
  WarmUp,
  Train,
  Validate,
  Checkpoint, ///< writing checkpoints and weights
  Calibrate,
  Quantise,
  Compress,
  Decompress,
  Evaluate,
  Adapt,
};
inline constexpr size_t kStages = size_t(Stage::Adapt) + 1;
/// "load", "warm_up", ...
const char *stageName(Stage stage);

/// Exactly one stage runs at any time, so the seconds add up to the wall time
/// since the ledger was made, plus what was carried over from earlier
/// processes of the same run. For one thread.
class TimeLedger {
public:
  TimeLedger();

  /// From now on time goes to `stage`; returns the stage that ran before.
  Stage enter(Stage stage);
  Stage current() const { return running; }

  /// Seconds of a stage up to now, carried ones included.
  double seconds(Stage stage) const;
  /// Sum of all stages.
  double total() const;
  /// Seconds since the ledger was made, by the clock alone.
  double wall() const;

  /// Adds the seconds of an earlier process of this run.
  void carry(Stage stage, double seconds) { booked[size_t(stage)] += seconds; }

  /// {"load": 1.25, ...}, stages without time left out.
  Json toJson() const;

private:
  std::array<double, kStages> booked{};
  double made, since;
  Stage running = Stage::Load;
};

/// Enters a stage for the time of a block.
class StageScope {
public:
  StageScope(TimeLedger &ledger, Stage stage) : ledger(ledger), before(ledger.enter(stage)) {}
  ~StageScope() { ledger.enter(before); }
  StageScope(const StageScope &) = delete;
  StageScope &operator=(const StageScope &) = delete;

private:
  TimeLedger &ledger;
  Stage before;
};

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_TIMELEDGER_H
