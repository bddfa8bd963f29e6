//===- Profile.h - time per program, kernel and thread ----------------------===//
#ifndef PG_RUNTIME_EXEC_PROFILE_H
#define PG_RUNTIME_EXEC_PROFILE_H

#include "runtime/package/KernelAbi.h"
#include "runtime/package/Package.h"

#include <span>
#include <string>
#include <vector>

namespace pg::rt {

/// Keys that the tokens of a batch attend to, all together: for each token those of its segment up to itself, at most
/// `limit` (0 = no limit).
double attendedKeys(const Batch &batch, int64_t limit);

/// Time of every launch, added up by program and kernel; filled by the device when profiling is on. Parts of a step
/// that are no launch (norms, clipping) are added by who runs them. Times are seconds of monotonicSeconds().
class Profile {
public:
  /// What one thread did of a launch: first start, last end, and its processor time inside the kernel. end 0 = it took
  /// no part.
  struct alignas(64) ThreadSpan {
    double begin = 0, end = 0, busy = 0;
  };
  struct Row {
    std::string program;       ///< entry, "" for a part of the host
    std::string name;          ///< kernel symbol, category, program or part
    std::string category;      ///< "matmul", "row", ...; of kernels that update parameters "optimizer: matmul", ...
    std::string summary;       ///< ops fused, kernels only
    double seconds = 0;        ///< from the start of a launch to the end of its last thread
    double threadSeconds = 0;  ///< processor time in the kernel, of all threads; 0 where the device does not tell
    int64_t launches = 0;
    double flops = 0, bytes = 0;
    /// Of the flops, those of kernels whose products are of pairs of bf16 numbers on CPUs
    /// that can (Kernel::multipliesPairs); Peaks says whether this one does.
    double pairFlops = 0;
  };
  /// One launch, or a thread's part of it.
  struct Event {
    size_t row;                ///< for rowAt
    int thread;                ///< -1: the whole launch
    double begin, end;
    double flops, bytes;       ///< of the whole launch
  };

  explicit Profile(const Package &package) : package(package), rows(package.entries.size() * package.kernels.size()) {}

  /// The launches that follow belong to this entry and batch (null without a token axis).
  void startRun(size_t entry, const Batch *batch);
  /// Memory for the threads of a launch, cleared; valid until the next call.
  std::span<ThreadSpan> threadSpans(size_t threads);
  /// A launch has ended; `threads` may be empty.
  void add(uint32_t kernel, double begin, double end, std::span<const ThreadSpan> threads = {});
  /// A part of the step that is no launch.
  void addHostPart(const std::string &name, double begin, double end);
  /// Keeps every launch from now on, for a trace; the ones kept before are dropped.
  void keepEvents(bool keep);
  void reset();

  /// Largest first; rows that never ran are left out.
  std::vector<Row> byKernel() const;
  std::vector<Row> byCategory() const;
  std::vector<Row> byProgram() const;
  std::vector<Row> byHostPart() const;
  const std::vector<Event> &events() const { return kept; }
  /// Names of an event's row.
  Row rowAt(size_t row) const;
  /// Of all launches.
  double totalSeconds() const;
  int threads() const { return int(spans.size()); }

private:
  std::vector<Row> grouped(std::string Row::*key) const;

  const Package &package;
  std::vector<Row> rows;       ///< entry by entry, kernel by kernel; without names
  std::vector<Row> hostParts;
  std::vector<ThreadSpan> spans;
  std::vector<Event> kept;
  bool isKeeping = false;
  size_t entry = 0;
  const Batch *batch = nullptr;
  std::vector<std::pair<int64_t, double>> keys; ///< of this batch, by limit
};

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_PROFILE_H
