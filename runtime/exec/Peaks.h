//===- Peaks.h - what this machine can do, measured -------------------------===//
#ifndef PG_RUNTIME_EXEC_PEAKS_H
#define PG_RUNTIME_EXEC_PEAKS_H

#include "runtime/exec/ThreadPool.h"

#include <string>

namespace pg::rt {

/// Bounds of a kernel's speed on the CPU: arithmetic from registers alone, and copying between arrays that fit no cache.
struct Peaks {
  double flopsPerSecond = 0; ///< 0 = not known
  double bytesPerSecond = 0; ///< read and written; 0 = not known
  std::string arithmetic;    ///< "f32 multiply-adds, 16 lanes"
};

/// The arithmetic that bounds products of a package.
enum class PeakKind { F32, F64, BF16Dot };

/// Measures on all threads of the pool for about a third of a second: independent multiply-adds in registers, and copies of
/// an array of twice the last cache (64 to 256 MiB, given back). The best of several rounds counts, so that other work on the
/// machine has to disturb all of them. BF16Dot falls back to F32 where the CPU has no such instruction.
Peaks measurePeaks(ThreadPool &pool, PeakKind kind);
/// The larger of two measurements, number by number.
Peaks best(const Peaks &a, const Peaks &b);

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_PEAKS_H
