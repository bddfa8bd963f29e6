//===- TargetPair.h - structured kernels, emulated and on the CPU -------------===//
#ifndef PG_TEST_UNIT_CUDA_TARGETPAIR_H
#define PG_TEST_UNIT_CUDA_TARGETPAIR_H

#include "test/emulator/Emulator.h"

#include "passes/cuda/CudaBackend.h"
#include "runtime/package/KernelAbi.h"

#include <memory>
#include <string>
#include <vector>

namespace pg::test {

/// kernel_defs in which `$E` stands for the element type of operands and `$R` for
/// that of results and per-token numbers, f32 where operands are bf16. They
/// run in the emulator with $E = `element`, on the CPU with f32 (f64 for f64) on
/// the same numbers: a bf16 kernel is held against exact products of its operands.
/// All are compiled together, which is what takes time.
class TargetPair {
public:
  TargetPair(const std::string &text, const std::string &element);
  ~TargetPair();
  /// Not empty after an error.
  const std::string &error() const { return message; }
  const std::vector<cuda::EmittedKernel> &kernels() const;
  std::string source() const;

  /// Integers of i32 buffers are below this.
  int64_t integerLimit = 1;
  /// Floats lie in [-amplitude, amplitude).
  double amplitude = 1;
  /// Runs one kernel on both with noise in every buffer; "" or the worst difference of a yield
  /// when |got - want| > bound (1 + |want|), or another failure.
  std::string compare(const std::string &kernel, const rt::Batch &batch,
                      const emulator::Schedule &schedule, double bound) const;

private:
  struct State;
  std::unique_ptr<State> state;
  std::string message;
};

} // namespace pg::test

#endif // PG_TEST_UNIT_CUDA_TARGETPAIR_H
