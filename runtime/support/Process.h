//===- Process.h - what this process uses ------------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_PROCESS_H
#define PG_RUNTIME_SUPPORT_PROCESS_H

#include <cstdint>
#include <sys/resource.h>

namespace pg::rt {

/// Largest resident memory so far, in bytes.
inline uint64_t peakResidentBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_PROCESS_H
