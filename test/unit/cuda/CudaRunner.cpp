//===- CudaRunner.cpp - emitted kernels in the emulator, and on the CPU -------===//
#include "CudaRunner.h"
#include "EmulatedLaunch.h"

#include "dialect/Pg.h"
#include "passes/cpu/CpuBackend.h"
#include "runtime/support/BFloat16.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace pg::test {

struct CudaRunner::State {
  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;
  cuda::EmittedSource cuda;
  std::unique_ptr<emulator::Kernels> emulated;
  cpu::EmittedCode cpu;
  void *cpuHandle = nullptr;
  int cpuFile = -1;
  std::map<std::string, KernelDefOp> defs;
  std::map<std::string, std::string> origins; ///< of planted kernels
  ~State() {
    if (cpuHandle)
      dlclose(cpuHandle);
    if (cpuFile >= 0)
      close(cpuFile);
  }
};

CudaRunner::CudaRunner(const std::string &text,
                       const std::vector<std::string> &only)
    : state(std::make_unique<State>()) {
  state->context.loadDialect<PgDialect, func::FuncDialect>();
  state->module = parseSourceString<ModuleOp>(text, &state->context);
  if (!state->module) {
    message = "the kernels do not parse";
    return;
  }
  // Entries launch kernels that may be left out.
  if (!only.empty())
    for (auto entry :
         llvm::make_early_inc_range(state->module->getOps<func::FuncOp>()))
      entry.erase();
  std::set<std::string> wanted(only.begin(), only.end());
  for (auto def : llvm::make_early_inc_range(state->module->getOps<KernelDefOp>())) {
    if (!wanted.empty() && !wanted.count(def.getSymName().str())) {
      def.erase();
      continue;
    }
    state->defs[def.getSymName().str()] = def;
  }
  FailureOr<cuda::EmittedSource> source = cuda::emitCuda(*state->module);
  if (failed(source)) {
    message = "emission for CUDA failed";
    return;
  }
  state->cuda = std::move(*source);
  auto code = cpu::emitCpu(*state->module, *cpu::namedTarget("x86-64-v3"), 2, Cache(Cache::defaultFolder()));
  if (failed(code)) {
    message = "emission for the CPU failed";
    return;
  }
  state->cpu = std::move(*code);
  state->cpuFile = memfd_create("kernels", MFD_CLOEXEC);
  const std::string &elf = state->cpu.elf;
  if (write(state->cpuFile, elf.data(), elf.size()) == ssize_t(elf.size()))
    state->cpuHandle =
        dlopen(("/proc/self/fd/" + std::to_string(state->cpuFile)).c_str(),
               RTLD_NOW | RTLD_LOCAL);
  if (!state->cpuHandle)
    message = dlerror();
}

CudaRunner::~CudaRunner() = default;

const std::vector<cuda::EmittedKernel> &CudaRunner::kernels() const {
  return state->cuda.kernels;
}

static cuda::EmittedKernel *findKernel(cuda::EmittedSource &source,
                                       const std::string &name) {
  for (cuda::EmittedKernel &kernel : source.kernels)
    if (kernel.symbol == name)
      return &kernel;
  return nullptr;
}

std::string CudaRunner::plant(const std::string &kernel, const Bug &bug) {
  cuda::EmittedKernel planted = *findKernel(state->cuda, kernel);
  std::string &text = planted.source;
  size_t at = text.find(bug.after);
  if (at != std::string::npos)
    at = text.find(bug.from, at);
  if (at == std::string::npos)
    return "";
  for (; at != std::string::npos; at = text.find(bug.from, at + bug.to.size())) {
    text.replace(at, bug.from.size(), bug.to);
    if (bug.onlyFirst)
      break;
  }
  planted.symbol += "_" + bug.name;
  for (cuda::Stage &stage : planted.stages) {
    text.replace(text.find(" " + stage.symbol + "("), stage.symbol.size() + 1,
                 " " + stage.symbol + "_" + bug.name);
    stage.symbol += "_" + bug.name;
  }
  state->origins[planted.symbol] = kernel;
  state->defs[planted.symbol] = state->defs.at(kernel);
  state->cuda.kernels.push_back(planted);
  state->emulated.reset();
  return planted.symbol;
}

std::vector<emulator::RaceLaunch>
CudaRunner::raceLaunches(const std::string &kernel, int64_t tokens) const {
  const cuda::EmittedKernel &emitted = *findKernel(state->cuda, kernel);
  std::string count = std::to_string(tokens);
  std::string setup = "std::vector<int> zero(" + count + ", 0), end(" + count +
                      ", " + count + ");\nstruct { long long n; const int *t[5]; } batch = {" +
                      count + ", {zero.data(), end.data(), zero.data(), end.data(), zero.data()}};\n"
                      "std::vector<char> space(" +
                      std::to_string(emitted.workspaceFixed +
                                     emitted.workspacePerToken * tokens + 1) +
                      ");\nvoid *workspace = space.data();\ndouble number = 0.5;\n";
  std::string params;
  int index = 0;
  for (const Buffer &buffer : buffers(kernel)) {
    std::string name = "b" + std::to_string(index++);
    setup += "std::vector<char> " + name + "(" +
             std::to_string(buffer.count(tokens) * buffer.bytes()) +
             ");\nvoid *p" + name + " = " + name + ".data();\n";
    params += "&p" + name + ", ";
  }
  for (int64_t k = 0; k < scalarCount(kernel); ++k)
    params += "&number, ";
  setup += "void *params[] = {" + params + "&batch, &workspace};\n";
  std::vector<emulator::RaceLaunch> launches;
  for (const cuda::Stage &stage : emitted.stages)
    launches.push_back({stage.symbol, setup, stage.blocks.count(tokens),
                        stage.threads, stage.sharedBytes});
  return launches;
}

std::string CudaRunner::source() const { return cuda::wholeText(state->cuda); }

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

int64_t CudaRunner::Buffer::count(int64_t tokens) const {
  if (grain > 0)
    return (tokens + grain - 1) / grain * elements;
  return perToken ? tokens * elements : elements;
}
int64_t CudaRunner::Buffer::bytes() const {
  return element == "f64"                        ? 8
         : element == "f32" || element == "i32" ? 4
         : element == "bf16"                    ? 2
                                                : 1;
}

static CudaRunner::Buffer bufferOf(Type given, int64_t mode) {
  auto type = cast<RankedTensorType>(given);
  CudaRunner::Buffer buffer;
  Type element = type.getElementType();
  buffer.element = element.isF32()      ? "f32"
                   : element.isF64()    ? "f64"
                   : element.isBF16()   ? "bf16"
                   : element.isInteger(32) ? "i32"
                   : element.isInteger(8)  ? "i8"
                                           : "i1";
  buffer.perToken = isTokenTensor(type);
  if (isChunkTensor(type))
    buffer.grain = cast<ChunksAttr>(type.getEncoding()).getGrain();
  buffer.elements = elementsPerToken(type);
  buffer.mode = mode;
  return buffer;
}

std::vector<CudaRunner::Buffer>
CudaRunner::buffers(const std::string &kernel) const {
  std::vector<Buffer> result;
  KernelDefOp def = state->defs.at(kernel);
  for (BlockArgument argument : def.getBody().front().getArguments())
    if (isa<RankedTensorType>(argument.getType()))
      result.push_back(bufferOf(argument.getType(), -1));
  Operation *yield = def.getBody().front().getTerminator();
  for (auto [mode, value] : llvm::zip(def.getModes(), yield->getOperands()))
    result.push_back(bufferOf(value.getType(), mode));
  return result;
}

int64_t CudaRunner::scalarCount(const std::string &kernel) const {
  KernelDefOp def = state->defs.at(kernel);
  return llvm::count_if(def.getBody().front().getArguments(),
                        [](BlockArgument argument) {
                          return !isa<RankedTensorType>(argument.getType());
                        });
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

std::string CudaRunner::run(const std::string &kernel,
                            const std::vector<void *> &buffers,
                            const std::vector<double> &scalars,
                            const rt::Batch &batch,
                            const emulator::Schedule &schedule) const {
  const cuda::EmittedKernel *emitted = findKernel(state->cuda, kernel);
  if (!emitted)
    return "there is no kernel " + kernel;
  if (!state->emulated) {
    std::vector<std::string> symbols;
    for (const cuda::EmittedKernel &each : state->cuda.kernels)
      for (const cuda::Stage &stage : each.stages)
        symbols.push_back(stage.symbol);
    state->emulated = std::make_unique<emulator::Kernels>(source(), symbols);
  }
  if (!state->emulated->error().empty())
    return "the text does not compile: " + state->emulated->error();
  return launchEmulated(*state->emulated, *emitted, buffers, scalars, batch, schedule);
}

std::string CudaRunner::runOnCpu(const std::string &kernel,
                                 const std::vector<void *> &buffers,
                                 const std::vector<double> &scalars,
                                 const rt::Batch &batch) const {
  auto origin = state->origins.find(kernel);
  const std::string &name =
      origin == state->origins.end() ? kernel : origin->second;
  auto function =
      reinterpret_cast<rt::KernelFn>(dlsym(state->cpuHandle, name.c_str()));
  const cpu::EmittedKernel &shape = state->cpu.kernels.at(name);
  if (!function)
    return "the CPU has no kernel " + kernel;
  std::vector<char> scratch(shape.scratchBytes + 64, char(0xFF));
  auto address = reinterpret_cast<uintptr_t>(scratch.data());
  void *aligned = reinterpret_cast<void *>((address + 63) / 64 * 64);
  *static_cast<uint64_t *>(aligned) = 0; // a launch begins (KernelAbi.h)
  function(buffers.data(), scalars.data(), &batch, 0,
           shape.items.count(batch.numTokens), aligned);
  return "";
}

namespace {

double elementAt(const CudaRunner::Buffer &buffer, const void *data, int64_t k) {
  if (buffer.element == "f32")
    return static_cast<const float *>(data)[k];
  if (buffer.element == "f64")
    return static_cast<const double *>(data)[k];
  if (buffer.element == "i32")
    return static_cast<const int32_t *>(data)[k];
  if (buffer.element == "i8")
    return static_cast<const int8_t *>(data)[k];
  if (buffer.element == "i1")
    return static_cast<const uint8_t *>(data)[k];
  uint32_t bits = uint32_t(static_cast<const uint16_t *>(data)[k]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// Deterministic numbers: floats in [-1, 1) and away from 0, small indices.
void fill(const CudaRunner::Buffer &buffer, void *data, int64_t count,
          uint64_t seed, bool positive) {
  uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (int64_t k = 0; k < count; ++k) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    double x = double(state >> 11) / double(1ull << 52) - 1.0;
    x = positive ? 0.5 + std::abs(x) : x;
    if (buffer.element == "f32")
      static_cast<float *>(data)[k] = float(x);
    else if (buffer.element == "f64")
      static_cast<double *>(data)[k] = x;
    else if (buffer.element == "i32")
      static_cast<int32_t *>(data)[k] = int32_t(state >> 40) % 64;
    else if (buffer.element == "i8")
      static_cast<int8_t *>(data)[k] = int8_t(state >> 40);
    else if (buffer.element == "i1")
      static_cast<uint8_t *>(data)[k] = (state >> 40) & 1;
    else {
      float f = float(x);
      uint32_t bits;
      std::memcpy(&bits, &f, 4);
      static_cast<uint16_t *>(data)[k] = uint16_t(bits >> 16);
    }
  }
}

} // namespace

std::string CudaRunner::compare(const std::string &kernel,
                                const rt::Batch &batch,
                                const emulator::Schedule &schedule,
                                double givenBound) const {
  std::vector<Buffer> shapes = buffers(kernel);
  std::vector<std::unique_ptr<emulator::GuardedMemory>> memory, memoryCpu;
  std::vector<void *> pointers, pointersCpu;
  for (auto [index, shape] : llvm::enumerate(shapes)) {
    int64_t count = shape.count(batch.numTokens);
    for (auto *side : {&memory, &memoryCpu}) {
      side->push_back(
          std::make_unique<emulator::GuardedMemory>(count * shape.bytes()));
      // Buffers that are added to begin with numbers too.
      if (shape.mode == -1 || shape.mode == 2)
        fill(shape, side->back()->data(), count, index + 1, index % 3 == 2);
    }
    pointers.push_back(memory.back()->data());
    pointersCpu.push_back(memoryCpu.back()->data());
  }
  std::vector<double> scalars;
  for (int64_t k = 0; k < scalarCount(kernel); ++k)
    scalars.push_back(0.25 + 0.5 * double(k % 3));
  std::string error = run(kernel, pointers, scalars, batch, schedule);
  if (error.empty())
    error = runOnCpu(kernel, pointersCpu, scalars, batch);
  if (!error.empty())
    return error;
  for (auto [index, shape] : llvm::enumerate(shapes)) {
    if (shape.mode == -1)
      continue;
    // Relative L2 of the tensor, and no element off by more than twenty times
    // that against the largest: sums are taken in another order.
    double bound = shape.element == "f64"        ? 1e-12
                   : shape.element[0] == 'i'     ? 0
                   : givenBound > 0              ? givenBound
                   : shape.element == "bf16"     ? 1.0 / 256
                                                 : 2e-5;
    int64_t count = shape.count(batch.numTokens);
    double difference = 0, size = 0, largest = 0, worst = 0;
    int64_t worstAt = 0;
    for (int64_t k = 0; k < count; ++k) {
      double got = elementAt(shape, pointers[index], k);
      double want = elementAt(shape, pointersCpu[index], k);
      if (got == want || (std::isnan(got) && std::isnan(want)))
        continue;
      double error = std::abs(got - want);
      error = std::isnan(error) ? INFINITY : error;
      difference += error * error;
      if (error > worst) {
        worst = error;
        worstAt = k;
      }
    }
    for (int64_t k = 0; k < count; ++k) {
      double want = elementAt(shape, pointersCpu[index], k);
      if (!std::isfinite(want))
        continue;
      size += want * want;
      largest = std::max(largest, std::abs(want));
    }
    if (!(std::sqrt(difference) <= bound * std::sqrt(size)) ||
        !(worst <= 20 * bound * largest))
      return "buffer " + std::to_string(index) + " element " +
             std::to_string(worstAt) + ": " +
             std::to_string(elementAt(shape, pointers[index], worstAt)) +
             ", on the CPU " +
             std::to_string(elementAt(shape, pointersCpu[index], worstAt)) +
             ", relative L2 " +
             std::to_string(std::sqrt(difference / std::max(size, 1e-300)));
  }
  return "";
}

} // namespace pg::test
