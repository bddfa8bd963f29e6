//===- KernelRunner.h - one kernel, compiled and called --------------------===//
#ifndef PG_TEST_UNIT_CPU_KERNELRUNNER_H
#define PG_TEST_UNIT_CPU_KERNELRUNNER_H

#include "passes/cpu/Emitter.h"
#include "runtime/package/KernelAbi.h"
#include "runtime/package/Package.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace pg::test {

/// A kernel_def given as text, compiled by pg::cpu::emitCpu for the level with
/// vectors of `vectorBytes` (64: v4, 32: v3, 16: v2) and loaded. `pairDot` says how
/// products of bf16 factors are made: Function calls pg_pair_dot (PairDotTest.cpp), a
/// model of vdpbf16ps; Instruction needs a CPU that has it.
class KernelRunner {
public:
  explicit KernelRunner(const std::string &kernelDef, int64_t vectorBytes = 64,
                        pg::PairDot pairDot = pg::PairDot::None);
  ~KernelRunner();
  /// False after an error, which has been printed.
  bool isReady() const { return function != nullptr; }

  /// Runs all items at N tokens, in calls of `cut` items (0: one call).
  void run(const std::vector<void *> &buffers, const rt::Batch &batch,
           int64_t cut = 0, const std::vector<double> &scalars = {});
  /// Off: scratch is left as it is between calls, for measurements.
  bool fillsScratch = true;
  /// The last piece of a run first.
  bool backwards = false;
  int64_t items(int64_t tokens) const;
  const rt::WorkItems &workItems() const { return shape; }
  const std::string &category() const { return kind; }

private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled;
  rt::KernelFn function = nullptr;
  rt::WorkItems shape;
  std::string kind;
  std::vector<char> scratch;
};

/// Rows and segments of a packed batch; owns the tables that rt::Batch points
/// to. Boundaries are token offsets without 0 and N.
struct PackedBatch {
  PackedBatch(int64_t tokens, const std::vector<int64_t> &rowBounds,
              const std::vector<int64_t> &segmentBounds);
  rt::Batch view;
  std::vector<int32_t> rowBegin, rowEnd, segmentBegin, segmentEnd, slot;
};

/// Deterministic values in [-1, 1).
template <typename T> std::vector<T> noise(int64_t count, uint64_t seed) {
  std::vector<T> values(count);
  uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (T &v : values) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    v = static_cast<T>(static_cast<double>(state >> 11) / (1ull << 52) - 1.0);
  }
  return values;
}

/// Largest |got - want| / (1 + |want|); NaN counts as infinite.
template <typename T>
double worstError(const std::vector<T> &got, const std::vector<double> &want) {
  double worst = got.size() == want.size() ? 0 : INFINITY;
  for (size_t k = 0; k < got.size() && k < want.size(); ++k) {
    double error = std::abs(got[k] - want[k]) / (1 + std::abs(want[k]));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

} // namespace pg::test

#endif // PG_TEST_UNIT_CPU_KERNELRUNNER_H
