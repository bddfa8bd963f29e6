//===- CompileKernels.h - many kernels for many architectures, in parallel --===//
#ifndef PG_PASSES_NVRTC_COMPILEKERNELS_H
#define PG_PASSES_NVRTC_COMPILEKERNELS_H

#include "passes/cache/Cache.h"
#include "passes/nvrtc/CompileLog.h"
#include "passes/nvrtc/Nvrtc.h"

namespace pg::nvrtc {

struct CompileOptions {
  std::vector<std::string> archs;   ///< "sm_80", "sm_90a"
  int jobs = 1;                     ///< threads
  Cache cache{""};
  bool spillsAreErrors = true;
};

/// One source for one architecture.
struct CompiledKernel {
  Output output;
  std::vector<Resources> resources;
  bool fromCache = false;
};

/// [architecture][source]. Internal when the compiler refuses a source or its
/// log holds a line that problemsOf names: generated code that is wrong or slow
/// is a fault of the generator, shown with the kernel's name and the log.
rt::StatusOr<std::vector<std::vector<CompiledKernel>>> compileKernels(const Library &library,
                                                                      const std::vector<Source> &sources,
                                                                      const CompileOptions &options);

/// Where passes/cache keeps the output of a source: everything that decides it,
/// but not its name, which is for messages.
std::string cacheKeyOf(const Source &source, const std::vector<std::string> &options,
                       const std::string &compilerVersion);

/// Checks "sm_80" or "sm_90a"; the library decides whether it knows it.
bool isArchName(const std::string &text);

/// A table for people: kernel, architecture, registers, shared memory, spills.
std::string resourceTable(const std::vector<std::string> &archs,
                          const std::vector<std::vector<CompiledKernel>> &compiled);

} // namespace pg::nvrtc

#endif // PG_PASSES_NVRTC_COMPILEKERNELS_H
