//===- ScheduleCase.cpp - recorded schedules against the runtime's ---------===//
//
// A table is recognised by what it lists: `fraction` (of the budget), `step`
// with `iterations`, `step` with `elapsed_ms` of `wallclock_ms`, or `momentum`
// over `step`.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/Case.h"

#include "runtime/train/Schedule.h"

#include <algorithm>
#include <cmath>

using namespace pg;
using namespace pg::golden;

static double numberOr(const rt::Json &table, const char *key,
                       double fallback) {
  auto found = table.find(key);
  return found != table.end() && found->is_number() ? found->get<double>()
                                                    : fallback;
}

static rt::StatusOr<std::vector<double>> listOf(const rt::Json &table,
                                                const char *key) {
  auto found = table.find(key);
  if (found == table.end() || !found->is_array())
    return rt::Status(rt::Code::Invalid, std::string("no list '") + key + "'");
  std::vector<double> values;
  for (const rt::Json &value : *found) {
    if (!value.is_number())
      return rt::Status(rt::Code::Invalid,
                        std::string("'") + key + "' holds " + value.dump());
    values.push_back(value.get<double>());
  }
  return values;
}

/// What the runtime gives for one table, in the order of its rows.
static rt::StatusOr<std::vector<double>> evaluate(const rt::Json &table,
                                                  const char *&expected) {
  expected = "multiplier";
  std::vector<double> values;
  rt::Schedule schedule;
  schedule.minLr = numberOr(table, "min_lr", 0);
  schedule.warmdownFraction = numberOr(table, "warmdown_frac", 0);
  schedule.warmdownSteps =
      static_cast<int64_t>(numberOr(table, "warmdown_iters", 0));
  if (table.contains("fraction")) {
    auto fractions = listOf(table, "fraction");
    if (!fractions)
      return fractions;
    // A budget of one second: seconds are the fraction.
    schedule.budget.seconds = 1;
    for (double fraction : *fractions)
      values.push_back(schedule.multiplier({0, 0, fraction}));
    return values;
  }
  auto steps = listOf(table, "step");
  if (!steps)
    return steps;
  if (table.contains("momentum")) {
    expected = "momentum";
    rt::Ramp ramp{numberOr(table, "start", 0), numberOr(table, "end", 0),
                  static_cast<int64_t>(numberOr(table, "warmup_steps", 0))};
    for (double step : *steps)
      values.push_back(ramp.at(static_cast<int64_t>(step)));
    return values;
  }
  if (table.contains("elapsed_ms")) {
    auto elapsed = listOf(table, "elapsed_ms");
    if (!elapsed)
      return elapsed;
    if (elapsed->size() != steps->size())
      return rt::Status(rt::Code::Invalid, "step and elapsed_ms differ in length");
    schedule.budget.seconds = numberOr(table, "wallclock_ms", 0) / 1000;
    for (size_t i = 0; i < steps->size(); ++i)
      values.push_back(schedule.multiplier(
          {static_cast<int64_t>((*steps)[i]), 0, (*elapsed)[i] / 1000}));
    return values;
  }
  if (!table.contains("iterations"))
    return rt::Status(rt::Code::Invalid, "no kind of table this tool knows");
  schedule.budget.steps = static_cast<int64_t>(numberOr(table, "iterations", 0));
  for (double step : *steps)
    values.push_back(schedule.multiplier({static_cast<int64_t>(step), 0, 0}));
  return values;
}

Outcome golden::runScheduleCase(const Case &golden, const Environment &) {
  Outcome outcome;
  outcome.state = Outcome::State::Fail;
  double tolerance = golden.tolerance("abs");
  auto tables = golden.spec.find("tables");
  if (tables == golden.spec.end() || !tables->is_object() || tables->empty()) {
    outcome.message = "case.json has no tables";
    return outcome;
  }
  for (const auto &[name, table] : tables->items()) {
    const char *key = nullptr;
    auto own = evaluate(table, key);
    auto expected = own ? listOf(table, key) : own;
    if (!expected) {
      outcome.message = "table " + name + ": " + expected.status().message();
      return outcome;
    }
    double worst = own->size() == expected->size() ? 0 : INFINITY;
    for (size_t i = 0; i < std::min(own->size(), expected->size()); ++i) {
      double error = std::fabs((*own)[i] - (*expected)[i]);
      if (!(error <= worst))
        worst = error;
    }
    outcome.checks.push_back({name, worst, tolerance});
  }
  return outcome.judged(rt::Status::ok());
}
