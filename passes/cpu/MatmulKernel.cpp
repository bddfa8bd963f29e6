//===- MatmulKernel.cpp - products with prologue and epilogue --------------===//
//
// C[M][O] = A[M][K] B[K][O]; M or K may be the token axis, O is static.
//
// An item is a tile of rows x columns of C, numbered column block first, so a
// thread's run of items reuses the packed B of one column block. Per item:
//   1. clear the tile C in scratch
//   2. for each block of k, in order: pack A (evaluating the prologue), pack B
//      unless it is still there, multiply. Rows of A that lie in memory as they
//      are wanted are not packed: the micro-kernel reads a few of them in step,
//      which the machine fetches ahead, while packing waits for memory.
//   3. after each micro-tile of the last block: evaluate every yield from it
//      (epilogue) and store it
// A matrix times its own transpose is symmetric: there is an item for every tile
// on or below the diagonal, panels above the diagonal are left out, and the
// epilogue is evaluated at the mirrored places too. The tile size depends on the static shape only.
// Where the target multiplies pairs of bf16 numbers, k counts pairs.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/ElementEvaluator.h"
#include "passes/cpu/ProductTile.h"
#include "passes/cpu/StructuredKernels.h"

#include <array>

using namespace mlir;

namespace pg {
namespace {

/// Tokens of the entry length at which parallelism is judged, and the items
/// wanted there.
constexpr int64_t kTypicalTokens = 1024;
constexpr int64_t kWantedItems = 8;
/// The same where both operands are packed: larger tiles pack less.
constexpr int64_t kWantedPackedItems = 4;
/// Steps of k in a block, where A is read row by row and where it is packed in
/// strips from rows of its transpose.
constexpr int64_t kRowDepth = 512, kStripDepth = 128;
/// Packed B of one column block, kept over all row blocks of a thread.
constexpr int64_t kResidentBytes = 2 << 20;

/// A reshape only renames the same memory.
Value throughReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getX();
  return value;
}

class MatmulKernel {
public:
  MatmulKernel(StructuredKernel kernel)
      : def(kernel.def), op(cast<MatmulOp>(kernel.op)), e(kernel.e), tile(e),
        evaluator(e) {}

  FailureOr<KernelShape> emit();

private:
  enum Side { Left, Right };

  void chooseTile();
  int64_t rowBlocksOf(int64_t rows) const {
    return (rows + tileRows - 1) / tileRows;
  }
  /// Row and column block of an item.
  std::pair<Val, Val> blocksOf(Val item);
  void emitItem(Val item, Val packedColumn);
  void packB(Val k0, Val k, Val column0, Val columns, TileB to);
  /// Rows and columns [.., end) of the tile whose corner is (row0, column0).
  void emitEpilogue(Val row0, Val column0, Val row, Val rowEnd, Val column,
                    Val columnEnd);
  /// Rows of a tile on the diagonal for which a panel is not multiplied: it lies
  /// above the diagonal, and its mirror image is there.
  Val rowsLeftOut(Val panel) {
    double unit = static_cast<double>(tile.stripRows());
    return panel * static_cast<double>(b.columns) / unit * unit;
  }
  /// What was not multiplied as such, from the tile transposed, through the same
  /// epilogue.
  void emitMirrored(Val row0, Val rows, Val column0, Val columns);
  void emitYields(Val row, Val column, Val value, int64_t lanes);
  /// C += A B of one block of k, and the epilogue behind the last one.
  void multiply(const TileB &panels, Val row0, Val rows, Val column0,
                Val columns, Val k0, Val k, Val isLast);
  /// Where an operand lies as what is multiplied, row by row; else empty.
  Val memoryOf(Side side);
  Value factor(Side side) { return side == Left ? op.getA() : op.getB(); }
  /// Whether the rows of an operand run along k.
  bool isAlongDepth(Side side) {
    return side == Left ? !op.getTransposeA() : op.getTransposeB();
  }
  /// The rows of the next block of k that are packed from memory, for each
  /// micro-tile of this block.
  std::function<LinesAhead(Val, Val)> nextBlock(Val row0, Val column0,
                                                Val rows, Val columns, Val k0,
                                                Val k);
  /// Row of the tile C that holds row r of the item.
  Val rowOfC(Val r) { return oneBlock ? e.i(0) : r; }
  int64_t lineElements() const { return 64 / e.floatBytes(); }
  int64_t bufferOf(BlockArgument argument);
  /// Packed panels of k-block `k0` of the resident B.
  TileB residentB(Val k0);
  /// An operand as it is multiplied: numbers, or pairs of them.
  ProductTile::Source operand(Side side);
  /// Reads an operand of the product through the evaluator (prologue).
  ProductTile::Source numbers(Value value);
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
  int64_t tileRows = 0, tileColumns = 0, blockDepth = 0;
  bool residentPanels = false;
  bool oneBlock = false; ///< of k: C holds one strip at a time
  Val rowCount, depthCount;
  TileA a;
  TileB b;
  TileC c;
  Val mirrorBlock; ///< scratch of emitMirrored: width x width elements
};

FailureOr<KernelShape> MatmulKernel::emit() {
  auto typeA = cast<RankedTensorType>(op.getA().getType());
  auto type = cast<RankedTensorType>(op.getResult().getType());
  if (type.isDynamicDim(1))
    return op.emitOpError("expected a product with a static number of columns");
  tokenRows = type.isDynamicDim(0);
  int64_t depth = typeA.getDimSize(op.getTransposeA() ? 0 : 1);
  tokenDepth = ShapedType::isDynamic(depth);
  if (tokenDepth && (!op.getTransposeA() || op.getTransposeB()))
    return op.emitOpError(
        "expected a contraction over tokens as a^T b, both by rows");
  if (tokenRows && op.getTransposeA())
    return op.emitOpError("expected tokens in the rows of the left operand");
  staticRows = tokenRows ? 0 : type.getDimSize(0);
  pairs = e.hasPairDot() && hasBf16Factors(op);
  numberDepth = tokenDepth ? 0 : depth;
  staticDepth = pairs ? (numberDepth + 1) / 2 : numberDepth;
  columnCount = type.getDimSize(1);
  isSymmetric = op.getA() == op.getB() &&
                op.getTransposeA() != op.getTransposeB() && !tokenRows;
  auto yield = cast<YieldOp>(def.getBody().front().getTerminator());
  for (Value value : yield.getValues()) {
    auto yielded = cast<RankedTensorType>(value.getType());
    if (yielded.getRank() < 1 || yielded.getDimSize(0) != type.getDimSize(0) ||
        elementsPerToken(yielded) != elementsPerToken(type))
      return op.emitOpError("expected results of the product's shape, got ")
             << yielded;
  }

  chooseTile();
  evaluator.bindArguments(def);
  rowCount = tokenRows ? e.numTokens() : e.i(staticRows);
  depthCount = !tokenDepth ? e.i(staticDepth)
               : pairs     ? e.ceilDiv(e.numTokens(), 2)
                           : e.numTokens();
  c = tile.allocateC(oneBlock ? tile.microRows() : tileRows, tileColumns);
  if (op.getTransposeA())
    a = tile.allocateStrips(blockDepth, tileRows);
  else
    a = tile.allocateRows(tile.microRows(), blockDepth);
  b = tile.allocatePanels(blockDepth, tileColumns);
  b.pairs = pairs;
  if (residentPanels) {
    // The blocks after the first follow it in scratch.
    int64_t panels = roundUp(tileColumns, b.columns) / b.columns;
    int64_t blocks = (staticDepth + blockDepth - 1) / blockDepth;
    e.scratch((blocks - 1) * panels * b.panelStride * e.floatBytes());
  }

  if (isSymmetric)
    mirrorBlock = e.scratch(e.width() * e.width() * e.floatBytes());
  e.loop(e.begin(), e.end(), 1, {e.i(-1)},
         [&](Val item, ArrayRef<Val> carried) -> Emitter::Vals {
           emitItem(item, carried[0]);
           return {blocksOf(item).second};
         });
  if (evaluator.failed())
    return failure();

  KernelShape shape;
  int64_t columnBlocks = (columnCount + tileColumns - 1) / tileColumns;
  int64_t rowBlocks = tokenRows ? 1 : rowBlocksOf(staticRows);
  shape.items.tokensPerItem = tokenRows ? tileRows : 0;
  shape.items.multiplier = isSymmetric ? rowBlocks * (rowBlocks + 1) / 2
                                       : rowBlocks * columnBlocks;
  shape.category = "matmul";
  shape.wholePipeline = true;
  return shape;
}

void MatmulKernel::chooseTile() {
  // From large to small: the first with enough items, else the smallest.
  static constexpr std::array<std::pair<int64_t, int64_t>, 6> kTiles = {
      {{256, 256}, {128, 256}, {128, 128}, {64, 128}, {64, 64}, {32, 64}}};
  int64_t rows = tokenRows ? kTypicalTokens : staticRows;
  if (isSymmetric) {
    // Square tiles, so that every tile has its mirror or is its own.
    int64_t whole = roundUp(staticRows, 4 * e.width());
    tileRows = tileColumns = std::min<int64_t>(whole, staticRows >= 384 ? 128 : 64);
  }
  int64_t cut = op.getTransposeA() ? tile.stripRows() : tile.microRows();
  for (auto [tileR, tileC] : kTiles) {
    if (isSymmetric)
      break;
    tileRows = roundUp(std::min(tileR, rows), cut);
    tileColumns =
        std::min(tileC, roundUp(columnCount, tile.panelColumns(columnCount)));
    int64_t items = ((rows + tileRows - 1) / tileRows) *
                    ((columnCount + tileColumns - 1) / tileColumns);
    if (items >= (op.getTransposeA() ? kWantedPackedItems : kWantedItems))
      break;
  }
  // A block of B stays in L2 while the rows of A stream by, a panel of it and
  // the strip of A that is multiplied by it pass through L1.
  int64_t most = op.getTransposeA() ? kStripDepth : kRowDepth;
  blockDepth = tokenDepth ? most : std::min(most, staticDepth);
  oneBlock = !op.getTransposeA() && !isSymmetric && blockDepth == staticDepth;
  residentPanels = !tokenDepth && roundUp(staticDepth, blockDepth) *
                                          tileColumns * e.floatBytes() <=
                                      kResidentBytes;
}

ProductTile::Source MatmulKernel::operand(Side side) {
  ProductTile::Source plain = numbers(factor(side));
  if (!pairs)
    return plain;
  if (!isAlongDepth(side))
    return tile.pairsOfRows(plain, tokenDepth ? e.numTokens() : e.i(numberDepth),
                            !tokenDepth && numberDepth % 2 == 0);
  if (Val inPlace = memoryOf(side))
    return tile.matrix(inPlace, e.i(staticDepth), e.floatType());
  return tile.pairsInRows(plain, numberDepth);
}

ProductTile::Source MatmulKernel::numbers(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t extent = type.getDimSize(1);
  if (auto argument = dyn_cast<BlockArgument>(throughReshapes(value))) {
    return tile.matrix(e.buffer(bufferOf(argument)), e.i(extent),
                       type.getElementType());
  }
  return [this, value, extent](Val row, Val column, int64_t lanes) {
    ElementEvaluator::Scope scope(evaluator,
                                  e.builder().getInsertionBlock());
    Coords at{Coord::at(row),
              Coord::lanesAt(column, 0, extent, e.width())};
    at[1].lanes = lanes > 1;
    Val element = convertElements(e, evaluator.evaluate(value, at, lanes),
                                  e.floatType());
    return lanes > 1 ? element : e.broadcast(element, 1);
  };
}

void MatmulKernel::packB(Val k0, Val k, Val column0, Val columns, TileB to) {
  if (op.getTransposeB())
    tile.packPanelsTransposed(operand(Right), k0, k, column0, columns,
                              tailOf(staticDepth), to);
  else
    tile.packPanels(operand(Right), k0, k, column0, columns,
                    tailOf(columnCount), to);
}

TileB MatmulKernel::residentB(Val k0) {
  if (!residentPanels)
    return b;
  int64_t panels = roundUp(tileColumns, b.columns) / b.columns;
  return {e.addressF(b.ptr, k0 / blockDepth * (panels * b.panelStride)),
          b.panelStride, b.columns, b.pairs};
}

void MatmulKernel::emitItem(Val item, Val packedColumn) {
  auto [rowBlock, columnBlock] = blocksOf(item);
  Val row0 = rowBlock * tileRows, column0 = columnBlock * tileColumns;
  Val rows = e.min(rowCount - row0, e.i(tileRows));
  Val columns = e.min(e.i(columnCount) - column0, e.i(tileColumns));

  // Without tokens a sum over them is zero, and is stored like any other.
  Val depthEnd = tokenDepth ? e.max(depthCount, e.i(1)) : depthCount;
  e.loop(e.i(0), depthEnd, blockDepth, [&](Val k0) {
    Val k = e.min(depthCount - k0, e.i(blockDepth));
    TileB panels = residentB(k0);
    if (residentPanels)
      e.ifThen(columnBlock != packedColumn,
               [&] { packB(k0, k, column0, columns, panels); });
    else
      packB(k0, k, column0, columns, panels);
    Val isLast = k0 + k >= depthCount;
    multiply(panels, row0, rows, column0, columns, k0, k, isLast);
  });
  if (isSymmetric)
    emitMirrored(row0, rows, column0, columns);
}

std::pair<Val, Val> MatmulKernel::blocksOf(Val item) {
  if (!isSymmetric) {
    Val rowBlocks = e.ceilDiv(rowCount, tileRows);
    return {item % rowBlocks, item / rowBlocks};
  }
  // Column block j has the row blocks from j on and begins with item `start`.
  int64_t blocks = rowBlocksOf(staticRows), start = 0;
  Val column = e.i(0), first = e.i(0);
  for (int64_t j = 1; j < blocks; ++j) {
    start += blocks - j + 1;
    Val reached = item >= start;
    column = e.select(reached, e.i(j), column);
    first = e.select(reached, e.i(start), first);
  }
  return {column + (item - first), column};
}

void MatmulKernel::emitMirrored(Val row0, Val rows, Val column0, Val columns) {
  int64_t width = e.width();
  Val below = row0 != column0;
  e.loop(e.i(0), columns, width, [&](Val column) {
    tile.columnsLoop(rows, tailOf(staticRows), [&](Val r, int64_t lanes) {
      Val leftOut = rowsLeftOut(r / static_cast<double>(b.columns));
      e.ifThen(below | (column < leftOut), [&] {
        SmallVector<Val, 16> v;
        for (int64_t j = 0; j < width; ++j)
          v.push_back(e.loadV(c.ptr, (r + j) * c.stride + column));
        for (auto [j, mirrored] : llvm::enumerate(tile.transposeBlock(v)))
          e.store(mirrored, mirrorBlock, e.i(int64_t(j) * width));
        e.loop(e.i(0), e.i(width), 1, [&](Val j) {
          emitYields(column0 + column + j, row0 + r,
                     e.load(e.vecType(lanes), mirrorBlock, j * width), lanes);
        });
      });
    });
  });
}

void MatmulKernel::multiply(const TileB &panels, Val row0, Val rows,
                            Val column0, Val columns, Val k0, Val k,
                            Val isLast) {
  int64_t micro = tile.microRowsOf(b), panel = b.columns;
  Accumulation how{.adds = k0 > 0};
  if (isSymmetric)
    how.wanted = [&](Val r, Val p) {
      return (row0 != column0) | (r >= rowsLeftOut(p));
    };
  auto after = [&](Val r, Val p) {
    e.ifThen(isLast, [&] {
      emitEpilogue(row0, column0, r, e.min(r + micro, rows), p * panel,
                   e.min(p * panel + panel, columns));
    });
  };
  if (op.getTransposeA()) {
    tile.packStrips(operand(Left), k0, k, row0, rows, tailOf(staticRows),
                    a);
    how.ahead = nextBlock(row0, column0, rows, columns, k0, k);
    tile.multiply(a, panels, c, rows, columns, k, how, after);
    return;
  }
  // Strip by strip. One that does not lie in memory as it is wanted, or is the
  // last of the matrix and shorter than a micro-kernel, is packed.
  Val inPlace = memoryOf(Left), panelCount = e.ceilDiv(columns, panel);
  e.loop(e.i(0), rows, micro, [&](Val r) {
    Val first = row0 + r, left = a.ptr, stride = e.i(a.row);
    auto pack = [&] {
      tile.packRows(operand(Left), first, e.min(rowCount - first, e.i(micro)),
                    k0, k, tailOf(staticDepth), a, micro);
    };
    LinesAhead ahead;
    if (inPlace) {
      Val isWhole = first + micro <= rowCount, depth = e.i(staticDepth);
      Val lies = e.addressF(inPlace, first * staticDepth + k0);
      e.ifThen(first + micro > rowCount, pack);
      left = e.select(isWhole, lies, left);
      stride = e.select(isWhole, depth, stride);
      ahead = {e.addressF(lies, depth * static_cast<double>(micro)), depth, {}};
    } else {
      pack();
    }
    e.loop(e.i(0), panelCount, 1, [&](Val p) {
      LinesAhead now;
      if (ahead.at)
        now = tile.shareOfRows(ahead.at, ahead.row, k, p, panelCount);
      TileC to{e.addressF(c.ptr, rowOfC(r) * c.stride + p * panel), c.stride};
      auto one = [&] {
        tile.multiplyMicro(left, stride, e.i(1), panels, p, to, k, how, now);
        after(r, p);
      };
      if (how.wanted)
        e.ifThen(how.wanted(r, p), one);
      else
        one();
    });
  });
}

std::function<LinesAhead(Val, Val)>
MatmulKernel::nextBlock(Val row0, Val column0, Val rows, Val columns, Val k0,
                        Val k) {
  Val left = memoryOf(Left);
  Val right = op.getTransposeB() ? Val() : memoryOf(Right);
  if (!left && !right)
    return nullptr;
  int64_t micro = tile.microRowsOf(b);
  // A strip asks for as many rows of the next block of k as it has itself, each
  // panel for its share of their columns. Where there are strips enough the first
  // ones ask for rows of B and the others for rows of A, else the first panels
  // and the others do.
  bool byStrip = tileRows >= 2 * blockDepth;
  // Behind the last block comes the first one of a tile that shares B.
  Val next = e.select(k0 + k < depthCount, k0 + k, e.i(0));
  return [=, this](Val r, Val p) -> LinesAhead {
    Val strip = r / static_cast<double>(micro), panels = e.ceilDiv(columns, b.columns);
    Val firstHalf = e.ceilDiv(panels, 2), groups = e.ceilDiv(k, micro);
    Val isRight = byStrip ? strip < groups : p < firstHalf;
    if (!left || !right)
      isRight = e.constant(e.builder().getI1Type(), bool(right));
    bool both = left && right;
    auto pick = [&](Val ofRight, Val ofLeft) { return e.select(isRight, ofRight, ofLeft); };
    Val share = both && !byStrip ? pick(p, p - firstHalf) : p;
    Val shares = both && !byStrip ? pick(firstHalf, panels - firstHalf) : panels;
    Val group = both && byStrip ? pick(strip, strip - groups) : strip;
    Val extent = pick(columns, rows), line = pick(e.i(columnCount), e.i(staticRows));
    Val at = (next + group * static_cast<double>(micro)) * line +
             pick(column0, row0) + share * (extent / shares);
    return {e.addressF(pick(right ? right : left, left ? left : right), at), line,
            e.max(e.i(1), k * shares * static_cast<double>(lineElements()) / extent)};
  };
}

Val MatmulKernel::memoryOf(Side side) {
  auto argument = dyn_cast<BlockArgument>(throughReshapes(factor(side)));
  if (!argument)
    return {};
  Type element = getElementTypeOrSelf(argument.getType());
  // Rows of an even number of bf16 numbers are rows of pairs.
  bool isPairs = element.isBF16() && isAlongDepth(side) && numberDepth % 2 == 0;
  if (pairs ? !isPairs : element != e.floatType())
    return {};
  return e.buffer(bufferOf(argument));
}

int64_t MatmulKernel::bufferOf(BlockArgument argument) {
  return llvm::count_if(
      def.getBody().front().getArguments().take_front(argument.getArgNumber()),
      [](BlockArgument a) { return isa<RankedTensorType>(a.getType()); });
}

void MatmulKernel::emitEpilogue(Val row0, Val column0, Val row, Val rowEnd,
                                Val column, Val columnEnd) {
  e.loop(row, rowEnd, 1, [&](Val r) {
    Val token = row0 + r;
    tile.columnsLoop(columnEnd - column, tailOf(columnCount),
                     [&](Val at, int64_t lanes) {
                       Val value =
                           e.load(e.vecType(lanes), c.ptr,
                                  (oneBlock ? r - row : r) * c.stride + column + at);
                       emitYields(token, column0 + column + at, value, lanes);
                     });
  });
}

void MatmulKernel::emitYields(Val row, Val column, Val value, int64_t lanes) {
  auto yield = cast<YieldOp>(def.getBody().front().getTerminator());
  int64_t firstYield = 0;
  for (BlockArgument argument : def.getBody().front().getArguments())
    firstYield += isa<RankedTensorType>(argument.getType());

  // What a yield stores: under reshapes of whole rows, the matrix itself.
  auto storedValue = [&](Value yielded) {
    Value plain = throughReshapes(yielded);
    auto type = cast<RankedTensorType>(plain.getType());
    return type.getShape() == op.getType().getShape() ? plain : yielded;
  };
  // Coordinates of flat column `first` of one row, the last dimension in lanes.
  auto coordinates = [&](RankedTensorType type, Val flat, bool inLanes) {
    Coords at{Coord::at(row)};
    SmallVector<Coord, 4> inner;
    Val rest = flat;
    for (int64_t d = type.getRank() - 1; d >= 1; --d) {
      int64_t size = type.getDimSize(d);
      Val index = d == 1 ? rest : rest % size;
      if (d > 1)
        rest = rest / static_cast<double>(size);
      bool last = d == type.getRank() - 1;
      inner.push_back(inLanes && last
                          ? Coord::lanesAt(index, 0, size, e.width())
                          : Coord::at(index, 0, size));
    }
    at.append(inner.rbegin(), inner.rend());
    return at;
  };

  // One scope per vector, so that all yields share what they have in common;
  // shapes whose rows are cut inside a vector go element by element.
  auto emitOne = [&](Val flat, Val product, bool inLanes,
                     function_ref<bool(RankedTensorType)> wanted) {
    ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
    evaluator.bindCurrent(op.getResult(), product);
    for (auto [k, yielded] : llvm::enumerate(yield.getValues())) {
      Value result = storedValue(yielded);
      auto type = cast<RankedTensorType>(result.getType());
      if (!wanted(type))
        continue;
      Coords at = coordinates(type, flat, inLanes);
      Val v = evaluator.evaluate(result, at, inLanes ? lanes : 1);
      evaluator.storeYield(v, type, e.buffer(firstYield + k), at,
                           def.getModes()[k]);
    }
  };
  auto wholeInLanes = [&](RankedTensorType type) {
    return lanes > 1 &&
           (type.getRank() == 2 || (type.getRank() > 2 &&
                                    type.getShape().back() % e.width() == 0));
  };
  emitOne(column, value, true, wholeInLanes);
  bool anyScalar = llvm::any_of(yield.getValues(), [&](Value v) {
    return !wholeInLanes(cast<RankedTensorType>(storedValue(v).getType()));
  });
  if (anyScalar)
    for (int64_t lane = 0; lane < lanes; ++lane)
      emitOne(column + lane, e.lane(value, lane), false,
              [&](RankedTensorType type) { return !wholeInLanes(type); });
}

} // namespace

FailureOr<KernelShape> emitMatmul(StructuredKernel kernel) {
  return MatmulKernel(kernel).emit();
}

} // namespace pg
