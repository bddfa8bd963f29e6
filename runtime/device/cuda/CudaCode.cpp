//===- CudaCode.cpp - the image that fits a GPU, loaded ---------------------===//
#include "runtime/device/cuda/CudaCode.h"

#include <cstdlib>

namespace pg::rt {
namespace {

constexpr uint64_t kSharedWithoutAsking = 48 << 10;

struct Arch {
  int number = 0;      ///< 90 of sm_90a
  char feature = '\0'; ///< 'a' of sm_90a
  bool isPtx = false;
};

Arch parseArch(const CudaImage &image) {
  Arch arch;
  char *end = nullptr;
  arch.isPtx = isPtx(image);
  arch.number = int(std::strtol(image.arch.c_str() + image.arch.find('_') + 1, &end, 10));
  arch.feature = *end;
  return arch;
}

/// Higher is better, 0 does not run. Machine code before PTX.
int fitness(const Arch &arch, int major, int minor) {
  int wanted = major * 10 + minor;
  if (arch.isPtx)
    return arch.number <= wanted ? arch.number : 0;
  if (arch.number == wanted)
    return 4000 + (arch.feature ? 1 : 0);
  if (arch.feature == 'a' || arch.number / 10 != major || arch.number > wanted)
    return 0;
  return 2000 + arch.number;
}

} // namespace

StatusOr<const CudaImage *> chooseImage(const CudaCode &code, int major, int minor) {
  const CudaImage *best = nullptr;
  int bestFitness = 0;
  std::string known;
  for (const CudaImage &image : code.images) {
    known += (known.empty() ? "" : ", ") + image.arch;
    if (int fits = fitness(parseArch(image), major, minor); fits > bestFitness) {
      best = &image;
      bestFitness = fits;
    }
  }
  if (best)
    return best;
  std::string wanted = "sm_" + std::to_string(major) + std::to_string(minor);
  return Status(Code::Environment, "the GPU is " + wanted + ", the package holds " +
                                       (known.empty() ? "CUDA source but no code" : "code for " + known) +
                                       "; recompile it with pgc compile --target cuda:" + wanted);
}

Status CudaFunctions::load(const Package &package, const CudaImage &image, const cuda::Driver &driver,
                           uint64_t maxShared) {
  const cuda::DriverTable &call = driver.call;
  arch = image.arch;
  for (size_t i = 0; i < kSupportKernels && !package.cuda.support.empty(); ++i)
    if (package.cuda.support.size() != kSupportKernels || package.cuda.support[i].symbol != kSupportSymbols[i])
      return {Code::Corrupt, "the package holds other support kernels than this program knows; recompile it"};
  std::string compiler = "an unknown compiler";
  for (const CodeTarget &target : package.targets)
    if (target.target == "cuda")
      compiler = target.cpu;

  for (size_t i = 0; i < image.modules.size(); ++i) {
    cuda::Module module = nullptr;
    if (cuda::Result result = call.moduleLoadData(&module, image.modules[i].data()); result != cuda::kSuccess)
      return cuda::driverError(call, result, "cannot load the " + arch + " code (made by " + compiler +
                                                 ", this driver supports CUDA " + cuda::versionText(driver.version) +
                                                 "; a newer driver or a recompilation helps)");
    modules.push_back(module);
    bool isSupport = i == package.cuda.kernels.size();
    const std::vector<CudaStage> &stages = isSupport ? package.cuda.support : package.cuda.kernels[i].stages;
    std::vector<cuda::Function> found;
    for (const CudaStage &stage : stages) {
      cuda::Function function = nullptr;
      if (call.moduleGetFunction(&function, module, stage.symbol.c_str()) != cuda::kSuccess)
        return {Code::Corrupt, "the " + arch + " code lacks kernel '" + stage.symbol + "'; recompile the package"};
      if (stage.sharedBytes > maxShared)
        return {Code::Environment, "kernel '" + stage.symbol + "' needs " + std::to_string(stage.sharedBytes) +
                                       " bytes of shared memory, this GPU has " + std::to_string(maxShared)};
      if (stage.sharedBytes > kSharedWithoutAsking)
        if (cuda::Result result =
                call.functionSetAttribute(function, cuda::kFunctionDynamicShared, int(stage.sharedBytes));
            result != cuda::kSuccess)
          return cuda::driverError(call, result, "cannot give kernel '" + stage.symbol + "' " +
                                                     std::to_string(stage.sharedBytes) + " bytes of shared memory");
      found.push_back(function);
    }
    if (isSupport)
      support = std::move(found);
    else
      kernels.push_back(std::move(found));
  }
  return Status::ok();
}

void CudaFunctions::unload(const cuda::DriverTable &call) {
  for (cuda::Module module : modules)
    call.moduleUnload(module);
  modules.clear();
}

} // namespace pg::rt
