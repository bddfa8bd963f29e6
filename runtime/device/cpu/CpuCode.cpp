//===- CpuCode.cpp - memfd, dlopen, symbol table ----------------------------===//
#include "runtime/device/cpu/CpuCode.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fstream>
#include <sstream>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace pg::rt {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
constexpr uint16_t kMachine = EM_NONE;
#endif

/// The loader trusts ELF structures, so wrong bytes are refused before it.
Status checkElf(const std::string &code) {
  Elf64_Ehdr header;
  if (code.size() < sizeof header)
    return {Code::Corrupt, "the code section is too short for a shared object"};
  std::memcpy(&header, code.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_type != ET_DYN)
    return {Code::Corrupt, "the code section is not a 64-bit shared object"};
  if (header.e_machine != kMachine)
    return {Code::Environment, "the package holds code for another processor family (ELF machine " +
                                   std::to_string(header.e_machine) + "); recompile it here with pgc"};
  return Status::ok();
}

} // namespace

std::set<std::string> cpuFlags() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0)
      continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    std::set<std::string> flags;
    for (std::string word; words >> word;)
      flags.insert(word);
    return flags;
  }
  return {};
}

Status checkFeatures(const CodeTarget &target, const std::set<std::string> &flags) {
  std::string missing;
  for (const std::string &feature : target.features)
    if (!flags.count(feature))
      missing += (missing.empty() ? "" : ", ") + feature;
  if (missing.empty())
    return Status::ok();
  return {Code::Environment, "the package was compiled for " + target.level + " (" + target.cpu +
                                 ") and needs CPU features this machine lacks: " + missing +
                                 "; recompile it here with pgc compile"};
}

bool usesBf16Dot(const CodeTarget &target, const std::set<std::string> &flags) {
  constexpr std::string_view kVersions = "-bf16"; // of the name of a level with both versions
  bool isNeeded = std::find(target.features.begin(), target.features.end(), kVersionFlag) != target.features.end();
  return isNeeded || (target.level.ends_with(kVersions) && flags.count(kVersionFlag));
}

bool multipliesPairs(const Package &package, const std::set<std::string> &flags) {
  return std::any_of(package.targets.begin(), package.targets.end(),
                     [&](const CodeTarget &target) { return target.target == "cpu" && usesBf16Dot(target, flags); }) &&
         std::any_of(package.kernels.begin(), package.kernels.end(), [](const Kernel &kernel) { return kernel.multipliesPairs; });
}

std::string cpuCodeText(const Package &package, const std::set<std::string> &flags) {
  for (const CodeTarget &target : package.targets)
    if (target.target == "cpu")
      return "cpu " + target.cpu + " " + target.level + (multipliesPairs(package, flags) ? std::string(" with ") + kVersionFlag : "");
  return "";
}

CpuCode::CpuCode(CpuCode &&other) noexcept
    : handle(std::exchange(other.handle, nullptr)), file(std::exchange(other.file, -1)),
      functions_(std::move(other.functions_)), isVersion(std::move(other.isVersion)) {}

CpuCode &CpuCode::operator=(CpuCode &&other) noexcept {
  std::swap(handle, other.handle);
  std::swap(file, other.file);
  std::swap(functions_, other.functions_);
  std::swap(isVersion, other.isVersion);
  return *this;
}

CpuCode::~CpuCode() {
  if (handle)
    ::dlclose(handle);
  if (file >= 0)
    ::close(file);
}

StatusOr<CpuCode> CpuCode::load(const Package &package, const std::set<std::string> &flags) {
  const CodeTarget *target = nullptr;
  for (const CodeTarget &candidate : package.targets)
    if (candidate.target == "cpu")
      target = &candidate;
  if (!target || package.codeCpu.empty())
    return Status(Code::Environment, "the package holds no CPU code; recompile it with --target cpu");
  if (Status status = checkFeatures(*target, flags); !status)
    return status;
  if (Status status = checkElf(package.codeCpu); !status)
    return status;

  CpuCode code;
  code.file = ::memfd_create("kernels", MFD_CLOEXEC);
  if (code.file < 0)
    return Status(Code::Environment, std::string("cannot create a memory file for the code: ") + std::strerror(errno));
  size_t done = 0;
  while (done < package.codeCpu.size()) {
    ssize_t n = ::write(code.file, package.codeCpu.data() + done, package.codeCpu.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return Status(Code::Environment, std::string("cannot write the code to memory: ") + std::strerror(errno));
    done += size_t(n);
  }
  std::string path = "/proc/self/fd/" + std::to_string(code.file);
  code.handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char *problem = code.handle ? nullptr : ::dlerror();
  if (!code.handle)
    return Status(Code::Corrupt, std::string("cannot load the code section: ") + (problem ? problem : "unknown cause"));
  for (const Kernel &kernel : package.kernels) {
    void *symbol = nullptr;
    if (flags.count(kVersionFlag))
      symbol = ::dlsym(code.handle, (kernel.symbol + "." + kVersionFlag).c_str());
    code.isVersion.push_back(symbol != nullptr);
    if (!symbol)
      symbol = ::dlsym(code.handle, kernel.symbol.c_str());
    if (!symbol)
      return Status(Code::Corrupt, "the code section lacks kernel '" + kernel.symbol + "'");
    code.functions_.push_back(reinterpret_cast<KernelFn>(symbol));
  }
  return code;
}

} // namespace pg::rt
