//===- Schedule.cpp - what changes while a run goes on ----------------------===//
#include "runtime/train/Schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pg::rt {

bool Budget::isSpent(const Position &at) const {
  return (steps > 0 && at.step >= steps) || (tokens > 0 && at.tokens >= tokens) ||
         (seconds > 0 && at.seconds >= seconds);
}

Schedule::Measure Schedule::inForce(const Position &at) const {
  if (measure != Measure::Widest)
    return measure;
  Measure widest = Measure::Steps;
  double largest = budget.steps > 0 ? double(at.step) / double(budget.steps) : -1;
  if (double share = budget.tokens > 0 ? double(at.tokens) / double(budget.tokens) : -1; share > largest) {
    widest = Measure::Tokens;
    largest = share;
  }
  if (double share = budget.seconds > 0 ? at.seconds / budget.seconds : -1; share > largest)
    widest = Measure::Seconds;
  return widest;
}

double Schedule::fraction(const Position &at) const {
  double share = 0;
  switch (inForce(at)) {
  case Measure::Tokens: share = budget.tokens > 0 ? double(at.tokens) / double(budget.tokens) : 0; break;
  case Measure::Seconds: share = budget.seconds > 0 ? at.seconds / budget.seconds : 0; break;
  default: share = budget.steps > 0 ? double(at.step) / double(budget.steps) : 0; break;
  }
  return std::clamp(share, 0.0, 1.0);
}

double Schedule::warmdown(const Position &at) const {
  if (warmdownSteps > 0) {
    Measure by = inForce(at);
    if (by == Measure::Steps) {
      if (budget.steps <= 0 || at.step >= budget.steps || at.step < budget.steps - warmdownSteps)
        return 1;
      return double(budget.steps - at.step) / double(warmdownSteps);
    }
    double total = by == Measure::Tokens ? double(budget.tokens) : budget.seconds;
    double spent = by == Measure::Tokens ? double(at.tokens) : at.seconds;
    double window = double(warmdownSteps) * (spent / double(std::max<int64_t>(at.step, 1)));
    double left = std::max(total - spent, 0.0);
    return left <= window ? left / std::max(window, 1e-12) : 1;
  }
  double spent = fraction(at);
  if (warmdownFraction > 0 && spent >= 1 - warmdownFraction)
    return std::min(1.0, (1 - spent) / warmdownFraction);
  return 1;
}

double Schedule::multiplier(const Position &at) const {
  double value = warmdown(at);
  if (value < 1 || minLr >= 1) {
    if (shape == Shape::Cosine)
      value = minLr + (1 - minLr) * (1 - std::cos(std::numbers::pi * value)) / 2;
    else
      value = std::max(value, minLr);
  }
  if (at.step < warmupSteps)
    value *= double(at.step + 1) / double(warmupSteps);
  return value;
}

double Ramp::at(int64_t step) const {
  double share = overSteps > 0 ? std::min(double(step) / double(overSteps), 1.0) : 1;
  return (1 - share) * from + share * to;
}

int phaseAt(const std::vector<Phase> &phases, double fraction) {
  int current = phases.empty() ? -1 : 0;
  for (size_t i = 0; i < phases.size(); ++i)
    if (phases[i].startFraction <= fraction)
      current = int(i);
  return current;
}

} // namespace pg::rt
