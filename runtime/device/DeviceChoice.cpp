//===- DeviceChoice.cpp - which device a package runs on --------------------===//
#include "runtime/device/DeviceChoice.h"
#include "runtime/device/cpu/CpuDevice.h"
#include "runtime/device/cuda/CudaDevice.h"
#include "runtime/support/Log.h"

#include <charconv>

namespace pg::rt {

std::optional<DeviceChoice> parseDeviceChoice(const std::string &text) {
  using Kind = DeviceChoice::Kind;
  if (text == "auto")
    return DeviceChoice{Kind::Auto, 0};
  if (text == "cpu")
    return DeviceChoice{Kind::Cpu, 0};
  if (text == "cuda")
    return DeviceChoice{Kind::Cuda, 0};
  if (text.rfind("cuda:", 0) != 0)
    return std::nullopt;
  DeviceChoice choice{Kind::Cuda, 0};
  const char *begin = text.data() + 5, *end = text.data() + text.size();
  auto [rest, error] = std::from_chars(begin, end, choice.index);
  if (error != std::errc() || rest != end || choice.index < 0 || choice.index > 1023)
    return std::nullopt;
  return choice;
}

StatusOr<std::unique_ptr<Device>> openDevice(const Package &package, const DeviceChoice &choice, ThreadPool &threads) {
  using Kind = DeviceChoice::Kind;
  if (choice.kind == Kind::Cpu || (choice.kind == Kind::Auto && !package.hasCudaCode()))
    return CpuDevice::create(package, threads);
  auto openCuda = [&]() -> StatusOr<std::unique_ptr<Device>> {
    auto driver = cuda::driver();
    if (!driver)
      return driver.status();
    const cuda::BlasLibrary *blas = nullptr;
    if (choice.usesBlas) {
      auto library = cuda::blasLibrary();
      if (!library)
        return library.status();
      blas = *library;
    }
    return CudaDevice::create(package, choice.index, **driver, blas);
  };
  auto device = openCuda();
  if (device || choice.kind == Kind::Cuda || !package.hasCpuCode() || device.status().code() != Code::Environment)
    return device;
  note(device.status().message() + ": using the CPU");
  return CpuDevice::create(package, threads);
}

} // namespace pg::rt
