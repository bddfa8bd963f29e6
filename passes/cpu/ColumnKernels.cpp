//===- ColumnKernels.cpp - kernels cut by columns of a static tensor
//---------===//
//
// pg.combine sums chunks in order, pg.gather_grad adds token rows to a table in
// token order; both are parallel over blocks of columns, so no two threads
// write one element and the order of additions never changes.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/RowKernel.h"
#include "passes/cpu/RowLoops.h"

using namespace mlir;

namespace pg {
namespace {

/// Vectors of one column block: that many sums are in flight.
constexpr int64_t kBlockVectors = 4;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

template <typename Op> Op findOp(KernelDefOp def) {
  auto ops = def.getBody().front().getOps<Op>();
  return *ops.begin();
}

/// What both kernels hold while they are emitted.
struct ColumnKernel {
  ColumnKernel(KernelDefOp def, ModuleOp module, const CpuTarget &target)
      : def(def),
        e(module, def.getSymName(), def.getLoc(), kernelFloatType(def), target),
        evaluator(e),
        yields(
            cast<YieldOp>(def.getBody().front().getTerminator()).getValues()) {
    evaluator.bindArguments(def);
  }

  LogicalResult checkYields(RankedTensorType shape) {
    for (Value v : yields)
      if (tensorType(v).getShape() != shape.getShape())
        return def.emitError(
                   "expected every yield of the kernel to have shape ")
               << shape << ", found " << v.getType();
    return success();
  }

  /// Evaluates and stores all yields at one position.
  void storeYields(ArrayRef<Coord> at, int64_t width) {
    SmallVector<Val> values;
    for (Value v : yields)
      values.push_back(evaluator.evaluate(v, at, width));
    for (auto [index, v] : llvm::enumerate(yields))
      evaluator.storeYield(values[index], tensorType(v),
                           e.buffer(yieldBuffer(def, index)), at,
                           def.getModes()[index]);
  }

  FailureOr<KernelShape> finish(const ColumnItems &items, StringRef category) {
    KernelShape shape;
    shape.category = category.str();
    shape.items.multiplier = items.count();
    shape.scratchBytes = e.finish();
    if (evaluator.failed())
      return failure();
    return shape;
  }

  KernelDefOp def;
  Emitter e;
  ElementEvaluator evaluator;
  ValueRange yields;
};

Coords withLast(ArrayRef<Coord> lead, const Coord &last, int64_t rank) {
  Coords at(lead.begin(), lead.end());
  if (rank > 0)
    at.push_back(last);
  return at;
}

} // namespace

FailureOr<KernelShape> emitCombineKernel(KernelDefOp def, ModuleOp module,
                                         const CpuTarget &target) {
  auto combine = findOp<CombineOp>(def);
  ColumnKernel kernel(def, module, target);
  Emitter &e = kernel.e;
  ElementEvaluator &evaluator = kernel.evaluator;
  RankedTensorType type = tensorType(combine.getResult());
  if (failed(kernel.checkYields(type)))
    return failure();
  int64_t grain =
      cast<ChunksAttr>(tensorType(combine.getX()).getEncoding()).getGrain();
  Val chunks = e.ceilDiv(e.numTokens(), grain);
  ColumnItems items(type.getShape(), e.width() * kBlockVectors);
  items.emit(evaluator, [&](ArrayRef<Coord> lead, Span span) {
    span.width = e.width();
    // All pieces of the block first: one loop over chunks feeds them all.
    SmallVector<std::pair<Coord, int64_t>> pieces;
    emitSpan(evaluator, span, {},
             [&](const Coord &c, int64_t width, int64_t, Emitter::Vals) {
               pieces.push_back({c, width});
               return Emitter::Vals();
             });
    Emitter::Vals sums;
    Type element = type.getElementType();
    for (auto &[c, width] : pieces)
      sums.push_back(e.constant(
          width > 1 ? Type(VectorType::get({width}, element)) : element, 0));
    sums = e.loop(e.i(0), chunks, 1, sums, [&](Val chunk, ArrayRef<Val> old) {
      ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
      Emitter::Vals next;
      for (auto [k, piece] : llvm::enumerate(pieces)) {
        Coords at = withLast(lead, piece.first, type.getRank());
        at.insert(at.begin(), Coord::at(chunk));
        next.push_back(old[k] +
                       evaluator.evaluate(combine.getX(), at, piece.second));
      }
      return next;
    });
    for (auto [k, piece] : llvm::enumerate(pieces)) {
      ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
      evaluator.bindCurrent(combine.getResult(), sums[k]);
      kernel.storeYields(withLast(lead, piece.first, type.getRank()),
                         piece.second);
    }
  });
  return kernel.finish(items, "reduce");
}

FailureOr<KernelShape> emitGatherGradKernel(KernelDefOp def, ModuleOp module,
                                            const CpuTarget &target) {
  auto op = findOp<GatherGradOp>(def);
  ColumnKernel kernel(def, module, target);
  Emitter &e = kernel.e;
  ElementEvaluator &evaluator = kernel.evaluator;
  RankedTensorType type = tensorType(op.getResult());
  if (failed(kernel.checkYields(type)))
    return failure();
  int64_t words = type.getDimSize(0);
  ArrayRef<int64_t> row = type.getShape().drop_front();
  ColumnItems items(row, e.width() * kBlockVectors);
  // The table grows in its own buffer, or in scratch when it is not yielded as
  // it is: a [words, block] table of the thread.
  bool direct = kernel.yields.size() == 1 && kernel.yields[0] == op.getResult();
  RankedTensorType scratchType =
      RankedTensorType::get({words, items.block}, type.getElementType());
  Val table = direct ? e.buffer(yieldBuffer(def, 0))
                     : e.scratch(words * items.block *
                                 elementBytes(type.getElementType()));
  Val count = isTokenTensor(op.getIndex().getType())
                  ? e.numTokens()
                  : e.i(tensorType(op.getIndex()).getDimSize(0));

  items.emit(evaluator, [&](ArrayRef<Coord> lead, Span span) {
    span.width = e.width();
    /// Runs `body` for every piece of one row: its position in the table that
    /// is being filled and in the result.
    auto eachPiece =
        [&](Val word,
            function_ref<void(const Coords &, const Coords &, int64_t)> body) {
          Coord wordAt = Coord::at(word, 0, words);
          emitSpan(
              evaluator, span, {},
              [&](const Coord &c, int64_t width, int64_t, Emitter::Vals) {
                Coords result = withLast(lead, c, row.size());
                result.insert(result.begin(), wordAt);
                Coord inBlock = c;
                if (c.base)
                  inBlock = Coord::constant(c.offset - span.start.offset);
                else
                  inBlock = c.shifted(-span.start.offset);
                inBlock.lanes = c.lanes;
                body(direct ? result : Coords{wordAt, inBlock}, result, width);
                return Emitter::Vals();
              });
        };
    RankedTensorType tableType = direct ? type : scratchType;
    if (!direct || def.getModes()[0] != 2)
      e.loop(e.i(0), e.i(words), 1, [&](Val word) {
        ElementEvaluator::Scope scope(evaluator,
                                      e.builder().getInsertionBlock());
        eachPiece(word, [&](const Coords &at, const Coords &, int64_t width) {
          Type element = type.getElementType();
          evaluator.store(
              e.constant(width > 1 ? Type(VectorType::get({width}, element))
                                   : element,
                         0),
              tableType, table, at);
        });
      });
    e.loop(e.i(0), count, 1, [&](Val t) {
      ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
      // As in gather: an index outside the table stands for the nearest row.
      Val index =
          e.toI64(evaluator.evaluate(op.getIndex(), Coords{Coord::at(t)}));
      Val word = e.max(e.min(index, e.i(words - 1)), e.i(0));
      eachPiece(
          word, [&](const Coords &at, const Coords &result, int64_t width) {
            Coords from(result);
            from[0] = Coord::at(t);
            Val dy = convertElements(e, evaluator.evaluate(op.getDy(), from, width),
                                     type.getElementType());
            evaluator.storeYield(dy, tableType, table, at, /*mode=*/2);
          });
    });
    if (!direct)
      e.loop(e.i(0), e.i(words), 1, [&](Val word) {
        ElementEvaluator::Scope scope(evaluator,
                                      e.builder().getInsertionBlock());
        eachPiece(word, [&](const Coords &at, const Coords &result,
                            int64_t width) {
          ElementEvaluator::Scope here(evaluator,
                                       e.builder().getInsertionBlock());
          evaluator.bindCurrent(op.getResult(),
                                evaluator.load(tableType, table, at, width));
          kernel.storeYields(result, width);
        });
      });
  });
  return kernel.finish(items, "scatter");
}

} // namespace pg
