//===- Strip.h - multiply-adds of a few rows and vectors of a product ------===//
//
// What all innermost loops of products have in common: rows x vectors of C in
// registers, to which each step of k adds a column of A times a row of a panel.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_STRIP_H
#define PG_PASSES_CPU_STRIP_H

#include "passes/cpu/Emitter.h"

namespace pg {

/// Rows of A are pointers that LLVM does not know to be related, with one running
/// index for six of them: sums of addresses in the loop would take the place of
/// multiply-adds.
class Strip {
public:
  struct Kind {
    int64_t rows, vectors;
    bool pairs = false;         ///< elements are pairs of bf16 numbers
    bool stepsAreLines = false; ///< each step may be another line of A, to be asked for
    int64_t panelVectors = 0;   ///< of a row of the panel, of which the first `vectors` count; 0: as many
  };
  static constexpr int64_t kLineBytes = 64;

  /// Element (r, k) of A at a[r * row + k * step].
  Strip(Emitter &e, const Kind &kind, Val a, Val row, Val step);

  /// Sums in registers.
  int64_t size() const { return kind.rows * kind.vectors; }
  /// `count` steps one after the other, of what a loop carries: index into A, place in
  /// the panel, the sums.
  Emitter::Vals steps(llvm::ArrayRef<Val> now, int64_t count);
  /// Some steps, `unroll` at a time.
  Emitter::Vals run(Val count, int64_t unroll, Emitter::Vals now);

private:
  static constexpr int64_t kRowsOfIndex = 6;
  /// How far ahead a panel is asked for: it comes from L2, and the machine's own
  /// look ahead is not enough to multiply at full rate.
  static constexpr int64_t kStepsAhead = 8;

  Emitter &e;
  Kind kind;
  Val step;
  Val later;  ///< from a row to the one kRowsOfIndex further
  Val aheadA; ///< kStepsAhead steps further
  llvm::SmallVector<Val> aRow;
};

} // namespace pg

#endif // PG_PASSES_CPU_STRIP_H
