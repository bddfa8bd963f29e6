//===- Staging.cpp - host bytes on their way to the GPU, beside its work ----===//
#include "runtime/device/cuda/Staging.h"

#include <algorithm>
#include <cstring>

namespace pg::rt::cuda {
namespace {

constexpr uint64_t kAlignment = 256;
/// Pieces of one batch: its inputs, scalars and tables.
constexpr size_t kUsualPieces = 32;

uint64_t alignUp(uint64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

} // namespace

Status Staging::open(const DriverTable &table, Stream stream, uint64_t slotBytes) {
  call = &table;
  compute = stream;
  size = alignUp(slotBytes);
  pieces.reserve(kUsualPieces);
  auto check = [&](Result result, const std::string &what) {
    return result == kSuccess ? Status::ok() : driverError(*call, result, what);
  };
  std::string amount = std::to_string(kSlots * size >> 10) + " KiB";
  Status status = check(call->streamCreate(&copies, kStreamNonBlocking), "cannot make a stream for copies");
  if (status)
    status = check(call->hostAlloc(&pinned, kSlots * size, 0), "cannot pin " + amount + " of host memory");
  if (status)
    status = check(call->memAlloc(&device, kSlots * size), "cannot have " + amount + " for copies to the GPU");
  for (size_t i = 0; i < kSlots && status; ++i) {
    slots[i].pinned = static_cast<char *>(pinned) + i * size;
    slots[i].device = device + i * size;
    for (Event *event : {&slots[i].filled, &slots[i].emptied})
      if (status)
        status = check(call->eventCreate(event, kEventWithoutTiming), "cannot make an event");
  }
  return status;
}

void Staging::close() {
  if (copies)
    call->streamSynchronize(copies);
  for (Slot &slot : slots)
    for (Event event : {slot.filled, slot.emptied})
      if (event)
        call->eventDestroy(event);
  if (pinned)
    call->hostFree(pinned);
  if (device)
    call->memFree(device);
  if (copies)
    call->streamDestroy(copies);
  *this = Staging();
}

Status Staging::copy(DevicePointer to, const void *from, uint64_t bytes) {
  auto *rest = static_cast<const char *>(from);
  while (bytes > 0) {
    // Small copies stay whole; a large one fills what is left and goes on.
    if (used == size || (used > 0 && bytes > size - used && bytes <= size))
      if (Status status = flush(); !status)
        return status;
    Slot &slot = slots[current];
    if (used == 0)
      if (Result result = call->eventSynchronize(slot.filled); result != kSuccess)
        return driverError(*call, result, "copies to the GPU failed");
    uint64_t now = std::min(bytes, size - used);
    std::memcpy(slot.pinned + used, rest, now);
    pieces.push_back({to, used, now});
    used = std::min(size, alignUp(used + now));
    to += now;
    rest += now;
    bytes -= now;
  }
  return Status::ok();
}

Status Staging::flush() {
  if (used == 0)
    return Status::ok();
  Slot &slot = slots[current];
  Result result = call->streamWaitEvent(copies, slot.emptied, 0);
  if (result == kSuccess)
    result = call->copyToDevice(slot.device, slot.pinned, pieces.back().offset + pieces.back().bytes, copies);
  if (result == kSuccess)
    result = call->eventRecord(slot.filled, copies);
  if (result == kSuccess)
    result = call->streamWaitEvent(compute, slot.filled, 0);
  for (const Piece &piece : pieces)
    if (result == kSuccess)
      result = call->copyInside(piece.to, slot.device + piece.offset, piece.bytes, compute);
  if (result == kSuccess)
    result = call->eventRecord(slot.emptied, compute);
  pieces.clear();
  used = 0;
  current = (current + 1) % kSlots;
  return result == kSuccess ? Status::ok() : driverError(*call, result, "cannot copy to the GPU");
}

} // namespace pg::rt::cuda
