//===- ProductText.h - the main loop of a product on a tile -------------------===//
//
// C[row0 ...][column0 ...] += A B over a range of the contracted dimension
// ("depth"), one tile of C per block. bf16 operands go through tensor cores
// (m16n8k16, f32 sums), f32 and f64 ones through registers. Both leave the tile
// in shared memory, so that whatever comes after (epilogue, softmax statistics,
// partial sums) is written once:
//
//     <sum> *tile, [kTileRows][kTilePitch], sum = float or double
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CUDA_PRODUCTTEXT_H
#define PG_PASSES_CUDA_PRODUCTTEXT_H

#include "passes/cuda/ElementEvaluator.h"
#include "passes/cuda/Template.h"

#include <functional>
#include <string>

namespace pg::cuda {

/// How a product is cut. Chosen by shape alone (chooseTile).
struct ProductTile {
  int64_t rows = 128, columns = 128, depth = 64;
  int64_t warpRows = 64, warpColumns = 64; ///< per warp (tensor cores)
  int64_t stages = 3;                      ///< of the copy pipeline
  int64_t blocksPerSm = 2;                 ///< for __launch_bounds__
  int64_t threads = 128;
};

/// One operand as a row-major matrix [rows][columns], as it lies in memory or
/// as the IR value it is computed from.
struct ProductOperand {
  bool depthInColumns = true; ///< the contracted dimension is the columns
  int64_t rows = 0;           ///< 0: as many as there are tokens
  int64_t columns = 0;
  /// Row-major elements of the operand's type, readable in 16-byte pieces when
  /// `columns` allows it; empty when the operand is computed.
  std::string pointer;
  int64_t alignment = 16;     ///< bytes, of the pointer
  /// Signed bytes, which tensor cores read as bf16: copied as they are and widened
  /// where they land.
  bool codes = false;
  /// The IR value; null for workspace.
  mlir::Value value;
  /// A bf16 argument of the same shape from which `value` is computed: it
  /// is copied ahead and turned into the operand where it lands.
  mlir::BlockArgument stream;
  std::string streamPointer;
};

/// A product in one stage. The text it writes uses these names, defined before
/// by the caller: ints `row0`, `column0`, `depth_begin`, `depth_end`, and
/// `tokens`.
struct Product {
  std::string element = "bf16"; ///< of the operands in memory: bf16, float, double
  ProductTile tile;
  ProductOperand a, b;
  int64_t rowCount = 0;   ///< of C, 0 = tokens
  int64_t columnCount = 0;
  /// Where rows that are tokens end: an int in scope.
  std::string tokenEnd = "tokens";

  std::string sum() const { return element == "double" ? "double" : "float"; }
  int64_t sumBytes() const { return element == "double" ? 8 : 4; }
  int64_t pitch() const { return tile.columns + 8; }
  int64_t sharedBytes() const;
  std::string rowLimit() const {
    return rowCount ? std::to_string(rowCount) : tokenEnd;
  }
  int64_t columnTiles() const {
    return (columnCount + tile.columns - 1) / tile.columns;
  }
  /// Row tiles of a C with static rows.
  int64_t rowTiles() const {
    return (rowCount + tile.rows - 1) / tile.rows;
  }
};

/// The tile for C with so many rows (0: tokens) and columns; `tokenDepth` when
/// the contraction runs over tokens.
ProductTile chooseTile(const std::string &element, int64_t rows,
                       int64_t columns, bool tokenDepth);

/// Constants and thread names a product's text needs; written first.
void writeProductFrame(SourceWriter &w, const Product &product);
/// The loop over depth; `tile` holds the sums afterwards, behind a barrier.
void writeProductLoop(ElementEvaluator &evaluator, const Product &product);

/// The same in three parts, for sums over several ranges of the depth: `sums`, all
/// 0; what adds a range to them (a barrier must stand between two of these);
/// `tile`.
void writeProductSums(SourceWriter &w, const Product &product);
void writeProductSteps(ElementEvaluator &evaluator, const Product &product);
void writeProductTile(SourceWriter &w, const Product &product);

/// A loop over the staged tile in vectors of `width` columns. `body` is called
/// once, inside it, with `row` and `column` (ints, pulled inside C's bounds) and
/// `at` (index into the tile) defined; it stores only where the condition it is
/// given holds ("": everywhere). Columns end at `columnLimit`.
void writeTileLoop(SourceWriter &w, const Product &product, int64_t width,
                   int64_t columnLimit,
                   llvm::function_ref<void(const std::string &inside)> body);

/// `product`: the vector at `at` of the staged tile.
void writeTileVector(SourceWriter &w, const Product &product, int64_t width);

/// The three parts, by operand type (ProductTensorCore.cpp, ProductFma.cpp).
void writeTensorCoreSums(SourceWriter &w, const Product &product);
void writeTensorCoreSteps(ElementEvaluator &evaluator, const Product &product);
void writeTensorCoreTile(SourceWriter &w);
void writeFmaSums(SourceWriter &w, const Product &product);
void writeFmaSteps(ElementEvaluator &evaluator, const Product &product);
void writeFmaTile(SourceWriter &w, const Product &product);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_PRODUCTTEXT_H
