//===- KernelAbi.h - what a compiled kernel sees ---------------------------===//
//
// The one contract between emitted code and the executor. Plain C layout; the
// CPU emitter addresses the fields by offset, so their order is part of the
// package format version (runtime/package/Package.h).
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_PACKAGE_KERNELABI_H
#define PG_RUNTIME_PACKAGE_KERNELABI_H

#include <cstdint>

namespace pg::rt {

/// The packed batch of one run of an entry: N tokens in rows, rows cut into
/// attention segments. All tables have N entries, one per token, derived once
/// per batch from the row and segment offset tables (design §3).
struct Batch {
  int64_t numTokens;          ///< N, at most the entry's maxTokens
  const int32_t *rowBegin;    ///< first token of the token's row
  const int32_t *rowEnd;      ///< one past the last token of the row
  const int32_t *segmentBegin;///< first token of the attention segment
  const int32_t *segmentEnd;  ///< one past the last token of the segment
  const int32_t *slot;        ///< adapter slot of the token's row
};

/// Bytes at the beginning of scratch that are not for what a kernel computes.
inline constexpr int64_t kScratchHeader = 64;

/// Entry point of every CPU kernel. Runs the work items [begin, end).
///   buffers  one pointer per tensor argument, then one per yield of the
///            kernel_def, in order (KernelDefOp)
///   scalars  the launch's f64 constants, in block-argument order
///   scratch  private to the calling thread, Kernel::scratchBytes, 64-byte
///            aligned. Its first 8 bytes are zero in a thread's first call of a
///            launch; in its later calls of that launch all is as it was left, so
///            that a kernel can keep what it has packed. The next 8 are the
///            runtime's; else contents are undefined
/// What an item is depends on the launch (WorkItems): a row for row kernels, a
/// tile for matmul, a block of queries for attention. The result never depends
/// on how [0, count) is cut into calls, except that cuts are multiples of
/// `grain` (chunks of partial sums start at multiples of it).
using KernelFn = void (*)(void *const *buffers, const double *scalars,
                          const Batch *batch, int64_t begin, int64_t end,
                          void *scratch);

/// A shared object may hold a second version of a kernel for CPUs with this flag of
/// /proc/cpuinfo, with the same arguments and scratch, and items of its own where its
/// work is cut in another way (Launch::versionItems). Its symbol is that of the kernel,
/// a dot and the flag.
inline constexpr const char *kVersionFlag = "avx512_bf16";

} // namespace pg::rt

#endif // PG_RUNTIME_PACKAGE_KERNELABI_H
