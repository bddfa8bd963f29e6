//===- Executor.h - runs the entries of one package -------------------------===//
//
// Owns everything a package needs at run time: code, threads, parameters,
// states, one arena. Buffers of every launch are resolved to pointers when the
// executor is made, so a run only walks lists: no allocation, no look-up.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_EXEC_EXECUTOR_H
#define PG_RUNTIME_EXEC_EXECUTOR_H

#include "runtime/device/cpu/CpuCode.h"
#include "runtime/exec/Arena.h"
#include "runtime/exec/Profile.h"
#include "runtime/exec/ThreadPool.h"

#include <memory>
#include <span>

namespace pg::rt {

struct ExecutorOptions {
  int threads = 0;       ///< 0: PG_THREADS, else every CPU this process may use
  bool profile = false;
  bool poison = false;   ///< fill the arena with NaN before every run: finds reads of unwritten memory
};

class Executor {
public:
  /// Takes the package. Environment when code or memory cannot be had.
  static StatusOr<std::unique_ptr<Executor>> create(Package package, const ExecutorOptions &options);

  const Package &package() const { return package_; }
  ThreadPool &pool() { return *threads; }
  Profile &profile() { return *profile_; }

  /// Memory of a parameter or state, 64-byte aligned.
  void *parameter(size_t index) const { return parameters[index]; }
  void *state(size_t index) const { return states[index]; }
  /// Every state to its initial value.
  void resetStates();
  /// Every state of role "gradient" to zero, in parallel.
  void zeroGradients();

  /// Index of an entry or -1.
  int findEntry(const std::string &name) const;
  /// Input port memory (maxTokens elements per token port); the caller fills
  /// it before run. nullptr when the entry has no such input.
  int32_t *input(int entry, const std::string &name) const;
  /// Sets a scalar; false when the entry has none of that name.
  bool setScalar(int entry, const std::string &name, double value);
  bool setScalar(int entry, size_t index, double value);
  /// Output memory after run; nullptr when there is none of that name.
  const void *output(int entry, const std::string &name) const;
  const Port *outputPort(int entry, const std::string &name) const;

  /// Runs the launches. `batch` may be null for an entry without a token axis.
  Status run(int entry, const Batch *batch);

  /// Bytes the plan foresees: parameters, states, arena, scratch.
  uint64_t plannedBytes() const { return planned; }

private:
  Executor(Package package) : package_(std::move(package)) {}
  Status allocate(const ExecutorOptions &options);
  void resolveEntry(size_t index);
  void *resolve(size_t entry, const BufferRef &buffer);

  struct BoundEntry {
    std::vector<void *> inputs, outputs;
    std::vector<void *> buffers;        ///< all launches, one after the other
    std::vector<size_t> firstBuffer;    ///< per launch, into buffers
    char *scalars = nullptr;
  };

  Package package_;
  CpuCode code;
  std::unique_ptr<ThreadPool> threads;
  std::unique_ptr<Profile> profile_;
  bool isProfiling = false, isPoisoning = false;
  Arena fixed;                          ///< parameters, states, ports, scalars, scratch
  Arena arena;
  uint64_t arenaBytes = 0, planned = 0;
  std::vector<void *> parameters, states;
  std::vector<BoundEntry> bound;
  char *scratch = nullptr;
  uint64_t scratchStride = 0;
};

/// The number of threads a user asked for, else PG_THREADS, else all CPUs; Usage
/// when PG_THREADS is no number from 1 to 1024.
StatusOr<int> chooseThreads(int requested);

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_EXECUTOR_H
