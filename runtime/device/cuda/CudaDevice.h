//===- CudaDevice.h - the package's cubins on one GPU -----------------------===//
//
// Work is queued on one stream; bytes from the host come on a second one, beside
// it (Staging.h), and results leave without anybody waiting (Readback.h), so a
// caller that queues the next batch before it takes the results of the last keeps
// the GPU busy. The launch list of an entry at a number
// of tokens is launched one by one the first time, captured as a graph the
// second time, and replayed as that graph from then on: a batch changes only
// memory, never addresses. In the graph of an entry without a token axis (the
// optimizer's update), launches that share no memory have no order, so that small
// kernels fill the GPU together. PG_CUDA_GRAPHS=off launches one by one always;
// PG_CUDA_SYNC=1 also waits after every launch, to learn which one fails.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_CUDADEVICE_H
#define PG_RUNTIME_DEVICE_CUDA_CUDADEVICE_H

#include "runtime/device/Device.h"
#include "runtime/device/cuda/BlasLt.h"
#include "runtime/device/cuda/Branches.h"
#include "runtime/device/cuda/CudaCode.h"
#include "runtime/device/cuda/Driver.h"
#include "runtime/device/cuda/Readback.h"
#include "runtime/device/cuda/Staging.h"

#include <list>
#include <map>

namespace pg::rt {

class CudaDevice final : public Device {
public:
  /// Opens GPU number `index` and loads the image that fits it. With `blas`, kernels
  /// of programs over tokens that are a product and nothing else go through that
  /// library, where it has an algorithm for the shape. What is given outlives the
  /// device.
  static StatusOr<std::unique_ptr<Device>> create(const Package &package, int index, const cuda::Driver &driver,
                                                  const cuda::BlasLibrary *blas = nullptr);
  ~CudaDevice() override;

  bool isHost() const override { return false; }
  std::string name() const override { return "cuda:" + std::to_string(index); }
  std::string describe() const override;
  std::string codeText() const override;
  StatusOr<char *> allocate(uint64_t bytes) override;
  Status upload(const std::vector<Upload> &uploads) override;
  Status read(void *to, const void *from, uint64_t bytes) override;
  StatusOr<uint64_t> queueRead(const void *from, uint64_t bytes) override;
  Status finishRead(uint64_t ticket, void *to, uint64_t bytes) override;
  Status copy(void *to, const void *from, uint64_t bytes) override;
  Status fill(void *memory, uint8_t byte, uint64_t bytes) override;
  Status bind(std::vector<BoundEntry> entries) override;
  Status run(size_t entry, const Batch *batch, Profile *profile) override;
  Status prepare(const Batch *batch) override;
  Status runLaunch(size_t entry, size_t launch, const Batch *batch) override;
  Status synchronize() override;
  StatusOr<uint64_t> queueSumSquares(const std::vector<FloatSpan> &spans) override;
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
  /// makeCurrent, and what was uploaded so far stands before what is queued next.
  Status beginWork();
  /// What an error says that shows when somebody waits.
  std::string workFailed() const;
  /// Keeps the first error: work after it means nothing.
  Status remember(cuda::Result result, const std::string &what);
  StatusOr<char *> allocateMemory(uint64_t bytes);
  Status uploadBatch(const Batch *batch);
  Status launch(size_t entry, int64_t tokens, Profile *profile);
  /// The stages of a kernel, or the library's product in their place where `mayUseBlas`.
  Status launchKernel(uint32_t kernel, int64_t tokens, Arguments &arguments, cuda::Stream on, bool mayUseBlas);
  /// The library's product for a kernel at a number of tokens; -1: our own.
  StatusOr<int64_t> blasProduct(uint32_t kernel, int64_t tokens);
  /// Plans which launches of the entry may run side by side, where that can be
  /// known, and makes the streams that its capture needs.
  Status branch(size_t entry);
  /// The launches of a branched entry on their streams, which wait for one another as planned.
  Status launchBranches(size_t entry, int64_t tokens);
  Status replay(size_t entry, int64_t tokens);
  StatusOr<cuda::GraphExec> capture(size_t entry, int64_t tokens);
  StatusOr<cuda::Event> event(size_t index);
  StatusOr<cuda::Event> branchEvent(size_t index);
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
  cuda::Readback readback;
  Status broken;
  bool useGraphs = true, waitAlways = false;

  std::vector<cuda::DevicePointer> memory;
  std::vector<std::vector<Arguments>> arguments; ///< per entry, per launch
  Batch batch{};                                 ///< tables in device memory
  int64_t maxTokens = 0;
  char *workspace = nullptr;
  std::vector<std::vector<BranchedLaunch>> branched; ///< per entry, empty: in the list's order
  std::vector<cuda::Stream> branchStreams;       ///< of branches 1, 2, ...; branch 0 is `stream`
  std::vector<char *> branchWorkspaces;          ///< of every branch
  std::vector<cuda::Event> branchEvents;
  const cuda::BlasLibrary *blas = nullptr;
  cuda::BlasProducts products;
  char *blasWorkspace = nullptr;
  std::map<std::pair<uint32_t, int64_t>, int64_t> blasProducts; ///< by kernel and tokens; -1: our own
  std::pair<size_t, size_t> blasKernels{0, 0};   ///< product kernels that may go through the library, of all
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
