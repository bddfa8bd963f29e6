//===- ProductTile.h - packed panels and the micro-kernel of all products --===//
//
// Matmul, attention and the softcapped head are loops around one thing: a tile
// C[rows][columns] += A[rows][k] B[k][columns] with A and B in thread scratch.
//
//   A   any layout with static strides: element (r, k) at r * row + k * step
//   B   panels of `panelColumns` columns: panel p, row k at
//       p * panelStride + k * panelColumns
//   C   row-major tile with a static stride
//
// The micro-kernel holds microRows x 2 vectors of C in registers. Packed data
// is padded with zeros, so it never sees a tail. Products use fused
// multiply-add; the sum over k runs in order, so a value never depends on how
// rows or columns were cut.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_PRODUCTTILE_H
#define PG_PASSES_CPU_PRODUCTTILE_H

#include "passes/cpu/Emitter.h"

#include <functional>

namespace pg {

inline int64_t roundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// A in scratch (or in place): element (r, k) at `ptr[r * row + k * step]`, or,
/// packed in strips of `strip` rows, that within strip r / strip.
struct TileA {
  Val ptr;
  int64_t row, step;
  int64_t strip = 0, stripStride = 0;
};

/// B in panels of `columns` columns.
struct TileB {
  Val ptr;
  int64_t panelStride;
  int64_t columns;
  /// The same memory read as the transposed operand: columns are rows of A.
  TileA asRows() const { return {ptr, 1, columns, columns, panelStride}; }
};

/// C, row-major.
struct TileC {
  Val ptr;
  int64_t stride;
};

class ProductTile {
public:
  explicit ProductTile(Emitter &e);

  /// Rows of the micro-kernel: 8 with 32 vector registers, else 4.
  int64_t microRows() const { return rowsPerMicro; }
  int64_t panelColumns() const { return 2 * e.width(); }
  /// Depth of a block of k such that one panel stays in the L1 cache.
  int64_t depth() const { return 256; }

  /// Elements of a row-major A block of `rows` x `k`: padded stride.
  int64_t rowStride(int64_t k) const { return roundUp(k, e.width()) + e.width(); }

  TileA allocateRows(int64_t rows, int64_t k);
  TileB allocatePanels(int64_t k, int64_t columns);
  /// Narrow panels for a [k][rows] matrix that is to be read `asRows`.
  TileB allocateStrips(int64_t k, int64_t rows);
  TileC allocateC(int64_t rows, int64_t columns);

  /// `lanes` consecutive elements at (row, column ..) of a row-major matrix.
  using Source = std::function<Val(Val row, Val column, int64_t lanes)>;
  /// A plain matrix in memory, of elements of this type; a bf16 one is widened
  /// as it is packed. (A kernel for vdpbf16ps would pack pairs of bf16 rows
  /// instead: another packing and another micro-kernel behind this interface.)
  Source matrix(Val ptr, Val rowStride, mlir::Type element);

  // Packing. The extent of `source` along its rows of memory is static, so its
  // last, partial vector has a static number of lanes, `tail` (0: none); a
  // block is a multiple of the width, or ends with that tail.

  /// rows x k at (row0, k0) of `source` into A; rows are padded to microRows.
  void packRows(const Source &source, Val row0, Val rows, Val k0, Val k,
                int64_t tail, TileA to);
  /// k x columns at (k0, column0) into panels, columns padded to whole panels.
  void packPanels(const Source &source, Val k0, Val k, Val column0, Val columns,
                  int64_t tail, TileB to);
  /// The same from the transposed matrix (its rows are columns of B), through
  /// width x width transposes in registers. Padding columns repeat row
  /// column0 + columns - 1: what they contribute is never read.
  void packPanelsTransposed(const Source &source, Val k0, Val k, Val column0,
                            Val columns, int64_t tail, TileB to);
  /// C[0 .. rows)[0 .. columns) = 0, whole micro-tiles and panels.
  void clear(TileC c, Val rows, Val columns);
  /// C += A B over whole micro-tiles and panels.
  void multiply(TileA a, TileB b, TileC c, Val rows, Val columns, Val k);

  /// Vectors v of a width x width block, transposed.
  llvm::SmallVector<Val, 16> transposeBlock(llvm::SmallVector<Val, 16> v);
  /// body(column, lanes) over [0, columns) in native vectors and the tail.
  void columnsLoop(Val columns, int64_t tail,
                   llvm::function_ref<void(Val, int64_t)> body);
  /// A shorter vector followed by zeros.
  Val widen(Val vector);

private:
  TileB allocateColumns(int64_t k, int64_t columns, int64_t panel);

  Emitter &e;
  int64_t rowsPerMicro;
};

} // namespace pg

#endif // PG_PASSES_CPU_PRODUCTTILE_H
