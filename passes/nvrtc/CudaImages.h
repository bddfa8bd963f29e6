//===- CudaImages.h - the CUDA part of a package -----------------------------===//
#ifndef PG_PASSES_NVRTC_CUDAIMAGES_H
#define PG_PASSES_NVRTC_CUDAIMAGES_H

#include "passes/nvrtc/CompileKernels.h"
#include "runtime/package/Package.h"

namespace pg::nvrtc {

/// One kernel before it is compiled.
struct KernelText {
  std::string symbol;
  std::string source;             ///< its stages, without the include
  std::vector<rt::CudaStage> stages;
  uint64_t workspaceFixed = 0, workspacePerToken = 0;
  std::optional<rt::CudaProduct> product;
};

struct CudaSource {
  std::string include;            ///< "#include <pg_prelude.cuh>\n"
  std::string headerName;         ///< "pg_prelude.cuh"
  std::string prelude;            ///< text behind that name
  std::vector<KernelText> kernels;
};

/// What came out, and how.
struct CudaImages {
  rt::CudaCode code;
  std::string compiler;           ///< "NVRTC 13.0", "" when nothing was compiled
  std::vector<std::vector<CompiledKernel>> compiled; ///< [architecture][kernel, then support]
  size_t cached = 0;              ///< of them from the cache
};

/// The package's CUDA code: tables and text, and with options.archs the machine
/// code of every kernel and of the support kernels, then their PTX for GPUs that
/// are newer than all of these. Environment when NVRTC is
/// needed and absent.
rt::StatusOr<CudaImages> buildImages(const CudaSource &source, const CompileOptions &options);

/// Text of the kernels that the runtime launches itself.
std::string supportText();

} // namespace pg::nvrtc

#endif // PG_PASSES_NVRTC_CUDAIMAGES_H
