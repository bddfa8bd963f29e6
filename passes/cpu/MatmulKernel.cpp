//===- MatmulKernel.cpp - products with prologue and epilogue --------------===//
//
// C[M][O] = A[M][K] B[K][O]; M or K may be the token axis, O is static.
//
// An item is some rows of one column block of C, numbered column block first. A
// call handles what lies side by side in a column block as runs of rows, so that
// what is packed serves as much as a thread has. Per run:
//   1. for each block of k, in order: pack B (once for all that a thread does of a
//      column block in a launch, where one block is all of k), pack A (evaluating the
//      prologue) and multiply.
//      Rows of A that lie in memory as they are wanted are not packed: the
//      micro-kernel reads a few of them in step, which the machine fetches ahead,
//      while packing waits for memory. An A that lies transposed is packed for the
//      whole run, along its rows of memory; the next block of k of both operands is
//      asked for meanwhile, long before it is packed.
//   2. after each micro-tile of the last block: evaluate every yield from it
//      (epilogue) and store it
// Sums of several blocks wait in a tile C in scratch.
// A matrix times its own transpose is symmetric: there are items for rows on or
// below the diagonal, micro-tiles end at it, and the epilogue is evaluated at the
// mirrored places too. The sizes depend on the static shape only.
// Where the target multiplies pairs of bf16 numbers, k counts pairs.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/MatmulKernel.h"

using namespace mlir;

namespace pg {
namespace {

/// Tokens of the entry length at which parallelism is judged, and the items
/// wanted there.
constexpr int64_t kTypicalTokens = 1024;
constexpr int64_t kWantedItems = 8;
/// Rows of an item, and the most of a run whose sums wait in scratch: where both operands
/// are packed for it (with them the sums fill L2), and where only B is.
constexpr int64_t kItemRows = 48, kRunRows = 11 * kItemRows, kLongRunRows = 4 * kRunRows;
/// Columns of a block.
constexpr int64_t kColumns = 256;
/// The same of a symmetric product, which leaves out more above the diagonal where it
/// is narrow; wider where A is packed for each column block.
constexpr int64_t kSymmetricColumns = 128, kSymmetricColumnsPacked = 192;
/// Rows of a run of a symmetric product; of an item, and two of them for a thread, where
/// both operands are packed for every run.
constexpr int64_t kSymmetricRunRows = 192, kSymmetricItemRows = 96;
/// Steps of k in a block: one of B stays in L2 while the rows of A stream by, the
/// strip of A that is multiplied by it in L1.
constexpr int64_t kDepth = 512;
/// Up to here all of k is one block, of fewer columns, so that no sums wait and B is
/// packed once. Beyond, A would be read for more blocks of columns than that is worth.
constexpr int64_t kWholeDepth = 1024;
/// Steps of k in a block of a sum over tokens, whose operands are both packed: the
/// sums, this block and the next one's lines, asked for meanwhile, need room.
constexpr int64_t kTokenDepth = 128;

} // namespace

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

  chooseSizes();
  evaluator.bindArguments(def);
  rowCount = tokenRows ? e.numTokens() : e.i(staticRows);
  depthCount = !tokenDepth ? e.i(staticDepth)
               : pairs     ? e.ceilDiv(e.numTokens(), 2)
                           : e.numTokens();
  c = tile.allocateC(oneBlock ? tile.microRows() : runRows, blockColumns);
  b = tile.allocatePanels(blockDepth, blockColumns);
  b.pairs = pairs;
  if (op.getTransposeA())
    a = tile.allocateStrips(blockDepth, runRows, tile.microRowsOf(b));
  else
    a = tile.allocateRows(tile.microRows(), blockDepth);
  if (isSymmetric)
    mirrorBlock = e.scratch(e.width() * e.width() * e.floatBytes());
  emitItems();
  if (evaluator.failed())
    return failure();

  KernelShape shape;
  int64_t columnBlocks = (columnCount + blockColumns - 1) / blockColumns;
  int64_t units = tokenRows ? 1 : (staticRows + itemRows - 1) / itemRows;
  shape.items.tokensPerItem = tokenRows ? itemRows : 0;
  shape.items.multiplier = 0;
  for (int64_t block = 0; block < columnBlocks; ++block)
    shape.items.multiplier += units - unitsLeftOut(block);
  // Where B stays packed from piece to piece, pieces may be short. Where both operands of
  // a symmetric product are packed, its few items are too unequal for long runs.
  bool isFewUnequal = isSymmetric && op.getTransposeA();
  shape.items.wantsRuns = !isFewUnequal && !packsOnce;
  shape.items.grain = isFewUnequal ? kSymmetricRunRows / itemRows : 1;
  shape.category = "matmul";
  shape.wholePipeline = true;
  return shape;
}

void MatmulKernel::chooseSizes() {
  int64_t rows = tokenRows ? kTypicalTokens : staticRows;
  int64_t cut = op.getTransposeA() || isSymmetric ? tile.stripRows() : tile.microRows();
  itemRows = std::min(kItemRows / cut * cut, roundUp(rows, cut));
  int64_t panel = tile.panelColumns(columnCount), whole = roundUp(columnCount, panel);
  if (isSymmetric) {
    itemRows = op.getTransposeA() ? kSymmetricItemRows : kItemRows;
    blockColumns = std::min(op.getTransposeA() ? kSymmetricColumnsPacked : kSymmetricColumns, whole);
  } else {
    // Narrower blocks where there would be too few items.
    int64_t units = (rows + itemRows - 1) / itemRows;
    blockColumns = kColumns;
    while (blockColumns > panel && blockColumns > 64 &&
           (whole + blockColumns - 1) / blockColumns * units < kWantedItems)
      blockColumns /= 2;
    blockColumns = std::min(blockColumns, whole);
  }
  blockDepth = tokenDepth ? kTokenDepth : std::min(kDepth, staticDepth);
  bool mayHoldAll = !tokenDepth && !op.getTransposeA();
  if (mayHoldAll && staticDepth > kDepth && staticDepth <= kWholeDepth) {
    blockDepth = staticDepth;
    int64_t fitting = kColumns * kDepth / staticDepth / panel * panel;
    blockColumns = std::min(blockColumns, std::max(panel, fitting));
  }
  packsOnce = blockDepth == staticDepth && !op.getTransposeA();
  // What is mirrored comes from C, which should be near.
  runRows = isSymmetric && packsOnce ? kSymmetricRunRows
            : op.getTransposeA() || isSymmetric ? kRunRows : kLongRunRows;
  oneBlock = !isSymmetric && blockDepth == staticDepth;
}

void MatmulKernel::emitItems() {
  int64_t columnBlocks = (columnCount + blockColumns - 1) / blockColumns;
  // Without packed rows and sums in scratch a run is as long as it likes.
  bool isBounded = !oneBlock || op.getTransposeA();
  int64_t runUnits = isBounded ? runRows / itemRows : int64_t(1) << 40;
  Val units = e.ceilDiv(rowCount, itemRows);
  double perBlock = static_cast<double>(blockColumns), perItem = static_cast<double>(itemRows);
  e.loop(e.i(0), e.i(columnBlocks), 1, {e.i(0), e.begin()},
         [&](Val order, ArrayRef<Val> carried) -> Emitter::Vals {
    // Items [start, stop) are of this column block; those before `item` are done.
    Val block = columnBlockAt(order, columnBlocks), start = carried[0], item = carried[1];
    Val first = isSymmetric ? block * perBlock / perItem : e.i(0);
    Val stop = start + (units - first), end = e.min(e.end(), stop);
    SmallVector<Type, 1> types = {item.type()};
    item = e.ifElse(
        (item >= start) & (item < end), types,
        [&]() -> Emitter::Vals {
          Val column0 = block * perBlock, lastUnit = first + (end - start);
          Val columns = e.min(e.i(columnCount) - column0, e.i(blockColumns));
          if (packsOnce) {
            // Once for all of a launch that a thread does of a column block.
            Type i64 = e.builder().getI64Type();
            Val packed = e.load(i64, e.launchNote(), e.i(0)), wanted = block + 1.0;
            e.ifThen(packed != wanted, [&] {
              packB(e.i(0), depthCount, column0, columns, b);
              e.store(wanted, e.launchNote(), e.i(0));
            });
          }
          e.loop(first + (item - start), lastUnit, runUnits, [&](Val unit) {
            Val row0 = unit * perItem;
            Val unitEnd = e.min(unit + static_cast<double>(runUnits), lastUnit);
            emitRun(row0, e.min(unitEnd * perItem, rowCount) - row0, column0, columns);
          });
          return {end};
        },
        [&]() -> Emitter::Vals { return {item}; })[0];
    return {stop, item};
  });
}

Val MatmulKernel::columnBlockAt(Val order, int64_t columnBlocks) {
  if (!isSymmetric)
    return order;
  Val half = order / 2.0;
  return e.select(order % 2 == 0, half, e.i(columnBlocks - 1) - half);
}

ProductTile::Source MatmulKernel::operand(Side side) {
  ProductTile::Source plain = numbers(factor(side));
  if (!pairs)
    return plain;
  if (!isAlongDepth(side)) {
    auto type = cast<RankedTensorType>(factor(side).getType());
    auto argument = dyn_cast<BlockArgument>(throughReshapes(factor(side)));
    if (argument && type.getElementType().isBF16())
      plain = tile.storedHalves(e.buffer(bufferOf(argument)), e.i(type.getDimSize(1)));
    return tile.pairsOfRows(plain, tokenDepth ? e.numTokens() : e.i(numberDepth),
                            !tokenDepth && numberDepth % 2 == 0);
  }
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

void MatmulKernel::emitRun(Val row0, Val rows, Val column0, Val columns) {
  // Without tokens a sum over them is zero, and is stored like any other.
  Val depthEnd = tokenDepth ? e.max(depthCount, e.i(1)) : depthCount;
  double micro = static_cast<double>(tile.microRowsOf(b));
  int64_t perStrip = (blockColumns + b.columns - 1) / b.columns;
  e.loop(e.i(0), depthEnd, blockDepth, [&](Val k0) {
    Val k = e.min(depthCount - k0, e.i(blockDepth)), next = k0 + k;
    if (op.getTransposeA())
      tile.packStrips(operand(Left), k0, k, row0, rows, tailOf(staticRows), a);
    if (!packsOnce)
      packB(k0, k, column0, columns, b);
    Val turns = (rows + (micro - 1)) / micro * static_cast<double>(perStrip);
    auto ahead = [&](Val r, Val p) -> LinesAhead {
      if (!op.getTransposeA())
        return nextRows(row0 + r, column0, columns, p, k0, k);
      Val turn = r / micro * static_cast<double>(perStrip) + p;
      LinesAhead operands = nextBlock(row0, rows, column0, columns, turn, turns, next, k);
      LinesAhead results = nextResults(row0 + r, column0 + (p + 1.0) * b.columns, k);
      Val isLast = next >= depthCount;
      auto pick = [&](Val x, Val y) { return e.select(isLast, x, y); };
      return {pick(results.at, operands.at), pick(results.row, operands.row),
              pick(results.steps, operands.steps), pick(results.next, operands.next)};
    };
    multiply(row0, rows, column0, columns, k0, k, ahead);
  });
  if (isSymmetric)
    emitMirrored(row0, rows, column0, columns);
}

void MatmulKernel::emitMirrored(Val row0, Val rows, Val column0, Val columns) {
  int64_t width = e.width();
  e.loop(e.i(0), columns, width, [&](Val column) {
    tile.columnsLoop(rows, tailOf(staticRows), [&](Val r, int64_t lanes) {
      e.ifThen(column0 + column < row0 + r, [&] {
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

void MatmulKernel::multiply(Val row0, Val rows, Val column0, Val columns, Val k0, Val k,
                            function_ref<LinesAhead(Val, Val)> ahead) {
  int64_t micro = tile.microRowsOf(b), panel = b.columns;
  Accumulation how{.adds = k0 > 0};
  Val isLast = k0 + k >= depthCount, panels = e.ceilDiv(columns, panel);
  bool isPacked = op.getTransposeA();
  Val inPlace = isPacked ? Val() : memoryOf(Left);
  e.loop(e.i(0), rows, micro, [&](Val r) {
    Val first = row0 + r, left = a.ptr, stride = e.i(a.row);
    auto pack = [&] {
      tile.packRows(operand(Left), first, e.min(rowCount - first, e.i(micro)),
                    k0, k, tailOf(staticDepth), a, micro);
    };
    if (isPacked) {
      left = e.addressF(left, r / static_cast<double>(micro) * a.stripStride);
    } else if (inPlace) {
      // The last rows of the matrix, fewer than a micro-kernel reads, are packed.
      Val isWhole = first + micro <= rowCount;
      e.ifThen(first + micro > rowCount, pack);
      left = e.select(isWhole, e.addressF(inPlace, first * staticDepth + k0), left);
      stride = e.select(isWhole, e.i(staticDepth), stride);
    } else {
      pack();
    }
    e.loop(e.i(0), panels, 1, [&](Val p) {
      Val at = p * panel;
      TileC to = microTileOfC(r, at);
      auto epilogue = [&] {
        e.ifThen(isLast, [&] {
          emitEpilogue(row0, column0, r, e.min(r + micro, rows), at,
                       e.min(at + panel, columns), to);
        });
      };
      auto one = [&](int64_t vectors) {
        tile.multiplyMicro(left, stride, e.i(a.step), b, p, to, k, how, ahead(r, p), vectors);
      };
      if (!isSymmetric) {
        one(0);
        epilogue();
        return;
      }
      // Up to the last row's element on the diagonal, with the narrowest micro-kernel
      // that reaches it.
      Val wanted = first + static_cast<double>(micro) - (column0 + at);
      int64_t vectors = panel / e.width();
      Val above = e.i(int64_t(1) << 40);
      e.ifThen(wanted > 0, [&] {
        for (; vectors >= 1; vectors /= 2) {
          Val below = e.i(vectors > 1 ? vectors / 2 * e.width() : 0);
          e.ifThen((wanted > below) & (wanted <= above), [&] { one(vectors); });
          above = below;
        }
        epilogue();
      });
    });
  });
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

TileC MatmulKernel::microTileOfC(Val r, Val at) {
  if (oneBlock)
    return {e.addressF(c.ptr, at), c.stride};
  if (isSymmetric) // row by row, as it is mirrored
    return {e.addressF(c.ptr, r * c.stride + at), c.stride};
  // One behind the other, so that the machine fetches the next one ahead.
  int64_t micro = tile.microRowsOf(b), width = roundUp(blockColumns, b.columns);
  return {e.addressF(c.ptr, r * width + at * static_cast<double>(micro)), b.columns};
}

void MatmulKernel::emitEpilogue(Val row0, Val column0, Val row, Val rowEnd,
                                Val column, Val columnEnd, TileC tileOfC) {
  e.loop(row, rowEnd, 1, [&](Val r) {
    Val token = row0 + r;
    Val end = isSymmetric ? e.min(columnEnd, endOfRow(token) - column0) : columnEnd;
    tile.columnsLoop(end - column, tailOf(columnCount),
                     [&](Val at, int64_t lanes) {
                       Val value = e.load(e.vecType(lanes), tileOfC.ptr,
                                          (r - row) * tileOfC.stride + at);
                       emitYields(token, column0 + column + at, value, lanes);
                     });
  });
}

void MatmulKernel::emitYields(Val row, Val column, Val value, int64_t lanes) {
  auto yield = cast<YieldOp>(def.getBody().front().getTerminator());

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
      evaluator.storeYield(v, type, e.buffer(firstYield() + k), at,
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

FailureOr<KernelShape> emitMatmul(StructuredKernel kernel) {
  return MatmulKernel(kernel).emit();
}

} // namespace pg
