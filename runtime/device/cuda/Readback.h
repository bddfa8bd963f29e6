//===- Readback.h - results on their way to the host ------------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_READBACK_H
#define PG_RUNTIME_DEVICE_CUDA_READBACK_H

#include "runtime/device/cuda/Driver.h"

namespace pg::rt::cuda {

/// Copies to pinned host memory that nobody waits for yet: the stream goes on
/// with the next run while the host looks at the results of the one before.
class Readback {
public:
  static constexpr uint64_t kSlots = 4;
  void open(const DriverTable &table, Stream onStream) {
    call = &table;
    stream = onStream;
  }
  /// The stream must be idle.
  void close();

  /// Queues a copy; the ticket is for finish(). Memory is taken when a copy is
  /// larger than those before it.
  StatusOr<uint64_t> queue(DevicePointer from, uint64_t bytes);
  /// Whether the copy is still to be had: the last kSlots are.
  bool holds(uint64_t ticket) const { return ticket < next && next - ticket <= kSlots; }
  /// Waits for the copy and gives its bytes; the ticket must be held.
  Result finish(uint64_t ticket, void *to, uint64_t bytes);

private:
  struct Slot {
    void *pinned = nullptr;
    uint64_t size = 0;
    Event done = nullptr;
  };

  const DriverTable *call = nullptr;
  Stream stream = nullptr;
  Slot slots[kSlots];
  uint64_t next = 0;
};

} // namespace pg::rt::cuda

#endif // PG_RUNTIME_DEVICE_CUDA_READBACK_H
