//===- CudaDevice.cpp - the package's cubins on one GPU ---------------------===//
#include "runtime/device/cuda/CudaDevice.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace pg::rt {
namespace {

/// A slot holds a batch's inputs, scalars and tables, within these limits: larger ones take turns in pieces, and a
/// parameter should not need thousands.
constexpr uint64_t kLeastSlotBytes = uint64_t(1) << 20, kMostSlotBytes = uint64_t(32) << 20;
/// Every piece of a slot begins at a multiple of this.
constexpr uint64_t kPieceAlignment = 256;
/// A vector load at the last element may read this far beyond.
constexpr uint64_t kSlack = 64;
/// Graphs kept; evaluation of single documents meets many lengths.
constexpr size_t kMaxRecordings = 32;
constexpr int64_t kTables = 5;
/// Branches of an entry without a token axis. A product of 512 x 512 has 64 blocks, a large GPU room for 264.
constexpr size_t kBranches = 16;
/// Partial sums of a span (Device::sumSquares).
constexpr int64_t kLanes = 8;

bool isSet(const char *variable, const char *value) {
  const char *text = std::getenv(variable);
  return text && std::strcmp(text, value) == 0;
}

/// Bytes of what goes up for one run of any entry.
uint64_t largestInputs(const Package &package) {
  uint64_t largest = 0;
  auto aligned = [](uint64_t bytes) { return (bytes + kPieceAlignment - 1) / kPieceAlignment * kPieceAlignment; };
  for (const Entry &entry : package.entries) {
    uint64_t bytes = aligned(entry.scalars.size() * sizeof(double));
    for (const Port &port : entry.inputs) {
      uint64_t one = uint64_t(dtypeBytes(port.dtype));
      for (int64_t extent : port.shape)
        one *= uint64_t(extent);
      bytes += aligned(port.perToken ? one * uint64_t(entry.maxTokens) : one);
    }
    bytes += uint64_t(kTables) * aligned(uint64_t(entry.maxTokens) * sizeof(int32_t));
    largest = std::max(largest, bytes);
  }
  return largest;
}

cuda::DevicePointer addressOf(const void *memory) {
  return cuda::DevicePointer(reinterpret_cast<uintptr_t>(memory));
}

} // namespace

StatusOr<std::unique_ptr<Device>> CudaDevice::create(const Package &package, int index, const cuda::Driver &driver,
                                                     const cuda::BlasLibrary *blas) {
  if (!package.hasCudaCode())
    return Status(Code::Environment, "the package holds no CUDA code; recompile it with pgc compile --target cpu,cuda");
  std::unique_ptr<CudaDevice> device(new CudaDevice(package, index, driver));
  device->blas = blas;
  if (Status status = device->open(); !status)
    return status;
  return std::unique_ptr<Device>(std::move(device));
}

Status CudaDevice::open() {
  useGraphs = !isSet("PG_CUDA_GRAPHS", "off");
  waitAlways = isSet("PG_CUDA_SYNC", "1");
  int count = 0;
  if (cuda::Result result = call.deviceGetCount(&count); result != cuda::kSuccess)
    return cuda::driverError(call, result, "cannot count the GPUs");
  if (index >= count)
    return {Code::Environment, "there is no GPU cuda:" + std::to_string(index) + ", this machine has " +
                                   std::to_string(count) + (count == 1 ? " (cuda:0)" : "")};
  char text[256] = "";
  int major = 0, minor = 0, maxShared = 0;
  cuda::Result result = call.deviceGet(&device, index);
  if (result == cuda::kSuccess)
    result = call.deviceGetName(text, sizeof text - 1, device);
  if (result == cuda::kSuccess)
    result = call.deviceGetAttribute(&major, cuda::kMajor, device);
  if (result == cuda::kSuccess)
    result = call.deviceGetAttribute(&minor, cuda::kMinor, device);
  if (result == cuda::kSuccess)
    result = call.deviceGetAttribute(&maxShared, cuda::kMaxSharedPerBlock, device);
  if (result != cuda::kSuccess)
    return cuda::driverError(call, result, "cannot ask GPU " + std::to_string(index) + " what it is");
  deviceName = text;
  auto image = chooseImage(package.cuda, major, minor);
  if (!image)
    return image.status().with(deviceName);

  result = call.primaryContextRetain(&context, device);
  if (result == cuda::kSuccess)
    result = call.contextSetCurrent(context);
  if (result == cuda::kSuccess)
    result = call.streamCreate(&stream, cuda::kStreamNonBlocking);
  if (result != cuda::kSuccess)
    return cuda::driverError(call, result, "cannot use " + deviceName);
  uint64_t slotBytes = std::clamp(largestInputs(package), kLeastSlotBytes, kMostSlotBytes);
  if (Status status = staging.open(call, stream, slotBytes); !status)
    return status;
  readback.open(call, stream);
  if (blas)
    if (Status status = products.open(*blas); !status)
      return status.with(deviceName);
  if (isPtx(**image))
    note("no machine code for " + deviceName + " in the package: its driver compiles the PTX, once for a machine, "
         "which may take a minute; pgc compile --target cuda:sm_" + std::to_string(major * 10 + minor) + " avoids it");
  return functions.load(package, **image, driver, uint64_t(maxShared));
}

CudaDevice::~CudaDevice() {
  if (!context)
    return;
  call.contextSetCurrent(context);
  if (stream)
    call.streamSynchronize(stream);
  for (Recording &recording : recordings)
    drop(recording);
  for (cuda::Event event : events)
    call.eventDestroy(event);
  for (cuda::Event event : branchEvents)
    if (event)
      call.eventDestroy(event);
  for (cuda::Stream branch : branchStreams)
    call.streamDestroy(branch);
  products.close();
  staging.close();
  readback.close();
  functions.unload(call);
  for (cuda::DevicePointer block : memory)
    call.memFree(block);
  if (stream)
    call.streamDestroy(stream);
  call.primaryContextRelease(device);
}

std::string CudaDevice::describe() const {
  std::string text = deviceName + " (" + name() + ", " + functions.arch;
  if (blas)
    text += ", cuBLASLt " + blas->version + " for " + std::to_string(blasKernels.first) + " of " +
            std::to_string(blasKernels.second) + " products";
  return text + ")";
}

std::string CudaDevice::codeText() const {
  return "cuda " + functions.arch + " on " + deviceName + (blas ? " with cuBLASLt " + blas->version : "");
}

Status CudaDevice::makeCurrent() {
  if (!broken)
    return broken;
  // The context belongs to the calling thread, which may be another each time.
  return remember(call.contextSetCurrent(context), "cannot use " + deviceName);
}

Status CudaDevice::beginWork() {
  if (Status status = makeCurrent(); !status)
    return status;
  if (Status status = staging.flush(); !status)
    return broken = status;
  return Status::ok();
}

std::string CudaDevice::workFailed() const {
  return "work on " + deviceName + " failed" + (waitAlways ? "" : " (PG_CUDA_SYNC=1 says in which kernel)");
}

Status CudaDevice::remember(cuda::Result result, const std::string &what) {
  if (result == cuda::kSuccess)
    return Status::ok();
  Status status = cuda::driverError(call, result, what);
  if (broken)
    broken = status;
  return status;
}

StatusOr<char *> CudaDevice::allocateMemory(uint64_t bytes) {
  cuda::DevicePointer block = 0;
  if (cuda::Result result = call.memAlloc(&block, bytes + kSlack); result != cuda::kSuccess) {
    size_t free = 0, total = 0;
    call.memGetInfo(&free, &total);
    return cuda::driverError(call, result, std::to_string(bytes >> 20) + " MiB asked for, " +
                                               std::to_string(free >> 20) + " of " + std::to_string(total >> 20) +
                                               " MiB free");
  }
  memory.push_back(block);
  return reinterpret_cast<char *>(uintptr_t(block));
}

StatusOr<char *> CudaDevice::allocate(uint64_t bytes) {
  if (Status status = beginWork(); !status)
    return status;
  auto block = allocateMemory(bytes);
  if (!block)
    return block;
  if (Status status = remember(call.fill(addressOf(*block), 0, bytes + kSlack, stream), "cannot clear memory"); !status)
    return status;
  return block;
}

Status CudaDevice::upload(const std::vector<Upload> &uploads) {
  if (Status status = makeCurrent(); !status)
    return status;
  for (const Upload &upload : uploads)
    if (Status status = staging.copy(addressOf(upload.to), upload.from, upload.bytes); !status)
      return broken = status;
  return Status::ok();
}

Status CudaDevice::read(void *to, const void *from, uint64_t bytes) {
  if (Status status = beginWork(); !status)
    return status;
  if (Status status = remember(call.copyToHost(to, addressOf(from), bytes, stream), "cannot copy from the GPU"); !status)
    return status;
  return synchronize();
}

StatusOr<uint64_t> CudaDevice::queueRead(const void *from, uint64_t bytes) {
  if (Status status = beginWork(); !status)
    return status;
  auto ticket = readback.queue(addressOf(from), bytes);
  if (!ticket)
    broken = ticket.status();
  return ticket;
}

Status CudaDevice::finishRead(uint64_t ticket, void *to, uint64_t bytes) {
  if (Status status = makeCurrent(); !status)
    return status;
  if (!readback.holds(ticket))
    return {Code::Internal, "a result was asked for after " + std::to_string(kResults) + " later ones had been queued"};
  return remember(readback.finish(ticket, to, bytes), workFailed());
}

Status CudaDevice::copy(void *to, const void *from, uint64_t bytes) {
  if (Status status = beginWork(); !status || bytes == 0)
    return status;
  return remember(call.copyInside(addressOf(to), addressOf(from), bytes, stream), "cannot copy memory");
}

Status CudaDevice::fill(void *memory, uint8_t byte, uint64_t bytes) {
  if (Status status = beginWork(); !status || bytes == 0)
    return status;
  return remember(call.fill(addressOf(memory), byte, bytes, stream), "cannot fill memory");
}

Status CudaDevice::synchronize() {
  if (Status status = beginWork(); !status)
    return status;
  return remember(call.streamSynchronize(stream), workFailed());
}

Status CudaDevice::bind(std::vector<BoundEntry> entries) {
  uint64_t workspaceBytes = 0;
  for (const Entry &entry : package.entries) {
    maxTokens = std::max(maxTokens, entry.maxTokens);
    for (const Launch &launch : entry.launches) {
      const CudaKernel &kernel = package.cuda.kernels[launch.kernel];
      workspaceBytes =
          std::max(workspaceBytes, kernel.workspaceFixed + kernel.workspacePerToken * uint64_t(entry.maxTokens));
    }
  }
  uint64_t tableBytes = uint64_t(maxTokens) * sizeof(int32_t);
  auto tables = allocate(tableBytes * kTables);
  if (!tables)
    return tables.status();
  auto table = [&](int64_t i) { return reinterpret_cast<int32_t *>(*tables + uint64_t(i) * tableBytes); };
  batch = {0, table(0), table(1), table(2), table(3), table(4)};
  auto block = allocate(workspaceBytes);
  if (!block)
    return block.status().with("the workspace of the kernels");
  workspace = *block;

  if (blas) {
    auto scratch = allocate(cuda::BlasProducts::kWorkspaceBytes);
    if (!scratch)
      return scratch.status().with("the workspace of cuBLASLt");
    blasWorkspace = *scratch;
    std::vector<bool> counted(package.kernels.size(), false);
    for (const Entry &entry : package.entries)
      for (const Launch &launch : entry.launches) {
        if (entry.maxTokens == 0 || counted[launch.kernel] || package.kernels[launch.kernel].category != "matmul")
          continue;
        counted[launch.kernel] = true;
        ++blasKernels.second;
        blasKernels.first += package.cuda.kernels[launch.kernel].product.has_value();
      }
  }

  for (size_t e = 0; e < entries.size(); ++e) {
    const Entry &entry = package.entries[e];
    // Arguments are filled in place: parameters point into them.
    arguments.emplace_back(entry.launches.size());
    for (size_t i = 0; i < entry.launches.size(); ++i) {
      Arguments &made = arguments.back()[i];
      const Launch &launch = entry.launches[i];
      auto first = entries[e].buffers.begin() + int64_t(entries[e].firstBuffer[i]);
      made.pointers.assign(first, first + int64_t(launch.buffers.size()));
      made.scalars = launch.scalars;
      for (void *&pointer : made.pointers)
        made.parameters.push_back(&pointer);
      for (double &scalar : made.scalars)
        made.parameters.push_back(&scalar);
      made.parameters.push_back(&batch);
      made.parameters.push_back(&workspace);
    }
    branched.emplace_back();
    if (entry.maxTokens == 0 && entry.launches.size() > 1)
      if (Status status = branch(e); !status)
        return status;
  }
  return Status::ok();
}

Status CudaDevice::branch(size_t index) {
  const std::vector<Launch> &launches = package.entries[index].launches;
  std::vector<std::vector<Access>> accesses;
  uint64_t workspaceBytes = 0;
  for (size_t i = 0; i < launches.size(); ++i) {
    const CudaKernel &kernel = package.cuda.kernels[launches[i].kernel];
    if (kernel.bufferBytes.empty())
      return Status::ok();
    std::vector<Access> &touched = accesses.emplace_back();
    for (size_t b = 0; b < kernel.bufferBytes.size(); ++b)
      touched.push_back({reinterpret_cast<uintptr_t>(arguments[index][i].pointers[b]), kernel.bufferBytes[b], false});
    for (const Written &written : launches[i].writes)
      touched[written.buffer].writes = true;
    workspaceBytes = std::max(workspaceBytes, kernel.workspaceFixed);
  }
  std::vector<BranchedLaunch> plan = planBranches(accesses, kBranches);
  size_t used = 1;
  for (const BranchedLaunch &launch : plan)
    used = std::max(used, launch.branch + 1);
  if (used == 1)
    return Status::ok();
  while (branchStreams.size() + 1 < used) {
    cuda::Stream made = nullptr;
    if (Status status = remember(call.streamCreate(&made, cuda::kStreamNonBlocking), "cannot make a stream"); !status)
      return status;
    branchStreams.push_back(made);
  }
  if (branchWorkspaces.empty())
    branchWorkspaces.assign(kBranches, nullptr);
  for (size_t b = 0; b < used && workspaceBytes > 0; ++b) {
    auto block = allocate(workspaceBytes);
    if (!block)
      return block.status().with("the workspace of a branch");
    branchWorkspaces[b] = *block;
  }
  if (workspaceBytes > 0)
    for (size_t i = 0; i < launches.size(); ++i)
      arguments[index][i].parameters.back() = &branchWorkspaces[plan[i].branch];
  branched[index] = std::move(plan);
  return Status::ok();
}

Status CudaDevice::uploadBatch(const Batch *given) {
  batch.numTokens = given ? given->numTokens : 0;
  if (!given)
    return beginWork();
  uint64_t bytes = uint64_t(given->numTokens) * sizeof(int32_t);
  const std::pair<const int32_t *, const int32_t *> tables[] = {{batch.rowBegin, given->rowBegin},
                                                                {batch.rowEnd, given->rowEnd},
                                                                {batch.segmentBegin, given->segmentBegin},
                                                                {batch.segmentEnd, given->segmentEnd},
                                                                {batch.slot, given->slot}};
  for (auto [to, from] : tables)
    if (Status status = staging.copy(addressOf(to), from, bytes); !status)
      return broken = status;
  return beginWork();
}

Status CudaDevice::prepare(const Batch *given) {
  if (Status status = makeCurrent(); !status)
    return status;
  return uploadBatch(given);
}

Status CudaDevice::run(size_t entry, const Batch *given, Profile *profile) {
  if (Status status = beginWork(); !status)
    return status;
  // What is queued runs to its end; a replay is short.
  if (const std::atomic<bool> *abort = abortFlagOf(package.entries[entry]); abort && abort->load())
    return {Code::Interrupted, "interrupted"};
  if (profile)
    profile->startRun(entry, given);
  if (profile || !useGraphs || waitAlways || package.entries[entry].launches.empty())
    return launch(entry, batch.numTokens, profile);
  return replay(entry, batch.numTokens);
}

Status CudaDevice::runLaunch(size_t entry, size_t launch, const Batch *given) {
  if (Status status = makeCurrent(); !status)
    return status;
  if (Status status = uploadBatch(given); !status)
    return status;
  uint32_t kernel = package.entries[entry].launches[launch].kernel;
  if (Status status = launchKernel(kernel, batch.numTokens, arguments[entry][launch], stream,
                                  package.entries[entry].maxTokens > 0); !status)
    return status;
  return synchronize();
}

StatusOr<int64_t> CudaDevice::blasProduct(uint32_t kernel, int64_t tokens) {
  auto known = blasProducts.find({kernel, tokens});
  if (known != blasProducts.end())
    return known->second;
  auto prepared = products.prepare(*package.cuda.kernels[kernel].product, tokens);
  if (!prepared && prepared.status().code() != Code::Environment)
    return broken = prepared.status();
  return blasProducts[{kernel, tokens}] = prepared ? int64_t(*prepared) : -1;
}

Status CudaDevice::launchKernel(uint32_t kernel, int64_t tokens, Arguments &arguments, cuda::Stream on, bool mayUseBlas) {
  if (mayUseBlas && blas && package.cuda.kernels[kernel].product) {
    auto product = blasProduct(kernel, tokens);
    if (!product)
      return product.status();
    if (*product >= 0) {
      Status status = products.run(size_t(*product), arguments.pointers.data(), blasWorkspace, on);
      if (status && waitAlways)
        status = remember(call.streamSynchronize(on), "a product through cuBLASLt");
      if (!status)
        broken = status.with("kernel '" + package.kernels[kernel].symbol + "'");
      return status ? status : broken;
    }
  }
  const std::vector<CudaStage> &stages = package.cuda.kernels[kernel].stages;
  for (size_t s = 0; s < stages.size(); ++s) {
    const CudaStage &stage = stages[s];
    int64_t blocks = stage.blocks.count(tokens);
    if (blocks == 0)
      continue;
    cuda::Result result = call.launchKernel(functions.kernels[kernel][s], unsigned(blocks), 1, 1,
                                            unsigned(stage.threads), 1, 1, unsigned(stage.sharedBytes), on,
                                            arguments.parameters.data(), nullptr);
    if (result == cuda::kSuccess && waitAlways)
      result = call.streamSynchronize(on);
    if (result != cuda::kSuccess)
      return remember(result, "kernel '" + stage.symbol + "' (" + package.kernels[kernel].summary + ", " +
                                  std::to_string(blocks) + " blocks of " + std::to_string(stage.threads) + ")");
  }
  return Status::ok();
}

Status CudaDevice::launch(size_t entry, int64_t tokens, Profile *profile) {
  const std::vector<Launch> &launches = package.entries[entry].launches;
  double start = profile ? monotonicSeconds() : 0;
  auto mark = [&](size_t i) -> Status {
    auto at = event(i);
    if (!at)
      return at.status();
    return remember(call.eventRecord(*at, stream), "cannot record an event");
  };
  for (size_t i = 0; i < launches.size(); ++i) {
    if (profile)
      if (Status status = mark(i); !status)
        return status;
    if (Status status = launchKernel(launches[i].kernel, tokens, arguments[entry][i], stream,
                                     package.entries[entry].maxTokens > 0);
        !status)
      return status.with("entry '" + package.entries[entry].name + "', launch " + std::to_string(i));
  }
  if (!profile)
    return Status::ok();
  if (Status status = mark(launches.size()); !status)
    return status;
  if (Status status = synchronize(); !status)
    return status;
  for (size_t i = 0; i < launches.size(); ++i) {
    float milliseconds = 0;
    cuda::Result result = call.eventElapsedTime(&milliseconds, events[i], events[i + 1]);
    if (result != cuda::kSuccess)
      return remember(result, "cannot read a time");
    // Events follow one another without a gap; the first is taken to begin with the first launch.
    double end = start + double(milliseconds) * 1e-3;
    profile->add(launches[i].kernel, start, end);
    start = end;
  }
  return Status::ok();
}

Status CudaDevice::launchBranches(size_t entry, int64_t tokens) {
  const std::vector<Launch> &launches = package.entries[entry].launches;
  const std::vector<BranchedLaunch> &plan = branched[entry];
  auto streamOf = [&](size_t branch) { return branch == 0 ? stream : branchStreams[branch - 1]; };
  // Events: the begin, the end of every branch, then one per launch that is awaited.
  auto record = [&](size_t number, size_t branch) -> Status {
    auto at = branchEvent(number);
    return at ? remember(call.eventRecord(*at, streamOf(branch)), "cannot record an event") : at.status();
  };
  auto wait = [&](size_t branch, size_t number) {
    return remember(call.streamWaitEvent(streamOf(branch), branchEvents[number], 0), "cannot wait for an event");
  };
  constexpr size_t kBegin = 0, kEnds = 1, kLaunches = kEnds + kBranches;
  std::vector<bool> begun(kBranches, false);
  begun[0] = true;
  if (Status status = record(kBegin, 0); !status)
    return status;
  for (size_t i = 0; i < launches.size(); ++i) {
    size_t branch = plan[i].branch;
    Status status;
    if (!begun[branch])
      status = wait(branch, kBegin);
    begun[branch] = true;
    for (size_t before : plan[i].after)
      if (status)
        status = wait(branch, kLaunches + before);
    if (status)
      status = launchKernel(launches[i].kernel, tokens, arguments[entry][i], streamOf(branch), false);
    if (status && plan[i].isAwaited)
      status = record(kLaunches + i, branch);
    if (!status)
      return status.with("entry '" + package.entries[entry].name + "', launch " + std::to_string(i));
  }
  for (size_t branch = 1; branch < kBranches; ++branch) {
    if (!begun[branch])
      continue;
    if (Status status = record(kEnds + branch, branch); !status)
      return status;
    if (Status status = wait(0, kEnds + branch); !status)
      return status;
  }
  return Status::ok();
}

StatusOr<cuda::Event> CudaDevice::branchEvent(size_t wanted) {
  if (branchEvents.size() <= wanted)
    branchEvents.resize(wanted + 1, nullptr);
  if (!branchEvents[wanted])
    if (Status status = remember(call.eventCreate(&branchEvents[wanted], cuda::kEventWithoutTiming),
                                 "cannot make an event");
        !status)
      return status;
  return branchEvents[wanted];
}

StatusOr<cuda::Event> CudaDevice::event(size_t wanted) {
  while (events.size() <= wanted) {
    cuda::Event made = nullptr;
    if (Status status = remember(call.eventCreate(&made, 0), "cannot make an event"); !status)
      return status;
    events.push_back(made);
  }
  return events[wanted];
}

Status CudaDevice::replay(size_t entry, int64_t tokens) {
  auto found = std::find_if(recordings.begin(), recordings.end(), [&](const Recording &recording) {
    return recording.entry == entry && recording.tokens == tokens;
  });
  if (found == recordings.end()) {
    if (recordings.size() == kMaxRecordings) {
      drop(recordings.back());
      recordings.pop_back();
    }
    recordings.push_front({entry, tokens, nullptr});
    return launch(entry, tokens, nullptr);
  }
  recordings.splice(recordings.begin(), recordings, found);
  if (!found->graph) {
    auto graph = capture(entry, tokens);
    if (!graph)
      return graph.status();
    found->graph = *graph;
  }
  return remember(call.graphLaunch(found->graph, stream), "cannot launch a graph");
}

StatusOr<cuda::GraphExec> CudaDevice::capture(size_t entry, int64_t tokens) {
  // Arguments are copied into the graph here, numTokens among them.
  if (Status status = remember(call.streamBeginCapture(stream, cuda::kCaptureThreadLocal), "cannot capture a graph");
      !status)
    return status;
  Status launched = branched[entry].empty() ? launch(entry, tokens, nullptr) : launchBranches(entry, tokens);
  cuda::Graph graph = nullptr;
  cuda::Result ended = call.streamEndCapture(stream, &graph);
  if (!launched)
    return launched;
  if (Status status = remember(ended, "cannot capture a graph"); !status)
    return status;
  cuda::GraphExec executable = nullptr;
  cuda::Result made = call.graphInstantiate(&executable, graph, 0);
  call.graphDestroy(graph);
  if (Status status = remember(made, "cannot instantiate a graph of " +
                                         std::to_string(package.entries[entry].launches.size()) + " launches");
      !status)
    return status;
  return executable;
}

void CudaDevice::drop(Recording &recording) {
  // The graph may still be running; destroying it waits for nothing, so the
  // driver keeps it until it is done.
  if (recording.graph)
    call.graphExecDestroy(recording.graph);
  recording.graph = nullptr;
}

size_t CudaDevice::heldGraphs() const {
  return size_t(std::count_if(recordings.begin(), recordings.end(),
                              [](const Recording &recording) { return recording.graph != nullptr; }));
}

StatusOr<char *> CudaDevice::tableOf(const std::vector<FloatSpan> &spans) {
  if (functions.support.size() < kSupportKernels)
    return Status(Code::Corrupt, "the package lacks the kernels for gradient norms; recompile it");
  for (const SpanTable &known : spanTables)
    if (spans.size() == known.spans.size() &&
        std::equal(spans.begin(), spans.end(), known.spans.begin(), [](const FloatSpan &a, const FloatSpan &b) {
          return a.memory == b.memory && a.count == b.count && a.isDouble == b.isDouble;
        }))
      return known.memory;
  std::vector<SpanRecord> records;
  for (const FloatSpan &span : spans)
    records.push_back({span.memory, span.count, span.isDouble});
  auto table = allocate(records.size() * sizeof(SpanRecord));
  if (!table)
    return table;
  if (Status status = upload({{*table, records.data(), records.size() * sizeof(SpanRecord)}}); !status)
    return status;
  if (Status status = beginWork(); !status)
    return status;
  spanTables.push_back({spans, *table});
  return table;
}

Status CudaDevice::launchSupport(SupportKernel kernel, int64_t threads, void **parameters) {
  const CudaStage &stage = package.cuda.support[kernel];
  int64_t blocks = (threads + stage.threads - 1) / stage.threads;
  return remember(call.launchKernel(functions.support[kernel], unsigned(blocks), 1, 1, unsigned(stage.threads), 1, 1, 0,
                                    stream, parameters, nullptr),
                  "kernel '" + stage.symbol + "'");
}

StatusOr<uint64_t> CudaDevice::queueSumSquares(const std::vector<FloatSpan> &spans) {
  if (Status status = beginWork(); !status)
    return status;
  if (spans.empty())
    return readback.queue(addressOf(workspace), 0);
  auto table = tableOf(spans);
  if (!table)
    return table.status();
  if (spans.size() > spanCapacity) {
    auto lanes = allocate(spans.size() * kLanes * sizeof(double)), results = allocate(spans.size() * sizeof(double));
    if (!lanes || !results)
      return lanes ? results.status() : lanes.status();
    spanLanes = *lanes;
    spanSums = *results;
    spanCapacity = spans.size();
  }
  auto count = static_cast<long long>(spans.size());
  void *first[] = {&*table, &count, &spanLanes}, *second[] = {&spanLanes, &count, &spanSums};
  if (Status status = launchSupport(kSquareLanes, count * kLanes, first); !status)
    return status;
  if (Status status = launchSupport(kSumLanes, count, second); !status)
    return status;
  return queueRead(spanSums, spans.size() * sizeof(double));
}

Status CudaDevice::scale(const std::vector<FloatSpan> &spans, double factor) {
  if (Status status = beginWork(); !status || spans.empty())
    return status;
  auto table = tableOf(spans);
  if (!table)
    return table.status();
  void *parameters[] = {&*table, &factor};
  return launchSupport(kScale, int64_t(spans.size()) * package.cuda.support[kScale].threads, parameters);
}

Status CudaDevice::add(const std::vector<FloatSpan> &spans, const std::vector<FloatSpan> &others) {
  if (Status status = beginWork(); !status || spans.empty())
    return status;
  auto table = tableOf(spans), source = tableOf(others);
  if (!table || !source)
    return table ? source.status() : table.status();
  void *parameters[] = {&*table, &*source};
  return launchSupport(kAdd, int64_t(spans.size()) * package.cuda.support[kAdd].threads, parameters);
}

} // namespace pg::rt
