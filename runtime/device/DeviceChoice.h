//===- DeviceChoice.h - which device a package runs on ----------------------===//
#ifndef PG_RUNTIME_DEVICE_DEVICECHOICE_H
#define PG_RUNTIME_DEVICE_DEVICECHOICE_H

#include "runtime/device/Device.h"
#include "runtime/exec/ThreadPool.h"

#include <optional>

namespace pg::rt {

struct DeviceChoice {
  enum class Kind : uint8_t { Auto, Cpu, Cuda } kind = Kind::Cpu;
  int index = 0;         ///< CUDA device number
  bool usesBlas = false; ///< on a GPU, plain products go through cuBLASLt
};

/// "auto", "cpu", "cuda" or "cuda:N".
std::optional<DeviceChoice> parseDeviceChoice(const std::string &text);

/// Opens the device with the package's code on it. Auto takes a GPU when the
/// package has code for it, else the CPU, with one line on stderr when a GPU was
/// hoped for in vain. Environment says what is missing. `package` and `threads`
/// outlive the device.
StatusOr<std::unique_ptr<Device>> openDevice(const Package &package, const DeviceChoice &choice, ThreadPool &threads);

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_DEVICECHOICE_H
