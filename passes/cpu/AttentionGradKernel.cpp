//===- AttentionGradKernel.cpp - gradients of blocked attention ------------===//
//
// An item is a stretch of tokens and a key head: it makes dq of the stretch's
// queries (all heads of the group) and dk and dv of its keys, so no two items
// write the same element. Pairs of a query block and a key block:
//
//   S^T = K (scale log2(e) Q)^T, dP^T = V dO^T       [keys][queries]
//   P = 2^(S - log2(e) lse), dS = P (dP - delta)
//   the query is in the stretch:  dq += dS K
//   the key is in the stretch:    dv += P^T dO, dk += dS^T Q
//
// A pair inside the stretch costs five products; one that leaves it is computed
// twice, with three and with four. Query blocks are visited in order and, for
// each, key blocks in order: sums depend on positions alone.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

/// Tokens of a stretch. Long ones save work; its dk and dv should stay in L2.
constexpr int64_t kStretch = 1024;

class AttentionGradKernel {
public:
  AttentionGradKernel(StructuredKernel kernel)
      : e(kernel.e), g(AttentionGeometry::of(cast<AttentionGradOp>(kernel.op))),
        tile(e), blocks(tile, e, g), buffers(kernel.def, kernel.op, e) {}

  FailureOr<KernelShape> emit();

private:
  enum Operand { Q, K, V, DOut, Lse, Delta };
  enum Result { DQ, DK, DV };

  void emitItem(Val first, Val group);
  void emitQueryBlock(Val token0, Val group);
  void emitPair(Val key0, Val count, Val group);
  /// scores = P and dScores = dS.
  void emitProbabilities(Val keys);
  void storeQueries(Val group);
  /// A row for each key of the stretch.
  void storeKeys(Result which, TileC from, int64_t width, double factor,
                 Val group);
  ProductTile::Source keyHead(Operand which, int64_t width, Val group) {
    return headMatrix(tile, e, buffers.operand(which), g.groups, width, group);
  }
  /// Sums for the keys of a stretch: whole panels side by side, no padding.
  TileC allocateKeySums(int64_t width) {
    int64_t stride = roundUp(width, tile.panelColumns(width));
    return {e.scratch((stretch + tile.microRows()) * stride * e.floatBytes()),
            stride};
  }

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  QueryBlocks blocks;
  DirectBuffers buffers;
  int64_t stretch = 0, keyTail = 0, valueTail = 0;
  TileA kRows, vRows;
  TileB queriesT, doutT, queries, dout, keyPanels;
  TileC scores, dScores, dq, dk, dv;
  Val lse, delta; ///< per column: log2(e) lse, and delta

  // Of the item and query block being emitted.
  Val begin, end; ///< the stretch
  Val isOwnQuery;
};

FailureOr<KernelShape> AttentionGradKernel::emit() {
  if (!buffers.isValid())
    return failure();
  stretch = kStretch / blocks.queries() * blocks.queries();
  keyTail = g.keyWidth % e.width();
  valueTail = g.valueWidth % e.width();
  int64_t columns = blocks.columns(), keys = blocks.keys();
  kRows = tile.allocateRows(keys, g.keyWidth);
  vRows = tile.allocateRows(keys, g.valueWidth);
  queriesT = tile.allocatePanels(g.keyWidth, columns);
  doutT = tile.allocatePanels(g.valueWidth, columns);
  queries = tile.allocatePanels(columns, g.keyWidth);
  dout = tile.allocatePanels(columns, g.valueWidth);
  keyPanels = tile.allocatePanels(keys, g.keyWidth);
  scores = tile.allocateC(keys, columns);
  dScores = tile.allocateC(keys, columns);
  dq = tile.allocateC(columns, g.keyWidth);
  dk = allocateKeySums(g.keyWidth);
  dv = allocateKeySums(g.valueWidth);
  lse = e.scratch(columns * e.floatBytes());
  delta = e.scratch(columns * e.floatBytes());

  // Columns past the last one are read as rows of a partial micro-tile; what
  // others left there may be denormal numbers, which are slow.
  tile.clear(scores, e.i(keys));
  tile.clear(dScores, e.i(keys));
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    emitItem(item / static_cast<double>(g.groups) * static_cast<double>(stretch),
             item % g.groups);
  });
  KernelShape shape;
  shape.items.tokensPerItem = stretch;
  shape.items.multiplier = g.groups;
  shape.category = "attention";
  shape.wholePipeline = true;
  return shape;
}

void AttentionGradKernel::emitItem(Val first, Val group) {
  bool wantsKeys = buffers.result(DK) || buffers.result(DV);
  begin = first;
  end = e.min(e.numTokens(), begin + static_cast<double>(stretch));
  Val queriesStop = end;
  if (wantsKeys) {
    tile.clear(dk, end - begin);
    tile.clear(dv, end - begin);
    queriesStop = queriesEnd(e, g, end - 1.0);
  }
  e.loop(begin, queriesStop, blocks.queries(),
         [&](Val token0) { emitQueryBlock(token0, group); });
  storeKeys(DK, dk, g.keyWidth, g.scale, group);
  storeKeys(DV, dv, g.valueWidth, 1, group);
}

void AttentionGradKernel::emitQueryBlock(Val token0, Val group) {
  Val tokens = e.min(e.numTokens() - token0, e.i(blocks.queries()));
  Val zero = e.i(0), columns = e.i(blocks.columns());
  Val d = e.i(g.keyWidth), w = e.i(g.valueWidth);
  isOwnQuery = token0 < end;
  Val first = firstKey(e, g, token0);
  Val keyBegin = buffers.result(DQ)
                     ? e.select(isOwnQuery, first, e.max(first, begin))
                     : e.max(first, begin);
  Val keyEnd = e.min(token0 + tokens, end);
  e.ifThen(keyBegin < keyEnd, [&] {
    blocks.start(token0, tokens);
    auto source = [&](Operand which, int64_t width, double factor) {
      return blocks.source(buffers.operand(which), width, group, factor);
    };
    tile.packPanelsTransposed(source(Q, g.keyWidth, g.scale * kLog2E), zero, d,
                              zero, columns, keyTail, queriesT);
    tile.packPanelsTransposed(source(DOut, g.valueWidth, 1), zero, w, zero,
                              columns, valueTail, doutT);
    tile.packPanels(source(Q, g.keyWidth, 1), zero, columns, zero, d, keyTail,
                    queries);
    tile.packPanels(source(DOut, g.valueWidth, 1), zero, columns, zero, w,
                    valueTail, dout);
    auto lseOf = blocks.source(buffers.operand(Lse), 1, group, kLog2E);
    auto deltaOf = blocks.source(buffers.operand(Delta), 1, group, 1);
    e.loop(zero, columns, 1, [&](Val c) {
      e.store(lseOf(c, zero, 1), lse, c);
      e.store(deltaOf(c, zero, 1), delta, c);
    });
    tile.clear(dq, columns);

    // Key blocks begin at multiples of their size inside each stretch.
    double step = static_cast<double>(stretch);
    double blockStep = static_cast<double>(blocks.keys());
    e.loop(keyBegin / step * step, keyEnd, stretch, [&](Val part) {
      Val skipped = e.max(keyBegin - part, zero) / blockStep * blockStep;
      Val partEnd = e.min(part + step, keyEnd);
      e.loop(part + skipped, partEnd, blocks.keys(), [&](Val key0) {
        emitPair(key0, e.min(partEnd - key0, e.i(blocks.keys())), group);
      });
    });
    if (buffers.result(DQ))
      e.ifThen(isOwnQuery, [&] { storeQueries(group); });
  });
}

void AttentionGradKernel::emitPair(Val key0, Val count, Val group) {
  Val zero = e.i(0), columns = e.i(blocks.columns());
  Val d = e.i(g.keyWidth), w = e.i(g.valueWidth);
  auto kHead = keyHead(K, g.keyWidth, group);
  multiplyKeys(tile, e, buffers.operand(K), kHead, g, group, key0, count,
               g.keyWidth, kRows, queriesT, scores, columns);
  multiplyKeys(tile, e, buffers.operand(V), keyHead(V, g.valueWidth, group), g,
               group, key0, count, g.valueWidth, vRows, doutT, dScores, columns);
  // Rows of a last, partial micro-tile lie past every query of the block and
  // become zero here, or past the stretch, where nobody reads their sums.
  Val padded = e.ceilDiv(count, tile.microRows()) *
               static_cast<double>(tile.microRows());
  blocks.mask(scores, key0, padded);
  emitProbabilities(padded);
  e.ifThen(key0 >= begin, [&] {
    auto rows = [&](TileC sums) {
      return TileC{e.addressF(sums.ptr, (key0 - begin) *
                                            static_cast<double>(sums.stride)),
                   sums.stride};
    };
    if (buffers.result(DV))
      tile.multiply({scores.ptr, scores.stride, 1}, dout, rows(dv), count, w,
                    columns);
    if (buffers.result(DK))
      tile.multiply({dScores.ptr, dScores.stride, 1}, queries, rows(dk), count,
                    d, columns);
  });
  if (buffers.result(DQ))
    e.ifThen(isOwnQuery, [&] {
      tile.packPanels(kHead, key0, count, zero, d, keyTail, keyPanels);
      tile.multiply({dScores.ptr, 1, dScores.stride}, keyPanels, dq, columns, d,
                    count);
    });
}

void AttentionGradKernel::emitProbabilities(Val keys) {
  e.loop(e.i(0), keys, 1, [&](Val k) {
    e.loop(e.i(0), e.i(blocks.columns()), e.width(), [&](Val c) {
      Val at = k * static_cast<double>(scores.stride) + c;
      Val p = e.exp2(e.loadV(scores.ptr, at) - e.loadV(lse, c));
      e.store(p, scores.ptr, at);
      e.store(p * (e.loadV(dScores.ptr, at) - e.loadV(delta, c)), dScores.ptr,
              at);
    });
  });
}

void AttentionGradKernel::storeQueries(Val group) {
  blocks.forQueries(group, [&](Val r, Val index) {
    tile.columnsLoop(e.i(g.keyWidth), keyTail, [&](Val c, int64_t lanes) {
      Val sum = e.load(e.vecType(lanes), dq.ptr, r * dq.stride + c);
      buffers.result(DQ).put(e, sum * g.scale, index * g.keyWidth + c);
    });
  });
}

void AttentionGradKernel::storeKeys(Result which, TileC from, int64_t width,
                                    double factor, Val group) {
  if (!buffers.result(which))
    return;
  e.loop(begin, end, 1, [&](Val token) {
    Val line = (token * g.groups + group) * width;
    tile.columnsLoop(e.i(width), width % e.width(), [&](Val c, int64_t lanes) {
      Val sum = e.load(e.vecType(lanes), from.ptr,
                       (token - begin) * from.stride + c);
      buffers.result(which).put(e, factor == 1 ? sum : sum * factor, line + c);
    });
  });
}

} // namespace

FailureOr<KernelShape> emitAttentionGrad(StructuredKernel kernel) {
  return AttentionGradKernel(kernel).emit();
}

} // namespace pg
