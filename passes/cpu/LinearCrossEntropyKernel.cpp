//===- LinearCrossEntropyKernel.cpp - the softcapped head in tiles ---------===//
//
// z = x w^T, or c tanh(x w^T / c); nll = lse(z) - z[target]. Logits exist only
// as one tile in thread scratch.
//
// A table of codes gives scale (x w^T) + p q^T instead of x w^T.
//
//   forward  item: 128 tokens. Z^T tiles [words][tokens], so that lanes are
//            tokens and every reduction over words is lane by lane. With a
//            small softcap -c <= z <= c, so exp(z - c) needs no maximum;
//            otherwise the maximum is carried online.
//   grad_x   item: 128 tokens. dZ^T tiles as above, dx += dZ w.
//   grad_w   item: 128 words. Z tiles [tokens][words], dw += dZ^T x.
//   dz = dnll (exp(z - lse) - [word = target]) (1 - (z / c)^2)
//
// Tiles are visited in order, so sums depend on positions alone.
//
//===----------------------------------------------------------------------===//
#include "dialect/ops/Softcap.h"
#include "passes/cpu/AttentionCommon.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

constexpr int64_t kTokens = 128; ///< tokens of a tile
constexpr int64_t kWords = 128;  ///< vocabulary columns of a tile
/// Rows of a tile, words or tokens: whole micro-kernels of every target.
constexpr int64_t kRows = 132;
/// Features in a block: more are added up in the tile.
constexpr int64_t kDepth = 512;
constexpr double kLowest = -1.0e30;

class HeadKernel {
public:
  HeadKernel(StructuredKernel kernel)
      : op(kernel.op), e(kernel.e), tile(e),
        buffers(kernel.def, kernel.op, e) {
    auto table = cast<RankedTensorType>(op->getOperand(1).getType());
    words = table.getDimSize(0);
    features = table.getDimSize(1);
    pairs = e.hasPairDot() && hasBf16Factors(op);
    steps = pairs ? (features + 1) / 2 : features;
    hasCodes = table.getElementType().isInteger(8);
    if (hasCodes && op->getNumOperands() > Q)
      rank = cast<RankedTensorType>(op->getOperand(Q).getType()).getDimSize(1);
    depth = std::min(kDepth, steps);
    softcap = op->getAttrOfType<FloatAttr>("softcap")
                  ? op->getAttrOfType<FloatAttr>("softcap").getValueAsDouble()
                  : 0.0;
    hasFixedPeak = softcap > 0 && softcap <= kBoundingSoftcap;
    auto tokens = cast<RankedTensorType>(op->getOperand(0).getType());
    staticTokens = tokens.isDynamicDim(0) ? 0 : tokens.getDimSize(0);
  }

  FailureOr<KernelShape> emitForward();
  FailureOr<KernelShape> emitGradX();
  FailureOr<KernelShape> emitGradW();

private:
  enum Operand { X, W, Targets, Lse, DNll };
  enum CodeOperand { Scale = 3, P, Q }; ///< of the forward op, beside codes

  ProductTile::Source matrix(Operand which) {
    const StoredTensor &from = buffers.operand(which);
    return tile.matrix(from.pointer, e.i(features), from.element);
  }
  Val tokenCount() {
    return staticTokens ? e.i(staticTokens) : e.numTokens();
  }
  /// Whether its rows lie in memory as what x w^T multiplies.
  bool isInPlace(Operand which) {
    Type element = buffers.operand(which).element;
    return pairs ? element.isBF16() && features % 2 == 0 : element == e.floatType();
  }
  /// Rows of `steps` numbers or pairs.
  ProductTile::Source factor(Operand which) {
    if (!pairs)
      return matrix(which);
    if (isInPlace(which))
      return tile.matrix(buffers.operand(which).pointer, e.i(steps), e.floatType());
    return tile.pairsInRows(matrix(which), features);
  }
  int64_t tailOf(int64_t extent) const { return extent % e.width(); }
  KernelShape byTokens() const;
  /// x [tokens][D] as the transposed right operand, all depths; `x` has one
  /// set of panels per depth block.
  void packRight(Operand which, Val row0, Val rows, int64_t rowLimit, TileB to);
  TileB depthBlock(TileB all, Val k0, int64_t columns);
  TileB allocateRight(int64_t columns);
  /// c += left [rows][D] times the packed right operand.
  void product(Operand left, Val row0, Val rows, TileB right, int64_t columns,
               Val columnCount, TileC c);
  /// Columns of P for the tokens of an item: [rank][kTokens] in scratch.
  void gatherCorrection(Val token0, Val tokens, Val to);
  /// What codes leave open: z = scale z + q p^T on a tile of words x tokens.
  void scaleTile(Val word0, Val words, Val tokens, Val correction, TileC z);
  /// c tanh(z / c), or z.
  Val capped(Val z);
  /// dz of one vector from the raw product.
  Val gradient(Val raw, Val lse, Val dnll, Val isTarget);
  /// Per-token vectors of a table, one lane per token, into scratch.
  void gatherTokens(Val table, Val token0, Val tokens, Val to, bool integer);

  Operation *op;
  Emitter &e;
  ProductTile tile;
  DirectBuffers buffers;
  int64_t words = 0, features = 0, depth = 0, staticTokens = 0;
  bool pairs = false; ///< x w^T multiplies pairs of bf16 numbers
  int64_t steps = 0;  ///< of k in x w^T: features, or pairs of them
  bool hasCodes = false;
  int64_t rank = 0; ///< of the correction beside codes
  double softcap = 0;
  bool hasFixedPeak = false; ///< the softcap stands for the maximum
  TileA leftRows;
};

KernelShape HeadKernel::byTokens() const {
  KernelShape shape;
  shape.items.tokensPerItem = staticTokens ? 0 : kTokens;
  shape.items.multiplier =
      staticTokens ? (staticTokens + kTokens - 1) / kTokens : 1;
  shape.category = "head";
  shape.wholePipeline = true;
  return shape;
}

TileB HeadKernel::allocateRight(int64_t columns) {
  TileB first = tile.allocatePanels(depth, columns);
  first.pairs = pairs;
  int64_t blocks = (steps + depth - 1) / depth;
  int64_t panels = roundUp(columns, first.columns) / first.columns;
  // The later depth blocks follow the first one in scratch.
  e.scratch((blocks - 1) * panels * first.panelStride * e.floatBytes());
  return first;
}

TileB HeadKernel::depthBlock(TileB all, Val k0, int64_t columns) {
  int64_t panels = roundUp(columns, all.columns) / all.columns;
  return {e.addressF(all.ptr, k0 / static_cast<double>(depth) *
                                  (panels * all.panelStride)),
          all.panelStride, all.columns, all.pairs};
}

void HeadKernel::packRight(Operand which, Val row0, Val rows, int64_t rowLimit,
                           TileB to) {
  auto source = factor(which);
  e.loop(e.i(0), e.i(steps), depth, [&](Val k0) {
    Val k = e.min(e.i(steps) - k0, e.i(depth));
    tile.packPanelsTransposed(source, k0, k, row0, rows, tailOf(steps),
                              depthBlock(to, k0, rowLimit));
  });
}

void HeadKernel::product(Operand left, Val row0, Val rows, TileB right,
                         int64_t columns, Val columnCount, TileC c) {
  auto source = factor(left);
  const StoredTensor &stored = buffers.operand(left);
  // Rows that can be are read where they lie, except the last ones of a block,
  // fewer than a micro-kernel reads.
  bool inPlace = isInPlace(left);
  int64_t micro = tile.microRowsOf(right);
  Val whole = inPlace ? rows / static_cast<double>(micro) *
                            static_cast<double>(micro)
                      : e.i(0);
  TileC rest{e.addressF(c.ptr, whole * static_cast<double>(c.stride)), c.stride};
  Val width = e.i(steps), panels = e.ceilDiv(columnCount, right.columns);
  e.loop(e.i(0), e.i(steps), depth, [&](Val k0) {
    Val k = e.min(e.i(steps) - k0, e.i(depth));
    TileB block = depthBlock(right, k0, columns);
    Accumulation how{.adds = k0 > 0};
    if (inPlace) {
      Val start = e.addressF(stored.pointer,
                             row0 * static_cast<double>(steps) + k0);
      // The next rows are asked for while one strip is multiplied.
      Accumulation streaming = how;
      streaming.ahead = [&](Val r, Val panel) {
        Val next = (r + static_cast<double>(micro)) * width;
        return tile.shareOfRows(e.addressF(start, next), width, k, panel, panels);
      };
      tile.multiply({start, steps, 1}, block, c, whole, columnCount, k,
                    streaming);
    }
    e.ifThen(whole < rows, [&] {
      tile.packRows(source, row0 + whole, rows - whole, k0, k, tailOf(steps), leftRows);
      tile.multiply(leftRows, block, rest, rows - whole, columnCount, k, how);
    });
  });
}

void HeadKernel::gatherCorrection(Val token0, Val tokens, Val to) {
  Val p = buffers.operand(P).pointer;
  e.loop(e.i(0), e.i(kTokens), 1, [&](Val t) {
    Val row = (token0 + e.min(t, tokens - 1.0)) * static_cast<double>(rank);
    for (int64_t k = 0; k < rank; ++k)
      e.store(e.loadF(p, row + k), to, t + k * kTokens);
  });
}

void HeadKernel::scaleTile(Val word0, Val words, Val tokens, Val correction,
                           TileC z) {
  e.loop(e.i(0), words, 1, [&](Val v) {
    Val word = word0 + v;
    Val scale = e.broadcast(e.loadF(buffers.operand(Scale).pointer, word));
    SmallVector<Val> factors;
    for (int64_t k = 0; k < rank; ++k)
      factors.push_back(e.broadcast(e.loadF(
          buffers.operand(Q).pointer, word * static_cast<double>(rank) + k)));
    e.loop(e.i(0), tokens, e.width(), [&](Val t) {
      Val at = v * static_cast<double>(z.stride) + t;
      Val value = e.loadV(z.ptr, at) * scale;
      for (int64_t k = 0; k < rank; ++k)
        value = e.fma(factors[k], e.loadV(correction, t + k * kTokens), value);
      e.store(value, z.ptr, at);
    });
  });
}

Val HeadKernel::capped(Val z) {
  return softcap > 0 ? e.tanh(z * (1.0 / softcap)) * softcap : z;
}

Val HeadKernel::gradient(Val raw, Val lse, Val dnll, Val isTarget) {
  Val z = raw, slope;
  if (softcap > 0) {
    Val t = e.tanh(raw * (1.0 / softcap));
    z = t * softcap;
    slope = e.fma(-t, t, e.vec(1));
  }
  Val p = e.exp(z - lse);
  p = e.select(isTarget, p - 1.0, p);
  Val dz = p * dnll;
  return softcap > 0 ? dz * slope : dz;
}

void HeadKernel::gatherTokens(Val table, Val token0, Val tokens, Val to,
                              bool integer) {
  // Lanes past the last token repeat it; what they make is never stored.
  Type type = integer ? Type(e.builder().getI32Type()) : e.floatType();
  e.loop(e.i(0), e.i(kTokens), 1, [&](Val t) {
    e.store(e.load(type, table, token0 + e.min(t, tokens - 1.0)), to, t);
  });
}

FailureOr<KernelShape> HeadKernel::emitForward() {
  if (!buffers.isValid())
    return failure();
  leftRows = tile.allocateRows(kRows, depth);
  TileB x = allocateRight(kTokens);
  TileC z = tile.allocateC(kRows, kTokens);
  Val peaks = e.scratch(kTokens * e.floatBytes());
  Val sums = e.scratch(kTokens * e.floatBytes());
  Val picked = e.scratch(kTokens * e.floatBytes());
  Val correction = rank ? e.scratch(rank * kTokens * e.floatBytes()) : Val();

  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    Val token0 = item * kTokens;
    Val tokens = e.min(tokenCount() - token0, e.i(kTokens));
    packRight(X, token0, tokens, kTokens, x);
    if (rank)
      gatherCorrection(token0, tokens, correction);
    e.loop(e.i(0), e.i(kTokens), e.width(), [&](Val t) {
      e.store(e.vec(hasFixedPeak ? softcap : kLowest), peaks, t);
      e.store(e.vec(0), sums, t);
    });
    e.loop(e.i(0), e.i(words), kRows, [&](Val word0) {
      Val count = e.min(e.i(words) - word0, e.i(kRows));
      product(W, word0, count, x, kTokens, tokens, z);
      if (hasCodes)
        scaleTile(word0, count, tokens, correction, z);
      // Two vectors of tokens at a time: independent chains of exp and tanh.
      e.loop(e.i(0), tokens, e.width(), [&](Val t) {
        Val peak = e.loadV(peaks, t);
        Val sum = e.loadV(sums, t);
        if (!hasFixedPeak) {
          Val raw = e.loop(e.i(0), count, 1, {e.vec(kLowest)},
                           [&](Val v, ArrayRef<Val> c) -> Emitter::Vals {
                             return {e.max(c[0], e.loadV(z.ptr, v * z.stride + t))};
                           })[0];
          Val top = e.max(peak, capped(raw));
          sum = sum * e.exp(peak - top);
          e.store(top, peaks, t);
          peak = top;
        }
        // Four partial sums, combined in a fixed order.
        auto term = [&](Val v) {
          Val value = capped(e.loadV(z.ptr, v * z.stride + t));
          if (softcap > 0)
            e.store(value, z.ptr, v * z.stride + t);
          return e.exp(value - peak);
        };
        Val whole = count / 4.0 * 4.0;
        Emitter::Vals four =
            e.loop(e.i(0), whole, 4, {e.vec(0), e.vec(0), e.vec(0), e.vec(0)},
                   [&](Val v, ArrayRef<Val> c) -> Emitter::Vals {
                     Emitter::Vals next;
                     for (int64_t j = 0; j < 4; ++j)
                       next.push_back(c[j] + term(v + j));
                     return next;
                   });
        Val part = (four[0] + four[1]) + (four[2] + four[3]);
        part = e.loop(whole, count, 1, {part},
                      [&](Val v, ArrayRef<Val> c) -> Emitter::Vals {
                        return {c[0] + term(v)};
                      })[0];
        e.store(sum + part, sums, t);
      });
      e.loop(e.i(0), tokens, 1, [&](Val t) {
        Val target = e.toI64(e.load(e.builder().getI32Type(),
                                    buffers.operand(Targets).pointer, token0 + t));
        e.ifThen((target >= word0) & (target < word0 + count), [&] {
          e.store(e.loadF(z.ptr, (target - word0) * z.stride + t), picked, t);
        });
      });
    });
    e.loop(e.i(0), tokens, 1, [&](Val t) {
      Val lse = e.loadF(peaks, t) + e.log(e.loadF(sums, t));
      Val nll = lse - e.loadF(picked, t);
      for (auto [k, value] : llvm::enumerate(std::initializer_list<Val>{nll, lse})) {
        if (buffers.result(k))
          buffers.result(k).put(e, value, token0 + t);
      }
    });
  });
  return byTokens();
}

FailureOr<KernelShape> HeadKernel::emitGradX() {
  if (!buffers.isValid())
    return failure();
  leftRows = tile.allocateRows(kRows, depth);
  TileB x = allocateRight(kTokens);
  TileB wPanels = tile.allocatePanels(kRows, features);
  TileC z = tile.allocateC(kRows, kTokens);
  TileC dx = tile.allocateC(kTokens, features);
  Val lse = e.scratch(kTokens * e.floatBytes());
  Val dnll = e.scratch(kTokens * e.floatBytes());
  Val targets = e.scratch(kTokens * 4);
  auto i32Vector = VectorType::get({e.width()}, e.builder().getI32Type());

  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    Val token0 = item * kTokens;
    Val tokens = e.min(tokenCount() - token0, e.i(kTokens));
    packRight(X, token0, tokens, kTokens, x);
    gatherTokens(buffers.operand(Lse).pointer, token0, tokens, lse, false);
    gatherTokens(buffers.operand(DNll).pointer, token0, tokens, dnll, false);
    gatherTokens(buffers.operand(Targets).pointer, token0, tokens, targets, true);
    tile.clear(dx, tokens);
    e.loop(e.i(0), e.i(words), kRows, [&](Val word0) {
      Val count = e.min(e.i(words) - word0, e.i(kRows));
      product(W, word0, count, x, kTokens, tokens, z);
      e.loop(e.i(0), tokens, e.width(), [&](Val t) {
        Val l = e.loadV(lse, t), d = e.loadV(dnll, t);
        Val wanted = e.load(i32Vector, targets, t);
        e.loop(e.i(0), count, 1, [&](Val v) {
          Val at = v * z.stride + t;
          Val isTarget = wanted == e.broadcast(e.toI32(word0 + v));
          e.store(gradient(e.loadV(z.ptr, at), l, d, isTarget), z.ptr, at);
        });
      });
      tile.packPanels(matrix(W), word0, count, e.i(0), e.i(features),
                      tailOf(features), wPanels);
      tile.multiply({z.ptr, 1, z.stride}, wPanels, dx, tokens, e.i(features),
                    count);
    });
    storeTile(tile, e, dx, tokens, features, buffers.result(0),
              token0 * features, e.i(features));
  });
  return byTokens();
}

FailureOr<KernelShape> HeadKernel::emitGradW() {
  if (!buffers.isValid())
    return failure();
  leftRows = tile.allocateRows(kRows, depth);
  TileB w = allocateRight(kWords);
  TileB xPanels = tile.allocatePanels(kRows, features);
  TileC z = tile.allocateC(kRows, kWords);
  TileC dw = tile.allocateC(kWords, features);
  Type i32 = e.builder().getI32Type();
  Val lanes = e.iota(i32, e.width());

  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    Val word0 = item * kWords;
    Val count = e.min(e.i(words) - word0, e.i(kWords));
    packRight(W, word0, count, kWords, w);
    tile.clear(dw, count);
    e.loop(e.i(0), tokenCount(), kRows, [&](Val token0) {
      Val tokens = e.min(tokenCount() - token0, e.i(kRows));
      product(X, token0, tokens, w, kWords, count, z);
      e.loop(e.i(0), tokens, 1, [&](Val t) {
        Val token = token0 + t;
        Val lse = e.broadcast(e.loadF(buffers.operand(Lse).pointer, token));
        Val dnll = e.broadcast(e.loadF(buffers.operand(DNll).pointer, token));
        Val target = e.load(i32, buffers.operand(Targets).pointer, token);
        e.loop(e.i(0), count, e.width(), [&](Val v) {
          Val at = t * z.stride + v;
          Val isTarget = lanes == e.broadcast(target - e.toI32(word0 + v));
          e.store(gradient(e.loadV(z.ptr, at), lse, dnll, isTarget), z.ptr, at);
        });
      });
      tile.packPanels(matrix(X), token0, tokens, e.i(0), e.i(features),
                      tailOf(features), xPanels);
      tile.multiply({z.ptr, 1, z.stride}, xPanels, dw, count, e.i(features),
                    tokens);
    });
    storeTile(tile, e, dw, count, features, buffers.result(0),
              word0 * features, e.i(features));
  });
  KernelShape shape;
  shape.items.multiplier = (words + kWords - 1) / kWords;
  shape.category = "head";
  shape.wholePipeline = true;
  return shape;
}

} // namespace

FailureOr<KernelShape> emitLinearCrossEntropy(StructuredKernel kernel) {
  return HeadKernel(kernel).emitForward();
}
FailureOr<KernelShape> emitLinearCrossEntropyGradX(StructuredKernel kernel) {
  return HeadKernel(kernel).emitGradX();
}
FailureOr<KernelShape> emitLinearCrossEntropyGradW(StructuredKernel kernel) {
  return HeadKernel(kernel).emitGradW();
}

} // namespace pg
