//===- Device.h - where values live and kernels run -------------------------===//
//
// What the executor asks of a processor: memory, copies, launches. Two devices
// implement it, the CPU (device/cpu) and a CUDA GPU (device/cuda); one test
// suite runs over both. Work is queued in order: what a later call reads or
// overwrites is what the calls before it left. Only read(), finishRead(),
// sumSquares() and synchronize() wait; an error of queued work is reported by the
// next call that waits, and by every call after it.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DEVICE_DEVICE_H
#define PG_RUNTIME_DEVICE_DEVICE_H

#include "runtime/exec/Profile.h"
#include "runtime/package/KernelAbi.h"
#include "runtime/package/Package.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace pg::rt {

/// The addresses an entry's launches work on, in the device's memory.
struct BoundEntry {
  std::vector<void *> buffers;     ///< of all launches, one after the other
  std::vector<size_t> firstBuffer; ///< per launch, into buffers
};

/// Host bytes on their way to the device.
struct Upload {
  void *to;
  const void *from;
  uint64_t bytes;
};

/// Part of a float tensor on the device.
struct FloatSpan {
  void *memory;
  int64_t count;   ///< elements
  bool isDouble;   ///< f64, else f32
};

class Device {
public:
  virtual ~Device() = default;

  /// Whether allocations are ordinary memory of this process.
  virtual bool isHost() const = 0;
  /// "cpu" or "cuda:0", for reports.
  virtual std::string name() const = 0;
  /// "CPU, 2 threads"; "NVIDIA H100 80GB HBM3 (cuda:0, sm_90a)".
  virtual std::string describe() const = 0;
  /// What of the package's code runs, and on which instructions, for records: runs
  /// with other texts may leave other bits.
  virtual std::string codeText() const = 0;

  /// Zeroed memory, at least 64-byte aligned, owned by the device. A kernel may
  /// read up to 64 bytes beyond the end. Environment when there is too little.
  virtual StatusOr<char *> allocate(uint64_t bytes) = 0;

  /// Queues copies; the host memory may be reused when the call returns.
  virtual Status upload(const std::vector<Upload> &uploads) = 0;
  /// Waits for what is queued, then copies to the host.
  virtual Status read(void *to, const void *from, uint64_t bytes) = 0;
  /// Queues a copy to the host behind what is queued now; later work may change
  /// the memory. The ticket, for finishRead, is good until kResults more are given
  /// out.
  virtual StatusOr<uint64_t> queueRead(const void *from, uint64_t bytes) = 0;
  /// Waits for that copy, not for what was queued after it, and gives its bytes.
  virtual Status finishRead(uint64_t ticket, void *to, uint64_t bytes) = 0;
  /// Queues a copy inside the device's memory.
  virtual Status copy(void *to, const void *from, uint64_t bytes) = 0;
  /// Queues filling with one byte.
  virtual Status fill(void *memory, uint8_t byte, uint64_t bytes) = 0;

  /// Takes the launch lists, one per Package::entries. Once, before run.
  virtual Status bind(std::vector<BoundEntry> entries) = 0;
  /// Queues the tables of the next run's batch, which may go up while earlier work
  /// runs. Null for an entry without a token axis.
  virtual Status prepare(const Batch *batch) = 0;
  /// Queues all launches of an entry, on the batch that was prepared last; it may
  /// be reused when the call returns. With `profile` every launch is timed, which
  /// waits.
  virtual Status run(size_t entry, const Batch *batch, Profile *profile) = 0;
  /// Runs one launch of an entry and waits for it: for finding what goes wrong
  /// in a run, whose memory this continues.
  virtual Status runLaunch(size_t entry, size_t launch, const Batch *batch) = 0;
  virtual Status synchronize() = 0;

  /// Queues sums[i] = sum of squares of piece i in double, eight lanes of every
  /// eighth element each in order, then added pairwise: the same bits on every
  /// device. finishRead gives the sums.
  virtual StatusOr<uint64_t> queueSumSquares(const std::vector<FloatSpan> &pieces) = 0;
  /// The same, waited for.
  Status sumSquares(const std::vector<FloatSpan> &pieces, double *sums) {
    auto ticket = queueSumSquares(pieces);
    return ticket ? finishRead(*ticket, sums, pieces.size() * sizeof(double)) : ticket.status();
  }
  /// Queues multiplying every element by `factor` (rounded to the piece's type).
  virtual Status scale(const std::vector<FloatSpan> &pieces, double factor) = 0;
  /// Queues adding every element of others[i] to pieces[i], of the same size.
  virtual Status add(const std::vector<FloatSpan> &pieces, const std::vector<FloatSpan> &others) = 0;

  /// While `flag` is set, run gives up with Interrupted where the device can stop,
  /// except in entries of role "apply". nullptr = no flag.
  void setAbortFlag(const std::atomic<bool> *flag) { abortFlag = flag; }

  /// Results that may be under way at a time.
  static constexpr uint64_t kResults = 4;

protected:
  /// The flag that counts for an entry, or nullptr.
  const std::atomic<bool> *abortFlagOf(const Entry &entry) const { return entry.role == "apply" ? nullptr : abortFlag; }

private:
  const std::atomic<bool> *abortFlag = nullptr;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_DEVICE_H
