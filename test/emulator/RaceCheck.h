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

/// One launch of `symbol` in `source`: `main` is C++ that fills `void *params[]`
/// (it may declare variables before), the rest as in Launch.
RaceCheck checkRaces(const std::string &source, const std::string &symbol,
                     const std::string &main, int64_t blocks, int threads,
                     int64_t sharedBytes);

} // namespace pg::emulator

#endif // PG_TEST_EMULATOR_RACECHECK_H
