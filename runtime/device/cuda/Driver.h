//===- Driver.h - the CUDA driver as a table of functions -------------------===//
//
// libcuda.so.1 is found when it is first needed, never linked: the same pgrun
// starts on a machine without it. The declarations are our own, after the
// driver's documented interface, so that building needs no CUDA toolkit.
// Everything above this header takes the table as an argument, which is what
// lets tests put a recording driver below the real device code.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_DRIVER_H
#define PG_RUNTIME_DEVICE_CUDA_DRIVER_H

#include "runtime/support/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace pg::rt::cuda {

/// CUresult: 0 is success.
using Result = int;
using DeviceId = int;
/// CUdeviceptr.
using DevicePointer = unsigned long long;
using Context = struct ContextObject *;
using Module = struct ModuleObject *;
using Function = struct FunctionObject *;
using Stream = struct StreamObject *;
using Event = struct EventObject *;
using Graph = struct GraphObject *;
using GraphExec = struct GraphExecObject *;

/// The results this program tells apart.
inline constexpr Result kSuccess = 0, kOutOfMemory = 2, kStubLibrary = 34, kDriverTooOld = 35, kNoDevice = 100,
                        kInvalidImage = 200, kNoBinaryForGpu = 209, kUnsupportedVersion = 222, kNotReady = 802,
                        kDriverMismatch = 803;

/// Device and function attributes that are asked for.
inline constexpr int kMultiprocessors = 16, kMajor = 75, kMinor = 76, kMaxSharedPerBlock = 97;
inline constexpr int kFunctionDynamicShared = 8;
inline constexpr unsigned kStreamNonBlocking = 1, kCaptureThreadLocal = 1, kEventWithoutTiming = 2;

/// X(member, name without suffix, API version whose ABI is meant, parameters)
#define PG_CUDA_DRIVER(X)                                                                                              \
  X(getErrorName, "cuGetErrorName", 6000, (Result result, const char **text))                                         \
  X(getErrorString, "cuGetErrorString", 6000, (Result result, const char **text))                                     \
  X(deviceGetCount, "cuDeviceGetCount", 2000, (int *count))                                                            \
  X(deviceGet, "cuDeviceGet", 2000, (DeviceId * device, int ordinal))                                                  \
  X(deviceGetName, "cuDeviceGetName", 2000, (char *name, int length, DeviceId device))                                 \
  X(deviceGetAttribute, "cuDeviceGetAttribute", 2000, (int *value, int attribute, DeviceId device))                    \
  X(deviceTotalMem, "cuDeviceTotalMem", 3020, (size_t * bytes, DeviceId device))                                       \
  X(primaryContextRetain, "cuDevicePrimaryCtxRetain", 7000, (Context * context, DeviceId device))                      \
  X(primaryContextRelease, "cuDevicePrimaryCtxRelease", 11000, (DeviceId device))                                      \
  X(contextSetCurrent, "cuCtxSetCurrent", 4000, (Context context))                                                     \
  X(memGetInfo, "cuMemGetInfo", 3020, (size_t * free, size_t *total))                                                  \
  X(memAlloc, "cuMemAlloc", 3020, (DevicePointer * memory, size_t bytes))                                              \
  X(memFree, "cuMemFree", 3020, (DevicePointer memory))                                                                \
  X(hostAlloc, "cuMemHostAlloc", 2020, (void **memory, size_t bytes, unsigned flags))                                  \
  X(hostFree, "cuMemFreeHost", 2000, (void *memory))                                                                   \
  X(copyToDevice, "cuMemcpyHtoDAsync", 3020, (DevicePointer to, const void *from, size_t bytes, Stream stream))        \
  X(copyToHost, "cuMemcpyDtoHAsync", 3020, (void *to, DevicePointer from, size_t bytes, Stream stream))                \
  X(copyInside, "cuMemcpyDtoDAsync", 3020, (DevicePointer to, DevicePointer from, size_t bytes, Stream stream))        \
  X(fill, "cuMemsetD8Async", 3020, (DevicePointer memory, unsigned char byte, size_t bytes, Stream stream))            \
  X(streamCreate, "cuStreamCreate", 2000, (Stream * stream, unsigned flags))                                           \
  X(streamDestroy, "cuStreamDestroy", 4000, (Stream stream))                                                           \
  X(streamSynchronize, "cuStreamSynchronize", 2000, (Stream stream))                                                   \
  X(streamWaitEvent, "cuStreamWaitEvent", 3020, (Stream stream, Event event, unsigned flags))                          \
  X(streamBeginCapture, "cuStreamBeginCapture", 10010, (Stream stream, unsigned mode))                                 \
  X(streamEndCapture, "cuStreamEndCapture", 10000, (Stream stream, Graph *graph))                                      \
  X(graphInstantiate, "cuGraphInstantiateWithFlags", 11040, (GraphExec * executable, Graph graph, unsigned long long flags)) \
  X(graphLaunch, "cuGraphLaunch", 10000, (GraphExec executable, Stream stream))                                        \
  X(graphDestroy, "cuGraphDestroy", 10000, (Graph graph))                                                              \
  X(graphExecDestroy, "cuGraphExecDestroy", 10000, (GraphExec executable))                                             \
  X(eventCreate, "cuEventCreate", 2000, (Event * event, unsigned flags))                                               \
  X(eventDestroy, "cuEventDestroy", 4000, (Event event))                                                               \
  X(eventRecord, "cuEventRecord", 2000, (Event event, Stream stream))                                                  \
  X(eventSynchronize, "cuEventSynchronize", 2000, (Event event))                                                       \
  X(eventElapsedTime, "cuEventElapsedTime", 2000, (float *milliseconds, Event start, Event end))                       \
  X(moduleLoadData, "cuModuleLoadData", 2000, (Module * module, const void *image))                                    \
  X(moduleUnload, "cuModuleUnload", 2000, (Module module))                                                             \
  X(moduleGetFunction, "cuModuleGetFunction", 2000, (Function * function, Module module, const char *name))            \
  X(functionSetAttribute, "cuFuncSetAttribute", 9000, (Function function, int attribute, int value))                   \
  X(launchKernel, "cuLaunchKernel", 4000,                                                                              \
    (Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,              \
     unsigned blockZ, unsigned sharedBytes, Stream stream, void **parameters, void **extra))

struct DriverTable {
#define PG_CUDA_MEMBER(member, name, version, parameters) Result(*member) parameters = nullptr;
  PG_CUDA_DRIVER(PG_CUDA_MEMBER)
#undef PG_CUDA_MEMBER
};

struct Driver {
  DriverTable call;
  int version = 0;     ///< 13000 = CUDA 13.0
  std::string path;    ///< as given to the loader
};

/// The driver of this machine, initialised; found once per process. PG_CUDA_DRIVER
/// names another library than libcuda.so.1. Environment says what is wrong: no
/// driver, a stub, too old, no GPU.
StatusOr<const Driver *> driver();

/// The same from one library, not remembered.
StatusOr<Driver> loadDriver(const std::string &library);

/// "13.0" of 13000.
std::string versionText(int version);

/// Error of a driver call: what was attempted, and the driver's words.
Status driverError(const DriverTable &call, Result result, const std::string &what);

} // namespace pg::rt::cuda

#endif // PG_RUNTIME_DEVICE_CUDA_DRIVER_H
