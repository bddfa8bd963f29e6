//===- Process.h - what this process uses ------------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_PROCESS_H
#define PG_RUNTIME_SUPPORT_PROCESS_H

#include <cstdint>
#include <ctime>
#include <sys/resource.h>

namespace pg::rt {

/// Seconds of processor time of all threads so far.
inline double processSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// Largest resident memory so far, in bytes.
inline uint64_t peakResidentBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_PROCESS_H
