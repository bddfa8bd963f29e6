//===- CudaBackend.h - outlined kernels to CUDA C++ ---------------------------===//
//
// The CUDA target's one door: kernel_defs go in, readable CUDA C++ and what a
// launch must know of each kernel come out. Compiling the text is not done
// here (NVRTC for the device, the host compiler for the emulator).
//
// A kernel is one or more stages: __global__ functions run in order with the
// same arguments, which are
//   every buffer in the order of rt::KernelFn's `buffers` as a raw pointer of
//   its element type (bf16 and i1 as bf16 and unsigned char), const for
//   arguments; the launch's scalars as double; `pg_batch batch` by value;
//   `unsigned char *workspace`: device memory of workspaceFixed + N *
//   workspacePerToken bytes, 256-byte aligned, shared by all launches, contents
//   undefined at the first stage and kept from stage to stage.
// Blocks are one-dimensional; the grid is blocks.count(N) blocks of `threads`
// threads. Stages whose grid is empty are not launched.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CUDA_CUDABACKEND_H
#define PG_PASSES_CUDA_CUDABACKEND_H

#include "runtime/package/Package.h"

#include "mlir/IR/BuiltinOps.h"

#include <optional>
#include <string>
#include <vector>

namespace pg::cuda {

/// One __global__ function.
struct Stage {
  std::string symbol;      ///< "row_rms_norm_0", "attention_grad_1_dq"
  int threads = 32;        ///< block size, a multiple of 32
  int blocksPerSm = 0;     ///< > 0: registers are limited so that as many fit
  int64_t sharedBytes = 0; ///< dynamic shared memory: one arena
  rt::WorkItems blocks;    ///< grid.x at N tokens (grain unused)
};

struct EmittedKernel {
  std::string symbol; ///< of the kernel_def
  std::vector<Stage> stages;
  int64_t workspaceFixed = 0, workspacePerToken = 0; ///< bytes
  std::string category; ///< "row", "matmul", "attention", "head", ...
  std::string source;   ///< text of its stages, without the include
  std::optional<rt::CudaProduct> product; ///< when it is one and nothing else
};

struct EmittedSource {
  std::vector<EmittedKernel> kernels; ///< in the order of the kernel_defs
};

/// Emits every kernel_def of the module. What cannot be emitted is reported at
/// its op.
mlir::FailureOr<EmittedSource> emitCuda(mlir::ModuleOp outlined);

/// First line of every translation unit: `#include <pg_prelude.cuh>`.
llvm::StringRef includeLine();
/// Device half of the prelude, the text behind that name.
llvm::StringRef preludeText();
/// All kernels as one readable text, include line first.
std::string wholeText(const EmittedSource &source);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_CUDABACKEND_H
