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
  void emitQueryBlock(Val token0, Val tokens, Val group);
  void emitPair(Val token0, Val key0, Val count, Val group);
  void storeQueries();
  /// A row for each key of the stretch.
  void storeKeys(Result which, TileC from, int64_t width, double factor,
                 Val group);
  ProductTile::Source keyHead(Operand which, int64_t width, Val group) {
    return headMatrix(tile, e, buffers.operand(which), g.groups, width, group);
  }
  /// Sums for the keys of a stretch: whole panels side by side, no padding.
  TileC allocateKeySums(int64_t width) {
    int64_t stride = roundUp(width, tile.panelColumns(width));
    return {e.scratch((kStretch + tile.microRows()) * stride * e.floatBytes()),
            stride};
  }

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  QueryBlocks blocks;
  DirectBuffers buffers;
  int64_t keyTail = 0, valueTail = 0;
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
  lse = e.scratch(blocks.paddedColumns() * e.floatBytes());
  delta = e.scratch(blocks.paddedColumns() * e.floatBytes());

  // Columns past the last one are read as rows of a partial micro-tile; what
  // others left there may be denormal numbers, which are slow.
  tile.clear(scores, e.i(keys));
  tile.clear(dScores, e.i(keys));
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    emitItem(item / static_cast<double>(g.groups) * static_cast<double>(kStretch),
             item % g.groups);
  });
  KernelShape shape;
  shape.items.tokensPerItem = kStretch;
  shape.items.multiplier = g.groups;
  shape.category = "attention";
  shape.wholePipeline = true;
  return shape;
}

void AttentionGradKernel::emitItem(Val first, Val group) {
  bool wantsKeys = buffers.result(DK) || buffers.result(DV);
  begin = first;
  end = e.min(e.numTokens(), begin + static_cast<double>(kStretch));
  Val queriesStop = end;
  if (wantsKeys) {
    tile.clear(dk, end - begin);
    tile.clear(dv, end - begin);
    queriesStop = queriesEnd(e, g, end - 1.0);
  }
  // Query blocks too begin at multiples of their size inside each stretch.
  e.loop(begin, queriesStop, kStretch, [&](Val part) {
    Val partEnd = e.min(part + static_cast<double>(kStretch), queriesStop);
    e.loop(part, partEnd, blocks.queries(), [&](Val token0) {
      Val rest = e.min(part + static_cast<double>(kStretch), e.numTokens()) - token0;
      emitQueryBlock(token0, e.min(rest, e.i(blocks.queries())), group);
    });
  });
  storeKeys(DK, dk, g.keyWidth, g.scale, group);
  storeKeys(DV, dv, g.valueWidth, 1, group);
}

void AttentionGradKernel::emitQueryBlock(Val token0, Val tokens, Val group) {
  Val zero = e.i(0), d = e.i(g.keyWidth), w = e.i(g.valueWidth);
  isOwnQuery = token0 < end;
  Val first = firstKey(e, g, token0);
  Val keyBegin = buffers.result(DQ)
                     ? e.select(isOwnQuery, first, e.max(first, begin))
                     : e.max(first, begin);
  Val keyEnd = e.min(token0 + tokens, end);
  e.ifThen(keyBegin < keyEnd, [&] {
    blocks.start(token0, tokens, group);
    auto source = [&](Operand which, int64_t width, double factor) {
      return blocks.source(buffers.operand(which), width, factor);
    };
    Val used = blocks.used();
    tile.packPanelsTransposed(source(Q, g.keyWidth, g.scale * kLog2E), zero, d,
                              zero, used, keyTail, queriesT);
    tile.packPanelsTransposed(source(DOut, g.valueWidth, 1), zero, w, zero, used,
                              valueTail, doutT);
    tile.packPanels(source(Q, g.keyWidth, 1), zero, used, zero, d, keyTail,
                    queries);
    tile.packPanels(source(DOut, g.valueWidth, 1), zero, used, zero, w,
                    valueTail, dout);
    auto lseOf = blocks.source(buffers.operand(Lse), 1, kLog2E);
    auto deltaOf = blocks.source(buffers.operand(Delta), 1, 1);
    e.loop(zero, e.i(blocks.paddedColumns()), 1, [&](Val c) {
      Val column = e.min(c, used - 1.0);
      e.store(lseOf(column, zero, 1), lse, c);
      e.store(deltaOf(column, zero, 1), delta, c);
    });
    tile.clear(dq, used);

    // Key blocks begin at multiples of their size inside each stretch.
    double step = static_cast<double>(kStretch);
    double blockStep = static_cast<double>(blocks.keys());
    e.loop(keyBegin / step * step, keyEnd, kStretch, [&](Val part) {
      Val skipped = e.max(keyBegin - part, zero) / blockStep * blockStep;
      Val partEnd = e.min(part + step, keyEnd);
      e.loop(part + skipped, partEnd, blocks.keys(), [&](Val key0) {
        emitPair(token0, key0, e.min(partEnd - key0, e.i(blocks.keys())), group);
      });
    });
    if (buffers.result(DQ))
      e.ifThen(isOwnQuery, [&] { storeQueries(); });
  });
}

void AttentionGradKernel::emitPair(Val token0, Val key0, Val count, Val group) {
  KeyRows keys = placeKeys(tile, e, buffers.operand(K), g, group, key0, count,
                           g.keyWidth, kRows);
  KeyRows values = placeKeys(tile, e, buffers.operand(V), g, group, key0, count,
                             g.valueWidth, vRows);
  // The next query block's rows are asked for, one head in turn.
  Val turn = key0 / static_cast<double>(blocks.keys());
  Val next = token0 + static_cast<double>(blocks.queries());
  QueryBlocks::Scores s{ScoreStep::Probability, g.keyWidth, queriesT, scores, lse};
  s.later = blocks.headAhead(buffers.operand(Q), g.keyWidth, group, next, turn);
  blocks.multiplyKeys(s, keys, key0, count);
  QueryBlocks::Scores ds{ScoreStep::Gradient, g.valueWidth, doutT, dScores, delta};
  ds.probability = scores.ptr;
  ds.later = blocks.headAhead(buffers.operand(DOut), g.valueWidth, group, next, turn);
  blocks.multiplyKeys(ds, values, key0, count);
  // Rows of a last, partial strip of keys lie past every query of the block, where
  // they are zero, or past the stretch, where nobody reads their sums.
  e.ifThen(key0 >= begin, [&] {
    auto rows = [&](TileC sums) {
      return TileC{e.addressF(sums.ptr, (key0 - begin) *
                                            static_cast<double>(sums.stride)),
                   sums.stride};
    };
    if (buffers.result(DV))
      blocks.multiplyToKeys(scores, dout, rows(dv), g.valueWidth, key0, count);
    if (buffers.result(DK))
      blocks.multiplyToKeys(dScores, queries, rows(dk), g.keyWidth, key0, count);
  });
  if (buffers.result(DQ))
    e.ifThen(isOwnQuery, [&] {
      tile.packPanels(keyHead(K, g.keyWidth, group), key0, count, e.i(0),
                      e.i(g.keyWidth), keyTail, keyPanels);
      blocks.multiplyToQueries(dScores, keyPanels, dq, g.keyWidth, key0, count);
    });
}

void AttentionGradKernel::storeQueries() {
  blocks.forQueries([&](Val r, Val index) {
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
