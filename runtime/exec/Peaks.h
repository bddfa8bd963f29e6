//===- Peaks.h - what this machine can do, measured -------------------------===//
#ifndef PG_RUNTIME_EXEC_PEAKS_H
#define PG_RUNTIME_EXEC_PEAKS_H

#include "runtime/exec/ThreadPool.h"

#include <string>
#include <vector>

namespace pg::rt {

/// Bounds of a kernel's speed on the CPU: arithmetic from registers alone, and copying between arrays that fit no cache.
struct Peaks {
  double flopsPerSecond = 0; ///< of the package's products; 0 = not known
  /// Of products of pairs of bf16 numbers in a package whose other products are of wider
  /// ones; 0 = it has none, or they go at the same rate.
  double pairFlopsPerSecond = 0;
  double bytesPerSecond = 0; ///< read and written; 0 = not known
  std::string arithmetic;    ///< "f32 multiply-adds, 16 lanes"

  /// Of so many operations, `pairFlops` of them in pairs, at these rates; 0 where they are not known.
  double secondsOf(double flops, double pairFlops) const {
    if (flopsPerSecond <= 0)
      return 0;
    return pairFlopsPerSecond > 0 ? (flops - pairFlops) / flopsPerSecond + pairFlops / pairFlopsPerSecond
                                  : flops / flopsPerSecond;
  }
};

/// The arithmetic that bounds products of a package.
enum class PeakKind { F32, F64, BF16Dot };

/// Measures them on all threads of a pool. BF16Dot falls back to F32 where the CPU has no such instruction.
class PeakMeter {
public:
  /// `withPairs`: of pairs of bf16 numbers beside `kind`.
  PeakMeter(ThreadPool &pool, PeakKind kind, bool withPairs = false);
  ~PeakMeter();
  PeakMeter(const PeakMeter &) = delete;
  PeakMeter &operator=(const PeakMeter &) = delete;

  /// Independent multiply-adds from registers for some hundredths of a second. To be called between the runs that are compared
  /// with it: a processor's clock under wide vectors depends on how long they have been at work, and on other work on the
  /// machine; a short burst from rest is faster than any program can be.
  void measureArithmetic();
  /// Copies of an array of twice the last cache (64 to 256 MiB, given back), for about a third of a second. The best round
  /// counts.
  void measureCopy();
  /// The median of the arithmetic, the best of the copies.
  Peaks peaks() const;

private:
  struct Loop;

  ThreadPool &pool;
  std::vector<Loop> loops; ///< of the package's products, and of pairs where wanted
  double bytesPerSecond = 0;
};

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_PEAKS_H
