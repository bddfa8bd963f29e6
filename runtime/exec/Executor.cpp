//===- Executor.cpp - runs the entries of one package -----------------------===//
#include "runtime/exec/Executor.h"
#include "runtime/package/PackageJson.h"
#include "runtime/package/Precision.h"
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

/// Of a token port, of one token.
template <typename Tensor> uint64_t tensorBytes(const Tensor &tensor) {
  return uint64_t(elementCount(tensor.shape)) * uint64_t(dtypeBytes(tensor.dtype));
}

uint64_t portBytes(const Entry &entry, const Port &port) {
  return port.perToken ? tensorBytes(port) * uint64_t(entry.maxTokens) : tensorBytes(port);
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
  case DType::I8: std::fill_n(static_cast<int8_t *>(memory), count, int8_t(value)); break;
  }
}

double element(const void *memory, DType dtype, int64_t i) {
  switch (dtype) {
  case DType::F64: return static_cast<const double *>(memory)[i];
  case DType::F32: return static_cast<const float *>(memory)[i];
  case DType::BF16: return bf16ToFloat(static_cast<const uint16_t *>(memory)[i]);
  case DType::I32: return static_cast<const int32_t *>(memory)[i];
  case DType::I1: return static_cast<const uint8_t *>(memory)[i];
  case DType::I8: return static_cast<const int8_t *>(memory)[i];
  }
  return 0;
}

/// Element by element; the same bytes for one dtype.
void convert(const void *from, DType fromType, void *to, DType toType, int64_t count) {
  if (fromType == toType) {
    std::memcpy(to, from, size_t(count * dtypeBytes(toType)));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    fill(static_cast<char *>(to) + i * dtypeBytes(toType), toType, 1, element(from, fromType, i));
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
  auto threads = chooseThreads(options.threads);
  if (!threads)
    return threads.status();
  executor->threads = std::make_unique<ThreadPool>(*threads);
  executor->profile_ = std::make_unique<Profile>(executor->package_);
  executor->isProfiling = options.profile;
  executor->isPoisoning = options.poison;
  auto device = openDevice(executor->package_, options.device, *executor->threads);
  if (!device)
    return device.status();
  executor->device_ = std::move(*device);
  // The loaded copy is enough; the sections can be many megabytes.
  executor->package_.codeCpu = std::string();
  executor->package_.cuda.images.clear();
  if (Status status = executor->allocate(); !status)
    return status;
  if (Status status = executor->resetStates(); !status)
    return status;
  return executor;
}

Status Executor::allocate() {
  // 1. Sizes, in the order in which pointers are handed out below.
  std::vector<uint64_t> offsets;
  auto reserve = [&](uint64_t bytes) {
    offsets.push_back(fixedBytes);
    fixedBytes += alignUp(bytes);
  };
  uint64_t hostBytes = 0;
  for (const Parameter &parameter : package_.parameters)
    reserve(tensorBytes(parameter));
  for (const State &state : package_.states)
    reserve(tensorBytes(state));
  for (const Entry &entry : package_.entries) {
    uint64_t before = fixedBytes;
    for (const Port &port : entry.inputs)
      reserve(portBytes(entry, port));
    reserve(entry.scalars.size() * kScalarSlotBytes);
    hostBytes += fixedBytes - before;
    for (const Port &port : entry.outputs)
      reserve(isOwnOutput(port) ? portBytes(entry, port) : 0);
    arenaBytes = std::max(arenaBytes, entry.arenaBytes);
  }
  auto fixedMemory = device_->allocate(fixedBytes);
  if (!fixedMemory)
    return notEnoughMemory(fixedMemory.status());
  fixed = *fixedMemory;
  auto arenaMemory = device_->allocate(arenaBytes);
  if (!arenaMemory)
    return notEnoughMemory(arenaMemory.status());
  arena = *arenaMemory;
  if (!device_->isHost() && !hostPorts.allocate(hostBytes))
    return {Code::Environment, "not enough memory for the inputs of a batch"};

  // 2. Pointers.
  size_t next = 0;
  auto take = [&] { return fixed + offsets[next++]; };
  for (size_t i = 0; i < package_.parameters.size(); ++i)
    parameters.push_back(take());
  for (size_t i = 0; i < package_.states.size(); ++i)
    states.push_back(take());
  ports.resize(package_.entries.size());
  char *host = hostPorts.data();
  auto takeHost = [&](char *onDevice, uint64_t bytes) {
    if (device_->isHost())
      return onDevice;
    host += alignUp(bytes);
    return host - alignUp(bytes);
  };
  for (size_t e = 0; e < ports.size(); ++e) {
    const Entry &entry = package_.entries[e];
    for (const Port &port : entry.inputs) {
      ports[e].inputs.push_back(take());
      ports[e].hostInputs.push_back(takeHost(ports[e].inputs.back(), portBytes(entry, port)));
    }
    ports[e].scalars = take();
    ports[e].hostScalars = takeHost(ports[e].scalars, entry.scalars.size() * kScalarSlotBytes);
    for (size_t i = 0; i < entry.outputs.size(); ++i)
      ports[e].outputs.push_back(take());
  }
  std::vector<BoundEntry> entries;
  for (size_t e = 0; e < ports.size(); ++e)
    entries.push_back(resolveEntry(e));
  return device_->bind(std::move(entries));
}

Status Executor::notEnoughMemory(const Status &cause) const {
  if (cause.code() != Code::Environment)
    return cause;
  std::string text = "not enough memory on " + device_->describe() + ": the package needs " +
                     std::to_string(plannedBytes() >> 20) + " MiB (arena " + std::to_string(arenaBytes >> 20) +
                     " MiB); recompile with a smaller --max-tokens or a --memory-limit\n  " + cause.message();
  const Entry *worst = nullptr;
  for (const Entry &entry : package_.entries)
    if (!worst || entry.arenaBytes > worst->arenaBytes)
      worst = &entry;
  if (worst && !worst->largest.empty()) {
    text += "\n  largest values of entry '" + worst->name + "':";
    for (const PlannedValue &value : worst->largest)
      text += "\n    " + std::to_string(value.bytes >> 20) + " MiB by " + value.kernel +
              (value.location.empty() ? "" : " (" + value.location + ")");
  }
  return {Code::Environment, text};
}

BoundEntry Executor::resolveEntry(size_t index) {
  const Entry &entry = package_.entries[index];
  for (size_t i = 0; i < entry.outputs.size(); ++i)
    if (!isOwnOutput(entry.outputs[i]))
      ports[index].outputs[i] = static_cast<char *>(resolve(index, entry.outputs[i].buffer));
  BoundEntry binding;
  for (const Launch &launch : entry.launches) {
    binding.firstBuffer.push_back(binding.buffers.size());
    for (const BufferRef &buffer : launch.buffers)
      binding.buffers.push_back(resolve(index, buffer));
  }
  return binding;
}

void *Executor::resolve(size_t entry, const BufferRef &buffer) const {
  switch (buffer.kind) {
  case BufferRef::Kind::Arena: return arena + buffer.offset;
  case BufferRef::Kind::Parameter: return parameters[buffer.index] + buffer.offset;
  case BufferRef::Kind::State: return states[buffer.index] + buffer.offset;
  case BufferRef::Kind::Input: return ports[entry].inputs[buffer.index];
  case BufferRef::Kind::Scalar: return ports[entry].scalars + kScalarSlotBytes * buffer.index;
  case BufferRef::Kind::Output: return ports[entry].outputs[buffer.index];
  }
  return nullptr;
}

uint64_t Executor::parameterBytes(size_t index) const { return tensorBytes(package_.parameters[index]); }

uint64_t Executor::stateBytes(size_t index) const { return tensorBytes(package_.states[index]); }

Status Executor::readParameter(size_t index, void *to) const {
  return device_->read(to, parameters[index], parameterBytes(index));
}

const void *Executor::hostParameter(size_t index, std::string &held) const {
  if (device_->isHost())
    return parameters[index];
  held.resize(size_t(parameterBytes(index)));
  return readParameter(index, held.data()) ? held.data() : nullptr;
}

Status Executor::writeParameter(size_t index, const void *from) {
  return device_->upload({{parameters[index], from, parameterBytes(index)}});
}

Status Executor::readState(size_t index, void *to) const { return device_->read(to, states[index], stateBytes(index)); }

Status Executor::writeState(size_t index, const void *from) {
  return device_->upload({{states[index], from, stateBytes(index)}});
}

Status Executor::resetState(size_t index) {
  const State &state = package_.states[index];
  int64_t count = elementCount(state.shape);
  if (device_->isHost()) {
    rt::fill(states[index], state.dtype, count, state.init);
    return Status::ok();
  }
  if (state.init == 0)
    return device_->fill(states[index], 0, tensorBytes(state));
  std::string values(size_t(tensorBytes(state)), '\0');
  rt::fill(values.data(), state.dtype, count, state.init);
  return writeState(index, values.data());
}

Status Executor::resetStates() {
  for (size_t i = 0; i < states.size(); ++i)
    if (!package_.states[i].fromParameter)
      if (Status status = resetState(i); !status)
        return status;
  return copyParameters();
}

Status Executor::copyParameters() {
  std::vector<char> values, converted;
  for (size_t i = 0; i < states.size(); ++i) {
    const State &state = package_.states[i];
    if (!state.fromParameter)
      continue;
    auto &table = package_.parameters;
    size_t from = size_t(std::find_if(table.begin(), table.end(),
                                      [&](const Parameter &p) { return p.name == state.parameter; }) -
                         table.begin());
    Status status;
    if (device_->isHost()) {
      convert(parameters[from], table[from].dtype, states[i], state.dtype, elementCount(state.shape));
    } else if (table[from].dtype == state.dtype) {
      status = device_->copy(states[i], parameters[from], stateBytes(i));
    } else {
      values.resize(parameterBytes(from));
      converted.resize(stateBytes(i));
      status = readParameter(from, values.data());
      convert(values.data(), table[from].dtype, converted.data(), state.dtype, elementCount(state.shape));
      if (status)
        status = writeState(i, converted.data());
    }
    if (!status)
      return status;
  }
  return Status::ok();
}

Status Executor::resetStates(const std::string &role) {
  for (size_t i = 0; i < states.size(); ++i)
    if (package_.states[i].role == role)
      if (Status status = resetState(i); !status)
        return status;
  return Status::ok();
}

void Executor::zeroGradients() {
  // Neighbours in memory are one fill. An error of the device is remembered by
  // it and reported when somebody waits.
  char *begin = nullptr, *end = nullptr;
  auto flush = [&] {
    if (begin)
      (void)device_->fill(begin, 0, uint64_t(end - begin));
  };
  for (size_t i = 0; i < states.size(); ++i) {
    const State &state = package_.states[i];
    if (state.role != "gradient")
      continue;
    if (states[i] != end) {
      flush();
      begin = states[i];
    }
    end = states[i] + alignUp(tensorBytes(state));
  }
  flush();
}

int Executor::findEntry(const std::string &name) const {
  for (size_t i = 0; i < package_.entries.size(); ++i)
    if (package_.entries[i].name == name)
      return int(i);
  return -1;
}

int32_t *Executor::input(int entry, const std::string &name) const {
  const auto &inputs = package_.entries[size_t(entry)].inputs;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].name == name && inputs[i].dtype == DType::I32)
      return reinterpret_cast<int32_t *>(ports[size_t(entry)].hostInputs[i]);
  return nullptr;
}

Status Executor::setInput(int entry, const std::string &name, std::span<const double> values) {
  const Entry &info = package_.entries[size_t(entry)];
  for (size_t i = 0; i < info.inputs.size(); ++i) {
    const Port &port = info.inputs[i];
    if (port.name != name)
      continue;
    bool isFloat = port.dtype == DType::F32 || port.dtype == DType::F64;
    if (!isFloat || !port.perToken || !port.shape.empty() || int64_t(values.size()) > info.maxTokens)
      break;
    void *memory = ports[size_t(entry)].hostInputs[i];
    if (port.dtype == DType::F64)
      std::copy(values.begin(), values.end(), static_cast<double *>(memory));
    else
      std::copy(values.begin(), values.end(), static_cast<float *>(memory));
    return Status::ok();
  }
  return {Code::Corrupt, "entry '" + info.name + "' takes no numbers '" + name + "' for " +
                             std::to_string(values.size()) + " tokens; recompile the package"};
}

bool Executor::setScalar(int entry, const std::string &name, double value) {
  const auto &names = package_.entries[size_t(entry)].scalars;
  auto found = std::find(names.begin(), names.end(), name);
  return found != names.end() && setScalar(entry, size_t(found - names.begin()), value);
}

bool Executor::setScalar(int entry, size_t index, double value) {
  if (index >= package_.entries[size_t(entry)].scalars.size())
    return false;
  char *slot = ports[size_t(entry)].hostScalars + kScalarSlotBytes * index;
  if (findPrecisionPolicy(package_.precision)->maths == DType::F64) {
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
  return hostOnly(ports[size_t(entry)].outputs[size_t(port - package_.entries[size_t(entry)].outputs.data())]);
}

StatusOr<const char *> Executor::outputMemory(int index, const std::string &name, uint64_t bytes) const {
  const Entry &entry = package_.entries[size_t(index)];
  const Port *port = outputPort(index, name);
  if (!port || portBytes(entry, *port) < bytes)
    return Status(Code::Internal, "entry '" + entry.name + "' has no output '" + name + "' of " +
                                      std::to_string(bytes) + " bytes");
  return ports[size_t(index)].outputs[size_t(port - entry.outputs.data())];
}

Status Executor::readOutput(int index, const std::string &name, void *to, uint64_t bytes) const {
  auto memory = outputMemory(index, name, bytes);
  return memory ? device_->read(to, *memory, bytes) : memory.status();
}

StatusOr<uint64_t> Executor::queueOutput(int index, const std::string &name, uint64_t bytes) const {
  auto memory = outputMemory(index, name, bytes);
  if (!memory)
    return memory.status();
  return device_->queueRead(*memory, bytes);
}

void Executor::uploadsOf(size_t index, int64_t tokens) {
  const Entry &entry = package_.entries[index];
  const Ports &places = ports[index];
  uploads.clear();
  for (size_t i = 0; i < entry.inputs.size(); ++i) {
    const Port &port = entry.inputs[i];
    uint64_t bytes = tensorBytes(port) * uint64_t(port.perToken ? tokens : 1);
    uploads.push_back({places.inputs[i], places.hostInputs[i], bytes});
  }
  if (!entry.scalars.empty())
    uploads.push_back({places.scalars, places.hostScalars, entry.scalars.size() * kScalarSlotBytes});
}

Status Executor::begin(int index, const Batch *batch) {
  const Entry &entry = package_.entries[size_t(index)];
  int64_t tokens = batch ? batch->numTokens : 0;
  if (tokens > entry.maxTokens)
    return {Code::Usage, "entry '" + entry.name + "' was compiled for at most " + std::to_string(entry.maxTokens) +
                             " tokens, this run needs " + std::to_string(tokens) +
                             "; recompile with --max-tokens " + std::to_string(tokens)};
  if (tokens < 1 && entry.maxTokens > 0)
    return {Code::Usage, "entry '" + entry.name + "' needs at least one token"};
  if (isPoisoning)
    if (Status status = device_->fill(arena, 0xff, entry.arenaBytes); !status)
      return status;
  if (!device_->isHost()) {
    uploadsOf(size_t(index), tokens);
    if (Status status = device_->upload(uploads); !status)
      return status;
  }
  return Status::ok();
}

Status Executor::runLaunch(int entry, size_t launch, const Batch *batch) {
  return device_->runLaunch(size_t(entry), launch, batch);
}

Status Executor::readWritten(int entry, size_t launch, const Written &written, int64_t tokens, void *to) const {
  const BufferRef &buffer = package_.entries[size_t(entry)].launches[launch].buffers[written.buffer];
  return device_->read(to, resolve(size_t(entry), buffer), uint64_t(written.count(tokens) * dtypeBytes(written.dtype)));
}

Status Executor::prepare(int index, const Batch *batch) {
  Status status = begin(index, batch);
  if (status)
    status = device_->prepare(batch);
  preparedEntry = status ? index : -1;
  return status;
}

Status Executor::run(int index, const Batch *batch) {
  if (Status status = prepare(index, batch); !status)
    return status;
  return runPrepared(index, batch);
}

Status Executor::runPrepared(int index, const Batch *batch) {
  if (preparedEntry != index)
    return {Code::Internal, "entry '" + package_.entries[size_t(index)].name + "' was not prepared"};
  preparedEntry = -1;
  return device_->run(size_t(index), batch, isProfiling ? profile_.get() : nullptr);
}

} // namespace pg::rt
