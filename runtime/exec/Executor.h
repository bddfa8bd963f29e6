//===- Executor.h - runs the entries of one package -------------------------===//
//
// Owns everything a package needs at run time: the device with its code,
// threads, parameters, states, one arena. Buffers of every launch are resolved
// to pointers when the executor is made, so a run only walks lists: no
// allocation, no look-up. Values live in the device's memory: what works on any
// device goes through the read and write functions.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_EXEC_EXECUTOR_H
#define PG_RUNTIME_EXEC_EXECUTOR_H

#include "runtime/device/Device.h"
#include "runtime/device/DeviceChoice.h"
#include "runtime/exec/Arena.h"
#include "runtime/exec/Profile.h"
#include "runtime/exec/ThreadPool.h"

#include <atomic>
#include <memory>
#include <span>

namespace pg::rt {

struct ExecutorOptions {
  int threads = 0;       ///< 0: PG_THREADS, else every CPU this process may use
  bool profile = false;
  DeviceChoice device;   ///< the CPU unless said otherwise
  bool poison = false;   ///< fill the arena with NaN before every run: finds reads of unwritten memory
};

class Executor {
public:
  /// Takes the package. Environment when code or memory cannot be had.
  static StatusOr<std::unique_ptr<Executor>> create(Package package, const ExecutorOptions &options);

  const Package &package() const { return package_; }
  /// Threads for work on the host, whatever the device.
  ThreadPool &pool() { return *threads; }
  Profile &profile() { return *profile_; }
  Device &device() const { return *device_; }

  /// Bytes of a parameter or state.
  uint64_t parameterBytes(size_t index) const;
  uint64_t stateBytes(size_t index) const;
  /// Copies of a whole parameter or state between host memory and the device's,
  /// in its own dtype and order.
  Status readParameter(size_t index, void *to) const;
  Status writeParameter(size_t index, const void *from);
  Status readState(size_t index, void *to) const;
  Status writeState(size_t index, const void *from);
  /// Every state to its initial value; copies of parameters as these are now.
  Status resetStates();
  /// The states that start as copies of parameters, again, as these are now.
  Status copyParameters();
  /// Every state of one role to its initial value.
  Status resetStates(const std::string &role);
  /// Every state of role "gradient" to zero.
  void zeroGradients();
  /// Device memory of a state, for Device calls.
  char *stateMemory(size_t index) const { return states[index]; }

  /// Memory of a parameter or state, 64-byte aligned, where the device's memory
  /// is this process's (device().isHost()); nullptr elsewhere.
  void *parameter(size_t index) const { return hostOnly(parameters[index]); }
  void *state(size_t index) const { return hostOnly(states[index]); }
  /// Memory of a parameter to read from: its own, or a copy in `held`; nullptr
  /// when the device fails.
  const void *hostParameter(size_t index, std::string &held) const;

  /// Index of an entry or -1.
  int findEntry(const std::string &name) const;
  /// Host memory of an input port (maxTokens elements per token port); the
  /// caller fills it before run and may refill it after. nullptr when the entry has no such input.
  int32_t *input(int entry, const std::string &name) const;
  /// Fills a per-token float input from its first token on; Corrupt when the
  /// entry has no such input or it holds fewer values.
  Status setInput(int entry, const std::string &name, std::span<const double> values);
  /// Sets a scalar; false when the entry has none of that name.
  bool setScalar(int entry, const std::string &name, double value);
  bool setScalar(int entry, size_t index, double value);
  /// Waits for the run and copies `bytes` of an output; Internal when there is
  /// none of that name or it is smaller.
  Status readOutput(int entry, const std::string &name, void *to, uint64_t bytes) const;
  /// Queues the same copy behind the run, for takeOutput; the next run may be queued before that. The ticket is good
  /// until Device::kResults more are given out.
  StatusOr<uint64_t> queueOutput(int entry, const std::string &name, uint64_t bytes) const;
  /// Waits for the copy, not for later runs.
  Status takeOutput(uint64_t ticket, void *to, uint64_t bytes) const { return device_->finishRead(ticket, to, bytes); }
  /// Output memory after run; nullptr when there is none of that name or it is
  /// not in this process's memory.
  const void *output(int entry, const std::string &name) const;
  const Port *outputPort(int entry, const std::string &name) const;

  /// Queues the launches on the device; readOutput waits for them. `batch` may
  /// be null for an entry without a token axis.
  Status run(int entry, const Batch *batch);
  /// Queues the inputs and scalars of a run, and nothing else. What run does first.
  Status begin(int entry, const Batch *batch);
  /// run() in two parts: the inputs of the next run go up while earlier work still runs, then the launches are queued.
  /// The batch stays as it is in between; Internal when the entry was not the last one prepared.
  Status prepare(int entry, const Batch *batch);
  Status runPrepared(int entry, const Batch *batch);
  /// Runs one launch after begin() and the launches before it, and waits for it.
  Status runLaunch(int entry, size_t launch, const Batch *batch);
  /// Copies what a launch has just written in one of its buffers to the host.
  Status readWritten(int entry, size_t launch, const Written &written, int64_t tokens, void *to) const;
  /// Waits for all that is queued and reports what went wrong in it.
  Status synchronize() { return device_->synchronize(); }
  /// While `flag` is set, run gives up as soon as the device can (Device::setAbortFlag): Interrupted, outputs and
  /// states half-written. Entries of role "apply" are never given up: they change the state. nullptr = no flag.
  void setAbortFlag(const std::atomic<bool> *flag) { device_->setAbortFlag(flag); }

  /// Bytes the plan foresees: parameters, states, ports, arena.
  uint64_t plannedBytes() const { return fixedBytes + arenaBytes; }

private:
  Status resetState(size_t index);
  Executor(Package package) : package_(std::move(package)) {}
  Status allocate();
  Status notEnoughMemory(const Status &cause) const;
  BoundEntry resolveEntry(size_t index);
  void *resolve(size_t entry, const BufferRef &buffer) const;
  StatusOr<const char *> outputMemory(int entry, const std::string &name, uint64_t bytes) const;
  void *hostOnly(void *memory) const { return device_->isHost() ? memory : nullptr; }
  void uploadsOf(size_t entry, int64_t tokens);

  struct Ports {
    std::vector<char *> inputs, outputs; ///< in the device's memory
    std::vector<char *> hostInputs;      ///< what the caller fills; the same on the CPU
    char *scalars = nullptr, *hostScalars = nullptr;
  };

  Package package_;
  std::unique_ptr<ThreadPool> threads;
  std::unique_ptr<Profile> profile_;
  std::unique_ptr<Device> device_;
  bool isProfiling = false, isPoisoning = false;
  int preparedEntry = -1;               ///< by prepare, until it runs
  Arena hostPorts;                      ///< inputs and scalars on their way to another memory
  char *fixed = nullptr, *arena = nullptr; ///< parameters, states, ports, scalars; values of a run
  uint64_t fixedBytes = 0, arenaBytes = 0;
  std::vector<char *> parameters, states;
  std::vector<Ports> ports;
  std::vector<Upload> uploads;          ///< of the running entry
};

/// The number of threads a user asked for, else PG_THREADS, else all CPUs; Usage
/// when PG_THREADS is no number from 1 to 1024.
StatusOr<int> chooseThreads(int requested);

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_EXECUTOR_H
