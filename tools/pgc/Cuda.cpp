//===- Cuda.cpp - code for NVIDIA GPUs -------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "passes/cuda/CudaBackend.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace pg::tool {
namespace {

nvrtc::CudaSource sourceOf(cuda::EmittedSource &emitted) {
  nvrtc::CudaSource source;
  source.include = cuda::includeLine().str();
  source.headerName = "pg_prelude.cuh";
  source.prelude = cuda::preludeText().str();
  for (cuda::EmittedKernel &kernel : emitted.kernels) {
    nvrtc::KernelText text{kernel.symbol, std::move(kernel.source), {}, uint64_t(kernel.workspaceFixed),
                           uint64_t(kernel.workspacePerToken), kernel.product};
    for (const cuda::Stage &stage : kernel.stages)
      text.stages.push_back({stage.symbol, stage.threads, uint64_t(stage.sharedBytes), stage.blocks});
    source.kernels.push_back(std::move(text));
  }
  return source;
}

int write(const std::string &path, llvm::StringRef text) {
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (!error)
    stream << text;
  if (error || stream.has_error()) {
    llvm::errs() << "pgc: cannot write '" << path << "'\n";
    stream.clear_error();
    return kIo;
  }
  return kOk;
}

} // namespace

/// Spilling costs speed, not correctness: one line says how much of it there is.
static void noteSpills(const std::vector<std::vector<nvrtc::CompiledKernel>> &compiled) {
  size_t stages = 0, spilling = 0;
  const nvrtc::Resources *worst = nullptr;
  for (const auto &arch : compiled)
    for (const nvrtc::CompiledKernel &kernel : arch)
      for (const nvrtc::Resources &stage : kernel.resources) {
        ++stages;
        if (stage.stackBytes == 0 && stage.spillStores + stage.spillLoads == 0)
          continue;
        ++spilling;
        if (!worst || stage.stackBytes > worst->stackBytes)
          worst = &stage;
      }
  if (worst)
    llvm::errs() << "pgc: note: " << spilling << " of " << stages << " CUDA functions keep registers in local memory, "
                 << worst->kernel << " the most (" << worst->stackBytes << " bytes); -v lists them\n";
}

int lowerCuda(const CudaOptions &options, const std::vector<std::string> &archs, int jobs, const Cache &cache,
              Build &build) {
  auto start = std::chrono::steady_clock::now();
  mlir::FailureOr<cuda::EmittedSource> emitted = cuda::emitCuda(*build.module);
  if (mlir::failed(emitted))
    return kInternal;
  for (const cuda::EmittedKernel &kernel : emitted->kernels)
    build.parts.cudaCategories[kernel.symbol] = kernel.category;
  nvrtc::CompileOptions compile;
  compile.archs = archs;
  compile.jobs = jobs;
  compile.cache = cache;
  compile.spillsAreErrors = options.refusesSpills;
  rt::StatusOr<nvrtc::CudaImages> images = nvrtc::buildImages(sourceOf(*emitted), compile);
  if (!images) {
    llvm::errs() << "pgc: " << images.status().message() << "\n";
    return static_cast<int>(images.status().code());
  }
  build.cuda = std::move(*images);
  build.parts.cuda = std::move(build.cuda.code);
  build.parts.cudaCompiler = build.cuda.compiler;
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  build.times.emplace_back("cuda", seconds.count());
  for (const auto &arch : build.cuda.compiled)
    build.compiled += arch.size();
  build.cached += build.cuda.cached;
  noteSpills(build.cuda.compiled);
  if (options.verbose && !archs.empty()) {
    size_t total = archs.size() * build.cuda.compiled.front().size();
    llvm::errs() << build.cuda.compiler << ": " << total << " modules, " << build.cuda.cached << " from the cache\n"
                 << nvrtc::resourceTable(archs, build.cuda.compiled);
  }
  return kOk;
}

int emitTexts(const std::vector<std::string> &kinds, const std::string &packagePath, const Build &build) {
  std::string stem = llvm::StringRef(packagePath).ends_with(".pgx") ? packagePath.substr(0, packagePath.size() - 4)
                                                                    : packagePath;
  auto put = [&](const std::string &suffix, const std::string &text) {
    if (packagePath.empty()) {
      llvm::outs() << text;
      return int(kOk);
    }
    return write(stem + suffix, text);
  };
  for (const std::string &kind : kinds) {
    if (kind == "cuda") {
      if (int code = put(".cu", cuda::includeLine().str() + build.parts.cuda.source))
        return code;
      continue;
    }
    for (size_t a = 0; a < build.cuda.compiled.size(); ++a) {
      std::string text;
      for (const nvrtc::CompiledKernel &kernel : build.cuda.compiled[a])
        text += kernel.output.ptx;
      if (int code = put("." + build.parts.cuda.images[a].arch + ".ptx", text))
        return code;
    }
  }
  return kOk;
}

} // namespace pg::tool
