//===- AttentionKernel.cpp - blocked attention with online softmax ---------===//
//
// An item is 64 queries of one head. For the key blocks that any of them sees,
// in order:
//   1. S = (scale Q) K^T            [64][keys] in scratch
//   2. per query: masked maximum, P = exp(S - max), running sum; the row of O
//      is scaled by exp(old max - new max)
//   3. O += P V
// At the end O / sum and lse = max + log(sum). Key blocks start at multiples of
// their size, so the order of additions depends on positions alone.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

/// Stands for minus infinity without making inf - inf possible.
constexpr double kMasked = -1.0e30;

class AttentionKernel {
public:
  AttentionKernel(StructuredKernel kernel)
      : e(kernel.e), g(AttentionGeometry::of(cast<AttentionOp>(kernel.op))),
        tile(e), buffers(kernel.def, kernel.op, e) {}

  FailureOr<KernelShape> emit();

private:
  void emitItem(Val block, Val head);
  void emitSoftmaxRow(Val r, Val token, Val key0, Val keys);
  void emitResult(Val r, Val token, Val head);

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  DirectBuffers buffers;
  TileA q;
  TileB keysT, values;
  TileC scores, out;
  Val rowMax, rowSum;
};

FailureOr<KernelShape> AttentionKernel::emit() {
  if (!buffers.isValid())
    return failure();
  q = tile.allocateRows(kAttentionBlock, g.keyWidth);
  keysT = tile.allocatePanels(g.keyWidth, kAttentionBlock);
  values = tile.allocatePanels(kAttentionBlock, g.valueWidth);
  scores = tile.allocateC(kAttentionBlock, kAttentionBlock);
  out = tile.allocateC(kAttentionBlock, g.valueWidth);
  rowMax = e.scratch(kAttentionBlock * e.floatBytes());
  rowSum = e.scratch(kAttentionBlock * e.floatBytes());

  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    emitItem(item / static_cast<double>(g.heads), item % g.heads);
  });
  KernelShape shape;
  shape.items.tokensPerItem = kAttentionBlock;
  shape.items.multiplier = g.heads;
  shape.category = "attention";
  return shape;
}

void AttentionKernel::emitItem(Val block, Val head) {
  Val token0 = block * kAttentionBlock;
  Val rows = e.min(e.numTokens() - token0, e.i(kAttentionBlock));
  Val group = head * g.groups / static_cast<double>(g.heads);
  auto qHead = headMatrix(tile, e, buffers.operand(0), g.heads, g.keyWidth, head);
  auto kHead = headMatrix(tile, e, buffers.operand(1), g.groups, g.keyWidth, group);
  auto vHead =
      headMatrix(tile, e, buffers.operand(2), g.groups, g.valueWidth, group);
  auto scaled = [&](Val row, Val column, int64_t lanes) {
    Val v = qHead(row, column, lanes);
    return v * e.constant(v.type(), g.scale);
  };
  int64_t keyTail = g.keyWidth % e.width(), valueTail = g.valueWidth % e.width();

  tile.packRows(scaled, token0, rows, e.i(0), e.i(g.keyWidth), keyTail, q);
  tile.clear(out, rows, e.i(g.valueWidth));
  e.loop(e.i(0), rows, 1, [&](Val r) {
    e.store(e.f(kMasked), rowMax, r);
    e.store(e.f(0), rowSum, r);
  });

  Val firstBlock = firstKey(e, g, token0) / kAttentionBlock * kAttentionBlock;
  Val keyEnd = token0 + rows;
  e.loop(firstBlock, keyEnd, kAttentionBlock, [&](Val key0) {
    Val keys = e.min(keyEnd - key0, e.i(kAttentionBlock));
    tile.packPanelsTransposed(kHead, e.i(0), e.i(g.keyWidth), key0, keys,
                              keyTail, keysT);
    tile.packPanels(vHead, key0, keys, e.i(0), e.i(g.valueWidth), valueTail,
                    values);
    tile.clear(scores, rows, keys);
    tile.multiply(q, keysT, scores, rows, keys, e.i(g.keyWidth));
    e.loop(e.i(0), rows, 1,
           [&](Val r) { emitSoftmaxRow(r, token0 + r, key0, keys); });
    tile.multiply({scores.ptr, scores.stride, 1}, values, out, rows,
                  e.i(g.valueWidth), keys);
  });
  e.loop(e.i(0), rows, 1, [&](Val r) { emitResult(r, token0 + r, head); });
}

void AttentionKernel::emitSoftmaxRow(Val r, Val token, Val key0, Val keys) {
  // All vectors of the row at once: the block is short, and independent chains
  // hide the latency of exp. Vectors past `keys` are masked like any key after
  // the query.
  Val first = firstKey(e, g, token);
  Val line = r * scores.stride;
  SmallVector<Val, 16> s, mask;
  Val peak = e.vec(kMasked);
  for (int64_t c = 0; c < kAttentionBlock; c += e.width()) {
    mask.push_back(keyMask(e, key0 + c, first, token));
    s.push_back(e.loadV(scores.ptr, line + c));
    peak = e.max(peak, e.select(mask.back(), s.back(), e.vec(kMasked)));
  }
  Val before = e.loadF(rowMax, r);
  Val now = e.max(before, e.reduceMax(peak));
  Val nowV = e.broadcast(now);
  Val sum = e.vec(0);
  for (auto [k, c] : llvm::enumerate(
           llvm::seq<int64_t>(0, kAttentionBlock / e.width()))) {
    Val p = e.exp(e.select(mask[k], s[k] - nowV, e.vec(0)));
    p = e.select(mask[k], p, e.vec(0));
    e.store(p, scores.ptr, line + c * e.width());
    sum = sum + p;
  }
  Val shrink = e.exp(e.broadcast(before - now));
  Val total = e.loadF(rowSum, r) * e.lane(shrink, 0) + e.reduceSum(sum);
  e.store(now, rowMax, r);
  e.store(total, rowSum, r);
  e.ifThen(before < now, [&] {
    e.loop(e.i(0), e.i(roundUp(g.valueWidth, e.width())), e.width(), [&](Val c) {
      Val at = r * out.stride + c;
      e.store(e.loadV(out.ptr, at) * shrink, out.ptr, at);
    });
  });
}

void AttentionKernel::emitResult(Val r, Val token, Val head) {
  Val sum = e.loadF(rowSum, r);
  Val index = token * g.heads + head;
  if (buffers.result(0)) {
    Val inverse = e.f(1) / sum;
    tile.columnsLoop(e.i(g.valueWidth), g.valueWidth % e.width(),
                     [&](Val c, int64_t lanes) {
                       Val o = e.load(e.vecType(lanes), out.ptr,
                                      r * out.stride + c);
                       buffers.result(0).put(e, o * inverse,
                                             index * g.valueWidth + c);
                     });
  }
  if (buffers.result(1))
    buffers.result(1).put(e, e.loadF(rowMax, r) + e.log(sum), index);
}

} // namespace

FailureOr<KernelShape> emitAttention(StructuredKernel kernel) {
  return AttentionKernel(kernel).emit();
}

} // namespace pg
