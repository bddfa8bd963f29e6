//===- PackageCheck.cpp - references between the tables of a package --------===//
//
// After this check the executor may index without looking: every index is in
// range, every size is a product that fits, every name is unique. What a kernel
// does with its pointers is the compiler's word; a package is a program.
//
//===----------------------------------------------------------------------===//
#include "runtime/package/PackageJson.h"
#include "runtime/package/Precision.h"

#include <cmath>
#include <map>
#include <set>

namespace pg::rt {
namespace {

constexpr size_t kMaxRank = 8;
constexpr size_t kMaxName = 512;
constexpr int64_t kMaxElements = int64_t(1) << 40;
constexpr int64_t kMaxBytes = int64_t(1) << 46;

Status corrupt(const std::string &text) { return {Code::Corrupt, text}; }

template <typename List, typename NameOf>
Status checkNames(const List &list, const char *what, NameOf nameOf) {
  std::set<std::string> seen;
  for (const auto &item : list) {
    const std::string &name = nameOf(item);
    if (name.empty() || name.size() > kMaxName)
      return corrupt(std::string(what) + " has a name of " + std::to_string(name.size()) +
                     " bytes, expected 1 to " + std::to_string(kMaxName));
    if (!seen.insert(name).second)
      return corrupt(std::string(what) + " '" + name + "' occurs twice");
  }
  return Status::ok();
}

Status checkShape(const std::vector<int64_t> &shape, const std::string &what) {
  if (shape.size() > kMaxRank)
    return corrupt(what + " has rank " + std::to_string(shape.size()) + ", at most 8 is allowed");
  if (elementCount(shape) < 0)
    return corrupt(what + " has a dimension below 1 or more than 2^40 elements");
  return Status::ok();
}

/// At most 2^43: shapes are checked.
template <typename Tensor> int64_t tensorBytes(const Tensor &tensor) {
  return elementCount(tensor.shape) * dtypeBytes(tensor.dtype);
}

/// Tokens are below 2^31: no overflow in 128 bits.
__int128 portBytes(const Entry &entry, const Port &port) {
  return __int128(tensorBytes(port)) * (port.perToken ? entry.maxTokens : 1);
}

Status checkBuffer(const Package &package, const Entry &entry, const BufferRef &buffer) {
  size_t limit = 1;
  switch (buffer.kind) {
  case BufferRef::Kind::Arena:
    if (buffer.index != 0)
      return corrupt("an arena buffer has index " + std::to_string(buffer.index));
    if (buffer.offset > entry.arenaBytes)
      return corrupt("arena offset " + std::to_string(buffer.offset) + " is beyond the arena of " +
                     std::to_string(entry.arenaBytes) + " bytes");
    return Status::ok();
  case BufferRef::Kind::Parameter: limit = package.parameters.size(); break;
  case BufferRef::Kind::State: limit = package.states.size(); break;
  case BufferRef::Kind::Input: limit = entry.inputs.size(); break;
  case BufferRef::Kind::Scalar: limit = entry.scalars.size(); break;
  case BufferRef::Kind::Output: limit = entry.outputs.size(); break;
  }
  if (buffer.index >= limit)
    return corrupt("a buffer refers to number " + std::to_string(buffer.index) + " of " +
                   std::to_string(limit));
  // Parts of parameters and states begin at an offset, everything else at 0.
  int64_t bytes = 1;
  if (buffer.kind == BufferRef::Kind::Parameter)
    bytes = tensorBytes(package.parameters[buffer.index]);
  if (buffer.kind == BufferRef::Kind::State)
    bytes = tensorBytes(package.states[buffer.index]);
  if (buffer.offset >= uint64_t(bytes))
    return corrupt("a buffer begins at byte " + std::to_string(buffer.offset) + " of " + std::to_string(bytes));
  return Status::ok();
}

/// Bytes of what a checked buffer lies in.
__int128 heldBytes(const Package &package, const Entry &entry, const BufferRef &buffer) {
  switch (buffer.kind) {
  case BufferRef::Kind::Parameter: return tensorBytes(package.parameters[buffer.index]);
  case BufferRef::Kind::State: return tensorBytes(package.states[buffer.index]);
  case BufferRef::Kind::Input: return portBytes(entry, entry.inputs[buffer.index]);
  case BufferRef::Kind::Scalar: return sizeof(double);
  case BufferRef::Kind::Output: return portBytes(entry, entry.outputs[buffer.index]);
  case BufferRef::Kind::Arena: return entry.arenaBytes;
  }
  return 0;
}

Status checkPort(const Package &package, const Entry &entry, const Port &port, bool isOutput) {
  std::string what = "port '" + port.name + "'";
  if (Status status = checkShape(port.shape, what); !status)
    return status;
  if (port.perToken && entry.maxTokens == 0)
    return corrupt(what + " is per token in an entry without a token axis");
  __int128 bytes = portBytes(entry, port);
  if (bytes > kMaxBytes)
    return corrupt(what + " is larger than 2^46 bytes");
  if (!isOutput)
    return Status::ok();
  if (Status status = checkBuffer(package, entry, port.buffer); !status)
    return status.with(what);
  if (port.buffer.kind == BufferRef::Kind::Arena && port.buffer.offset + uint64_t(bytes) > entry.arenaBytes)
    return corrupt(what + " reaches beyond the arena of " + std::to_string(entry.arenaBytes) + " bytes");
  if (port.buffer.kind == BufferRef::Kind::Output &&
      (port.buffer.index >= entry.outputs.size() || &entry.outputs[port.buffer.index] != &port))
    return corrupt(what + " lies in another output");
  if (port.buffer.kind != BufferRef::Kind::Arena && port.buffer.kind != BufferRef::Kind::Output &&
      __int128(port.buffer.offset) + bytes > heldBytes(package, entry, port.buffer))
    return corrupt(what + " is larger than the memory it lies in");
  return Status::ok();
}

Status checkItems(const std::string &field, const Entry &entry, const WorkItems &items) {
  if (items.tokensPerItem > 0 && entry.maxTokens == 0)
    return corrupt(field + " are per token in an entry without a token axis");
  __int128 count = items.multiplier;
  if (items.tokensPerItem > 0)
    count *= (__int128(entry.maxTokens) + items.tokensPerItem - 1) / items.tokensPerItem;
  if (count > kMaxElements || items.grain > kMaxElements)
    return corrupt(field + " are more than 2^40");
  return Status::ok();
}

Status checkLaunch(const Package &package, const Entry &entry, const Launch &launch) {
  if (launch.kernel >= package.kernels.size())
    return corrupt("kernel " + std::to_string(launch.kernel) + " of " +
                   std::to_string(package.kernels.size()));
  for (const BufferRef &buffer : launch.buffers)
    if (Status status = checkBuffer(package, entry, buffer); !status)
      return status;
  if (Status status = checkItems("items", entry, launch.items); !status)
    return status;
  if (launch.versionItems)
    if (Status status = checkItems("version_items", entry, *launch.versionItems); !status)
      return status;
  for (const Written &written : launch.writes) {
    if (written.buffer >= launch.buffers.size())
      return corrupt("a written value in buffer " + std::to_string(written.buffer) + " of " +
                     std::to_string(launch.buffers.size()));
    if (written.tokensPerRow > 0 && entry.maxTokens == 0)
      return corrupt("a written value per token in an entry without a token axis");
    const BufferRef &buffer = launch.buffers[written.buffer];
    __int128 rows = written.tokensPerRow > 0
                        ? (__int128(entry.maxTokens) + written.tokensPerRow - 1) / written.tokensPerRow
                        : 1;
    if (__int128(buffer.offset) + rows * written.rowElements * dtypeBytes(written.dtype) >
        heldBytes(package, entry, buffer))
      return corrupt("a written value is larger than the memory it lies in");
  }
  return Status::ok();
}

/// "sm_" digits and perhaps one letter, or "compute_" digits: it becomes part of a
/// section name.
bool isArch(const std::string &arch) {
  const std::string ptx = "compute_";
  if (arch.compare(0, ptx.size(), ptx) == 0)
    return (arch.size() == ptx.size() + 2 || arch.size() == ptx.size() + 3) &&
           arch.find_first_not_of("0123456789", ptx.size()) == std::string::npos;
  if (arch.size() < 5 || arch.size() > 8 || arch.compare(0, 3, "sm_") != 0)
    return false;
  for (size_t i = 3; i < arch.size(); ++i)
    if (!(arch[i] >= '0' && arch[i] <= '9') &&
        !(i + 1 == arch.size() && i > 4 && arch[i] >= 'a' && arch[i] <= 'z'))
      return false;
  return true;
}

/// Hardware limits that no architecture exceeds.
constexpr int64_t kMaxThreads = 1024, kMaxGrid = (int64_t(1) << 31) - 1;
constexpr uint64_t kMaxShared = uint64_t(1) << 20;
constexpr size_t kMaxStages = 64, kMaxImages = 16;
/// Buffers, scalars, batch and workspace of one launch: the driver's limit of
/// 4,096 bytes.
constexpr size_t kMaxArgumentBytes = 4096;

Status checkStages(const std::vector<CudaStage> &stages, const std::string &what) {
  if (stages.empty() || stages.size() > kMaxStages)
    return corrupt(what + " has " + std::to_string(stages.size()) + " stages, expected 1 to " +
                   std::to_string(kMaxStages));
  for (const CudaStage &stage : stages) {
    if (stage.symbol.empty() || stage.symbol.size() > kMaxName)
      return corrupt(what + " has a stage without a usable name");
    if (stage.threads < 32 || stage.threads > kMaxThreads || stage.threads % 32)
      return corrupt("stage '" + stage.symbol + "' has blocks of " + std::to_string(stage.threads) +
                     " threads, expected a multiple of 32 up to 1024");
    if (stage.sharedBytes > kMaxShared)
      return corrupt("stage '" + stage.symbol + "' asks for " + std::to_string(stage.sharedBytes) +
                     " bytes of shared memory");
    if (stage.blocks.multiplier > kMaxGrid)
      return corrupt("stage '" + stage.symbol + "' has more than 2^31 - 1 blocks");
  }
  return Status::ok();
}

/// Every image has every module; sizes of sections are checked when they are cut.
Status checkCuda(const Package &package) {
  const CudaCode &cuda = package.cuda;
  if (cuda.kernels.empty()) {
    if (!cuda.images.empty() || !cuda.support.empty())
      return corrupt("CUDA images without CUDA kernels");
    return Status::ok();
  }
  if (cuda.kernels.size() != package.kernels.size())
    return corrupt(std::to_string(cuda.kernels.size()) + " CUDA kernels for " +
                   std::to_string(package.kernels.size()) + " kernels");
  if (cuda.images.size() > kMaxImages)
    return corrupt("more than " + std::to_string(kMaxImages) + " CUDA images");
  std::set<std::string> seen;
  for (const CudaImage &image : cuda.images)
    if (!isArch(image.arch) || !seen.insert(image.arch).second)
      return corrupt("CUDA architecture '" + image.arch + "' is unknown or occurs twice");
  for (size_t i = 0; i < cuda.kernels.size(); ++i)
    if (Status status = checkStages(cuda.kernels[i].stages, "CUDA kernel " + std::to_string(i)); !status)
      return status;
  if (!cuda.support.empty())
    if (Status status = checkStages(cuda.support, "CUDA support"); !status)
      return status;
  for (const Entry &entry : package.entries)
    for (const Launch &launch : entry.launches) {
      const CudaKernel &kernel = cuda.kernels[launch.kernel];
      if ((launch.buffers.size() + launch.scalars.size() + 7) * 8 > kMaxArgumentBytes)
        return corrupt("a launch of entry '" + entry.name + "' has more than 4,096 bytes of arguments");
      if (!kernel.bufferBytes.empty() && kernel.bufferBytes.size() != launch.buffers.size())
        return corrupt("a launch of entry '" + entry.name + "' has " + std::to_string(launch.buffers.size()) +
                       " buffers, its CUDA kernel " + std::to_string(kernel.bufferBytes.size()));
      if (const auto &product = kernel.product)
        if (std::max({product->a, product->b, product->c}) >= launch.buffers.size() ||
            (entry.maxTokens == 0 && (product->rows == 0 || product->depth == 0)))
          return corrupt("a product of entry '" + entry.name + "' names buffers or a token axis that are not there");
      if (__int128(kernel.workspacePerToken) * entry.maxTokens + kernel.workspaceFixed > kMaxBytes)
        return corrupt("entry '" + entry.name + "' needs a workspace of more than 2^46 bytes");
      for (const CudaStage &stage : kernel.stages) {
        if (stage.blocks.tokensPerItem > 0 && entry.maxTokens == 0)
          return corrupt("blocks per token in entry '" + entry.name + "' without a token axis");
        __int128 blocks = stage.blocks.multiplier;
        if (stage.blocks.tokensPerItem > 0)
          blocks *= (__int128(entry.maxTokens) + stage.blocks.tokensPerItem - 1) / stage.blocks.tokensPerItem;
        if (blocks > kMaxGrid)
          return corrupt("stage '" + stage.symbol + "' has more than 2^31 - 1 blocks in entry '" + entry.name + "'");
      }
    }
  return Status::ok();
}

Status checkEntry(const Package &package, const Entry &entry) {
  if (!entry.phase.empty()) {
    bool known = false;
    for (const Phase &phase : package.phases)
      known |= phase.name == entry.phase;
    if (!known)
      return corrupt("unknown phase '" + entry.phase + "'");
  }
  auto portName = [](const Port &port) -> const std::string & { return port.name; };
  if (Status status = checkNames(entry.inputs, "an input", portName); !status)
    return status;
  if (Status status = checkNames(entry.outputs, "an output", portName); !status)
    return status;
  auto self = [](const std::string &name) -> const std::string & { return name; };
  if (Status status = checkNames(entry.scalars, "a scalar", self); !status)
    return status;
  for (const Port &port : entry.inputs)
    if (Status status = checkPort(package, entry, port, false); !status)
      return status;
  for (const Port &port : entry.outputs)
    if (Status status = checkPort(package, entry, port, true); !status)
      return status;
  for (size_t i = 0; i < entry.launches.size(); ++i)
    if (Status status = checkLaunch(package, entry, entry.launches[i]); !status)
      return status.with("launch " + std::to_string(i));
  return Status::ok();
}

} // namespace

int64_t elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t dim : shape) {
    if (dim < 1 || dim > kMaxElements / count)
      return -1;
    count *= dim;
  }
  return count;
}

Status checkPackage(const Package &package) {
  if (!findPrecisionPolicy(package.precision))
    return corrupt("unknown precision '" + package.precision + "'");
  auto name = [](const auto &item) -> const std::string & { return item.name; };
  if (Status status = checkNames(package.parameters, "a parameter", name); !status)
    return status;
  if (Status status = checkNames(package.states, "a state", name); !status)
    return status;
  if (Status status = checkNames(package.phases, "a phase", name); !status)
    return status;
  if (Status status = checkNames(package.entries, "an entry", name); !status)
    return status;
  auto symbol = [](const Kernel &kernel) -> const std::string & { return kernel.symbol; };
  if (Status status = checkNames(package.kernels, "a kernel", symbol); !status)
    return status;

  std::map<std::string, const Parameter *> parameters;
  for (const Parameter &parameter : package.parameters) {
    parameters[parameter.name] = &parameter;
    if (Status status = checkShape(parameter.shape, "parameter '" + parameter.name + "'"); !status)
      return status;
  }
  int64_t slots = 0;
  for (const State &state : package.states) {
    if (Status status = checkShape(state.shape, "state '" + state.name + "'"); !status)
      return status;
    auto parameter = parameters.find(state.parameter);
    if (!state.parameter.empty() && parameter == parameters.end())
      return corrupt("state '" + state.name + "' belongs to unknown parameter '" + state.parameter + "'");
    if (state.fromParameter &&
        (parameter == parameters.end() || parameter->second->shape != state.shape))
      return corrupt("state '" + state.name + "' starts as a copy of a parameter but belongs to none of its shape");
    if (!state.draw.kind.empty() && state.role != "adapter")
      return corrupt("state '" + state.name + "' of role '" + state.role + "' is drawn; only adapters are");
    // Kernels index adapters by slot: one number of slots for all.
    if (state.role != "adapter")
      continue;
    if (state.shape.size() != 3 || (slots != 0 && state.shape[0] != slots))
      return corrupt("adapter '" + state.name + "' expects the shape [slots, ., .] with the slots of the others");
    slots = state.shape[0];
  }
  double previous = 0;
  for (const Phase &phase : package.phases) {
    if (!(phase.startFraction >= previous && phase.startFraction <= 1))
      return corrupt("phase '" + phase.name + "' starts at a fraction that is not in order from 0 to 1");
    previous = phase.startFraction;
  }
  for (const Entry &entry : package.entries)
    if (Status status = checkEntry(package, entry); !status)
      return status.with("entry '" + entry.name + "'");

  if (Status status = checkCuda(package); !status)
    return status;

  // What the executor adds up in 64 bits.
  __int128 total = 0;
  for (const Parameter &parameter : package.parameters)
    total += tensorBytes(parameter);
  for (const State &state : package.states)
    total += tensorBytes(state);
  for (const Entry &entry : package.entries)
    for (const auto *ports : {&entry.inputs, &entry.outputs})
      for (const Port &port : *ports)
        total += portBytes(entry, port);
  if (total > kMaxBytes)
    return corrupt("parameters, states and ports are larger than 2^46 bytes");
  return Status::ok();
}

} // namespace pg::rt
