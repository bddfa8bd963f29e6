//===- CudaDevice.h - the package's cubins on one GPU -----------------------===//
//
// Everything is queued on one stream. The launch list of an entry at a number
// of tokens is launched one by one the first time, captured as a graph the
// second time, and replayed as that graph from then on: a batch changes only
// memory, never addresses. PG_CUDA_GRAPHS=off launches one by one always;
// PG_CUDA_SYNC=1 also waits after every launch, to learn which one fails.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_CUDADEVICE_H
#define PG_RUNTIME_DEVICE_CUDA_CUDADEVICE_H

#include "runtime/device/Device.h"
#include "runtime/device/cuda/CudaCode.h"
#include "runtime/device/cuda/Driver.h"
#include "runtime/device/cuda/Staging.h"

#include <list>

namespace pg::rt {

class CudaDevice final : public Device {
public:
  /// Opens GPU number `index` and loads the image that fits it. `package` and
  /// `driver` outlive the device.
  static StatusOr<std::unique_ptr<Device>> create(const Package &package, int index, const cuda::Driver &driver);
  ~CudaDevice() override;

  bool isHost() const override { return false; }
  std::string name() const override { return "cuda:" + std::to_string(index); }
  std::string describe() const override;
  StatusOr<char *> allocate(uint64_t bytes) override;
  Status upload(const std::vector<Upload> &uploads) override;
  Status read(void *to, const void *from, uint64_t bytes) override;
  Status copy(void *to, const void *from, uint64_t bytes) override;
  Status fill(void *memory, uint8_t byte, uint64_t bytes) override;
  Status bind(std::vector<BoundEntry> entries) override;
  Status run(size_t entry, const Batch *batch, Profile *profile) override;
  Status runLaunch(size_t entry, size_t launch, const Batch *batch) override;
  Status synchronize() override;
  Status sumSquares(const std::vector<FloatSpan> &spans, double *sums) override;
  Status scale(const std::vector<FloatSpan> &spans, double factor) override;
  Status add(const std::vector<FloatSpan> &spans, const std::vector<FloatSpan> &others) override;

  /// Graphs captured and not yet given up, for tests.
  size_t heldGraphs() const;

private:
  /// An entry at a number of tokens.
  struct Recording {
    size_t entry;
    int64_t tokens;
    cuda::GraphExec graph; ///< nullptr: launched once, not captured
  };
  /// What one launch passes; `parameters` points into the other members and at
  /// the device's batch and workspace.
  struct Arguments {
    std::vector<void *> pointers;
    std::vector<double> scalars;
    std::vector<void *> parameters;
  };

  CudaDevice(const Package &package, int index, const cuda::Driver &driver)
      : package(package), index(index), driver(driver), call(driver.call) {}
  Status open();
  Status makeCurrent();
  /// Keeps the first error: work after it means nothing.
  Status remember(cuda::Result result, const std::string &what);
  StatusOr<char *> allocateMemory(uint64_t bytes);
  Status uploadBatch(const Batch *batch);
  Status launch(size_t entry, int64_t tokens, Profile *profile);
  Status launchKernel(uint32_t kernel, int64_t tokens, void **parameters);
  Status replay(size_t entry, int64_t tokens);
  StatusOr<cuda::GraphExec> capture(size_t entry, int64_t tokens);
  StatusOr<cuda::Event> event(size_t index);
  /// The spans as a table in device memory, made at the first use of a list.
  StatusOr<char *> tableOf(const std::vector<FloatSpan> &spans);
  Status launchSupport(SupportKernel kernel, int64_t threads, void **parameters);
  void drop(Recording &recording);

  const Package &package;
  int index;
  const cuda::Driver &driver;
  const cuda::DriverTable &call;
  cuda::DeviceId device = 0;
  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr;
  std::string deviceName;
  CudaFunctions functions;
  cuda::Staging staging;
  Status broken;
  bool useGraphs = true, waitAlways = false;

  std::vector<cuda::DevicePointer> memory;
  std::vector<std::vector<Arguments>> arguments; ///< per entry, per launch
  Batch batch{};                                 ///< tables in device memory
  int64_t maxTokens = 0;
  char *workspace = nullptr;
  std::list<Recording> recordings;               ///< last used first
  std::vector<cuda::Event> events;

  /// A list of spans and its table.
  struct SpanTable {
    std::vector<FloatSpan> spans;
    char *memory;
  };
  std::vector<SpanTable> spanTables;
  char *spanLanes = nullptr, *spanSums = nullptr;
  uint64_t spanCapacity = 0;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_CUDA_CUDADEVICE_H
