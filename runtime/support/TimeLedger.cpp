//===- TimeLedger.cpp - every second of a process, assigned once ------------===//
#include "runtime/support/TimeLedger.h"
#include "runtime/support/Log.h"

#include <numeric>

namespace pg::rt {

const char *stageName(Stage stage) {
  static constexpr const char *kNames[kStages] = {"load",     "compile",   "warm_up",  "train",
                                                  "validate", "checkpoint", "calibrate", "quantise",
                                                  "compress", "decompress", "evaluate", "adapt"};
  return kNames[size_t(stage)];
}

TimeLedger::TimeLedger() : made(monotonicSeconds()), since(made) {}

Stage TimeLedger::enter(Stage stage) {
  double now = monotonicSeconds();
  booked[size_t(running)] += now - since;
  since = now;
  return std::exchange(running, stage);
}

double TimeLedger::seconds(Stage stage) const {
  return booked[size_t(stage)] + (stage == running ? monotonicSeconds() - since : 0);
}

double TimeLedger::total() const {
  return std::accumulate(booked.begin(), booked.end(), 0.0) + monotonicSeconds() - since;
}

double TimeLedger::wall() const { return monotonicSeconds() - made; }

Json TimeLedger::toJson() const {
  Json object = Json::object();
  for (size_t i = 0; i < kStages; ++i)
    if (double seconds = this->seconds(Stage(i)); seconds > 0)
      object[stageName(Stage(i))] = seconds;
  return object;
}

} // namespace pg::rt
