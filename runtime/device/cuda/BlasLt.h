//===- BlasLt.h - NVIDIA's products, found when they are asked for ----------===//
//
// cuBLASLt as a table of functions, loaded at run time like the driver: nothing
// is linked, no header of it is needed, and nothing depends on its being there.
// The declarations are our own, after the library's documented interface.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_BLASLT_H
#define PG_RUNTIME_DEVICE_CUDA_BLASLT_H

#include "runtime/device/cuda/Driver.h"
#include "runtime/package/Package.h"

namespace pg::rt::cuda {

using BlasHandle = struct BlasObject *;
using BlasDescription = struct BlasDescriptionObject *;
using BlasLayout = struct BlasLayoutObject *;
using BlasPreference = struct BlasPreferenceObject *;

struct BlasAlgorithm {
  uint64_t data[8];
};
/// cublasLtMatmulHeuristicResult_t.
struct BlasChoice {
  BlasAlgorithm algorithm;
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};

/// X(member, name, parameters)
#define PG_CUBLASLT(X)                                                                                                 \
  X(create, "cublasLtCreate", (BlasHandle * handle))                                                                   \
  X(destroy, "cublasLtDestroy", (BlasHandle handle))                                                                   \
  X(descriptionCreate, "cublasLtMatmulDescCreate", (BlasDescription * description, int compute, int scale))            \
  X(descriptionDestroy, "cublasLtMatmulDescDestroy", (BlasDescription description))                                    \
  X(descriptionSet, "cublasLtMatmulDescSetAttribute",                                                                  \
    (BlasDescription description, int attribute, const void *value, size_t bytes))                                     \
  X(layoutCreate, "cublasLtMatrixLayoutCreate",                                                                        \
    (BlasLayout * layout, int type, uint64_t rows, uint64_t columns, int64_t pitch))                                   \
  X(layoutDestroy, "cublasLtMatrixLayoutDestroy", (BlasLayout layout))                                                 \
  X(preferenceCreate, "cublasLtMatmulPreferenceCreate", (BlasPreference * preference))                                 \
  X(preferenceDestroy, "cublasLtMatmulPreferenceDestroy", (BlasPreference preference))                                 \
  X(preferenceSet, "cublasLtMatmulPreferenceSetAttribute",                                                             \
    (BlasPreference preference, int attribute, const void *value, size_t bytes))                                       \
  X(heuristic, "cublasLtMatmulAlgoGetHeuristic",                                                                       \
    (BlasHandle handle, BlasDescription description, BlasLayout a, BlasLayout b, BlasLayout c, BlasLayout d,           \
     BlasPreference preference, int wanted, BlasChoice *choices, int *found))                                          \
  X(matmul, "cublasLtMatmul",                                                                                          \
    (BlasHandle handle, BlasDescription description, const void *alpha, const void *a, BlasLayout aLayout,             \
     const void *b, BlasLayout bLayout, const void *beta, const void *c, BlasLayout cLayout, void *d,                  \
     BlasLayout dLayout, const BlasAlgorithm *algorithm, void *workspace, size_t workspaceBytes, Stream stream))

struct BlasTable {
#define PG_CUBLASLT_MEMBER(member, name, parameters) int(*member) parameters = nullptr;
  PG_CUBLASLT(PG_CUBLASLT_MEMBER)
#undef PG_CUBLASLT_MEMBER
};

struct BlasLibrary {
  BlasTable call;
  std::string version; ///< "13.1.0"
  std::string path;    ///< as given to the loader
};

/// Where cuBLASLt may be, best first: $CUDA_HOME, $CUDA_PATH, the default prefix, the loader's own search. PG_CUBLASLT
/// names the one library to use.
std::vector<std::string> blasPaths();
/// The library of this machine, found once per process; Environment when there is none.
StatusOr<const BlasLibrary *> blasLibrary();
/// One library, not remembered.
StatusOr<BlasLibrary> loadBlas(const std::string &path);

/// Products of one device through the library.
class BlasProducts {
public:
  ~BlasProducts() { close(); }
  /// `library` outlives this. The driver's context is current.
  Status open(const BlasLibrary &library);
  void close();
  bool isOpen() const { return handle != nullptr; }

  /// Device memory that every product may scribble on.
  static constexpr uint64_t kWorkspaceBytes = uint64_t(32) << 20;

  /// Takes a product at a number of tokens; its number for run(). The library's own first choice of algorithm, which is
  /// the same for the same shape, GPU and version. Environment when the library has none.
  StatusOr<size_t> prepare(const CudaProduct &product, int64_t tokens);
  /// Queues it on the stream; may be captured. `buffers` are the launch's.
  Status run(size_t prepared, void *const *buffers, void *workspace, Stream stream) const;

private:
  struct Prepared {
    CudaProduct product;
    int64_t tokens = 0;
    BlasDescription description = nullptr;
    BlasLayout left = nullptr, right = nullptr, result = nullptr;
    BlasAlgorithm algorithm{};
  };
  void drop(Prepared &prepared);

  const BlasLibrary *library = nullptr;
  BlasHandle handle = nullptr;
  std::vector<Prepared> list;
};

} // namespace pg::rt::cuda

#endif // PG_RUNTIME_DEVICE_CUDA_BLASLT_H
