//===- AttentionCommon.cpp --------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"

#include "passes/cpu/ElementEvaluator.h"

#include <algorithm>

using namespace mlir;

namespace pg {
namespace {

/// Columns of a block of queries wanted, and the most tokens of one.
constexpr int64_t kColumns = 128;
constexpr int64_t kMostQueries = 64;

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

void StoredTensor::put(Emitter &e, Val value, Val index) const {
  if (accumulates) {
    Val old = e.load(withShapeOf(value.type(), element), pointer, index);
    value = convertElements(e, old, e.floatType()) + value;
  }
  e.store(convertElements(e, value, element), pointer, index);
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
  // A reshape only renames the same memory.
  auto throughReshapes = [](Value value) {
    while (auto reshape = value.getDefiningOp<ReshapeOp>())
      value = reshape.getX();
    return value;
  };
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

QueryBlocks::QueryBlocks(ProductTile &tile, Emitter &e,
                         const AttentionGeometry &g)
    : e(e), g(g), members(g.heads / g.groups) {
  // Enough columns to make the packing of keys cheap; few enough tokens that
  // little is computed beyond the diagonal; whole vectors of one head.
  int64_t tokens = kColumns / members / e.width() * e.width();
  blockQueries = std::clamp(tokens, e.width(), kMostQueries);
  blockKeys = 8 * tile.microRows();
  firstKeys = e.scratch(columns() * 4);
  lastKeys = e.scratch(columns() * 4);
}

void QueryBlocks::start(Val firstToken, Val count) {
  token0 = firstToken;
  tokens = count;
  e.loop(e.i(0), e.i(columns()), 1, [&](Val c) {
    Val t = c % blockQueries;
    Val token = token0 + e.min(t, tokens - 1.0);
    e.store(e.toI32(firstKey(e, g, token)), firstKeys, c);
    e.store(e.toI32(e.select(t < tokens, token, e.i(-1))), lastKeys, c);
  });
}

ProductTile::Source QueryBlocks::source(const StoredTensor &from, int64_t width,
                                        Val group, double factor) {
  return [=, this](Val column, Val feature, int64_t lanes) {
    Val head = group * static_cast<double>(members) +
               column / static_cast<double>(blockQueries);
    Val token = token0 + e.min(column % blockQueries, tokens - 1.0);
    Val at = (token * static_cast<double>(g.heads) + head) *
                 static_cast<double>(width) + feature;
    Val v = convertElements(
        e, e.load(VectorType::get({lanes}, from.element), from.pointer, at),
        e.floatType());
    return factor == 1 ? v : v * factor;
  };
}

void QueryBlocks::mask(TileC scores, Val key0, Val keys) {
  // The queries of a full block all see the keys from the last query's first
  // one to the first query.
  Val all = firstKey(e, g, token0 + tokens - 1.0);
  auto i32Vector = VectorType::get({e.width()}, e.builder().getI32Type());
  Val some = (key0 < all) | (key0 + keys > token0 + 1.0) |
             (tokens < blockQueries);
  e.ifThen(some, [&] {
    e.loop(e.i(0), keys, 1, [&](Val k) {
      Val key = e.broadcast(e.toI32(key0 + k));
      e.loop(e.i(0), e.i(columns()), e.width(), [&](Val c) {
        Val seen = (key >= e.load(i32Vector, firstKeys, c)) &
                   (key <= e.load(i32Vector, lastKeys, c));
        Val at = k * scores.stride + c;
        e.store(e.select(seen, e.loadV(scores.ptr, at), e.vec(kUnseen)),
                scores.ptr, at);
      });
    });
  });
}

void QueryBlocks::forQueries(Val group, function_ref<void(Val, Val)> body) {
  e.loop(e.i(0), e.i(members), 1, [&](Val member) {
    e.loop(e.i(0), tokens, 1, [&](Val t) {
      Val head = group * static_cast<double>(members) + member;
      body(member * static_cast<double>(blockQueries) + t,
           (token0 + t) * static_cast<double>(g.heads) + head);
    });
  });
}

Val QueryBlocks::foldKeys(Val keys, Val start, function_ref<Val(Val, Val)> step,
                          function_ref<Val(Val, Val)> combine) {
  Val whole = keys / 4.0 * 4.0;
  Emitter::Vals c = e.loop(e.i(0), whole, 4, {start, start, start, start},
                           [&](Val key, ArrayRef<Val> chains) {
                             Emitter::Vals next;
                             for (int64_t j = 0; j < 4; ++j)
                               next.push_back(step(chains[j], key + j));
                             return next;
                           });
  c[0] = e.loop(whole, keys, 1, {c[0]},
                [&](Val key, ArrayRef<Val> chain) -> Emitter::Vals {
                  return {step(chain[0], key)};
                })[0];
  return combine(combine(c[0], c[1]), combine(c[2], c[3]));
}

std::function<LinesAhead(Val, Val)> nextKeys(ProductTile &tile, Emitter &e,
                                             const StoredTensor &from,
                                             const AttentionGeometry &g,
                                             Val group, Val key0, Val k,
                                             int64_t width) {
  double stride = static_cast<double>(g.groups * width);
  return [=, &tile, &e](Val row, Val) {
    Val at = e.address(from.element, from.pointer,
                       (key0 + row) * stride + group * static_cast<double>(width));
    // The stride counts in elements of the float type.
    double bytes = stride * from.element.getIntOrFloatBitWidth() / 8;
    Val between = e.i(static_cast<int64_t>(bytes) / e.floatBytes());
    LinesAhead all = tile.shareOfRows(at, between, e.i(width), e.i(0), e.i(1));
    int64_t lines = std::max<int64_t>(1, width * e.floatBytes() / 64);
    all.steps = e.max(e.i(1), k / static_cast<double>(lines));
    return all;
  };
}

void multiplyKeys(ProductTile &tile, Emitter &e, const StoredTensor &from,
                  const ProductTile::Source &source, const AttentionGeometry &g,
                  Val group, Val key0, Val count, int64_t width, TileA rows,
                  TileB queries, TileC scores, Val columns) {
  Val depth = e.i(width);
  auto packed = [&] {
    tile.packRows(source, key0, count, e.i(0), depth, width % e.width(), rows);
    tile.multiply(rows, queries, scores, count, columns, depth,
                  {.overwrite = true});
  };
  if (from.element != e.floatType())
    return packed();
  int64_t stride = g.groups * width;
  double micro = static_cast<double>(tile.microRowsOf(queries));
  Val padded = e.ceilDiv(count, tile.microRowsOf(queries)) * micro;
  e.ifElse(
      key0 + padded <= e.numTokens(),
      [&] {
        Val start = e.addressF(from.pointer,
                               key0 * static_cast<double>(stride) +
                                   group * static_cast<double>(width));
        tile.multiply({start, stride, 1}, queries, scores, count, columns, depth,
                      {.overwrite = true,
                       .ahead = nextKeys(tile, e, from, g, group, key0 + count,
                                         depth, width)});
      },
      packed);
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
