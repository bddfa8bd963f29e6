//===- AttentionCommon.cpp --------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"

#include "passes/cpu/ElementEvaluator.h"

#include <algorithm>

using namespace mlir;

namespace pg {
namespace {

/// Columns of a block of queries wanted: panels of 64 and strips of 6.
constexpr int64_t kColumns = 192;
/// Keys of a block wanted, and what a panel with a row for each may take of L1, where
/// it stays beside the sums and probabilities that pass by.
constexpr int64_t kKeys = 96, kPanelBytes = 18 << 10;

} // namespace

Val firstKey(Emitter &e, const AttentionGeometry &g, Val token) {
  Val table = g.bySegment ? e.segmentBegin() : e.rowBegin();
  Val first = e.toI64(e.load(e.builder().getI32Type(), table, token));
  if (g.window > 0)
    first = e.max(first, token - (g.window - 1));
  return first;
}

Val queriesEnd(Emitter &e, const AttentionGeometry &g, Val token) {
  Val table = g.bySegment ? e.segmentEnd() : e.rowEnd();
  Val end = e.toI64(e.load(e.builder().getI32Type(), table, token));
  if (g.window > 0)
    end = e.min(end, token + g.window);
  return end;
}

ProductTile::Source headMatrix(ProductTile &tile, Emitter &e,
                               const StoredTensor &from, int64_t heads,
                               int64_t width, Val head) {
  return tile.matrix(e.address(from.element, from.pointer, head * width),
                     e.i(heads * width), from.element);
}

DirectBuffers::DirectBuffers(KernelDefOp def, Operation *op, Emitter &e) {
  Block &body = def.getBody().front();
  SmallVector<int64_t> bufferOf;
  int64_t count = 0;
  for (BlockArgument argument : body.getArguments())
    bufferOf.push_back(isa<RankedTensorType>(argument.getType()) ? count++
                                                                 : -1);
  for (Value operand : op->getOperands()) {
    auto argument = dyn_cast<BlockArgument>(throughReshapes(operand));
    if (!argument) {
      op->emitOpError("expected operands that are arguments of the kernel");
      valid = false;
      return;
    }
    operands.push_back({e.buffer(bufferOf[argument.getArgNumber()]),
                        getElementTypeOrSelf(argument.getType())});
  }
  results.resize(op->getNumResults());
  for (auto [k, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    Value source = throughReshapes(value);
    if (auto cast = source.getDefiningOp<CastOp>())
      source = throughReshapes(cast.getX());
    auto result = dyn_cast<OpResult>(source);
    if (!result || result.getOwner() != op ||
        results[result.getResultNumber()]) {
      op->emitOpError("expected the kernel to hand out its results and nothing else");
      valid = false;
      return;
    }
    results[result.getResultNumber()] = {e.buffer(count + k),
                                         getElementTypeOrSelf(value.getType()),
                                         def.getModes()[k] == 2};
  }
}

/// Where row `key0` of a head begins.
static Val rowAddress(Emitter &e, const StoredTensor &from, const AttentionGeometry &g,
                      Val group, Val key0, int64_t width) {
  return e.address(from.element, from.pointer,
                   (key0 * static_cast<double>(g.groups) + group) *
                       static_cast<double>(width));
}

LinesAhead rowsAhead(Emitter &e, const StoredTensor &from, const AttentionGeometry &g,
                     Val group, Val key0, int64_t width) {
  // The stride counts in elements of the float type.
  int64_t bytes = g.groups * width * from.element.getIntOrFloatBitWidth() / 8;
  return {rowAddress(e, from, g, group, key0, width), e.i(bytes / e.floatBytes()),
          Val()};
}

KeyRows placeKeys(ProductTile &tile, Emitter &e, const StoredTensor &from,
                  const AttentionGeometry &g, Val group, Val key0, Val count,
                  int64_t width, TileA packed) {
  LinesAhead next = rowsAhead(e, from, g, group, key0 + count, width);
  auto pack = [&] {
    tile.packRows(headMatrix(tile, e, from, g.groups, width, group), key0, count,
                  e.i(0), e.i(width), width % e.width(), packed);
  };
  if (from.element != e.floatType()) {
    pack();
    return {packed.ptr, e.i(packed.row), next};
  }
  Val padded = e.ceilDiv(count, tile.microRows()) *
               static_cast<double>(tile.microRows());
  Val isInPlace = key0 + padded <= e.numTokens();
  e.ifThen(key0 + padded > e.numTokens(), pack);
  return {e.select(isInPlace, rowAddress(e, from, g, group, key0, width), packed.ptr),
          e.select(isInPlace, e.i(g.groups * width), e.i(packed.row)), next};
}

QueryBlocks::QueryBlocks(ProductTile &tile, Emitter &e,
                         const AttentionGeometry &g, Operation *op)
    : tile(tile), e(e), g(g), pairs(e.hasPairDot() && hasBf16Factors(op)), members(g.heads / g.groups) {
  int64_t tokens = kColumns / members / e.width() * e.width();
  blockQueries = std::max(tokens, e.width());
  int64_t panel = std::max(tile.panelColumns(g.keyWidth), tile.panelColumns(g.valueWidth));
  int64_t keys = std::min(kKeys, kPanelBytes / (panel * e.floatBytes()));
  blockKeys = std::max<int64_t>(1, keys / tile.microRows()) * tile.microRows();
  firstKeys = e.scratch(paddedColumns() * 4);
  lastKeys = e.scratch(paddedColumns() * 4);
  rows = e.scratch(paddedColumns() * 8);
  ranges = e.scratch(std::max(paddedColumns(), blockKeys) * 8);
}

void QueryBlocks::start(Val firstToken, Val count, Val group) {
  token0 = firstToken;
  tokens = count;
  usedColumns = e.ceilDiv(tokens, e.width()) * vectorColumns();
  Val head0 = group * static_cast<double>(members);
  e.loop(e.i(0), e.i(paddedColumns()), 1, [&](Val c) {
    Val t = tokenOf(c);
    Val token = token0 + e.min(t, tokens - 1.0);
    Val head = head0 + c / static_cast<double>(e.width()) % members;
    e.store(token * static_cast<double>(g.heads) + head, rows, c);
    e.store(e.toI32(firstKey(e, g, token)), firstKeys, c);
    e.store(e.toI32(e.select(t < tokens, token, e.i(-1))), lastKeys, c);
  });
}

Val QueryBlocks::tokenOf(Val column) {
  return column / vectorColumns() * static_cast<double>(e.width()) +
         column % e.width();
}

Val QueryBlocks::keysEnd(Val column) {
  Val next = (column / vectorColumns() + 1.0) * static_cast<double>(e.width());
  return token0 + e.min(next, tokens);
}

Val QueryBlocks::rowOf(Val column) {
  return e.load(e.builder().getI64Type(), rows, column);
}

ProductTile::Source QueryBlocks::source(const StoredTensor &from, int64_t width,
                                        double factor) {
  return [=, this](Val column, Val feature, int64_t lanes) {
    Val at = rowOf(column) * static_cast<double>(width) + feature;
    Val v = convertElements(
        e, e.load(VectorType::get({lanes}, from.element), from.pointer, at),
        e.floatType());
    return factor == 1 ? v : v * factor;
  };
}

LinesAhead QueryBlocks::headAhead(const StoredTensor &from, int64_t width, Val group,
                                  Val token, Val turn) {
  AttentionGeometry heads = g;
  heads.groups = g.heads;
  Val head = group * static_cast<double>(members) + turn % members;
  return rowsAhead(e, from, heads, head, token, width);
}

Val QueryBlocks::seesAny(Val column, Val key0, Val count) {
  auto vector = VectorType::get({e.width()}, e.builder().getI32Type());
  return (e.load(vector, firstKeys, column) < e.broadcast(e.toI32(key0 + count))) &
         (e.load(vector, lastKeys, column) >= e.broadcast(e.toI32(key0)));
}

void QueryBlocks::forQueries(function_ref<void(Val, Val)> body) {
  e.loop(e.i(0), usedColumns, 1, [&](Val c) {
    Val last = e.load(e.builder().getI32Type(), lastKeys, c);
    e.ifThen(last >= 0, [&] { body(c, rowOf(c)); });
  });
}

void QueryBlocks::multiplyKeys(const Scores &s, const KeyRows &keys, Val key0,
                               Val count) {
  int64_t panel = s.queries.columns, rows = tile.microRowsOf(s.queries);
  ScoreStrips strips{rows, panel / e.width(), s.depth, s.step, pairs};
  Val zero = e.i(0), lastColumn = usedColumns - 1.0;
  double most = static_cast<double>(tile.microRows());
  e.loop(zero, e.ceilDiv(usedColumns, panel), 1, [&](Val p) {
    Val begin = p * static_cast<double>(panel), end = begin + static_cast<double>(panel);
    Val seen = e.max(zero, e.min(count, keysEnd(e.min(end - 1.0, lastColumn)) - key0));
    Val isWhole = end <= tokens / static_cast<double>(e.width()) * vectorColumns();
    // All queries see the keys from the last one's first to the first one.
    Val clearBegin = firstKey(e, g, token0 + e.min(tokenOf(end - 1.0), tokens - 1.0));
    Val clearEnd = token0 + begin / vectorColumns() * static_cast<double>(e.width()) + 1.0;
    auto of = [&](Val perColumn) {
      return perColumn ? e.addressF(perColumn, begin) : Val();
    };
    auto ofRows = [&](Val tileRows) {
      Type element = pairs ? Type(e.builder().getBF16Type()) : e.floatType();
      return tileRows ? e.address(element, tileRows, begin) : Val();
    };
    auto ofKeys = [&](Val numbers) {
      return e.address(e.builder().getI32Type(), numbers, begin);
    };
    LinesAhead ahead = keys.next;
    for (auto [other, first] : {std::pair(&s.second, 1), std::pair(&s.later, 2)})
      if (other->at)
        ahead = {e.select(p >= first, other->at, ahead.at),
                 e.select(p >= first, other->row, ahead.row), Val()};
    callScoreStrips(
        e, strips,
        {keys.at, keys.stride, e.addressF(s.queries.ptr, p * s.queries.panelStride),
         seen, e.f(s.factor), ofRows(s.out.ptr), e.i(s.out.stride), of(s.keyPairs.ptr),
         e.i(s.keyPairs.stride), of(s.shift), of(s.total), ofRows(s.probability),
         ofKeys(firstKeys), ofKeys(lastKeys), key0, clearBegin - key0,
         e.select(isWhole, clearEnd - key0, zero), ahead});
    // A strip of columns may begin in this panel and end in one that sees more keys.
    Val need = e.min(e.ceilDiv(end, tile.microRows()) * most, usedColumns) - 1.0;
    Val filled = e.ceilDiv(e.max(zero, e.min(count, keysEnd(need) - key0)),
                           tile.microRows()) * most;
    Val unseen = e.ceilDiv(seen, rows) * static_cast<double>(rows);
    auto clear = [&](Val ptr, Val first, Val last, double stride, Val column, int64_t count) {
      e.loop(first, last, 1, [&](Val k) {
        for (int64_t v = 0; v < count; v += e.width())
          e.store(e.vec(0), ptr, k * stride + column + static_cast<double>(v));
      });
    };
    double stride = static_cast<double>(s.out.stride);
    if (!pairs) {
      clear(s.out.ptr, unseen, filled, stride, begin, panel);
      return;
    }
    if (s.out.ptr)
      clear(s.out.ptr, unseen, filled, stride, begin / 2.0, panel / 2);
    if (s.keyPairs.ptr)
      clear(s.keyPairs.ptr, unseen / 2.0, filled / 2.0,
            static_cast<double>(s.keyPairs.stride), begin, panel);
  });
}

TileC QueryBlocks::allocateScores() {
  if (!pairs)
    return tile.allocateC(keys(), columns());
  return tile.allocateC(keys(), roundUp(columns(), tile.panelColumns(columns())) / 2);
}

TileC QueryBlocks::allocateKeyPairs() { return tile.allocateC(keys() / 2, columns()); }

TileC QueryBlocks::allocateSums(int64_t count, int64_t width) {
  int64_t stride = roundUp(width, tile.panelColumns(width));
  return {e.scratch(roundUp(count, tile.microRows()) * stride * e.floatBytes()), stride};
}

void QueryBlocks::multiplyPanels(
    TileC c, TileB b, int64_t width,
    function_ref<void(const ProductStrips &, Val, Val)> body) {
  ProductStrips strips{tile.microRowsOf(b), b.columns / e.width(), pairs};
  e.loop(e.i(0), e.i((width + b.columns - 1) / b.columns), 1, [&](Val p) {
    body(strips, e.addressF(b.ptr, p * b.panelStride),
         e.addressF(c.ptr, p * static_cast<double>(b.columns)));
  });
}

void QueryBlocks::multiplyToQueries(TileC a, TileB b, TileC c, int64_t width,
                                    Val key0, Val count) {
  double rows = static_cast<double>(tile.microRowsOf(b));
  Val strips = e.ceilDiv(usedColumns, tile.microRowsOf(b));
  e.loop(e.i(0), strips, 1, [&](Val s) {
    Val last = e.min((s + 1.0) * rows, usedColumns) - 1.0;
    Val end = e.max(e.i(0), e.min(count, keysEnd(last) - key0));
    e.store(e.i32(0), ranges, s * 2.0);
    e.store(e.toI32(steps(end)), ranges, s * 2.0 + 1.0);
  });
  multiplyPanels(c, b, width, [&](const ProductStrips &kernel, Val panel, Val to) {
    callProductStrips(e, kernel, {a.ptr, e.i(1), e.i(a.stride), panel, to,
                                  e.i(c.stride), strips, ranges});
  });
}

void QueryBlocks::multiplyToKeys(TileC a, TileB b, TileC c, int64_t width, Val key0,
                                 Val count) {
  double rows = static_cast<double>(tile.microRowsOf(b));
  Val strips = e.ceilDiv(count, tile.microRowsOf(b));
  e.loop(e.i(0), strips, 1, [&](Val s) {
    // The first vector of tokens that sees the strip's first key.
    Val token = e.max(e.i(0), key0 + s * rows - token0);
    Val begin = token / static_cast<double>(e.width()) * vectorColumns();
    // Columns are whole vectors: an even number.
    e.store(e.toI32(steps(begin)), ranges, s * 2.0);
    e.store(e.toI32(steps(usedColumns)), ranges, s * 2.0 + 1.0);
  });
  multiplyPanels(c, b, width, [&](const ProductStrips &kernel, Val panel, Val to) {
    callProductStrips(e, kernel, {a.ptr, e.i(a.stride), e.i(1), panel, to,
                                  e.i(c.stride), strips, ranges});
  });
}

void storeTile(ProductTile &tile, Emitter &e, TileC from, Val rows,
               int64_t columns, const StoredTensor &to, Val toIndex,
               Val toStride) {
  e.loop(e.i(0), rows, 1, [&](Val r) {
    Val line = toIndex + r * toStride;
    tile.columnsLoop(e.i(columns), columns % e.width(), [&](Val c, int64_t lanes) {
      to.put(e, e.load(e.vecType(lanes), from.ptr, r * from.stride + c),
             line + c);
    });
  });
}

} // namespace pg
