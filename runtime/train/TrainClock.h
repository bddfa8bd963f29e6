//===- TrainClock.h - the clock a schedule sees, and its record ----------------===//
#ifndef PG_RUNTIME_TRAIN_TRAINCLOCK_H
#define PG_RUNTIME_TRAIN_TRAINCLOCK_H

#include "runtime/support/File.h"
#include "runtime/support/JsonLine.h"
#include "runtime/support/TimeLedger.h"

#include <optional>
#include <vector>

namespace pg::rt {

/// The one place where time enters training. Everything that a schedule
/// decides by time (learning rate, phase, end) follows from the seconds that
/// this gives for each step; they are written to clock.jsonl, one line
/// {"step": steps done, "elapsed": seconds} a step, and reading them back
/// repeats every decision.
class TrainClock {
public:
  /// A clock that runs: the seconds of the stages train and checkpoint, so
  /// validation, loading and warm-up stop it. `log` may be null.
  TrainClock(const TimeLedger &ledger, AppendFile *log) : ledger(ledger), log(log) {}
  /// A clock that repeats a recorded run.
  TrainClock(const TimeLedger &ledger, AppendFile *log, std::vector<double> recorded)
      : ledger(ledger), log(log), recorded(std::move(recorded)), isReplay(true) {}

  /// Seconds before step `step`, recorded; nothing when a replay has come to
  /// the end of its record. Fails when the record cannot be written.
  StatusOr<std::optional<double>> before(int64_t step);

private:
  const TimeLedger &ledger;
  AppendFile *log;
  std::vector<double> recorded;
  bool isReplay = false;
  JsonLine line;
};

/// Seconds before step 0, 1, ... from the text of a clock.jsonl; a torn last
/// line is left out. Corrupt when a step is missing.
StatusOr<std::vector<double>> parseClock(const std::string &text);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_TRAINCLOCK_H
