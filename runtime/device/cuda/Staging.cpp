//===- Staging.cpp - pinned memory on the way to the GPU --------------------===//
#include "runtime/device/cuda/Staging.h"

#include <algorithm>
#include <cstring>

namespace pg::rt::cuda {
namespace {
constexpr uint64_t kAlignment = 256;
} // namespace

Status Staging::open(const DriverTable &table, Stream onStream, uint64_t bytes) {
  call = &table;
  stream = onStream;
  void *memory = nullptr;
  if (Result result = call->hostAlloc(&memory, bytes, 0); result != kSuccess)
    return driverError(*call, result, "cannot pin " + std::to_string(bytes >> 20) + " MiB of host memory");
  block = static_cast<char *>(memory);
  size = bytes;
  if (Result result = call->eventCreate(&done, 0); result != kSuccess)
    return driverError(*call, result, "cannot make an event");
  return Status::ok();
}

void Staging::close() {
  if (block)
    call->hostFree(block);
  if (done)
    call->eventDestroy(done);
  block = nullptr;
  done = nullptr;
}

Status Staging::copy(DevicePointer to, const void *from, uint64_t bytes) {
  auto *rest = static_cast<const char *>(from);
  while (bytes > 0) {
    uint64_t room = size - used;
    // Small copies stay whole; a large one fills what is left and goes on.
    if (room == 0 || (bytes > room && bytes <= size)) {
      if (Result result = call->eventSynchronize(done); result != kSuccess)
        return driverError(*call, result, "copies to the GPU failed");
      used = 0;
      room = size;
    }
    uint64_t now = std::min(bytes, room);
    std::memcpy(block + used, rest, now);
    if (Result result = call->copyToDevice(to, block + used, now, stream); result != kSuccess)
      return driverError(*call, result, "cannot copy to the GPU");
    if (Result result = call->eventRecord(done, stream); result != kSuccess)
      return driverError(*call, result, "cannot record an event");
    used = std::min(size, (used + now + kAlignment - 1) / kAlignment * kAlignment);
    to += now;
    rest += now;
    bytes -= now;
  }
  return Status::ok();
}

} // namespace pg::rt::cuda
