//===- RaceCheck.h - ThreadSanitizer over emulated kernels --------------------===//
//
// A program of its own: the kernel's text instrumented by ThreadSanitizer, the
// emulator not. Every CUDA thread is a thread to the checker; barriers and warp
// collectives order them, nothing else does. What schedules must hit by luck,
// this sees in any order.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_EMULATOR_RACECHECK_H
#define PG_TEST_EMULATOR_RACECHECK_H

#include <cstdint>
#include <string>
#include <vector>

namespace pg::emulator {

struct RaceCheck {
  /// Number of races reported; -1: see `message`.
  int races = -1;
  /// Why it could not run, or the first report.
  std::string message;
  /// No compiler with ThreadSanitizer's library here.
  bool isMissing = false;
};

/// One launch of `symbol`: `setup` is C++ that fills `void *params[]` (it may
/// declare variables before), the rest as in Launch.
struct RaceLaunch {
  std::string symbol, setup;
  int64_t blocks = 1;
  int threads = 32;
  int64_t sharedBytes = 0;
};

/// Every launch of `source`, each in a process of its own; all are compiled once,
/// which is what takes time.
std::vector<RaceCheck> checkRaces(const std::string &source,
                                  const std::vector<RaceLaunch> &launches);

} // namespace pg::emulator

#endif // PG_TEST_EMULATOR_RACECHECK_H
