//===- Driver.cpp - finding and checking the CUDA driver --------------------===//
#include "runtime/device/cuda/Driver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <vector>

namespace pg::rt::cuda {
namespace {

constexpr int kOldestVersion = 12000;

using GetProcAddress = Result (*)(const char *name, void **function, int version, unsigned long long flags, int *status);

Status missing(const std::string &text) { return {Code::Environment, text}; }

/// What cuInit's result means for a user.
Status initError(Result result, const std::string &library) {
  switch (result) {
  case kStubLibrary:
    return missing("'" + library + "' is the stub library of a CUDA toolkit, not a driver; install the NVIDIA driver, "
                                   "or remove the stubs folder from LD_LIBRARY_PATH");
  case kDriverTooOld:
  case kDriverMismatch:
    return missing("the CUDA driver library and the kernel module have different versions (code " +
                   std::to_string(result) + "); update the NVIDIA driver, then restart");
  case kNoDevice:
    return missing("the CUDA driver finds no GPU (CUDA_VISIBLE_DEVICES?)");
  case kNotReady:
    return missing("the GPU system is not ready (code 802); on an NVSwitch machine start nvidia-fabricmanager");
  default:
    return missing("the CUDA driver cannot start (cuInit gives " + std::to_string(result) + ")");
  }
}

} // namespace

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Status driverError(const DriverTable &call, Result result, const std::string &what) {
  const char *name = nullptr, *text = nullptr;
  if (call.getErrorName(result, &name) != kSuccess || !name)
    name = "unknown";
  if (call.getErrorString(result, &text) != kSuccess || !text)
    text = "no description";
  // Memory, images and devices are matters of the machine; the rest is ours.
  bool isMachine = result == kOutOfMemory || result == kInvalidImage || result == kNoBinaryForGpu ||
                   result == kUnsupportedVersion || result == kNoDevice || result == kNotReady;
  return {isMachine ? Code::Environment : Code::Internal,
          what + ": " + name + " (" + std::to_string(result) + "), " + text};
}

StatusOr<Driver> loadDriver(const std::string &library) {
  Driver driver;
  driver.path = library;
  void *handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *problem = ::dlerror();
    return missing(std::string("no CUDA driver (") + (problem ? problem : library.c_str()) + ")");
  }
  // The library stays open as long as the process runs: the table points into it.
  auto init = reinterpret_cast<Result (*)(unsigned)>(::dlsym(handle, "cuInit"));
  auto getVersion = reinterpret_cast<Result (*)(int *)>(::dlsym(handle, "cuDriverGetVersion"));
  auto getProcAddress = reinterpret_cast<GetProcAddress>(::dlsym(handle, "cuGetProcAddress_v2"));
  if (!init || !getVersion)
    return missing("'" + library + "' is not a CUDA driver");
  if (Result result = init(0); result != kSuccess)
    return initError(result, library);
  if (getVersion(&driver.version) != kSuccess || driver.version < kOldestVersion || !getProcAddress)
    return missing("the CUDA driver supports CUDA " + versionText(driver.version) + ", at least " +
                   versionText(kOldestVersion) + " is needed; update the NVIDIA driver");
#define PG_CUDA_FIND(member, name, version, parameters)                                                                \
  {                                                                                                                    \
    void *function = nullptr;                                                                                          \
    int found = 0;                                                                                                     \
    if (getProcAddress(name, &function, version, 0, &found) != kSuccess || !function)                                  \
      return missing(std::string("the CUDA driver lacks ") + name + "; update the NVIDIA driver");                     \
    driver.call.member = reinterpret_cast<decltype(driver.call.member)>(function);                                     \
  }
  PG_CUDA_DRIVER(PG_CUDA_FIND)
#undef PG_CUDA_FIND
  return driver;
}

StatusOr<const Driver *> driver() {
  static const StatusOr<Driver> found = [] {
    if (const char *path = std::getenv("PG_CUDA_DRIVER"); path && *path)
      return loadDriver(path);
    StatusOr<Driver> first = loadDriver("libcuda.so.1");
    // Containers and WSL keep the driver where the loader does not look.
    for (const char *path : {"/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"}) {
      if (first)
        break;
      if (StatusOr<Driver> other = loadDriver(path))
        return other;
    }
    return first;
  }();
  if (!found)
    return found.status();
  return &found.value();
}

} // namespace pg::rt::cuda
