//===- Schedule.cpp - learning rate over the training budget ----------------===//
#include "runtime/train/Schedule.h"

#include <algorithm>

namespace pg::rt {

double Schedule::multiplier(double fraction, int64_t step) const {
  double value = 1;
  if (warmdownFraction > 0 && fraction >= 1 - warmdownFraction)
    value = std::max((1 - fraction) / warmdownFraction, minLr);
  if (step < warmupSteps)
    value *= double(step + 1) / double(warmupSteps);
  return value;
}

int phaseAt(const std::vector<Phase> &phases, double fraction) {
  int current = phases.empty() ? -1 : 0;
  for (size_t i = 0; i < phases.size(); ++i)
    if (phases[i].startFraction <= fraction)
      current = int(i);
  return current;
}

} // namespace pg::rt
