//===- Executor.cpp - runs the entries of one package -----------------------===//
#include "runtime/exec/Executor.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/BFloat16.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace pg::rt {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kScalarSlotBytes = 8;

uint64_t alignUp(uint64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t portBytes(const Entry &entry, const Port &port) {
  uint64_t bytes = uint64_t(elementCount(port.shape)) * uint64_t(dtypeBytes(port.dtype));
  return port.perToken ? bytes * uint64_t(entry.maxTokens) : bytes;
}

/// Whether the runtime itself holds an output (no launch wrote it elsewhere).
bool isOwnOutput(const Port &port) { return port.buffer.kind == BufferRef::Kind::Output; }

void fill(void *memory, DType dtype, int64_t count, double value) {
  switch (dtype) {
  case DType::F64: std::fill_n(static_cast<double *>(memory), count, value); break;
  case DType::F32: std::fill_n(static_cast<float *>(memory), count, float(value)); break;
  case DType::BF16: std::fill_n(static_cast<uint16_t *>(memory), count, floatToBf16(float(value))); break;
  case DType::I32: std::fill_n(static_cast<int32_t *>(memory), count, int32_t(value)); break;
  case DType::I1: std::fill_n(static_cast<uint8_t *>(memory), count, uint8_t(value != 0)); break;
  }
}

} // namespace

StatusOr<int> chooseThreads(int requested) {
  if (requested > 0)
    return requested;
  const char *text = std::getenv("PG_THREADS");
  if (!text || !*text)
    return availableCpus();
  char *end = nullptr;
  long threads = std::strtol(text, &end, 10);
  if (*end || threads < 1 || threads > 1024)
    return Status(Code::Usage, std::string("PG_THREADS is '") + text + "', expected a number from 1 to 1024");
  return int(threads);
}

StatusOr<std::unique_ptr<Executor>> Executor::create(Package package, const ExecutorOptions &options) {
  std::unique_ptr<Executor> executor(new Executor(std::move(package)));
  auto code = CpuCode::load(executor->package_);
  if (!code)
    return code.status();
  executor->code = std::move(*code);
  // The loaded copy is enough; the section can be many megabytes.
  executor->package_.codeCpu = std::string();
  auto threads = chooseThreads(options.threads);
  if (!threads)
    return threads.status();
  executor->threads = std::make_unique<ThreadPool>(*threads);
  executor->profile_ = std::make_unique<Profile>(executor->package_);
  executor->isProfiling = options.profile;
  executor->isPoisoning = options.poison;
  if (Status status = executor->allocate(options); !status)
    return status;
  executor->resetStates();
  return executor;
}

Status Executor::allocate(const ExecutorOptions &) {
  // 1. Sizes, in the order in which pointers are handed out below.
  uint64_t total = 0;
  auto reserve = [&](uint64_t bytes) {
    uint64_t at = total;
    total += alignUp(bytes);
    return at;
  };
  std::vector<uint64_t> offsets;
  for (const Parameter &parameter : package_.parameters)
    offsets.push_back(reserve(uint64_t(elementCount(parameter.shape) * dtypeBytes(parameter.dtype))));
  for (const State &state : package_.states)
    offsets.push_back(reserve(uint64_t(elementCount(state.shape) * dtypeBytes(state.dtype))));
  for (const Entry &entry : package_.entries) {
    for (const Port &port : entry.inputs)
      offsets.push_back(reserve(portBytes(entry, port)));
    for (const Port &port : entry.outputs)
      offsets.push_back(reserve(isOwnOutput(port) ? portBytes(entry, port) : 0));
    offsets.push_back(reserve(entry.scalars.size() * kScalarSlotBytes));
    arenaBytes = std::max(arenaBytes, entry.arenaBytes);
  }
  for (const Kernel &kernel : package_.kernels)
    scratchStride = std::max(scratchStride, alignUp(kernel.scratchBytes));
  uint64_t scratchAt = reserve(scratchStride * uint64_t(threads->size()));

  planned = total + arenaBytes;
  if (!fixed.allocate(total) || !arena.allocate(arenaBytes))
    return {Code::Environment, "not enough memory: the package needs " + std::to_string(planned >> 20) +
                                   " MiB (arena " + std::to_string(arenaBytes >> 20) +
                                   " MiB); recompile with a smaller --max-tokens or a --memory-limit"};

  // 2. Pointers.
  size_t next = 0;
  auto take = [&]() -> void * { return fixed.data() + offsets[next++]; };
  for (size_t i = 0; i < package_.parameters.size(); ++i)
    parameters.push_back(take());
  for (size_t i = 0; i < package_.states.size(); ++i)
    states.push_back(take());
  bound.resize(package_.entries.size());
  for (size_t e = 0; e < bound.size(); ++e) {
    for (size_t i = 0; i < package_.entries[e].inputs.size(); ++i)
      bound[e].inputs.push_back(take());
    for (size_t i = 0; i < package_.entries[e].outputs.size(); ++i)
      bound[e].outputs.push_back(take());
    bound[e].scalars = static_cast<char *>(take());
  }
  scratch = fixed.data() + scratchAt;
  for (size_t e = 0; e < bound.size(); ++e)
    resolveEntry(e);
  return Status::ok();
}

void Executor::resolveEntry(size_t index) {
  const Entry &entry = package_.entries[index];
  BoundEntry &binding = bound[index];
  for (size_t i = 0; i < entry.outputs.size(); ++i)
    if (!isOwnOutput(entry.outputs[i]))
      binding.outputs[i] = resolve(index, entry.outputs[i].buffer);
  for (const Launch &launch : entry.launches) {
    binding.firstBuffer.push_back(binding.buffers.size());
    for (const BufferRef &buffer : launch.buffers)
      binding.buffers.push_back(resolve(index, buffer));
  }
}

void *Executor::resolve(size_t entry, const BufferRef &buffer) {
  switch (buffer.kind) {
  case BufferRef::Kind::Arena: return arena.data() + buffer.offset;
  case BufferRef::Kind::Parameter: return static_cast<char *>(parameters[buffer.index]) + buffer.offset;
  case BufferRef::Kind::State: return static_cast<char *>(states[buffer.index]) + buffer.offset;
  case BufferRef::Kind::Input: return bound[entry].inputs[buffer.index];
  case BufferRef::Kind::Scalar: return bound[entry].scalars + kScalarSlotBytes * buffer.index;
  case BufferRef::Kind::Output: return bound[entry].outputs[buffer.index];
  }
  return nullptr;
}

void Executor::resetStates() {
  for (size_t i = 0; i < states.size(); ++i) {
    const State &state = package_.states[i];
    fill(states[i], state.dtype, elementCount(state.shape), state.init);
  }
}

void Executor::zeroGradients() {
  constexpr int64_t kPiece = 1 << 18;
  for (size_t i = 0; i < states.size(); ++i) {
    const State &state = package_.states[i];
    if (state.role != "gradient")
      continue;
    auto *memory = static_cast<char *>(states[i]);
    threads->parallelFor(elementCount(state.shape) * dtypeBytes(state.dtype), kPiece,
                         [memory](int64_t begin, int64_t end, int) {
                           std::memset(memory + begin, 0, size_t(end - begin));
                         });
  }
}

int Executor::findEntry(const std::string &name) const {
  for (size_t i = 0; i < package_.entries.size(); ++i)
    if (package_.entries[i].name == name)
      return int(i);
  return -1;
}

int32_t *Executor::input(int entry, const std::string &name) const {
  const auto &ports = package_.entries[size_t(entry)].inputs;
  for (size_t i = 0; i < ports.size(); ++i)
    if (ports[i].name == name && ports[i].dtype == DType::I32)
      return static_cast<int32_t *>(bound[size_t(entry)].inputs[i]);
  return nullptr;
}

bool Executor::setScalar(int entry, const std::string &name, double value) {
  const auto &names = package_.entries[size_t(entry)].scalars;
  auto found = std::find(names.begin(), names.end(), name);
  return found != names.end() && setScalar(entry, size_t(found - names.begin()), value);
}

bool Executor::setScalar(int entry, size_t index, double value) {
  if (index >= package_.entries[size_t(entry)].scalars.size())
    return false;
  char *slot = bound[size_t(entry)].scalars + kScalarSlotBytes * index;
  if (package_.precision == "f64") {
    std::memcpy(slot, &value, sizeof value);
  } else {
    auto narrow = float(value);
    std::memcpy(slot, &narrow, sizeof narrow);
  }
  return true;
}

const Port *Executor::outputPort(int entry, const std::string &name) const {
  for (const Port &port : package_.entries[size_t(entry)].outputs)
    if (port.name == name)
      return &port;
  return nullptr;
}

const void *Executor::output(int entry, const std::string &name) const {
  const Port *port = outputPort(entry, name);
  if (!port)
    return nullptr;
  return bound[size_t(entry)].outputs[size_t(port - package_.entries[size_t(entry)].outputs.data())];
}

Status Executor::run(int index, const Batch *batch) {
  const Entry &entry = package_.entries[size_t(index)];
  BoundEntry &binding = bound[size_t(index)];
  int64_t tokens = batch ? batch->numTokens : 0;
  if (tokens > entry.maxTokens)
    return {Code::Usage, "entry '" + entry.name + "' was compiled for at most " + std::to_string(entry.maxTokens) +
                             " tokens, this run needs " + std::to_string(tokens) +
                             "; recompile with --max-tokens " + std::to_string(tokens)};
  if (tokens < 1 && entry.maxTokens > 0)
    return {Code::Usage, "entry '" + entry.name + "' needs at least one token"};
  if (isPoisoning)
    std::memset(arena.data(), 0xff, entry.arenaBytes);

  struct Call {
    KernelFn function;
    void *const *buffers;
    const double *scalars;
    const Batch *batch;
    char *scratch;
    uint64_t stride;
  };
  for (size_t i = 0; i < entry.launches.size(); ++i) {
    const Launch &launch = entry.launches[i];
    int64_t count = launch.items.multiplier;
    if (launch.items.tokensPerItem > 0)
      count *= (tokens + launch.items.tokensPerItem - 1) / launch.items.tokensPerItem;
    Call call{code.functions()[launch.kernel], binding.buffers.data() + binding.firstBuffer[i],
              launch.scalars.data(), batch, scratch, scratchStride};
    double start = isProfiling ? monotonicSeconds() : 0;
    threads->parallelFor(
        count, launch.items.grain,
        [](void *context, int64_t begin, int64_t end, int thread) {
          auto &c = *static_cast<Call *>(context);
          c.function(c.buffers, c.scalars, c.batch, begin, end, c.scratch + c.stride * uint64_t(thread));
        },
        &call);
    if (isProfiling)
      profile_->add(launch.kernel, monotonicSeconds() - start, tokens);
  }
  return Status::ok();
}

} // namespace pg::rt
