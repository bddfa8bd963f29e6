//===- Doctor.cpp - pgrun doctor --------------------------------------------------===//
#include "runtime/device/cpu/CpuCode.h"
#include "runtime/device/cuda/BlasLt.h"
#include "runtime/device/cuda/CudaCode.h"
#include "runtime/device/cuda/Driver.h"
#include "runtime/support/Log.h"
#include "runtime/support/ToolkitLibraries.h"
#include "tools/pgrun/Verbs.h"

#include <dlfcn.h>
#include <fstream>
#include <gnu/libc-version.h>

namespace pg::rt {
namespace {

struct Options {
  std::string package, device = "auto";
  bool json = false;
};

/// One thing the machine has or lacks.
struct Finding {
  std::string what, text, remedy;
  bool isPresent = true;
};

/// "Intel(R) Xeon(R) ..." of /proc/cpuinfo.
std::string cpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0 && line.find(':') + 2 <= line.size())
      return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

/// The highest level that pgc compiles for, "" below x86-64-v2.
std::string cpuLevel(const std::set<std::string> &flags) {
  auto hasAll = [&](std::initializer_list<const char *> wanted) {
    for (const char *flag : wanted)
      if (!flags.count(flag))
        return false;
    return true;
  };
  if (!hasAll({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}))
    return "";
  if (!hasAll({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}))
    return "x86-64-v2";
  if (!hasAll({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}))
    return "x86-64-v3";
  return flags.count("avx512_bf16") ? "x86-64-v4-bf16" : "x86-64-v4";
}

/// kB under a key of /proc/meminfo.
uint64_t memoryKilobytes(const std::string &key) {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  uint64_t value = 0;
  while (file >> name >> value && std::getline(file, unit))
    if (name == key + ":")
      return value;
  return 0;
}

/// The first of some libraries that opens; its version by the given function
/// (result code, version by pointer), divided as the library documents.
Finding library(const std::string &what, const std::vector<std::string> &names,
                const std::function<std::string(void *)> &version, const std::string &use) {
  for (const std::string &name : names)
    if (void *handle = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL))
      return {what, version(handle) + " (" + name + ")", ""};
  return {what, "not found", use, false};
}

std::vector<Finding> lookAtGpus() {
  auto driver = cuda::driver();
  if (!driver)
    return {{"CUDA driver", driver.status().message(), "install NVIDIA's driver to run on a GPU; the CPU needs none", false}};
  const cuda::DriverTable &call = (*driver)->call;
  std::vector<Finding> list = {
      {"CUDA driver", "CUDA " + cuda::versionText((*driver)->version) + " (" + (*driver)->path + ")", ""}};
  int count = 0;
  if (call.deviceGetCount(&count) != cuda::kSuccess || count == 0)
    list.push_back({"GPU", "none", "the driver sees no GPU (CUDA_VISIBLE_DEVICES?)", false});
  for (int i = 0; i < count; ++i) {
    cuda::DeviceId device = 0;
    char name[256] = "";
    int major = 0, minor = 0, processors = 0;
    size_t bytes = 0;
    call.deviceGet(&device, i);
    call.deviceGetName(name, sizeof name - 1, device);
    call.deviceGetAttribute(&major, cuda::kMajor, device);
    call.deviceGetAttribute(&minor, cuda::kMinor, device);
    call.deviceGetAttribute(&processors, cuda::kMultiprocessors, device);
    call.deviceTotalMem(&bytes, device);
    list.push_back({"GPU cuda:" + std::to_string(i), std::string(name) + ", sm_" + std::to_string(major) +
                                                         std::to_string(minor) + ", " + std::to_string(processors) +
                                                         " processors, " + std::to_string(bytes >> 20) + " MiB", ""});
  }
  return list;
}

std::vector<Finding> lookAtLibraries() {
  using IntPointer = int (*)(int *);
  return {
      library("NVRTC", nvrtcLibraries(),
              [](void *handle) {
                int major = 0, minor = 0;
                if (auto f = reinterpret_cast<int (*)(int *, int *)>(::dlsym(handle, "nvrtcVersion")))
                  f(&major, &minor);
                return std::to_string(major) + "." + std::to_string(minor);
              },
              "needed by pgc --target cuda only; install NVIDIA's toolkit or its NVRTC package, set CUDA_HOME"),
      library("cuBLASLt", cuda::blasPaths(),
              [](void *handle) {
                auto f = reinterpret_cast<size_t (*)()>(::dlsym(handle, "cublasLtGetVersion"));
                return f ? std::to_string(f()) : std::string("unknown version");
              },
              "optional, for products with --cublaslt on"),
      library("NCCL", toolkitLibraries(nullptr, {"libnccl.so.2"}),
              [](void *handle) {
                int version = 0;
                if (auto f = reinterpret_cast<IntPointer>(::dlsym(handle, "ncclGetVersion")))
                  f(&version);
                return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
                       std::to_string(version % 100);
              },
              "optional, for several GPUs"),
      library("MPI", {"libmpi.so.40", "libmpi.so.12", "libmpi.so"}, [](void *) { return std::string("found"); },
              "optional, for several CPU machines"),
      library("SentencePiece", {"libsentencepiece.so.0"}, [](void *) { return std::string("found"); },
              "needed to make token shards and to decode text"),
  };
}

/// Whether a package runs here; the reason when it does not.
Status checkPackageHere(const std::string &path, const DeviceChoice &choice, std::vector<Finding> &list) {
  auto package = readPackage(path);
  if (!package)
    return package.status();
  Status cpu(Code::Environment, "holds no CPU code"), gpu(Code::Environment, "holds no CUDA code");
  for (const CodeTarget &target : package->targets)
    if (target.target == "cpu")
      cpu = checkFeatures(target, cpuFlags());
  std::string gpuRuns, cpuRuns = multipliesPairs(*package, cpuFlags()) ? "runs, bf16 products with avx512_bf16" : "runs";
  if (package->hasCudaCode()) {
    auto driver = cuda::driver();
    gpu = driver.status();
    cuda::DeviceId device = 0;
    int major = 0, minor = 0;
    if (driver && ((*driver)->call.deviceGet(&device, choice.index) != cuda::kSuccess ||
                   (*driver)->call.deviceGetAttribute(&major, cuda::kMajor, device) != cuda::kSuccess ||
                   (*driver)->call.deviceGetAttribute(&minor, cuda::kMinor, device) != cuda::kSuccess))
      gpu = {Code::Environment, "there is no GPU cuda:" + std::to_string(choice.index)};
    else if (driver) {
      auto image = chooseImage(package->cuda, major, minor);
      gpu = image.status();
      if (image)
        gpuRuns = isPtx(**image) ? "runs, from PTX that the driver compiles at the first start"
                                    : "runs, on code for " + (*image)->arch;
    }
  }
  auto describe = [&](const char *where, const Status &status, const std::string &runs) {
    list.push_back({"package on " + std::string(where), status ? runs : status.message(), "", status.isOk()});
  };
  describe("the CPU", cpu, cpuRuns);
  describe("the GPU", gpu, gpuRuns);
  using Kind = DeviceChoice::Kind;
  if (choice.kind == Kind::Cpu)
    return cpu;
  if (choice.kind == Kind::Cuda)
    return gpu;
  return cpu ? cpu : gpu;
}

Status run(const Options &options) {
  std::set<std::string> flags = cpuFlags();
  std::string level = cpuLevel(flags);
  auto threads = chooseThreads(0);
  std::vector<Finding> list = {
      {"pgrun", "package version " + std::to_string(kPackageVersion) + ", C library " + ::gnu_get_libc_version(), ""},
      {"CPU", cpuModel() + ", " + (level.empty() ? "below x86-64-v2" : level),
       level.empty() ? "packages need x86-64-v2 (SSE 4.2) at least" : "", !level.empty()},
      {"threads", threads ? std::to_string(*threads) : threads.status().message(), "", threads.isOk()},
      {"memory", std::to_string(memoryKilobytes("MemTotal") >> 10) + " MiB, " +
                     std::to_string(memoryKilobytes("MemAvailable") >> 10) + " MiB available", ""}};
  for (const auto &part : {lookAtGpus(), lookAtLibraries()})
    list.insert(list.end(), part.begin(), part.end());

  DeviceChoice choice = *parseDeviceChoice(options.device);
  Status verdict;
  if (!options.package.empty())
    verdict = checkPackageHere(options.package, choice, list);
  else if (choice.kind == DeviceChoice::Kind::Cuda)
    verdict = cuda::driver().status();
  else if (level.empty())
    verdict = {Code::Environment, "this CPU is older than what packages are compiled for"};

  std::string text;
  Json json = Json::array();
  for (const Finding &finding : list) {
    json.push_back({{"what", finding.what}, {"present", finding.isPresent}, {"text", finding.text},
                    {"remedy", finding.remedy}});
    text += (text.empty() ? "" : "\n") + std::string(finding.isPresent ? "  " : "- ") + finding.what +
            std::string(finding.what.size() < 18 ? 18 - finding.what.size() : 1, ' ') + finding.text +
            (finding.remedy.empty() ? "" : "\n" + std::string(20, ' ') + finding.remedy);
  }
  Status printed = print(options.json ? json.dump(1, ' ', false, Json::error_handler_t::replace) : text);
  return printed ? verdict : printed;
}

} // namespace

VerbFn addDoctor(CLI::App &app) {
  auto options = std::make_shared<Options>();
  app.add_option("package", options->package, "also say whether this package runs here");
  app.add_option("--device", options->device, "the device that must work: auto, cpu, cuda or cuda:N")
      ->check([](const std::string &text) {
        return parseDeviceChoice(text) ? std::string() : "'" + text + "' is no device, expected auto, cpu, cuda or cuda:N";
      });
  app.add_flag("--json", options->json, "as JSON");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
