//===- Schedule.h - what changes while a run goes on -------------------------===//
#ifndef PG_RUNTIME_TRAIN_SCHEDULE_H
#define PG_RUNTIME_TRAIN_SCHEDULE_H

#include "runtime/package/Package.h"

namespace pg::rt {

/// Where a run is, before a step.
struct Position {
  int64_t step = 0;     ///< steps done
  int64_t tokens = 0;   ///< trained on
  double seconds = 0;   ///< of training; validation does not count
};

/// What a run may use up; 0 = no limit.
struct Budget {
  int64_t steps = 0;
  int64_t tokens = 0;
  double seconds = 0;

  bool isLimited() const { return steps > 0 || tokens > 0 || seconds > 0; }
  /// Whether any limit is reached. Asked before every step, so the step that
  /// crosses a limit is the last one.
  bool isSpent(const Position &at) const;
};

/// Multiplier of every group's learning rate, and the fraction of the budget
/// that phases begin at.
///
///   warm-up    (step + 1) / warmupSteps over the first steps
///   plateau    1
///   warmdown   r / w, r = share of the budget left, w = warmdownFraction; or,
///              with warmdownSteps, steps left / warmdownSteps. When seconds
///              or tokens are the measure, steps left are those that fit at the
///              mean pace so far (stack-761 §7). By steps, a step beyond the
///              budget has multiplier 1 (the seed's own arithmetic).
///   linear     max(warmdown, minLr) (stack-1693 §3.2)
///   cosine     minLr + (1 - minLr) (1 - cos(pi warmdown)) / 2
struct Schedule {
  /// What the fraction is measured by. Widest: whichever limit is nearest.
  enum class Measure { Widest, Steps, Tokens, Seconds };
  enum class Shape { Linear, Cosine };

  Budget budget;
  Measure measure = Measure::Widest;
  int64_t warmupSteps = 0;
  double warmdownFraction = 0;
  int64_t warmdownSteps = 0;
  Shape shape = Shape::Linear;
  double minLr = 0;

  /// Spent share of the budget, 0 to 1.
  double fraction(const Position &at) const;
  double multiplier(const Position &at) const;
  /// Whether a decision depends on the clock.
  bool isClocked() const { return budget.seconds > 0; }

private:
  /// The measure in force at `at`.
  Measure inForce(const Position &at) const;
  double warmdown(const Position &at) const;
};

/// A number that moves from one value to another over the first steps and
/// stays there (Muon's momentum, stack-1693 §3.4).
struct Ramp {
  double from = 0, to = 0;
  int64_t overSteps = 0;
  /// Before step `step` (from 0).
  double at(int64_t step) const;
};

/// The last phase that has begun at `fraction`; -1 when there are none.
int phaseAt(const std::vector<Phase> &phases, double fraction);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_SCHEDULE_H
