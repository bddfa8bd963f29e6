//===- KernelRunner.cpp -----------------------------------------------------===//
#include "KernelRunner.h"

#include "dialect/Pg.h"
#include "passes/cpu/CpuBackend.h"

#include "mlir/Parser/Parser.h"

#include <algorithm>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace pg::test {

/// The loaded object; closed with the runner.
struct KernelRunner::Compiled {
  void *handle = nullptr;
  /// Open as long as the object: the loader knows objects by path, and a
  /// descriptor number used twice is the same path.
  int file = -1;
  ~Compiled() {
    if (handle)
      dlclose(handle);
    if (file >= 0)
      close(file);
  }
};

KernelRunner::KernelRunner(const std::string &text, int64_t vectorBytes,
                           PairDot pairDot)
    : compiled(std::make_unique<Compiled>()) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<PgDialect>();
  auto source = parseSourceString<ModuleOp>(text, &context);
  if (!source)
    return;
  const char *level = vectorBytes == 64   ? "x86-64-v4"
                      : vectorBytes == 32 ? "x86-64-v3"
                                          : "x86-64-v2";
  auto target = cpu::namedTarget(level);
  target->pairDot = pairDot;
  if (pairDot == PairDot::Instruction)
    target->llvmFeatures = std::string("+") + kPairDotFeature;
  auto code = cpu::emitCpu(*source, *target, /*jobs=*/1, Cache(Cache::defaultFolder()));
  if (failed(code))
    return;
  const auto &[symbol, kernel] = *code->kernels.begin();
  shape = kernel.items;
  kind = kernel.category;
  scratch.resize(std::max<size_t>(kernel.scratchBytes, rt::kScratchHeader) + 64);

  int file = compiled->file = memfd_create("kernels", MFD_CLOEXEC);
  ssize_t written = write(file, code->elf.data(), code->elf.size());
  std::string path = "/proc/self/fd/" + std::to_string(file);
  if (written == static_cast<ssize_t>(code->elf.size()))
    compiled->handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!compiled->handle) {
    llvm::errs() << "cannot load the kernel: " << dlerror() << "\n";
    return;
  }
  function =
      reinterpret_cast<rt::KernelFn>(dlsym(compiled->handle, symbol.c_str()));
}

KernelRunner::~KernelRunner() = default;

int64_t KernelRunner::items(int64_t tokens) const {
  int64_t blocks =
      shape.tokensPerItem > 0
          ? (tokens + shape.tokensPerItem - 1) / shape.tokensPerItem
          : 1;
  return blocks * shape.multiplier;
}

void KernelRunner::run(const std::vector<void *> &buffers,
                       const rt::Batch &batch, int64_t cut,
                       const std::vector<double> &scalars) {
  int64_t count = items(batch.numTokens);
  if (cut == 0)
    cut = std::max<int64_t>(count, 1);
  auto address = reinterpret_cast<uintptr_t>(scratch.data());
  void *aligned = reinterpret_cast<void *>((address + 63) / 64 * 64);
  // Scratch is undefined between calls: NaNs make a stale read visible.
  if (fillsScratch)
    std::fill(scratch.begin(), scratch.end(), char(0xFF));
  *static_cast<uint64_t *>(aligned) = 0;
  int64_t pieces = (count + cut - 1) / cut;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    int64_t begin = (backwards ? pieces - 1 - piece : piece) * cut;
    function(buffers.data(), scalars.data(), &batch, begin,
             std::min(begin + cut, count), aligned);
  }
}

PackedBatch::PackedBatch(int64_t tokens, const std::vector<int64_t> &rowBounds,
                         const std::vector<int64_t> &segmentBounds)
    : slot(tokens, 0) {
  auto fill = [&](std::vector<int64_t> bounds, std::vector<int32_t> &begin,
                  std::vector<int32_t> &end) {
    bounds.insert(bounds.begin(), 0);
    bounds.push_back(tokens);
    for (size_t k = 0; k + 1 < bounds.size(); ++k)
      for (int64_t t = bounds[k]; t < bounds[k + 1]; ++t) {
        begin.push_back(static_cast<int32_t>(bounds[k]));
        end.push_back(static_cast<int32_t>(bounds[k + 1]));
      }
  };
  fill(rowBounds, rowBegin, rowEnd);
  std::vector<int64_t> both = rowBounds;
  both.insert(both.end(), segmentBounds.begin(), segmentBounds.end());
  std::sort(both.begin(), both.end());
  both.erase(std::unique(both.begin(), both.end()), both.end());
  fill(both, segmentBegin, segmentEnd);
  view = {tokens,
          rowBegin.data(),
          rowEnd.data(),
          segmentBegin.data(),
          segmentEnd.data(),
          slot.data()};
}

} // namespace pg::test
