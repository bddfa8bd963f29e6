//===- FakeCuda.cpp - a package for the fake driver, and the driver's controls ---===//
#include "FakeCuda.h"
#include "runtime/support/File.h"

#include <cstdlib>
#include <dlfcn.h>
#include <sstream>

namespace pg::rt {
namespace {

template <typename Function> Function hook(const char *name) {
  fakeDriver(); // the library is loaded
  void *library = ::dlopen(FAKE_CUDA_DRIVER, RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<Function>(::dlsym(library, name));
}

CudaStage stage(const std::string &symbol, WorkItems blocks, int64_t threads = 32, uint64_t shared = 0) {
  return {symbol, threads, shared, blocks};
}

} // namespace

Package fakeCudaPackage(bool onlyCuda) {
  Package package = fakePackage();
  WorkItems perToken{32, 1, 1}, once{0, 1, 1};
  package.cuda.prelude = "// prelude\n";
  for (size_t i = 0; i < package.kernels.size(); ++i) {
    std::string text = "// " + package.kernels[i].symbol + "\n";
    package.cuda.source += text;
    bool isPerToken = i == 0 || i == 4;
    package.cuda.kernels.push_back(
        {{stage(package.kernels[i].symbol, isPerToken ? perToken : once)}, i == 1 ? 64 * sizeof(float) : 0u, 0, text.size()});
  }
  // More than 48 KiB, which has to be asked for.
  package.cuda.kernels[2].stages[0].sharedBytes = 65536;
  package.cuda.support = {stage("pg_square_lanes", once, 256), stage("pg_sum_lanes", once, 256),
                          stage("pg_scale", once, 256), stage("pg_add", once, 256)};
  auto code = readFile(FAKE_CUDA_KERNELS);
  EXPECT_TRUE(code.isOk());
  std::vector<std::string> modules(package.kernels.size() + 1, code ? *code : "");
  package.cuda.images = {{"sm_80", modules}, {"sm_90a", modules}};
  package.targets.push_back({"cuda", "NVRTC 13.0", "sm_80,sm_90a", {}});
  if (onlyCuda) {
    package.codeCpu.clear();
    package.targets.erase(package.targets.begin());
  }
  return package;
}

Environment::Environment(const char *name, const std::string &value) : name(name) {
  const char *old = std::getenv(name);
  had = old != nullptr;
  before = old ? old : "";
  ::setenv(name, value.c_str(), 1);
}

Environment::~Environment() {
  if (had)
    ::setenv(name.c_str(), before.c_str(), 1);
  else
    ::unsetenv(name.c_str());
}

const cuda::Driver &fakeDriver() {
  static StatusOr<cuda::Driver> loaded = cuda::loadDriver(FAKE_CUDA_DRIVER);
  if (!loaded)
    ADD_FAILURE() << loaded.status().message();
  return *loaded;
}

std::vector<std::string> journal() {
  std::istringstream text(hook<const char *(*)()>("fakeJournal")());
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    lines.push_back(line);
  return lines;
}

void resetCalls() { hook<void (*)()>("fakeResetCalls")(); }

size_t usedDeviceBytes() { return hook<size_t (*)()>("fakeUsedBytes")(); }

std::unique_ptr<Executor> fakeCudaExecutor(const ExecutorOptions &given) {
  // The process-wide driver of openDevice is found through this variable once.
  ::setenv("PG_CUDA_DRIVER", FAKE_CUDA_DRIVER, 1);
  ExecutorOptions options = given;
  options.device = {DeviceChoice::Kind::Cuda, 0};
  options.threads = options.threads ? options.threads : 1;
  auto executor = Executor::create(fakeCudaPackage(), options);
  EXPECT_TRUE(executor.isOk()) << executor.status().message();
  return executor ? std::move(*executor) : nullptr;
}

} // namespace pg::rt
