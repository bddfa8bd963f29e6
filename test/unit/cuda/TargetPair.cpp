//===- TargetPair.cpp - structured kernels, emulated and on the CPU -----------===//
#include "TargetPair.h"
#include "EmulatedLaunch.h"

#include "test/unit/cpu/KernelRunner.h"

#include "dialect/Pg.h"
#include "passes/cpu/CpuBackend.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace pg::test {

namespace {

struct Buffer {
  std::string element; ///< in the emulator
  bool perToken = false;
  int64_t elements = 1; ///< per token, or in all
  int64_t mode = -1;    ///< -1: argument
  int64_t bytes() const {
    return element == "f64" ? 8 : element == "bf16" ? 2 : element == "i8" ? 1 : 4;
  }
};

std::string withElement(std::string text, const std::string &element) {
  std::string result = element == "bf16" ? "f32" : element;
  for (size_t at = text.find('$'); at != std::string::npos; at = text.find('$', at))
    text.replace(at, 2, text[at + 1] == 'E' ? element : result);
  return text;
}

void put(const std::string &element, void *data, int64_t k, double x) {
  if (element == "f64") {
    static_cast<double *>(data)[k] = x;
  } else if (element == "f32") {
    static_cast<float *>(data)[k] = static_cast<float>(x);
  } else if (element == "i32") {
    static_cast<int32_t *>(data)[k] = static_cast<int32_t>(x);
  } else if (element == "i8") {
    static_cast<int8_t *>(data)[k] = static_cast<int8_t>(x);
  } else {
    float f = static_cast<float>(x);
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    static_cast<uint16_t *>(data)[k] = static_cast<uint16_t>(bits >> 16);
  }
}

double get(const std::string &element, const void *data, int64_t k) {
  if (element == "f64")
    return static_cast<const double *>(data)[k];
  if (element == "f32")
    return static_cast<const float *>(data)[k];
  if (element == "i32")
    return static_cast<const int32_t *>(data)[k];
  if (element == "i8")
    return static_cast<const int8_t *>(data)[k];
  uint32_t bits = uint32_t(static_cast<const uint16_t *>(data)[k]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

} // namespace

struct Signature {
  std::vector<Buffer> buffers;
  int64_t scalars = 0;
};

struct TargetPair::State {
  cuda::EmittedSource cuda;
  std::unique_ptr<emulator::Kernels> emulated;
  cpu::EmittedCode cpu;
  int cpuFile = -1;
  void *cpuHandle = nullptr;
  std::map<std::string, Signature> signatures;
  bool wide = false; ///< f64 on the CPU
  ~State() {
    if (cpuHandle)
      dlclose(cpuHandle);
    if (cpuFile >= 0)
      close(cpuFile);
  }
};

static Signature signatureOf(KernelDefOp def) {
  Signature signature;
  auto add = [&](Type given, int64_t mode) {
    auto type = dyn_cast<RankedTensorType>(given);
    if (!type) {
      ++signature.scalars;
      return;
    }
    Type e = type.getElementType();
    signature.buffers.push_back({e.isBF16()        ? "bf16"
                                 : e.isF64()       ? "f64"
                                 : e.isInteger(32) ? "i32"
                                 : e.isInteger(8)  ? "i8"
                                                   : "f32",
                                 isTokenTensor(type), elementsPerToken(type),
                                 mode});
  };
  Block &body = def.getBody().front();
  for (BlockArgument argument : body.getArguments())
    add(argument.getType(), -1);
  for (auto [mode, value] :
       llvm::zip(def.getModes(), body.getTerminator()->getOperands()))
    add(value.getType(), mode);
  return signature;
}

TargetPair::TargetPair(const std::string &text, const std::string &element)
    : state(std::make_unique<State>()) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<PgDialect, func::FuncDialect>();
  state->wide = element == "f64";
  auto module =
      parseSourceString<ModuleOp>(withElement(text, element), &context);
  auto onCpu = parseSourceString<ModuleOp>(
      withElement(text, state->wide ? "f64" : "f32"), &context);
  if (!module || !onCpu) {
    message = "the kernels do not parse";
    return;
  }
  // Casts that narrow results here do nothing there.
  onCpu->walk([](CastOp cast) {
    if (cast.getX().getType() == cast.getType()) {
      cast.replaceAllUsesWith(cast.getX());
      cast.erase();
    }
  });
  FailureOr<cuda::EmittedSource> source = cuda::emitCuda(*module);
  if (failed(source)) {
    message = "emission for CUDA failed";
    return;
  }
  state->cuda = std::move(*source);
  std::vector<std::string> symbols;
  for (const cuda::EmittedKernel &kernel : kernels())
    for (const cuda::Stage &stage : kernel.stages)
      symbols.push_back(stage.symbol);
  state->emulated =
      std::make_unique<emulator::Kernels>(this->source(), symbols);
  if (!state->emulated->error().empty()) {
    message = state->emulated->error() + this->source();
    return;
  }
  for (auto def : module->getOps<KernelDefOp>())
    state->signatures[def.getSymName().str()] = signatureOf(def);

  auto code = cpu::emitCpu(*onCpu, *cpu::namedTarget("x86-64-v3"), 2, Cache(Cache::defaultFolder()));
  if (failed(code)) {
    message = "emission for the CPU failed";
    return;
  }
  state->cpu = std::move(*code);
  state->cpuFile = memfd_create("kernels", MFD_CLOEXEC);
  const std::string &elf = state->cpu.elf;
  std::string path = "/proc/self/fd/" + std::to_string(state->cpuFile);
  if (write(state->cpuFile, elf.data(), elf.size()) == ssize_t(elf.size()))
    state->cpuHandle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!state->cpuHandle)
    message = dlerror();
}

TargetPair::~TargetPair() = default;

const std::vector<cuda::EmittedKernel> &TargetPair::kernels() const {
  return state->cuda.kernels;
}
std::string TargetPair::source() const { return cuda::wholeText(state->cuda); }

std::string TargetPair::compare(const std::string &name, const rt::Batch &batch,
                                const emulator::Schedule &schedule,
                                double bound) const {
  const std::vector<Buffer> &buffers = state->signatures.at(name).buffers;
  const cuda::EmittedKernel &emitted = *llvm::find_if(
      kernels(), [&](const auto &kernel) { return kernel.symbol == name; });
  std::vector<std::unique_ptr<emulator::GuardedMemory>> memory;
  std::vector<std::vector<double>> wideMemory;
  std::vector<std::vector<float>> narrowMemory;
  std::vector<void *> pointers, pointersCpu;
  std::vector<int64_t> counts;
  wideMemory.resize(buffers.size());
  narrowMemory.resize(buffers.size());
  for (size_t b = 0; b < buffers.size(); ++b) {
    const Buffer &buffer = buffers[b];
    int64_t count = buffer.perToken ? buffer.elements * batch.numTokens
                                    : buffer.elements;
    counts.push_back(count);
    memory.push_back(
        std::make_unique<emulator::GuardedMemory>(count * buffer.bytes()));
    void *emulated = memory.back()->data();
    wideMemory[b].assign(state->wide ? count : 0, NAN);
    narrowMemory[b].assign(count, NAN);
    bool isCode = buffer.element == "i8";
    bool isInteger = buffer.element == "i32" || isCode;
    void *onCpu = state->wide && !isInteger
                      ? static_cast<void *>(wideMemory[b].data())
                      : narrowMemory[b].data();
    // Buffers that are added to begin with numbers too.
    if (buffer.mode == -1 || buffer.mode == 2) {
      auto values = noise<double>(count, b + 1);
      for (int64_t k = 0; k < count; ++k) {
        // Codes take every value that eight bits have.
        double value = isCode ? std::floor(128 * values[k])
                       : isInteger
                           ? std::floor((values[k] + 1) / 2 * double(integerLimit))
                           : amplitude * values[k];
        put(buffer.element, emulated, k, value);
        put(isInteger ? buffer.element : state->wide ? "f64" : "f32", onCpu, k,
            get(buffer.element, emulated, k));
      }
    }
    pointers.push_back(emulated);
    pointersCpu.push_back(onCpu);
  }
  std::vector<double> scalars;
  for (int64_t k = 0; k < state->signatures.at(name).scalars; ++k)
    scalars.push_back(0.25 * double(k % 3));

  if (std::string error = launchEmulated(*state->emulated, emitted, pointers,
                                         scalars, batch, schedule);
      !error.empty())
    return error;
  auto function =
      reinterpret_cast<rt::KernelFn>(dlsym(state->cpuHandle, name.c_str()));
  const cpu::EmittedKernel &shape = state->cpu.kernels.at(name);
  std::vector<char> scratch(shape.scratchBytes + 64, char(0xFF));
  auto address = reinterpret_cast<uintptr_t>(scratch.data());
  void *aligned = reinterpret_cast<void *>((address + 63) / 64 * 64);
  *static_cast<uint64_t *>(aligned) = 0; // a launch begins (KernelAbi.h)
  function(pointersCpu.data(), scalars.data(), &batch, 0,
           shape.items.count(batch.numTokens), aligned);

  for (size_t b = 0; b < buffers.size(); ++b) {
    const Buffer &buffer = buffers[b];
    if (buffer.mode == -1)
      continue;
    double worst = 0;
    int64_t where = 0;
    for (int64_t k = 0; k < counts[b]; ++k) {
      double got = get(buffer.element, pointers[b], k);
      double want = get(state->wide ? "f64" : "f32", pointersCpu[b], k);
      double error = std::abs(got - want) / (1 + std::abs(want));
      error = std::isnan(error) ? INFINITY : error;
      if (error > worst) {
        worst = error;
        where = k;
      }
    }
    if (worst > bound)
      return "buffer " + std::to_string(b) + " element " +
             std::to_string(where) + " of " + std::to_string(counts[b]) + ": " +
             std::to_string(get(buffer.element, pointers[b], where)) +
             ", on the CPU " +
             std::to_string(
                 get(state->wide ? "f64" : "f32", pointersCpu[b], where));
  }
  return "";
}

} // namespace pg::test
