//===- CpuDevice.h - the package's shared object on a thread pool -----------===//
#ifndef PG_RUNTIME_DEVICE_CPU_CPUDEVICE_H
#define PG_RUNTIME_DEVICE_CPU_CPUDEVICE_H

#include "runtime/device/Device.h"
#include "runtime/device/cpu/CpuCode.h"
#include "runtime/exec/Arena.h"
#include "runtime/exec/LaunchOrder.h"
#include "runtime/exec/ThreadPool.h"

#include <list>

namespace pg::rt {

/// Runs every call before it returns.
class CpuDevice final : public Device {
public:
  /// Checks the CPU and loads "code.cpu". `package` and `threads` outlive the device.
  static StatusOr<std::unique_ptr<Device>> create(const Package &package, ThreadPool &threads);

  bool isHost() const override { return true; }
  std::string name() const override { return "cpu"; }
  std::string describe() const override;
  std::string codeText() const override { return cpuCodeText(package); }
  StatusOr<char *> allocate(uint64_t bytes) override;
  Status upload(const std::vector<Upload> &uploads) override;
  Status read(void *to, const void *from, uint64_t bytes) override;
  StatusOr<uint64_t> queueRead(const void *from, uint64_t bytes) override;
  Status finishRead(uint64_t ticket, void *to, uint64_t bytes) override;
  Status copy(void *to, const void *from, uint64_t bytes) override;
  Status fill(void *memory, uint8_t byte, uint64_t bytes) override;
  Status bind(std::vector<BoundEntry> entries) override;
  Status run(size_t entry, const Batch *batch, Profile *profile) override;
  Status prepare(const Batch *) override { return Status::ok(); }
  Status runLaunch(size_t entry, size_t launch, const Batch *batch) override;
  Status synchronize() override { return Status::ok(); }
  StatusOr<uint64_t> queueSumSquares(const std::vector<FloatSpan> &pieces) override;
  Status scale(const std::vector<FloatSpan> &pieces, double factor) override;
  Status add(const std::vector<FloatSpan> &pieces, const std::vector<FloatSpan> &others) override;

private:
  CpuDevice(const Package &package, ThreadPool &threads) : package(package), threads(threads) {}
  /// One launch, for all threads.
  struct Call {
    KernelFn function;
    void *const *buffers;
    const double *scalars;
    const Batch *batch;
    char *scratch;
    uint64_t stride;
    const std::atomic<bool> *abort;
    uint64_t number;             ///< of the launch
    int64_t piece;               ///< items between two looks at the abort flag
    Profile::ThreadSpan *spans;  ///< one per thread, which receive what each did; may be null
  };

  /// `call` must stay where it is until the job has run.
  ThreadPool::Job prepareLaunch(size_t entry, size_t launch, const Batch *batch, const std::atomic<bool> *abort,
                                Profile::ThreadSpan *spans, Call &call);

  const Package &package;
  ThreadPool &threads;
  CpuCode code;
  std::list<Arena> memory;
  std::vector<BoundEntry> entries;
  std::vector<std::vector<OrderedLaunch>> orders; ///< per entry
  // Of the running entry.
  std::vector<Call> calls;
  std::vector<ThreadPool::Job> jobs;
  char *scratch = nullptr;
  uint64_t scratchStride = 0;
  uint64_t launches = 0; ///< so far; scratch holds the number of its last one
  std::vector<char> results[kResults]; ///< of the last tickets
  uint64_t nextResult = 0;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_CPU_CPUDEVICE_H
