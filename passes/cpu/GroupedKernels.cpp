//===- GroupedKernels.cpp - products with one matrix per slot --------------===//
//
// Both kernels walk runs of tokens: the tokens of one row lie together and
// share a slot, so a run is a plain product.
//
// grouped_matmul: an item is a tile of tokens x columns. For every run inside
// it: pack the run's tokens and the matrix of its slot, multiply, store. A sum
// runs over k in order, so a value does not depend on how tokens were cut.
//
// grouped_outer: an item is a tile of the result of one slot. All runs of the
// slot are added in token order.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/ElementEvaluator.h"
#include "passes/cpu/ProductTile.h"
#include "passes/cpu/StructuredKernels.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace pg {
namespace {

constexpr int64_t kTileTokens = 64;
constexpr int64_t kTileColumns = 256;
constexpr int64_t kTileRows = 128;

/// What both kernels share: operands, runs, results.
class GroupedKernel {
protected:
  explicit GroupedKernel(StructuredKernel kernel)
      : def(kernel.def), op(kernel.op), e(kernel.e), tile(e), evaluator(e) {}

  /// Every yield must be the op's result, seen through reshapes and a cast.
  LogicalResult checkYields() {
    for (Value value : def.getBody().front().getTerminator()->getOperands()) {
      Value source = throughReshapes(value);
      if (auto cast = source.getDefiningOp<CastOp>())
        source = throughReshapes(cast.getX());
      if (source != op->getResult(0))
        return op->emitOpError("expected only its own result to be stored");
    }
    evaluator.bindArguments(def);
    return success();
  }

  int64_t bufferOf(BlockArgument argument) {
    return llvm::count_if(
        def.getBody().front().getArguments().take_front(argument.getArgNumber()),
        [](BlockArgument a) { return isa<RankedTensorType>(a.getType()); });
  }

  /// Reads a [N, width] operand, in place where it lies in memory.
  ProductTile::Source tokens(Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    int64_t extent = type.getDimSize(1);
    if (auto argument = dyn_cast<BlockArgument>(throughReshapes(value)))
      return tile.matrix(e.buffer(bufferOf(argument)), e.i(extent),
                         type.getElementType());
    return [this, value, extent](Val row, Val column, int64_t lanes) {
      ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
      Coords at{Coord::at(row), Coord::lanesAt(column, 0, extent, e.width())};
      at[1].lanes = lanes > 1;
      Val element = convertElements(e, evaluator.evaluate(value, at, lanes),
                                    e.floatType());
      return lanes > 1 ? element : e.broadcast(element, 1);
    };
  }

  /// body(first, end, slot) for the runs of tokens in [begin, end).
  void forRuns(Val begin, Val end, function_ref<void(Val, Val, Val)> body) {
    Type i32 = e.builder().getI32Type();
    e.loop(begin, end, 1, [&](Val t) {
      Val rowBegin = e.toI64(e.load(i32, e.rowBegin(), t));
      e.ifThen((t == begin) | (rowBegin == t), [&] {
        Val rowEnd = e.toI64(e.load(i32, e.rowEnd(), t));
        body(t, e.min(rowEnd, end), e.toI64(e.load(i32, e.slot(), t)));
      });
    });
  }

  /// Stores `value`, `lanes` elements at `at`, into every yield.
  void storeResults(Val value, ArrayRef<Coord> at) {
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    int64_t firstYield = llvm::count_if(
        def.getBody().getArguments(),
        [](BlockArgument a) { return isa<RankedTensorType>(a.getType()); });
    ValueRange yields = def.getBody().front().getTerminator()->getOperands();
    for (auto [k, mode] : llvm::enumerate(def.getModes())) {
      Type stored = getElementTypeOrSelf(yields[k].getType());
      evaluator.storeYield(convertElements(e, value, stored), type.clone(stored),
                           e.buffer(firstYield + k), at, mode);
    }
  }

  /// One row of a finished tile; `rest` are the coordinates before the column.
  void storeRow(TileC c, Val r, Val column0, Val columns, int64_t extent,
                ArrayRef<Coord> rest) {
    tile.columnsLoop(columns, extent % e.width(), [&](Val at, int64_t lanes) {
      ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
      Val value = e.load(e.vecType(lanes), c.ptr, r * c.stride + at);
      Coords coords(rest.begin(), rest.end());
      coords.push_back(Coord::lanesAt(column0 + at, 0, extent, e.width()));
      storeResults(value, coords);
    });
  }

  KernelDefOp def;
  Operation *op;
  Emitter &e;
  ProductTile tile;
  ElementEvaluator evaluator;
};

class GroupedMatmulKernel : GroupedKernel {
public:
  explicit GroupedMatmulKernel(StructuredKernel kernel)
      : GroupedKernel(kernel), product(cast<GroupedMatmulOp>(kernel.op)) {}

  FailureOr<KernelShape> emit() {
    auto w = dyn_cast<BlockArgument>(throughReshapes(product.getW()));
    if (!w)
      return product.emitOpError("expected the matrices in memory");
    if (failed(checkYields()))
      return failure();
    transposed = product.getTransposeW();
    depth = product.getX().getType().getDimSize(1);
    width = product.getType().getDimSize(1);
    int64_t tileColumns =
        std::min(kTileColumns, roundUp(width, tile.panelColumns(width)));
    blockDepth = std::min(tile.depth(), depth);
    c = tile.allocateC(kTileTokens, tileColumns);
    a = tile.allocateRows(kTileTokens, blockDepth);
    b = tile.allocatePanels(blockDepth, tileColumns);
    matrices = e.buffer(bufferOf(w));

    e.loop(e.begin(), e.end(), 1, [&](Val item) {
      Val rowBlocks = e.ceilDiv(e.numTokens(), kTileTokens);
      Val row0 = item % rowBlocks * kTileTokens;
      Val column0 = item / rowBlocks * tileColumns;
      Val columns = e.min(e.i(width) - column0, e.i(tileColumns));
      forRuns(row0, e.min(e.numTokens(), row0 + kTileTokens),
              [&](Val first, Val end, Val slot) {
                emitRun(first, end - first, slot, column0, columns);
              });
    });
    if (evaluator.failed())
      return failure();
    KernelShape shape;
    shape.items.tokensPerItem = kTileTokens;
    shape.items.multiplier = (width + tileColumns - 1) / tileColumns;
    shape.category = "matmul";
    shape.wholePipeline = true;
    return shape;
  }

private:
  void emitRun(Val row0, Val rows, Val slot, Val column0, Val columns) {
    Type element = product.getW().getType().getElementType();
    Val matrix = e.address(element, matrices,
                           slot * static_cast<double>(depth * width));
    ProductTile::Source w =
        tile.matrix(matrix, e.i(transposed ? depth : width), element);
    ProductTile::Source x = tokens(product.getX());
    tile.clear(c, rows);
    e.loop(e.i(0), e.i(depth), blockDepth, [&](Val k0) {
      Val k = e.min(e.i(depth) - k0, e.i(blockDepth));
      tile.packRows(x, row0, rows, k0, k, depth % e.width(), a);
      if (transposed)
        tile.packPanelsTransposed(w, k0, k, column0, columns,
                                  depth % e.width(), b);
      else
        tile.packPanels(w, k0, k, column0, columns, width % e.width(), b);
      tile.multiply(a, b, c, rows, columns, k);
    });
    e.loop(e.i(0), rows, 1, [&](Val r) {
      storeRow(c, r, column0, columns, width, {Coord::at(row0 + r)});
    });
  }

  GroupedMatmulOp product;
  bool transposed = false;
  int64_t depth = 0, width = 0, blockDepth = 0;
  Val matrices;
  TileA a;
  TileB b;
  TileC c;
};

class GroupedOuterKernel : GroupedKernel {
public:
  explicit GroupedOuterKernel(StructuredKernel kernel)
      : GroupedKernel(kernel), outer(cast<GroupedOuterOp>(kernel.op)) {}

  FailureOr<KernelShape> emit() {
    if (failed(checkYields()))
      return failure();
    auto type = outer.getType();
    int64_t slots = type.getDimSize(0), height = type.getDimSize(1);
    int64_t width = type.getDimSize(2);
    int64_t tileRows = roundUp(std::min(kTileRows, height), tile.stripRows());
    int64_t tileColumns =
        std::min(kTileColumns, roundUp(width, tile.panelColumns(width)));
    int64_t rowBlocks = (height + tileRows - 1) / tileRows;
    int64_t columnBlocks = (width + tileColumns - 1) / tileColumns;
    TileC c = tile.allocateC(tileRows, tileColumns);
    TileA strips = tile.allocateStrips(tile.depth(), tileRows, tile.microRows());
    TileB b = tile.allocatePanels(tile.depth(), tileColumns);

    e.loop(e.begin(), e.end(), 1, [&](Val item) {
      Val wanted = item / static_cast<double>(rowBlocks * columnBlocks);
      Val row0 = item / static_cast<double>(columnBlocks) % rowBlocks * tileRows;
      Val column0 = item % columnBlocks * tileColumns;
      Val rows = e.min(e.i(height) - row0, e.i(tileRows));
      Val columns = e.min(e.i(width) - column0, e.i(tileColumns));
      ProductTile::Source left = tokens(outer.getA());
      ProductTile::Source right = tokens(outer.getB());
      tile.clear(c, rows);
      forRuns(e.i(0), e.numTokens(), [&](Val first, Val end, Val slot) {
        e.ifThen(slot == wanted, [&] {
          e.loop(first, end, tile.depth(), [&](Val k0) {
            Val k = e.min(end - k0, e.i(tile.depth()));
            tile.packStrips(left, k0, k, row0, rows, height % e.width(),
                            strips);
            tile.packPanels(right, k0, k, column0, columns, width % e.width(),
                            b);
            tile.multiply(strips, b, c, rows, columns, k);
          });
        });
      });
      e.loop(e.i(0), rows, 1, [&](Val r) {
        storeRow(c, r, column0, columns, width,
                 {Coord::at(wanted, 0, slots), Coord::at(row0 + r, 0, height)});
      });
    });
    if (evaluator.failed())
      return failure();
    KernelShape shape;
    shape.items.multiplier = slots * rowBlocks * columnBlocks;
    shape.category = "matmul";
    shape.wholePipeline = true;
    return shape;
  }

private:
  GroupedOuterOp outer;
};

} // namespace

FailureOr<KernelShape> emitGroupedMatmul(StructuredKernel kernel) {
  return GroupedMatmulKernel(kernel).emit();
}

FailureOr<KernelShape> emitGroupedOuter(StructuredKernel kernel) {
  return GroupedOuterKernel(kernel).emit();
}

} // namespace pg
