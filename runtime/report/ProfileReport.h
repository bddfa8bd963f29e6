//===- ProfileReport.h - a profile as a table, as JSON, as a trace ----------===//
#ifndef PG_RUNTIME_REPORT_PROFILEREPORT_H
#define PG_RUNTIME_REPORT_PROFILEREPORT_H

#include "runtime/exec/Peaks.h"
#include "runtime/exec/Profile.h"
#include "runtime/support/Json.h"

namespace pg::rt {

/// What a profile is set against. Every number of the reports is the mean of one run.
struct ProfileContext {
  int64_t runs = 1;
  double wallSeconds = 0;   ///< of one run, measured around it; 0 = not known
  std::string device;       ///< Device::describe()
  Peaks peaks;              ///< zeros where they are not known, as on a GPU
};

/// The bound that a kernel meets first, from its FLOPs, its bytes and the peaks.
struct KernelLimit {
  const char *name = "";    ///< "compute" or "memory"; "" without peaks or work
  double share = 0;         ///< time at that bound over time taken; above 1 where data comes from a cache
  /// The same over the processor time that the threads took, as if all of them had worked all the time: without waits,
  /// idle threads and other work on the machine. 0 = not known.
  double shareAtWork = 0;
};
/// `threads` are those the peaks were measured on.
KernelLimit limitOf(const Profile::Row &row, const Peaks &peaks, int threads);

/// Tables for people: the machine, programs, categories with what is left between the kernels, and the `kernels` slowest
/// kernels.
std::string profileText(const Profile &profile, const ProfileContext &context, size_t kernels = 12);
/// All of it: {"runs", "wall_seconds", "kernel_seconds", "host_seconds", "between_seconds", "idle_share", "peaks",
/// "programs", "categories", "kernels", "host"}.
Json profileJson(const Profile &profile, const ProfileContext &context);
/// The kept events in the Chrome trace event format: one line for the launches, one for every thread of the device.
Json traceJson(const Profile &profile, const ProfileContext &context);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_PROFILEREPORT_H
