//===- CpuCode.h - the package's shared object, loaded ----------------------===//
#ifndef PG_RUNTIME_DEVICE_CPU_CPUCODE_H
#define PG_RUNTIME_DEVICE_CPU_CPUCODE_H

#include "runtime/package/KernelAbi.h"
#include "runtime/package/Package.h"

#include <set>
#include <string>
#include <vector>

namespace pg::rt {

/// Feature flags of this machine's first CPU as /proc/cpuinfo spells them.
std::set<std::string> cpuFlags();

/// Environment error naming the flags of `target` that are not in `flags`.
Status checkFeatures(const CodeTarget &target, const std::set<std::string> &flags);

/// Whether the products of bf16 factors in this code use avx512_bf16 on a CPU with
/// these flags.
bool usesBf16Dot(const CodeTarget &target, const std::set<std::string> &flags);

/// The same of a package: whether any of its kernels multiplies pairs then.
bool multipliesPairs(const Package &package, const std::set<std::string> &flags);

/// "cpu znver5 x86-64-v4-bf16 with avx512_bf16": the code of a package that runs on a
/// CPU with these flags. Nothing when the package has none for CPUs.
std::string cpuCodeText(const Package &package, const std::set<std::string> &flags = cpuFlags());

/// Owns the mapping of the code; functions are valid as long as it lives.
class CpuCode {
public:
  CpuCode() = default;
  CpuCode(CpuCode &&other) noexcept;
  CpuCode &operator=(CpuCode &&other) noexcept;
  ~CpuCode();

  /// Checks the CPU's flags, loads "code.cpu" and finds every kernel, in the best
  /// version for these flags.
  static StatusOr<CpuCode> load(const Package &package, const std::set<std::string> &flags = cpuFlags());

  /// One function per Package::kernels.
  const std::vector<KernelFn> &functions() const { return functions_; }
  /// How the work of a launch is cut for the version that was found.
  const WorkItems &itemsOf(const Launch &launch) const {
    return isVersion[launch.kernel] && launch.versionItems ? *launch.versionItems : launch.items;
  }

private:
  void *handle = nullptr;
  /// The memory file stays open as long as the library is loaded: the loader
  /// knows libraries by path, and a reused descriptor number would name this one.
  int file = -1;
  std::vector<KernelFn> functions_;
  std::vector<bool> isVersion; ///< whether a function is a second version
};

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_CPU_CPUCODE_H
