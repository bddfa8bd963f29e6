//===- Staging.h - host bytes on their way to the GPU, beside its work ------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_STAGING_H
#define PG_RUNTIME_DEVICE_CUDA_STAGING_H

#include "runtime/device/cuda/Driver.h"

#include <vector>

namespace pg::rt::cuda {

/// Copies to the GPU on a stream of their own. What a caller gives is gathered in
/// a slot of pinned memory; flush() sends the slot to a block of device memory
/// while the compute stream still works on earlier launches, and queues there the
/// copies from that block to where the bytes belong. So the bus is used during a
/// run, and what a running launch reads changes only after it.
///
/// Two slots take turns. Three waits keep them apart: the host waits until a
/// slot's pinned memory has been sent before it writes there again, the copy
/// stream until the device block has been emptied, the compute stream until the
/// block has been filled.
class Staging {
public:
  /// Makes the copy stream and two slots of `slotBytes`; Environment when the
  /// machine refuses the memory.
  Status open(const DriverTable &call, Stream compute, uint64_t slotBytes);
  /// Waits for what is under way and gives everything back.
  void close();

  /// Takes host bytes, whose memory may be reused at once; flush() delivers them.
  /// Bytes that exceed a slot are sent in pieces.
  Status copy(DevicePointer to, const void *from, uint64_t bytes);
  /// Queues the delivery of all that was taken: behind what the compute stream
  /// holds now, before what is queued there later.
  Status flush();

private:
  struct Piece {
    DevicePointer to;
    uint64_t offset, bytes; ///< in the slot
  };
  struct Slot {
    char *pinned = nullptr;
    DevicePointer device = 0;
    Event filled = nullptr;  ///< the device block holds the slot
    Event emptied = nullptr; ///< the device block may be overwritten
  };
  static constexpr size_t kSlots = 2;

  const DriverTable *call = nullptr;
  Stream compute = nullptr, copies = nullptr;
  Slot slots[kSlots];
  void *pinned = nullptr;
  DevicePointer device = 0;
  size_t current = 0;
  uint64_t size = 0, used = 0; ///< of a slot, of the current one
  std::vector<Piece> pieces;   ///< of the current slot
};

} // namespace pg::rt::cuda

#endif // PG_RUNTIME_DEVICE_CUDA_STAGING_H
