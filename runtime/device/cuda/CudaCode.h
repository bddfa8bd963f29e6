//===- CudaCode.h - the image that fits a GPU, loaded -----------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_CUDACODE_H
#define PG_RUNTIME_DEVICE_CUDA_CUDACODE_H

#include "runtime/device/cuda/Driver.h"
#include "runtime/package/Package.h"

#include <vector>

namespace pg::rt {

/// The functions of CudaCode::support, in order (runtime/kernels/pg_support.cu).
enum SupportKernel : size_t { kSquareLanes, kSumLanes, kScale, kAdd, kSupportKernels };
inline constexpr const char *kSupportSymbols[kSupportKernels] = {"pg_square_lanes", "pg_sum_lanes", "pg_scale",
                                                                "pg_add"};

/// What the support kernels read per span: pg_span of their text.
struct SpanRecord {
  void *memory;
  long long count;
  long long isDouble;
};

/// "compute_80": PTX that a driver compiles for any GPU of at least that capability.
inline bool isPtx(const CudaImage &image) { return image.arch.rfind("compute_", 0) == 0; }

/// The image of `code` for a GPU of compute capability major.minor: the exact
/// architecture, with its own features ("sm_90a") before without, else the
/// newest older one of the same major, else the newest PTX that is no newer than
/// the GPU. Environment lists what there is.
StatusOr<const CudaImage *> chooseImage(const CudaCode &code, int major, int minor);

/// The functions of one image on the current context.
struct CudaFunctions {
  std::string arch;
  std::vector<cuda::Module> modules;
  std::vector<std::vector<cuda::Function>> kernels; ///< per Package::kernels, per stage
  std::vector<cuda::Function> support;              ///< per CudaCode::support

  /// Loads every module, finds every stage, and raises the shared memory limit
  /// where a stage needs more than 48 KiB. `maxShared` is the GPU's limit.
  Status load(const Package &package, const CudaImage &image, const cuda::Driver &driver, uint64_t maxShared);
  void unload(const cuda::DriverTable &call);
};

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_CUDA_CUDACODE_H
