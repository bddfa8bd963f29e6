//===- FakeCuda.h - a package for the fake driver, and the driver's controls -----===//
#ifndef PG_TEST_UNIT_DEVICE_FAKECUDA_H
#define PG_TEST_UNIT_DEVICE_FAKECUDA_H

#include "../runtime/FakePackage.h"
#include "runtime/device/cuda/CudaDevice.h"

namespace pg::rt {

/// fakePackage() with device code, for sm_80 and sm_90a. Without CPU code when
/// `onlyCuda`.
Package fakeCudaPackage(bool onlyCuda = false);

/// An environment variable for the time of a scope.
class Environment {
public:
  Environment(const char *name, const std::string &value);
  ~Environment();

private:
  std::string name, before;
  bool had;
};

/// The fake driver, loaded once per process by the real loader.
const cuda::Driver &fakeDriver();
/// Its journal since the last call, by line.
std::vector<std::string> journal();
void resetCalls();
size_t usedDeviceBytes();

/// An executor whose device is the fake GPU.
std::unique_ptr<Executor> fakeCudaExecutor(const ExecutorOptions &options = {});

} // namespace pg::rt

#endif // PG_TEST_UNIT_DEVICE_FAKECUDA_H
