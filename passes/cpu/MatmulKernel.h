//===- MatmulKernel.h - emission of products --------------------------------===//
//
// The order of loops is told in MatmulKernel.cpp, what is asked for ahead of its use
// decided in MatmulAhead.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_MATMULKERNEL_H
#define PG_PASSES_CPU_MATMULKERNEL_H

#include "passes/cpu/ElementEvaluator.h"
#include "passes/cpu/ProductTile.h"
#include "passes/cpu/StructuredKernels.h"

namespace pg {

/// Emits the kernel of one matmul with the maps fused before and behind it.
class MatmulKernel {
public:
  MatmulKernel(StructuredKernel kernel)
      : def(kernel.def), op(mlir::cast<MatmulOp>(kernel.op)), e(kernel.e), tile(e),
        evaluator(e) {}

  mlir::FailureOr<KernelShape> emit();

private:
  enum Side { Left, Right };

  void chooseSizes();
  /// Items of rows above the diagonal in a column block.
  int64_t unitsLeftOut(int64_t block) const {
    return isSymmetric ? block * blockColumns / itemRows : 0;
  }
  void emitItems();
  /// Rows [row0, row0 + rows) of a column block.
  void emitRun(Val row0, Val rows, Val column0, Val columns);
  void packB(Val k0, Val k, Val column0, Val columns, TileB to);
  /// Rows and columns [.., end) of the run whose corner is (row0, column0), from their
  /// micro-tile.
  void emitEpilogue(Val row0, Val column0, Val row, Val rowEnd, Val column,
                    Val columnEnd, TileC tileOfC);
  /// Column block that comes as number `order`. Those of a symmetric product get shorter
  /// one by one; long and short ones take turns, so that halves of the items do not
  /// touch all of them.
  Val columnBlockAt(Val order, int64_t columnBlocks);
  /// Of a symmetric product a square of width x width elements is stored as it was
  /// multiplied on and below the diagonal, and above it from its mirror image. Where
  /// those of a row stored as multiplied end.
  Val endOfRow(Val row) {
    double width = static_cast<double>(e.width());
    return row / width * width + width;
  }
  /// Squares above the diagonal, from the tile transposed, through the same epilogue.
  void emitMirrored(Val row0, Val rows, Val column0, Val columns);
  void emitYields(Val row, Val column, Val value, int64_t lanes);
  /// C += A B of one block of k, and the epilogue behind the last one.
  void multiply(Val row0, Val rows, Val column0, Val columns, Val k0, Val k,
                llvm::function_ref<LinesAhead(Val, Val)> ahead);
  /// Where an operand lies as what is multiplied, row by row; else empty.
  Val memoryOf(Side side);
  mlir::Value factor(Side side) { return side == Left ? op.getA() : op.getB(); }
  /// Whether the rows of an operand run along k.
  bool isAlongDepth(Side side) {
    return side == Left ? !op.getTransposeA() : op.getTransposeB();
  }
  /// What the micro-tile at a row and in a panel of a column block asks for where A lies
  /// row by row: its share of the next rows of A and of what the epilogue needs.
  LinesAhead nextRows(Val row, Val column0, Val columns, Val panel, Val k0, Val k);
  bool isFloat(mlir::Value value);
  /// Arguments of the float type from which a tensor is made element by element, other
  /// than through the product.
  void findTensors(mlir::Value root, llvm::SmallVector<mlir::Value> &found);
  /// Where those of an operand lie.
  llvm::SmallVector<Val> memoryBehind(mlir::Value factor);
  /// The results, and what the epilogue reads beside the product, element by element.
  llvm::SmallVector<Val> memoryOfEpilogue();
  /// The same where A is packed, for micro-tile `turn` of `turns` of a block of k: its
  /// share of the next block of both operands.
  LinesAhead nextBlock(Val row0, Val rows, Val column0, Val columns, Val turn,
                       Val turns, Val next, Val k);
  /// Behind the last block of k: the lines that the next epilogue writes.
  LinesAhead nextResults(Val row, Val column, Val k);
  /// The micro-tile of C from row r and column `at` of the run on.
  TileC microTileOfC(Val r, Val at);
  int64_t bufferOf(mlir::BlockArgument argument);
  int64_t firstYield() {
    return llvm::count_if(def.getBody().front().getArguments(), [](mlir::BlockArgument a) {
      return mlir::isa<mlir::RankedTensorType>(a.getType());
    });
  }
  /// An operand as it is multiplied: numbers, or pairs of them.
  ProductTile::Source operand(Side side);
  /// Reads an operand of the product through the evaluator (prologue).
  ProductTile::Source numbers(mlir::Value value);
  /// Lanes of the last vector of a static extent.
  int64_t tailOf(int64_t extent) { return extent % e.width(); }

  KernelDefOp def;
  MatmulOp op;
  Emitter &e;
  ProductTile tile;
  ElementEvaluator evaluator;

  bool tokenRows = false, tokenDepth = false;
  bool pairs = false;       ///< k counts pairs of bf16 numbers
  bool isSymmetric = false; ///< A times A^T
  int64_t staticRows = 0, staticDepth = 0, columnCount = 0;
  int64_t numberDepth = 0;  ///< static depth in numbers, where k counts pairs
  int64_t itemRows = 0, runRows = 0, blockColumns = 0, blockDepth = 0;
  bool packsOnce = false; ///< B, for all of a launch that a thread does of a column block
  bool oneBlock = false;  ///< of k, and C holds one micro-tile at a time
  Val rowCount, depthCount;
  TileA a;
  TileB b;
  TileC c;
  Val mirrorBlock; ///< scratch of emitMirrored: width x width elements
};

} // namespace pg

#endif // PG_PASSES_CPU_MATMULKERNEL_H
