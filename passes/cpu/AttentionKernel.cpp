//===- AttentionKernel.cpp - blocked attention with online softmax ---------===//
//
// An item is a block of queries of all the heads that share one key head; the
// heads' queries lie side by side as the columns of one tile, so keys and
// values are packed once for all of them. Scores are held transposed, lanes
// are queries: a maximum or a sum over keys never crosses lanes. For the key
// blocks that any query sees, in order:
//   1. P^T = 2^(K (scale log2(e) Q)^T - m)   [keys][queries] in scratch, made
//      from the scores in registers, and their sums
//   2. O += P V                              P^T read as the transposed operand
// m is 0, which the scores of few models leave by more than kFar in either
// direction. Where a sum shows that they do, m becomes the maximum, O and the sums
// before shrink with it, and the block is computed again. At the end O / sum and
// lse = m ln(2) + log(sum). Key blocks start at multiples of their size, so the
// order of additions depends on positions alone.
// Of bf16 numbers, where the target multiplies pairs of them, q is taken as it is and
// the scale comes behind the product; P is rounded and stored as pairs of keys.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

#include <cmath>

using namespace mlir;

namespace pg {
namespace {

/// How far from m a block's largest scores may be: sums of 2^kFar stay finite, and
/// 2^-kFar leaves 2^-62 of it above the smallest number.
constexpr double kFar = 64;

class AttentionKernel {
public:
  AttentionKernel(StructuredKernel kernel)
      : e(kernel.e), g(AttentionGeometry::of(cast<AttentionOp>(kernel.op))),
        tile(e), blocks(tile, e, g, kernel.op), pairs(blocks.ofPairs()),
        buffers(kernel.def, kernel.op, e) {}

  FailureOr<KernelShape> emit();

private:
  void emitItem(Val token0, Val group);
  /// P of a block from its scores; moves m where it must.
  void emitProbabilities(Val key0, Val count, Val group, Val turn);
  /// What the next item reads first and this one writes last, in turns.
  LinesAhead farAhead(Val turn);
  /// i1 per lane: m of these columns cannot stay.
  Val isFar(Val c, Val key0, Val count);
  void moveShift(Val key0, Val count);
  void emitResults();
  /// Vectors of columns, those past the last one included.
  void forColumns(llvm::function_ref<void(Val)> body) {
    e.loop(e.i(0), e.i(blocks.paddedColumns()), e.width(), body);
  }

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  QueryBlocks blocks;
  bool pairs; ///< blocks.ofPairs()
  DirectBuffers buffers;
  TileA keys;
  TileB queriesT, values;
  int64_t keyDepth = 0; ///< steps of the sum over a head's features
  TileC scores, out;
  // Per column.
  Val shift, total; ///< m, and the sum over the blocks before
  Val sum, peak;    ///< of this block; the peak is that of S - m
  Val factor;       ///< what O shrinks by, or 1 / sum in the end
  // Of the item being emitted and of the next one.
  Val ownToken, ownGroup, nextToken, nextGroup;
};

FailureOr<KernelShape> AttentionKernel::emit() {
  if (!buffers.isValid())
    return failure();
  int64_t columns = blocks.columns();
  keyDepth = blocks.steps(g.keyWidth);
  queriesT = tile.allocatePanels(keyDepth, columns);
  keys = tile.allocateRows(blocks.keys(), keyDepth);
  values = tile.allocatePanels(blocks.steps(blocks.keys()), g.valueWidth);
  queriesT.pairs = values.pairs = pairs;
  scores = pairs ? blocks.allocateKeyPairs() : blocks.allocateScores();
  out = blocks.allocateSums(columns, g.valueWidth);
  int64_t bytes = blocks.paddedColumns() * e.floatBytes();
  for (Val *numbers : {&shift, &total, &sum, &peak, &factor})
    *numbers = e.scratch(bytes);

  // Columns past the last one are read as rows of a partial strip; what others left
  // there may be denormal numbers, which are slow.
  tile.clear(scores, e.i(blocks.steps(blocks.keys())));
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    // Later blocks see more keys. They come first, so that no thread is left
    // with a long item at the end.
    Val last = e.ceilDiv(e.numTokens(), blocks.queries()) - 1.0;
    double groups = static_cast<double>(g.groups), queries = static_cast<double>(blocks.queries());
    Val next = item + 1.0;
    nextToken = e.max(e.i(0), last - next / groups) * queries;
    nextGroup = next % g.groups;
    ownToken = (last - item / groups) * queries;
    ownGroup = item % g.groups;
    emitItem(ownToken, ownGroup);
  });
  KernelShape shape;
  shape.items.tokensPerItem = blocks.queries();
  shape.items.multiplier = g.groups;
  shape.category = "attention";
  shape.wholePipeline = true;
  return shape;
}

void AttentionKernel::emitItem(Val token0, Val group) {
  Val tokens = e.min(e.numTokens() - token0, e.i(blocks.queries()));
  Val zero = e.i(0);
  Val keyEnd = token0 + tokens;
  int64_t keyTail = keyDepth % e.width(), valueTail = g.valueWidth % e.width();
  auto vHead =
      headMatrix(tile, e, buffers.operand(2), g.groups, g.valueWidth, group);
  if (pairs) // of keys; what follows the last one is not looked at
    vHead = tile.pairsOfRows(vHead, keyEnd, false);

  blocks.start(token0, tokens, group);
  tile.packPanelsTransposed(
      blocks.source(blocks.multiplied(buffers.operand(0)), keyDepth, pairs ? 1 : g.scale * kLog2E),
      zero, e.i(keyDepth), zero, blocks.used(), keyTail, queriesT);
  tile.clear(out, blocks.used());
  forColumns([&](Val c) {
    e.store(e.vec(0), shift, c);
    e.store(e.vec(0), total, c);
  });

  double step = static_cast<double>(blocks.keys());
  e.loop(firstKey(e, g, token0) / step * step, keyEnd, blocks.keys(),
         [&](Val key0) {
           Val count = e.min(keyEnd - key0, e.i(blocks.keys()));
           tile.packPanels(vHead, blocks.steps(key0), blocks.steps(count), zero,
                           e.i(g.valueWidth), valueTail, values);
           emitProbabilities(key0, count, group, key0 / step);
           blocks.multiplyToQueries(scores, values, out, g.valueWidth, key0, count);
         });
  emitResults();
}

void AttentionKernel::emitProbabilities(Val key0, Val count, Val group, Val turn) {
  KeyRows rows = placeKeys(tile, e, blocks.multiplied(buffers.operand(1)), g, group, key0,
                           count, keyDepth, keys);
  QueryBlocks::Scores s{.step = ScoreStep::Softmax,
                        .depth = keyDepth,
                        .queries = queriesT,
                        .out = pairs ? TileC{} : scores,
                        .keyPairs = pairs ? scores : TileC{},
                        .factor = g.scale * kLog2E,
                        .shift = shift,
                        .total = sum};
  s.second = rowsAhead(e, buffers.operand(2), g, group, key0 + count, g.valueWidth);
  s.later = farAhead(turn);
  auto multiply = [&](const QueryBlocks::Scores &how, double start) {
    forColumns([&](Val c) { e.store(e.vec(start), how.total, c); });
    blocks.multiplyKeys(how, rows, key0, count);
  };
  multiply(s, 0);
  Val moves = e.loop(e.i(0), e.i(blocks.paddedColumns()), e.width(),
                     {e.constant(e.builder().getI1Type(), 0)},
                     [&](Val c, ArrayRef<Val> any) -> Emitter::Vals {
                       return {any[0] | e.any(isFar(c, key0, count))};
                     })[0];
  e.ifThen(moves, [&] {
    QueryBlocks::Scores peaks = s;
    peaks.step = ScoreStep::Peak;
    peaks.total = peak;
    multiply(peaks, kUnseen);
    moveShift(key0, count);
    multiply(s, 0);
  });
  forColumns([&](Val c) {
    e.store(e.loadV(total, c) + e.loadV(sum, c), total, c);
  });
}

LinesAhead AttentionKernel::farAhead(Val turn) {
  LinesAhead reads = blocks.headAhead(buffers.operand(0), g.keyWidth, nextGroup,
                                      nextToken, turn);
  if (!buffers.result(0))
    return reads;
  double heads = static_cast<double>(g.heads / g.groups);
  LinesAhead writes = blocks.headAhead(buffers.result(0), g.valueWidth, ownGroup,
                                       ownToken, turn);
  Val isRead = turn / heads % 2 == 0;
  return {e.select(isRead, reads.at, writes.at), e.select(isRead, reads.row, writes.row),
          Val()};
}

Val AttentionKernel::isFar(Val c, Val key0, Val count) {
  Val now = e.loadV(sum, c);
  // Where nothing was seen before, a small sum may be all there is.
  Val isFirst = (e.loadV(total, c) == e.vec(0)) & blocks.seesAny(c, key0, count);
  return (now > e.vec(std::exp2(kFar))) | (isFirst & (now < e.vec(std::exp2(-kFar))));
}

void AttentionKernel::moveShift(Val key0, Val count) {
  forColumns([&](Val c) {
    Val move = e.select(isFar(c, key0, count), e.loadV(peak, c), e.vec(0));
    Val before = e.loadV(total, c);
    Val shrink = e.select(before == e.vec(0), e.vec(1), e.exp2(-move));
    e.store(e.loadV(shift, c) + move, shift, c);
    e.store(before * shrink, total, c);
    e.store(shrink, factor, c);
  });
  e.loop(e.i(0), blocks.used(), 1, [&](Val r) {
    Val shrink = e.broadcast(e.loadF(factor, r));
    e.loop(e.i(0), e.i(roundUp(g.valueWidth, e.width())), e.width(), [&](Val c) {
      Val at = r * out.stride + c;
      e.store(e.loadV(out.ptr, at) * shrink, out.ptr, at);
    });
  });
}

void AttentionKernel::emitResults() {
  e.loop(e.i(0), blocks.used(), e.width(), [&](Val c) {
    Val all = e.loadV(total, c);
    e.store(e.vec(1) / all, factor, c);
    e.store(e.fma(e.loadV(shift, c), e.f(1 / kLog2E), e.log(all)), shift, c);
  });
  blocks.forQueries([&](Val r, Val index) {
    if (buffers.result(0)) {
      Val inverse = e.loadF(factor, r);
      tile.columnsLoop(
          e.i(g.valueWidth), g.valueWidth % e.width(), [&](Val c, int64_t lanes) {
            Val o = e.load(e.vecType(lanes), out.ptr, r * out.stride + c);
            buffers.result(0).put(e, o * inverse, index * g.valueWidth + c);
          });
    }
    if (buffers.result(1))
      buffers.result(1).put(e, e.loadF(shift, r), index);
  });
}

} // namespace

FailureOr<KernelShape> emitAttention(StructuredKernel kernel) {
  return AttentionKernel(kernel).emit();
}

} // namespace pg
