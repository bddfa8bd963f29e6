//===- Staging.h - pinned memory on the way to the GPU ----------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_STAGING_H
#define PG_RUNTIME_DEVICE_CUDA_STAGING_H

#include "runtime/device/cuda/Driver.h"

namespace pg::rt::cuda {

/// A pinned block that copies pass through, used from front to back and then
/// again from the front when the copies out of it are done. So a caller gets its
/// memory back at once while the GPU still works on earlier launches.
class Staging {
public:
  /// `bytes` of pinned memory; Environment when the machine refuses.
  Status open(const DriverTable &call, Stream stream, uint64_t bytes);
  void close();

  /// Queues a copy of host bytes, cut where the block is smaller.
  Status copy(DevicePointer to, const void *from, uint64_t bytes);

private:
  const DriverTable *call = nullptr;
  Stream stream = nullptr;
  Event done = nullptr;
  char *block = nullptr;
  uint64_t size = 0, used = 0;
};

} // namespace pg::rt::cuda

#endif // PG_RUNTIME_DEVICE_CUDA_STAGING_H
