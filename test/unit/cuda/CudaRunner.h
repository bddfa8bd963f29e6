//===- CudaRunner.h - emitted kernels in the emulator, and on the CPU ---------===//
#ifndef PG_TEST_UNIT_CUDA_CUDARUNNER_H
#define PG_TEST_UNIT_CUDA_CUDARUNNER_H

#include "test/emulator/Emulator.h"
#include "test/emulator/RaceCheck.h"

#include "passes/cuda/CudaBackend.h"
#include "runtime/package/KernelAbi.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <memory>
#include <string>
#include <vector>

namespace pg::test {

/// Kernel text (kernel_defs) emitted for both targets. CUDA stages run in the
/// emulator from exactly the text that NVRTC would be given.
class CudaRunner {
public:
  /// `filter` names the kernels to take (empty: all).
  explicit CudaRunner(const std::string &text,
                      const std::vector<std::string> &only = {});
  ~CudaRunner();
  /// Not empty after an error.
  const std::string &error() const { return message; }
  const std::vector<cuda::EmittedKernel> &kernels() const;
  std::string source() const;
  /// Adds a copy of a kernel with a bug planted in its text: every `from` behind the
  /// first `after` becomes `to`, or the first one only. The name of the new kernel, ""
  /// when there is nothing to replace. All texts are compiled together at the first run.
  struct Bug {
    std::string name; ///< appended to the kernel's and its stages'
    std::string after, from, to;
    bool onlyFirst = false;
  };
  std::string plant(const std::string &kernel, const Bug &bug);

  /// A buffer of a kernel: element type, whether per token, elements.
  struct Buffer {
    std::string element;     ///< "f32", "f64", "bf16", "i32", "i8", "i1"
    bool perToken = false;
    int64_t grain = 0;       ///< > 0: one entry per chunk of tokens
    int64_t elements = 1;    ///< per token or chunk, or in all
    int64_t mode = -1;       ///< -1 argument, else the yield's mode
    int64_t count(int64_t tokens) const;
    int64_t bytes() const;   ///< of one element
  };
  std::vector<Buffer> buffers(const std::string &kernel) const;
  int64_t scalarCount(const std::string &kernel) const;

  /// Every stage of a kernel at the tokens of one row, for ThreadSanitizer: buffers of zeros.
  std::vector<emulator::RaceLaunch> raceLaunches(const std::string &kernel,
                                                 int64_t tokens) const;

  /// Runs all stages of a kernel on buffers in the order of KernelFn::buffers;
  /// "" or what went wrong.
  std::string run(const std::string &kernel, const std::vector<void *> &buffers,
                  const std::vector<double> &scalars, const rt::Batch &batch,
                  const emulator::Schedule &schedule) const;
  /// The same on the CPU target.
  std::string runOnCpu(const std::string &kernel,
                       const std::vector<void *> &buffers,
                       const std::vector<double> &scalars,
                       const rt::Batch &batch) const;

  /// Fills buffers with noise, runs both targets and compares every yield:
  /// "" or the worst difference beyond its bound (docs/numerics.md, CUDA). A
  /// positive `bound` stands for that of f32 and bf16 results.
  std::string compare(const std::string &kernel, const rt::Batch &batch,
                      const emulator::Schedule &schedule,
                      double bound = 0) const;

private:
  struct State;
  std::unique_ptr<State> state;
  std::string message;
};

} // namespace pg::test

#endif // PG_TEST_UNIT_CUDA_CUDARUNNER_H
