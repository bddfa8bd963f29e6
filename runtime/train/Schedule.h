//===- Schedule.h - learning rate over the training budget -------------------===//
#ifndef PG_RUNTIME_TRAIN_SCHEDULE_H
#define PG_RUNTIME_TRAIN_SCHEDULE_H

#include "runtime/package/Package.h"

namespace pg::rt {

/// Multiplier of every group's learning rate (stack-1693 §3.2): linear warm-up
/// over the first steps, 1, then a linear fall over the last
/// `warmdownFraction` of the budget to not less than `minLr`.
struct Schedule {
  int64_t warmupSteps = 0;
  double warmdownFraction = 0;
  double minLr = 0;

  /// `fraction` of the budget spent before the step, `step` from 0.
  double multiplier(double fraction, int64_t step) const;
};

/// The last phase that has begun at `fraction`; -1 when there are none.
int phaseAt(const std::vector<Phase> &phases, double fraction);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_SCHEDULE_H
