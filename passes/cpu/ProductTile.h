//===- ProductTile.h - packed panels and the micro-kernel of all products --===//
//
// Matmul, attention and the softcapped head are loops around one thing: a tile
// C[rows][columns] += A[rows][k] B[k][columns] with A and B in thread scratch.
//
//   A   any layout with static strides: element (r, k) at r * row + k * step
//   B   panels of some vectors' columns: panel p, row k at
//       p * panelStride + k * columns
//   C   row-major tile with a static stride
//
// The micro-kernel (MicroKernel.h) holds rows x vectors of C in registers, 24 with
// the 32 registers of 512-bit vectors: 6 x 4 where panels are four vectors wide
// (fewest loads), 12 x 2 where they are two. Packed data is padded with zeros, so it never sees a
// tail. Products use fused multiply-add; the sum over k runs in order, so a
// value never depends on how rows or columns were cut.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_PRODUCTTILE_H
#define PG_PASSES_CPU_PRODUCTTILE_H

#include "passes/cpu/MicroKernel.h"

#include <functional>
#include <numeric>

namespace pg {

inline int64_t roundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// A in scratch (or in place): element (r, k) at `ptr[r * row + k * step]`, or,
/// packed in strips of `strip` rows (whole micro-kernels), that within strip
/// r / strip.
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
  bool pairs = false; ///< elements are pairs of bf16 numbers, those of A too
};

/// C, row-major.
struct TileC {
  Val ptr;
  int64_t stride = 0;
};

/// What a product does with the old C, and what it asks for meanwhile.
struct Accumulation {
  /// i1, decided at run time: C = C + A B, else A B; null: adds.
  Val adds = Val();
  /// What to ask for during the micro-tile that begins at this row and panel.
  std::function<LinesAhead(Val row, Val panel)> ahead = nullptr;
};

class ProductTile {
public:
  explicit ProductTile(Emitter &e);

  /// What rows are padded to: a multiple of the rows of every micro-kernel.
  int64_t microRows() const { return accumulators / 2; }
  /// What the rows of a tile are cut at when A is packed in strips: whole vectors
  /// of the source, whole micro-kernels.
  int64_t stripRows() const { return std::lcm(microRows(), e.width()); }
  /// Columns of a panel for a B of so many columns: four vectors where the
  /// registers suffice and that pads no more than two.
  int64_t panelColumns(int64_t columns) const;
  /// Depth of a block of k such that one panel stays in the L1 cache.
  int64_t depth() const { return 256; }

  /// Elements of a row-major A block of `rows` x `k`: padded stride.
  int64_t rowStride(int64_t k) const { return roundUp(k, e.width()) + e.width(); }

  TileA allocateRows(int64_t rows, int64_t k);
  TileB allocatePanels(int64_t k, int64_t columns);
  /// A for a matrix that lies as [k][rows]: strips of so many rows, those of a
  /// micro-kernel or of microRows().
  TileA allocateStrips(int64_t k, int64_t rows, int64_t strip);
  TileC allocateC(int64_t rows, int64_t columns);

  /// `lanes` consecutive elements at (row, column ..) of a row-major matrix.
  using Source = std::function<Val(Val row, Val column, int64_t lanes)>;
  /// A plain matrix in memory, of elements of this type; a bf16 one is widened
  /// as it is packed.
  Source matrix(Val ptr, Val rowStride, mlir::Type element);

  // Where the target multiplies pairs of bf16 numbers (Emitter::dotPairs), a product
  // of such numbers is one of half the depth whose elements are pairs (k, k + 1), an
  // odd depth filled up with a zero. Packing moves pairs like numbers.

  /// Pairs along the rows of a matrix of bf16 numbers with `extent` columns.
  Source pairsInRows(Source numbers, int64_t extent);
  /// Pairs of two rows of a matrix of `extent` rows; `isEven`: surely an even number.
  /// `numbers` may give bf16 vectors as they are stored.
  Source pairsOfRows(Source numbers, Val extent, bool isEven);
  /// A plain matrix of bf16 numbers in memory, for pairsOfRows.
  Source storedHalves(Val ptr, Val rowStride);

  // Packing. The extent of `source` along its rows of memory is static, so its
  // last, partial vector has a static number of lanes, `tail` (0: none); a
  // block is a multiple of the width, or ends with that tail.

  /// rows x k at (row0, k0) of `source` into A; rows are padded to a multiple of `padTo`
  /// (0: of every micro-kernel).
  void packRows(const Source &source, Val row0, Val rows, Val k0, Val k,
                int64_t tail, TileA to, int64_t padTo = 0);
  /// The same from the transposed matrix (its rows are steps of k), into strips;
  /// `tail` is that of its columns.
  void packStrips(const Source &source, Val k0, Val k, Val row0, Val rows,
                  int64_t tail, TileA to);
  /// k x columns at (k0, column0) into panels, columns padded to whole panels.
  void packPanels(const Source &source, Val k0, Val k, Val column0, Val columns,
                  int64_t tail, TileB to);
  /// The same from the transposed matrix (its rows are columns of B), through
  /// width x width transposes in registers. Padding columns repeat row
  /// column0 + columns - 1: what they contribute is never read.
  void packPanelsTransposed(const Source &source, Val k0, Val k, Val column0,
                            Val columns, int64_t tail, TileB to);
  /// Rows [0, rows), padded to microRows, become zero in their whole length.
  void clear(TileC c, Val rows);
  /// C += A B over whole micro-tiles and panels.
  void multiply(TileA a, TileB b, TileC c, Val rows, Val columns, Val k,
                const Accumulation &how = {});
  /// One micro-tile: element (r, k) of A at a[r * row + k * step], `panel` of B,
  /// C where it begins. Only the first `vectors` of the panel's columns, if not 0.
  void multiplyMicro(Val a, Val row, Val step, const TileB &b, Val panel,
                     TileC c, Val k, const Accumulation &how,
                     const LinesAhead &ahead, int64_t vectors = 0);
  /// What one of `panels` micro-tiles of k steps asks for, so that all of them ask
  /// for k elements of the rows from `at` on.
  LinesAhead shareOfRows(Val at, Val row, Val k, Val panel, Val panels);
  /// Rows of the micro-kernel for this B.
  int64_t microRowsOf(const TileB &b) const {
    return accumulators / (b.columns / e.width());
  }

  /// A vector of these lanes of vectors; the last one repeats.
  Val collect(llvm::SmallVector<std::pair<Val, int64_t>> lanes);
  /// Vectors v of a width x width block, transposed.
  llvm::SmallVector<Val, 16> transposeBlock(llvm::SmallVector<Val, 16> v);
  /// body(column, lanes) over [0, columns) in native vectors and the tail.
  void columnsLoop(Val columns, int64_t tail,
                   llvm::function_ref<void(Val, int64_t)> body);
  /// A shorter vector followed by zeros.
  Val widen(Val vector);

private:
  Emitter &e;
  int64_t accumulators; ///< vectors of C in registers
  Val line;             ///< scratch of packStrips: one row of the source
};

} // namespace pg

#endif // PG_PASSES_CPU_PRODUCTTILE_H
