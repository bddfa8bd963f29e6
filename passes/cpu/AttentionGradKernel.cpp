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
// twice, with three and with four. Keys are visited in parts of kPart tokens, for
// each the query blocks in order, for each of these the part's key blocks in order:
// sums depend on positions alone. A stretch is one part, or two where queries of
// the second see many keys of the first; then the item of the second has no work,
// and calls of few long rows give fewer threads work.
// Where the target multiplies pairs of bf16 numbers, P and dS are rounded and stored as
// rows, pairs of queries for dv and dk, and dS once more as pairs of keys for dq.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

/// Keys of a part, whose dk and dv should stay in L2.
constexpr int64_t kPart = 1024;

class AttentionGradKernel {
public:
  AttentionGradKernel(StructuredKernel kernel)
      : e(kernel.e), g(AttentionGeometry::of(cast<AttentionGradOp>(kernel.op))),
        tile(e), blocks(tile, e, g, kernel.op), pairs(blocks.ofPairs()),
        buffers(kernel.def, kernel.op, e) {}

  FailureOr<KernelShape> emit();

private:
  enum Operand { Q, K, V, DOut, Lse, Delta };
  enum Result { DQ, DK, DV };

  /// Sets `begin` and `end`; empty for the second half of a joint stretch.
  Val chooseStretch(Val item);
  void emitPart(Val part, Val group);
  void emitQueryBlock(Val part, Val token0, Val tokens, Val group);
  void emitPair(Val part, Val token0, Val key0, Val count, Val group);
  void storeQueries();
  /// A row for each key of the part.
  void storeKeys(Result which, TileC from, int64_t width, double factor, Val part,
                 Val partEnd, Val group);
  /// An operand whose features are summed over, as it is multiplied.
  StoredTensor multiplied(Operand which) { return blocks.multiplied(buffers.operand(which)); }

  Emitter &e;
  AttentionGeometry g;
  ProductTile tile;
  QueryBlocks blocks;
  bool pairs; ///< blocks.ofPairs()
  DirectBuffers buffers;
  int64_t tileElements = 0, blocksOfPart = 0; ///< of dqs
  TileA kRows, vRows;
  TileB queriesT, doutT, queries, dout, keyPanels;
  TileC scores, dScores, dk, dv;
  TileC keyPairs; ///< of pairs: dS once more, as pairs of keys
  TileC dqs; ///< of one query block; of every one of a stretch of two parts
  Val lse, delta; ///< per column: log2(e) lse, and delta

  // Of the item, part and query block being emitted.
  Val begin, end; ///< the stretch
  Val isOwnKey, isOwnQuery;
  TileC dq;
};

FailureOr<KernelShape> AttentionGradKernel::emit() {
  if (!buffers.isValid())
    return failure();
  int64_t columns = blocks.columns(), keys = blocks.keys();
  kRows = tile.allocateRows(keys, blocks.steps(g.keyWidth));
  vRows = tile.allocateRows(keys, blocks.steps(g.valueWidth));
  queriesT = tile.allocatePanels(blocks.steps(g.keyWidth), columns);
  doutT = tile.allocatePanels(blocks.steps(g.valueWidth), columns);
  queries = tile.allocatePanels(blocks.steps(columns), g.keyWidth);
  dout = tile.allocatePanels(blocks.steps(columns), g.valueWidth);
  keyPanels = tile.allocatePanels(blocks.steps(keys), g.keyWidth);
  for (TileB *panels : {&queriesT, &doutT, &queries, &dout, &keyPanels})
    panels->pairs = pairs;
  scores = blocks.allocateScores();
  dScores = blocks.allocateScores();
  if (pairs)
    keyPairs = blocks.allocateKeyPairs();
  dqs = blocks.allocateSums(columns, g.keyWidth);
  tileElements = roundUp(columns, tile.microRows()) * dqs.stride;
  blocksOfPart = (kPart + blocks.queries() - 1) / blocks.queries();
  e.scratch((2 * blocksOfPart - 1) * tileElements * e.floatBytes()); // behind dqs
  dk = blocks.allocateSums(kPart + tile.microRows(), g.keyWidth);
  dv = blocks.allocateSums(kPart + tile.microRows(), g.valueWidth);
  lse = e.scratch(blocks.paddedColumns() * e.floatBytes());
  delta = e.scratch(blocks.paddedColumns() * e.floatBytes());

  // Columns past the last one are read as rows of a partial micro-tile; what
  // others left there may be denormal numbers, which are slow.
  tile.clear(scores, e.i(keys));
  tile.clear(dScores, e.i(keys));
  if (pairs)
    tile.clear(keyPairs, e.i(keys / 2));
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    Val group = chooseStretch(item);
    e.ifThen(begin < end, [&] {
      double step = static_cast<double>(kPart);
      Val first = buffers.result(DQ) ? firstKey(e, g, begin) / step * step : begin;
      e.loop(first, end, kPart, [&](Val part) { emitPart(part, group); });
    });
  });
  KernelShape shape;
  shape.items.tokensPerItem = kPart;
  shape.items.multiplier = g.groups;
  shape.category = "attention";
  shape.wholePipeline = true;
  return shape;
}

Val AttentionGradKernel::chooseStretch(Val item) {
  // Two parts side by side, the groups in order and each one's two halves one after
  // the other: threads take neighbouring items.
  double part = static_cast<double>(kPart);
  Val pair = item / static_cast<double>(2 * g.groups), rest = item % (2 * g.groups);
  Val first = pair * (2 * part), middle = first + part;
  Val isPair = middle < e.numTokens();
  Val half = e.select(isPair, rest % 2, e.i(0));
  Val lastToken = e.numTokens() - 1.0;
  Val isJoint = isPair & (firstKey(e, g, e.min(middle, lastToken)) <= middle - part / 2);
  begin = first + half * part;
  Val tokens = e.select(isJoint, (e.i(1) - half) * (2 * part), e.i(kPart));
  end = e.min(e.numTokens(), begin + tokens);
  return e.select(isPair, rest / 2.0, rest);
}

void AttentionGradKernel::emitPart(Val part, Val group) {
  Val partEnd = e.min(part + static_cast<double>(kPart), e.numTokens());
  bool wantsKeys = buffers.result(DK) || buffers.result(DV);
  isOwnKey = part >= begin;
  Val queriesStop = queriesEnd(e, g, partEnd - 1.0);
  if (wantsKeys) {
    e.ifThen(isOwnKey, [&] {
      tile.clear(dk, partEnd - part);
      tile.clear(dv, partEnd - part);
    });
    queriesStop = e.select(isOwnKey, queriesStop, e.min(queriesStop, end));
  } else {
    queriesStop = e.min(queriesStop, end);
  }
  // Query blocks begin at multiples of their size inside each part of theirs.
  e.loop(e.max(part, begin), queriesStop, kPart, [&](Val first) {
    Val stop = e.min(first + static_cast<double>(kPart), e.numTokens());
    e.loop(first, e.min(stop, queriesStop), blocks.queries(), [&](Val token0) {
      emitQueryBlock(part, token0, e.min(stop - token0, e.i(blocks.queries())), group);
    });
  });
  e.ifThen(isOwnKey, [&] {
    storeKeys(DK, dk, g.keyWidth, g.scale, part, partEnd, group);
    storeKeys(DV, dv, g.valueWidth, 1, part, partEnd, group);
  });
}

void AttentionGradKernel::emitQueryBlock(Val part, Val token0, Val tokens, Val group) {
  Val zero = e.i(0), d = e.i(g.keyWidth), w = e.i(g.valueWidth);
  int64_t keyDepth = blocks.steps(g.keyWidth), valueDepth = blocks.steps(g.valueWidth);
  isOwnQuery = token0 < end;
  Val first = firstKey(e, g, token0), keyBegin = e.max(first, part);
  Val keyEnd = e.min(token0 + tokens, part + static_cast<double>(kPart));
  // A block that sees keys of several parts has sums of its own between them.
  Val ownPart = token0 / static_cast<double>(kPart) * static_cast<double>(kPart);
  Val slot = (ownPart - begin) / static_cast<double>(kPart) *
                 static_cast<double>(blocksOfPart) +
             (token0 - ownPart) / static_cast<double>(blocks.queries());
  slot = e.select(isOwnQuery & (first < ownPart), slot, zero);
  dq = {e.addressF(dqs.ptr, slot * static_cast<double>(tileElements)), dqs.stride};
  e.ifThen(keyBegin < keyEnd, [&] {
    blocks.start(token0, tokens, group);
    Val used = blocks.used();
    tile.packPanelsTransposed(
        blocks.source(multiplied(Q), keyDepth, pairs ? 1 : g.scale * kLog2E), zero,
        e.i(keyDepth), zero, used, keyDepth % e.width(), queriesT);
    tile.packPanelsTransposed(blocks.source(multiplied(DOut), valueDepth, 1), zero,
                              e.i(valueDepth), zero, used, valueDepth % e.width(), doutT);
    // Columns are whole vectors: an even number.
    auto source = [&](Operand which, int64_t width) {
      ProductTile::Source rows = blocks.source(buffers.operand(which), width, 1);
      return pairs ? tile.pairsOfRows(rows, used, true) : rows;
    };
    tile.packPanels(source(Q, g.keyWidth), zero, blocks.steps(used), zero, d, g.keyWidth % e.width(),
                    queries);
    tile.packPanels(source(DOut, g.valueWidth), zero, blocks.steps(used), zero, w,
                    g.valueWidth % e.width(), dout);
    auto lseOf = blocks.source(buffers.operand(Lse), 1, kLog2E);
    auto deltaOf = blocks.source(buffers.operand(Delta), 1, 1);
    e.loop(zero, e.i(blocks.paddedColumns()), 1, [&](Val c) {
      Val column = e.min(c, used - 1.0);
      e.store(lseOf(column, zero, 1), lse, c);
      e.store(deltaOf(column, zero, 1), delta, c);
    });
    e.ifThen(isOwnQuery & (first >= part), [&] { tile.clear(dq, used); });

    // Key blocks begin at multiples of their size inside each part.
    double blockStep = static_cast<double>(blocks.keys());
    e.loop(part + (keyBegin - part) / blockStep * blockStep, keyEnd, blocks.keys(),
           [&](Val key0) {
             Val count = e.min(keyEnd - key0, e.i(blocks.keys()));
             emitPair(part, token0, key0, count, group);
           });
    if (buffers.result(DQ))
      e.ifThen(isOwnQuery & (part == ownPart), [&] { storeQueries(); });
  });
}

void AttentionGradKernel::emitPair(Val part, Val token0, Val key0, Val count, Val group) {
  int64_t keyDepth = blocks.steps(g.keyWidth), valueDepth = blocks.steps(g.valueWidth);
  KeyRows keys = placeKeys(tile, e, multiplied(K), g, group, key0, count, keyDepth, kRows);
  KeyRows values = placeKeys(tile, e, multiplied(V), g, group, key0, count, valueDepth, vRows);
  // The next query block's rows are asked for, one head in turn.
  Val turn = key0 / static_cast<double>(blocks.keys());
  Val next = token0 + static_cast<double>(blocks.queries());
  QueryBlocks::Scores s{.step = ScoreStep::Probability,
                        .depth = keyDepth,
                        .queries = queriesT,
                        .out = scores,
                        .keyPairs = {},
                        .factor = g.scale * kLog2E,
                        .shift = lse};
  s.later = blocks.headAhead(buffers.operand(Q), g.keyWidth, group, next, turn);
  blocks.multiplyKeys(s, keys, key0, count);
  QueryBlocks::Scores ds{.step = ScoreStep::Gradient,
                         .depth = valueDepth,
                         .queries = doutT,
                         .out = dScores,
                         .keyPairs = keyPairs,
                         .factor = 1,
                         .shift = delta,
                         .probability = scores.ptr};
  ds.later = blocks.headAhead(buffers.operand(DOut), g.valueWidth, group, next, turn);
  blocks.multiplyKeys(ds, values, key0, count);
  // Rows of a last, partial strip of keys lie past every query of the block, where
  // they are zero, or past the part, where nobody reads their sums.
  e.ifThen(isOwnKey, [&] {
    auto rows = [&](TileC sums) {
      return TileC{e.addressF(sums.ptr, (key0 - part) *
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
      ProductTile::Source rows =
          headMatrix(tile, e, buffers.operand(K), g.groups, g.keyWidth, group);
      if (pairs)
        rows = tile.pairsOfRows(rows, key0 + count, false);
      tile.packPanels(rows, blocks.steps(key0), blocks.steps(count), e.i(0), e.i(g.keyWidth),
                      g.keyWidth % e.width(), keyPanels);
      blocks.multiplyToQueries(pairs ? keyPairs : dScores, keyPanels, dq, g.keyWidth, key0,
                               count);
    });
}

void AttentionGradKernel::storeQueries() {
  blocks.forQueries([&](Val r, Val index) {
    tile.columnsLoop(e.i(g.keyWidth), g.keyWidth % e.width(), [&](Val c, int64_t lanes) {
      Val sum = e.load(e.vecType(lanes), dq.ptr, r * dq.stride + c);
      buffers.result(DQ).put(e, sum * g.scale, index * g.keyWidth + c);
    });
  });
}

void AttentionGradKernel::storeKeys(Result which, TileC from, int64_t width,
                                    double factor, Val part, Val partEnd, Val group) {
  if (!buffers.result(which))
    return;
  e.loop(part, partEnd, 1, [&](Val token) {
    Val line = (token * g.groups + group) * width;
    tile.columnsLoop(e.i(width), width % e.width(), [&](Val c, int64_t lanes) {
      Val sum = e.load(e.vecType(lanes), from.ptr, (token - part) * from.stride + c);
      buffers.result(which).put(e, factor == 1 ? sum : sum * factor, line + c);
    });
  });
}

} // namespace

FailureOr<KernelShape> emitAttentionGrad(StructuredKernel kernel) {
  return AttentionGradKernel(kernel).emit();
}

} // namespace pg
