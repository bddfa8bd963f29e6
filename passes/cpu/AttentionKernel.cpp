//===- AttentionKernel.cpp - blocked attention with online softmax ---------===//
//
// An item is a block of queries of all the heads that share one key head; the
// heads' queries lie side by side as the columns of one tile, so keys and
// values are packed once for all of them. Scores are held transposed, lanes
// are queries: a maximum or a sum over keys never crosses lanes. For the key
// blocks that any query sees, in order:
//   1. S^T = K (scale log2(e) Q)^T      [keys][queries] in scratch
//   2. per query: maximum m, P = 2^(S - m), running sum, shrink = 2^(old m - m)
//   3. O = diag(shrink) O + P V         P^T read as the transposed operand
// At the end O / sum and lse = m ln(2) + log(sum). Key blocks start at multiples
// of their size, so the order of additions depends on positions alone.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

class AttentionKernel {
public:
  AttentionKernel(StructuredKernel kernel)
      : e(kernel.e), g(AttentionGeometry::of(cast<AttentionOp>(kernel.op))),
        tile(e), blocks(tile, e, g), buffers(kernel.def, kernel.op, e) {}

  FailureOr<KernelShape> emit();

private:
  void emitItem(Val block, Val group);
  /// Maximum, probabilities, sum and shrink of the queries of one vector.
  void emitSoftmax(Val c, Val keys);
  void emitResults(Val group);

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  QueryBlocks blocks;
  DirectBuffers buffers;
  TileA keys;
  TileB queriesT, values;
  TileC scores, out;
  Val rowMax, rowSum, shrink;
};

FailureOr<KernelShape> AttentionKernel::emit() {
  if (!buffers.isValid())
    return failure();
  int64_t columns = blocks.columns();
  queriesT = tile.allocatePanels(g.keyWidth, columns);
  keys = tile.allocateRows(blocks.keys(), g.keyWidth);
  values = tile.allocatePanels(blocks.keys(), g.valueWidth);
  scores = tile.allocateC(blocks.keys(), columns);
  out = tile.allocateC(columns, g.valueWidth);
  int64_t perQuery =
      roundUp(roundUp(columns, tile.microRows()), e.width()) * e.floatBytes();
  rowMax = e.scratch(perQuery);
  rowSum = e.scratch(perQuery);
  shrink = e.scratch(perQuery);

  // Rows of a last, partial micro-tile of O are read as well: zeros, because
  // denormal numbers left there by others would be slow.
  tile.clear(scores, e.i(blocks.keys()));
  e.loop(e.i(0), e.i(perQuery / e.floatBytes()), e.width(),
         [&](Val c) { e.store(e.vec(0), shrink, c); });
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    // Later blocks see more keys. They come first, so that no thread is left
    // with a long item at the end.
    Val last = e.ceilDiv(e.numTokens(), blocks.queries()) - 1.0;
    emitItem(last - item / static_cast<double>(g.groups), item % g.groups);
  });
  KernelShape shape;
  shape.items.tokensPerItem = blocks.queries();
  shape.items.multiplier = g.groups;
  shape.category = "attention";
  shape.wholePipeline = true;
  return shape;
}

void AttentionKernel::emitItem(Val block, Val group) {
  Val token0 = block * static_cast<double>(blocks.queries());
  Val tokens = e.min(e.numTokens() - token0, e.i(blocks.queries()));
  Val zero = e.i(0), columns = e.i(blocks.columns());
  Val d = e.i(g.keyWidth), w = e.i(g.valueWidth);
  int64_t keyTail = g.keyWidth % e.width(), valueTail = g.valueWidth % e.width();
  auto kHead = headMatrix(tile, e, buffers.operand(1), g.groups, g.keyWidth, group);
  auto vHead =
      headMatrix(tile, e, buffers.operand(2), g.groups, g.valueWidth, group);

  blocks.start(token0, tokens);
  tile.packPanelsTransposed(
      blocks.source(buffers.operand(0), g.keyWidth, group, g.scale * kLog2E),
      zero, d, zero, columns, keyTail, queriesT);
  tile.clear(out, columns);
  e.loop(zero, columns, e.width(), [&](Val c) {
    e.store(e.vec(kNothingSeen), rowMax, c);
    e.store(e.vec(0), rowSum, c);
  });

  double step = static_cast<double>(blocks.keys());
  Val keyEnd = token0 + tokens;
  e.loop(firstKey(e, g, token0) / step * step, keyEnd, blocks.keys(),
         [&](Val key0) {
           Val count = e.min(keyEnd - key0, e.i(blocks.keys()));
           tile.packPanels(vHead, key0, count, zero, w, valueTail, values);
           multiplyKeys(tile, e, buffers.operand(1), kHead, g, group, key0, count,
                        g.keyWidth, keys, queriesT, scores, columns);
           blocks.mask(scores, key0, count);
           e.loop(zero, columns, e.width(),
                  [&](Val c) { emitSoftmax(c, count); });
           tile.multiply({scores.ptr, 1, scores.stride}, values, out, columns, w,
                         count,
                         {.rowScale = shrink,
                          .ahead = nextKeys(tile, e, buffers.operand(2), g, group,
                                            key0 + count, count, g.valueWidth)});
         });
  emitResults(group);
}

void AttentionKernel::emitSoftmax(Val c, Val keys) {
  auto place = [&](Val key) { return key * scores.stride + c; };
  Val before = e.loadV(rowMax, c);
  Val now = blocks.foldKeys(
      keys, before,
      [&](Val peak, Val key) {
        return e.larger(e.loadV(scores.ptr, place(key)), peak);
      },
      [&](Val a, Val b) { return e.larger(a, b); });
  Val sum = blocks.foldKeys(
      keys, e.vec(0),
      [&](Val sum, Val key) {
        Val p = e.exp2(e.loadV(scores.ptr, place(key)) - now);
        e.store(p, scores.ptr, place(key));
        return sum + p;
      },
      [](Val a, Val b) { return a + b; });
  Val factor = e.exp2(before - now);
  e.store(now, rowMax, c);
  e.store(factor, shrink, c);
  e.store(e.fma(e.loadV(rowSum, c), factor, sum), rowSum, c);
}

void AttentionKernel::emitResults(Val group) {
  e.loop(e.i(0), e.i(blocks.columns()), e.width(), [&](Val c) {
    Val sum = e.loadV(rowSum, c);
    e.store(e.vec(1) / sum, rowSum, c);
    e.store(e.fma(e.loadV(rowMax, c), e.f(1 / kLog2E), e.log(sum)), rowMax, c);
  });
  blocks.forQueries(group, [&](Val r, Val index) {
    if (buffers.result(0)) {
      Val inverse = e.loadF(rowSum, r);
      tile.columnsLoop(
          e.i(g.valueWidth), g.valueWidth % e.width(), [&](Val c, int64_t lanes) {
            Val o = e.load(e.vecType(lanes), out.ptr, r * out.stride + c);
            buffers.result(0).put(e, o * inverse, index * g.valueWidth + c);
          });
    }
    if (buffers.result(1))
      buffers.result(1).put(e, e.loadF(rowMax, r), index);
  });
}

} // namespace

FailureOr<KernelShape> emitAttention(StructuredKernel kernel) {
  return AttentionKernel(kernel).emit();
}

} // namespace pg
