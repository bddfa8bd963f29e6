//===- RowLoops.h - vector loops over the last dimension ---------------------===//
#ifndef PG_PASSES_CPU_ROWLOOPS_H
#define PG_PASSES_CPU_ROWLOOPS_H

#include "passes/cpu/ElementEvaluator.h"

namespace pg {

/// A stretch of `length` elements along one dimension, from `start` (a
/// coordinate without lanes), cut at `breaks` (relative to start).
struct Span {
  Coord start;
  int64_t length = 1;
  std::set<int64_t> breaks;
  int64_t width = 1;  ///< lanes of a whole vector
  int64_t unroll = 1; ///< vectors per loop iteration; slot = vectors before it % unroll
};

/// Called for each vector (or narrower piece at the end of a stretch): its
/// coordinate, width and slot, and the carried values; returns the next ones.
using SpanBody = llvm::function_ref<Emitter::Vals(
    const Coord &at, int64_t width, int64_t slot, Emitter::Vals carried)>;

/// Emits the loops of a span; short ones straight. Every loop body is a scope
/// of the evaluator.
Emitter::Vals emitSpan(ElementEvaluator &evaluator, const Span &span,
                       Emitter::Vals carried, SpanBody body);

/// Loops of static size over the listed dimensions of `at`, outermost first,
/// carrying values; sizes of one make no loop.
Emitter::Vals
emitLoops(ElementEvaluator &evaluator, llvm::ArrayRef<int64_t> dims,
          llvm::ArrayRef<int64_t> shape, Coords &at, Emitter::Vals carried,
          llvm::function_ref<Emitter::Vals(Emitter::Vals)> body);

/// A kernel over the columns of a static tensor: one item is up to `block`
/// elements of the last dimension at one position of the dimensions before.
struct ColumnItems {
  llvm::SmallVector<int64_t> lead;  ///< sizes of the dimensions before
  int64_t length = 1;               ///< last dimension (1 for rank 0)
  int64_t block = 1;
  ColumnItems(llvm::ArrayRef<int64_t> shape, int64_t block);
  int64_t count() const;
  /// Runs `body` for each item of [begin, end) with the coordinates of the
  /// dimensions before and the span of columns (breaks and width unset).
  void emit(ElementEvaluator &evaluator,
            llvm::function_ref<void(llvm::ArrayRef<Coord>, Span)> body) const;
};

} // namespace pg

#endif // PG_PASSES_CPU_ROWLOOPS_H
