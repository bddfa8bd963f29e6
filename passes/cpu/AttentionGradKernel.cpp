//===- AttentionGradKernel.cpp - gradients of blocked attention ------------===//
//
// Items of one 64-token block: H of them make dq of one query head, G make dk
// and dv of one key head, so no two items write the same element and every sum
// has one order. Both recompute, per pair of query and key block,
//
//   S = Q K^T, dP = dO V^T, P = exp(scale S - lse), dS = scale P (dP - delta)
//
//   dq item: over key blocks in order,              dq += dS K
//   dk/dv item: over the group's heads, then query
//   blocks in order,                                dv += P^T dO, dk += dS^T Q
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

class AttentionGradKernel {
public:
  AttentionGradKernel(StructuredKernel kernel)
      : e(kernel.e), g(AttentionGeometry::of(cast<AttentionGradOp>(kernel.op))),
        tile(e), buffers(kernel.def, kernel.op, e) {}

  FailureOr<KernelShape> emit();

private:
  enum Operand { Q, K, V, DOut, Lse, Delta };
  enum Result { DQ, DK, DV };

  void emitQueryItem(Val block, Val head);
  void emitKeyItem(Val block, Val group);
  /// scores = P and dScores = dS from the two products.
  void emitProbabilities(Val head, Val token0, Val rows, Val key0);
  ProductTile::Source queries(Operand which, int64_t width, Val head) {
    return headMatrix(tile, e, buffers.operand(which), g.heads, width, head);
  }
  ProductTile::Source keys(Operand which, int64_t width, Val group) {
    return headMatrix(tile, e, buffers.operand(which), g.groups, width, group);
  }

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  DirectBuffers buffers;
  int64_t keyTail = 0, valueTail = 0;
  TileA qRows, doutRows;
  TileB keysT, valuesT, right, rightValues;
  TileC scores, dScores, sum, sumValues;
};

FailureOr<KernelShape> AttentionGradKernel::emit() {
  if (!buffers.isValid())
    return failure();
  keyTail = g.keyWidth % e.width();
  valueTail = g.valueWidth % e.width();
  qRows = tile.allocateRows(kAttentionBlock, g.keyWidth);
  doutRows = tile.allocateRows(kAttentionBlock, g.valueWidth);
  keysT = tile.allocatePanels(g.keyWidth, kAttentionBlock);
  valuesT = tile.allocatePanels(g.valueWidth, kAttentionBlock);
  right = tile.allocatePanels(kAttentionBlock, g.keyWidth);
  rightValues = tile.allocatePanels(kAttentionBlock, g.valueWidth);
  scores = tile.allocateC(kAttentionBlock, kAttentionBlock);
  dScores = tile.allocateC(kAttentionBlock, kAttentionBlock);
  sum = tile.allocateC(kAttentionBlock, g.keyWidth);
  sumValues = tile.allocateC(kAttentionBlock, g.valueWidth);

  int64_t perBlock = g.heads + g.groups;
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    Val block = item / static_cast<double>(perBlock), part = item % perBlock;
    e.ifElse(
        part < g.heads, [&] { emitQueryItem(block, part); },
        [&] { emitKeyItem(block, part - static_cast<double>(g.heads)); });
  });
  KernelShape shape;
  shape.items.tokensPerItem = kAttentionBlock;
  shape.items.multiplier = perBlock;
  shape.category = "attention";
  return shape;
}

void AttentionGradKernel::emitQueryItem(Val block, Val head) {
  if (!buffers.result(DQ))
    return;
  Val token0 = block * kAttentionBlock;
  Val rows = e.min(e.numTokens() - token0, e.i(kAttentionBlock));
  Val group = head * g.groups / static_cast<double>(g.heads);
  Val d = e.i(g.keyWidth), w = e.i(g.valueWidth), zero = e.i(0);

  tile.packRows(queries(Q, g.keyWidth, head), token0, rows, zero, d, keyTail,
                qRows);
  tile.packRows(queries(DOut, g.valueWidth, head), token0, rows, zero, w,
                valueTail, doutRows);
  tile.clear(sum, rows, d);
  Val firstBlock = firstKey(e, g, token0) / kAttentionBlock * kAttentionBlock;
  Val keyEnd = token0 + rows;
  e.loop(firstBlock, keyEnd, kAttentionBlock, [&](Val key0) {
    Val count = e.min(keyEnd - key0, e.i(kAttentionBlock));
    auto kHead = keys(K, g.keyWidth, group);
    tile.packPanelsTransposed(kHead, zero, d, key0, count, keyTail, keysT);
    tile.packPanelsTransposed(keys(V, g.valueWidth, group), zero, w, key0,
                              count, valueTail, valuesT);
    tile.packPanels(kHead, key0, count, zero, d, keyTail, right);
    tile.clear(scores, rows, count);
    tile.clear(dScores, rows, count);
    tile.multiply(qRows, keysT, scores, rows, count, d);
    tile.multiply(doutRows, valuesT, dScores, rows, count, w);
    emitProbabilities(head, token0, rows, key0);
    tile.multiply({dScores.ptr, dScores.stride, 1}, right, sum, rows, d, count);
  });
  storeTile(tile, e, sum, rows, g.keyWidth, buffers.result(DQ),
            (token0 * g.heads + head) * g.keyWidth, e.i(g.heads * g.keyWidth));
}

void AttentionGradKernel::emitKeyItem(Val block, Val group) {
  if (!buffers.result(DK) && !buffers.result(DV))
    return;
  Val key0 = block * kAttentionBlock;
  Val count = e.min(e.numTokens() - key0, e.i(kAttentionBlock));
  Val d = e.i(g.keyWidth), w = e.i(g.valueWidth), zero = e.i(0);

  tile.packPanelsTransposed(keys(K, g.keyWidth, group), zero, d, key0, count,
                            keyTail, keysT);
  tile.packPanelsTransposed(keys(V, g.valueWidth, group), zero, w, key0, count,
                            valueTail, valuesT);
  tile.clear(sum, count, d);
  tile.clear(sumValues, count, w);
  Val queryEnd = queriesEnd(e, g, key0 + count - 1);
  int64_t perGroup = g.heads / g.groups;
  e.loop(e.i(0), e.i(perGroup), 1, [&](Val member) {
    Val head = group * perGroup + member;
    auto qHead = queries(Q, g.keyWidth, head);
    auto doutHead = queries(DOut, g.valueWidth, head);
    e.loop(key0, queryEnd, kAttentionBlock, [&](Val token0) {
      Val rows = e.min(queryEnd - token0, e.i(kAttentionBlock));
      tile.packRows(qHead, token0, rows, zero, d, keyTail, qRows);
      tile.packRows(doutHead, token0, rows, zero, w, valueTail, doutRows);
      tile.packPanels(qHead, token0, rows, zero, d, keyTail, right);
      tile.packPanels(doutHead, token0, rows, zero, w, valueTail, rightValues);
      tile.clear(scores, rows, count);
      tile.clear(dScores, rows, count);
      tile.multiply(qRows, keysT, scores, rows, count, d);
      tile.multiply(doutRows, valuesT, dScores, rows, count, w);
      emitProbabilities(head, token0, rows, key0);
      // The tiles read as their transposes: rows of A are keys.
      tile.multiply({scores.ptr, 1, scores.stride}, rightValues, sumValues,
                    count, w, rows);
      tile.multiply({dScores.ptr, 1, dScores.stride}, right, sum, count, d,
                    rows);
    });
  });
  if (buffers.result(DK))
    storeTile(tile, e, sum, count, g.keyWidth, buffers.result(DK),
              (key0 * g.groups + group) * g.keyWidth,
              e.i(g.groups * g.keyWidth));
  if (buffers.result(DV))
    storeTile(tile, e, sumValues, count, g.valueWidth, buffers.result(DV),
              (key0 * g.groups + group) * g.valueWidth,
              e.i(g.groups * g.valueWidth));
}

void AttentionGradKernel::emitProbabilities(Val head, Val token0, Val rows,
                                            Val key0) {
  e.loop(e.i(0), rows, 1, [&](Val r) {
    Val token = token0 + r;
    Val first = firstKey(e, g, token);
    Val at = token * g.heads + head;
    Val lse = e.broadcast(e.loadF(buffers.operand(Lse).pointer, at));
    Val delta = e.broadcast(e.loadF(buffers.operand(Delta).pointer, at));
    for (int64_t c = 0; c < kAttentionBlock; c += e.width()) {
      Val mask = keyMask(e, key0 + c, first, token);
      Val s = e.loadV(scores.ptr, r * scores.stride + c);
      Val dp = e.loadV(dScores.ptr, r * dScores.stride + c);
      Val p = e.exp(e.select(mask, e.fma(s, e.f(g.scale), -lse), e.vec(0)));
      p = e.select(mask, p, e.vec(0));
      // Lanes outside the mask may hold anything, so they are selected away
      // rather than multiplied by zero.
      Val ds = e.select(mask, p * (dp - delta) * g.scale, e.vec(0));
      e.store(p, scores.ptr, r * scores.stride + c);
      e.store(ds, dScores.ptr, r * dScores.stride + c);
    }
  });
}

} // namespace

FailureOr<KernelShape> emitAttentionGrad(StructuredKernel kernel) {
  return AttentionGradKernel(kernel).emit();
}

} // namespace pg
