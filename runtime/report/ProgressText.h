//===- ProgressText.h - the line a person watches -------------------------------===//
#ifndef PG_RUNTIME_REPORT_PROGRESSTEXT_H
#define PG_RUNTIME_REPORT_PROGRESSTEXT_H

#include "runtime/package/Package.h"

#include <limits>

namespace pg::rt {

/// Times of the last 50 steps. Nothing is allocated after it is made.
class StepTimes {
public:
  void add(double seconds);
  /// 0 before the first step.
  double median() const;

private:
  static constexpr size_t kKept = 50;
  double kept[kKept] = {};
  size_t count = 0;
};

inline constexpr double kNoBudget = std::numeric_limits<double>::infinity();

/// Seconds until the run ends: by steps at the median time, by the clock, or
/// the lesser of the two. `stepsLeft` < 0 = no limit, `secondsLeft` kNoBudget =
/// none; infinity when nothing ends the run.
double remainingSeconds(const StepTimes &times, int64_t stepsLeft, double secondsLeft);

/// What the line shows; fields left at their default are left out.
struct ProgressState {
  std::string stage;                ///< "train"
  std::string phase;                ///< of the model, "" with only one
  int64_t step = 0, steps = 0;      ///< steps 0 = ended by the clock
  double loss = 0;
  double tokensPerSecond = 0;
  double utilisation = -1;          ///< model FLOP/s over the peak, 0..1
  uint64_t memoryBytes = 0;
  int64_t artifactBytes = -1;       ///< predicted
  double remaining = 0;             ///< seconds, remainingSeconds()
  double budgetLeft = kNoBudget;    ///< seconds of schedule.max_seconds
};
/// "train 120/1000  loss 3.2105  41k tokens/s  MFU 38%  812 MiB  artifact ~15.32 MB  ETA 3m05s  budget 4m10s"
std::string progressText(const ProgressState &state);

/// FLOPs a token with kTypicalKeys keys costs in an entry, counted by the compiler.
double flopsPerToken(const Package &package, const Entry &entry);

/// Dense peak of a known accelerator in FLOP/s for a precision policy ("f32",
/// "bf16", "f64"), by the maker's data sheet; 0 when it is not known. The peak
/// of a CPU depends on clock and load and is never guessed.
double knownPeakFlops(const std::string &device, const std::string &precision);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_PROGRESSTEXT_H
