//===- CpuBackend.h - outlined kernels to a shared object ---------------------===//
//
// The CPU target's one door: kernel_defs go in, the bytes of an ELF shared
// object and what a launch must know of each kernel come out.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_CPUBACKEND_H
#define PG_PASSES_CPU_CPUBACKEND_H

#include "passes/cache/Cache.h"
#include "passes/cpu/Emitter.h"
#include "runtime/package/Package.h"

#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <string>
#include <vector>

namespace llvm {
class Module;
} // namespace llvm

namespace pg::cpu {

/// A machine to emit for.
struct Target {
  std::string cpu;                   ///< LLVM CPU name
  std::string level;                 ///< name that `namedTarget` knows
  std::vector<std::string> features; ///< /proc/cpuinfo flags the code needs
  int vectorBytes = 16;
  std::string llvmFeatures; ///< features beyond the CPU's, "+avx512bf16,..."
  PairDot pairDot = PairDot::None; ///< for products of bf16 factors
  /// Kernels with such products are compiled twice, without and (as the version of
  /// KernelAbi.h) with `pairDot`; the runtime chooses.
  bool pairDotIsVersion = false;

  CpuTarget emission() const { return {vectorBytes, pairDot}; }
};

/// Names for messages.
inline constexpr const char *kLevels =
    "x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4-bf16 or native";

/// The highest portable level this machine has.
Target hostTarget();
/// A level by name. "x86-64-v4-bf16" is x86-64-v4 with second versions for CPUs
/// that have avx512_bf16; "native" is the host's level with its further extensions.
mlir::FailureOr<Target> namedTarget(llvm::StringRef level);

struct EmittedKernel {
  uint64_t scratchBytes = 0;
  rt::WorkItems items;
  std::optional<rt::WorkItems> versionItems; ///< of the second version, where they differ
  std::string category;
  bool multipliesPairs = false; ///< of bf16 numbers, where the CPU can
};

struct EmittedCode {
  std::string elf;                              ///< shared object
  std::map<std::string, EmittedKernel> kernels; ///< by symbol
  size_t cached = 0; ///< kernels whose object came from the cache
};

/// Compiles every kernel_def of the module, each to an object of its own, on
/// `jobs` threads. The bytes depend neither on `jobs` nor on what `cache` holds.
mlir::FailureOr<EmittedCode> emitCpu(mlir::ModuleOp outlined,
                                     const Target &target, int jobs,
                                     const Cache &cache);

//===--- steps of emitCpu, for the passes and tests --------------------------===//

/// Lowers the functions of emitted kernels (scf, arith, math, vector, llvm) to
/// the LLVM dialect.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp module);
/// Machine code of a module.
struct ObjectCode {
  std::string bytes; ///< ELF object
  bool cached = false;
};
/// Object code of a lowered module, or the reason why not; `wholePipeline` as in
/// KernelShape.
rt::StatusOr<ObjectCode> compileObject(mlir::ModuleOp lowered,
                                       const Target &target, bool wholePipeline,
                                       const Cache &cache);
/// Links objects into a shared object whose only dependency is libm.
rt::StatusOr<std::string> linkShared(const std::vector<std::string> &objects,
                                     const Target &target);

} // namespace pg::cpu

#endif // PG_PASSES_CPU_CPUBACKEND_H
