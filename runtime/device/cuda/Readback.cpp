//===- Readback.cpp - results on their way to the host ----------------------===//
#include "runtime/device/cuda/Readback.h"

#include <cstring>

namespace pg::rt::cuda {

void Readback::close() {
  for (Slot &slot : slots) {
    if (slot.done)
      call->eventDestroy(slot.done);
    if (slot.pinned)
      call->hostFree(slot.pinned);
    slot = Slot();
  }
}

StatusOr<uint64_t> Readback::queue(DevicePointer from, uint64_t bytes) {
  Slot &slot = slots[next % kSlots];
  Result result = kSuccess;
  if (!slot.done)
    result = call->eventCreate(&slot.done, kEventWithoutTiming);
  if (result == kSuccess && slot.size < bytes) {
    // A copy that nobody asked for may still be on its way there.
    result = call->eventSynchronize(slot.done);
    if (slot.pinned)
      call->hostFree(slot.pinned);
    slot.pinned = nullptr;
    slot.size = 0;
    if (result == kSuccess)
      result = call->hostAlloc(&slot.pinned, bytes, 0);
    if (result == kSuccess)
      slot.size = bytes;
  }
  if (result == kSuccess)
    result = call->copyToHost(slot.pinned, from, bytes, stream);
  if (result == kSuccess)
    result = call->eventRecord(slot.done, stream);
  if (result != kSuccess)
    return driverError(*call, result, "cannot copy from the GPU");
  return next++;
}

Result Readback::finish(uint64_t ticket, void *to, uint64_t bytes) {
  Slot &slot = slots[ticket % kSlots];
  Result result = call->eventSynchronize(slot.done);
  if (result == kSuccess)
    std::memcpy(to, slot.pinned, bytes);
  return result;
}

} // namespace pg::rt::cuda
