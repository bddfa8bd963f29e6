//===- Ops.cpp - every primitive as a plain double loop
//--------------------===//
#include "test/reference/Ops.h"

#include <algorithm>
#include <cmath>

using namespace pg;
using namespace pg::reference;

//===----------------------------------------------------------------------===//
// Movement of elements
//===----------------------------------------------------------------------===//

Tensor reference::select(const Tensor &condition, const Tensor &a,
                         const Tensor &b) {
  Tensor y(a.shape);
  for (int64_t i = 0; i < a.size(); ++i)
    y[i] = condition[i] != 0 ? a[i] : b[i];
  return y;
}

/// Offset in a tensor of `source` strides of the element whose index in
/// `shape` is `flat`.
static int64_t offsetOf(int64_t flat, const Shape &shape, const Shape &source) {
  int64_t offset = 0;
  for (size_t i = shape.size(); i-- > 0;) {
    offset += flat % shape[i] * source[i];
    flat /= shape[i];
  }
  return offset;
}

Tensor reference::broadcast(const Tensor &x, const Shape &dims,
                            const Shape &result) {
  Tensor y(result);
  Shape own = strides(x.shape), source(result.size(), 0);
  for (size_t i = 0; i < dims.size(); ++i)
    if (x.shape[i] == result[dims[i]])
      source[dims[i]] = own[i];
  for (int64_t i = 0; i < y.size(); ++i)
    y[i] = x[offsetOf(i, result, source)];
  return y;
}

Tensor reference::transpose(const Tensor &x, const Shape &permutation) {
  Shape own = strides(x.shape), shape(permutation.size()),
        source(permutation.size());
  for (size_t i = 0; i < permutation.size(); ++i) {
    shape[i] = x.shape[permutation[i]];
    source[i] = own[permutation[i]];
  }
  Tensor y(shape);
  for (int64_t i = 0; i < y.size(); ++i)
    y[i] = x[offsetOf(i, shape, source)];
  return y;
}

Tensor reference::slice(const Tensor &x, int64_t axis, int64_t start,
                        int64_t size) {
  Shape shape = x.shape;
  shape[axis] = size;
  Tensor y(shape);
  int64_t outer = x.outer(axis), inner = x.inner(axis);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t a = 0; a < size; ++a)
      for (int64_t i = 0; i < inner; ++i)
        y[(o * size + a) * inner + i] =
            x[(o * x.shape[axis] + start + a) * inner + i];
  return y;
}

Tensor reference::pad(const Tensor &x, int64_t axis, int64_t low,
                      int64_t size) {
  Shape shape = x.shape;
  shape[axis] = size;
  Tensor y(shape);
  int64_t outer = x.outer(axis), inner = x.inner(axis);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t a = 0; a < x.shape[axis]; ++a)
      for (int64_t i = 0; i < inner; ++i)
        y[(o * size + low + a) * inner + i] =
            x[(o * x.shape[axis] + a) * inner + i];
  return y;
}

Tensor reference::concat(const std::vector<const Tensor *> &xs, int64_t axis) {
  Shape shape = xs.front()->shape;
  shape[axis] = 0;
  for (const Tensor *x : xs)
    shape[axis] += x->shape[axis];
  Tensor y(shape);
  int64_t outer = y.outer(axis), inner = y.inner(axis), start = 0;
  for (const Tensor *x : xs) {
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t a = 0; a < x->shape[axis]; ++a)
        for (int64_t i = 0; i < inner; ++i)
          y[(o * shape[axis] + start + a) * inner + i] =
              (*x)[(o * x->shape[axis] + a) * inner + i];
    start += x->shape[axis];
  }
  return y;
}

Tensor reference::iota(const Shape &shape, int64_t axis) {
  Tensor y(shape);
  int64_t inner = y.inner(axis);
  for (int64_t i = 0; i < y.size(); ++i)
    y[i] = static_cast<double>(i / inner % shape[axis]);
  return y;
}

Tensor reference::gather(const Tensor &table, const Tensor &index) {
  Shape shape = table.shape;
  shape[0] = index.size();
  Tensor y(shape);
  int64_t width = table.inner(0);
  for (int64_t t = 0; t < index.size(); ++t)
    for (int64_t i = 0; i < width; ++i)
      y[t * width + i] = table[static_cast<int64_t>(index[t]) * width + i];
  return y;
}

Tensor reference::gatherGrad(const Tensor &dy, const Tensor &index,
                             const Shape &table) {
  Tensor y(table);
  int64_t width = y.inner(0);
  for (int64_t t = 0; t < index.size(); ++t)
    for (int64_t i = 0; i < width; ++i)
      y[static_cast<int64_t>(index[t]) * width + i] += dy[t * width + i];
  return y;
}

Tensor reference::pick(const Tensor &x, const Tensor &index) {
  Tensor y(index.shape);
  for (int64_t t = 0; t < index.size(); ++t)
    y[t] = x[t * x.shape[1] + static_cast<int64_t>(index[t])];
  return y;
}

Tensor reference::tokenShift(const Tensor &x, int64_t distance,
                             bool withinSegment, const rt::Batch &batch) {
  Tensor y(x.shape);
  int64_t width = x.inner(0);
  const int32_t *begin = withinSegment ? batch.segmentBegin : batch.rowBegin;
  const int32_t *end = withinSegment ? batch.segmentEnd : batch.rowEnd;
  for (int64_t t = 0; t < x.shape[0]; ++t) {
    int64_t s = t - distance;
    if (s < begin[t] || s >= end[t])
      continue;
    for (int64_t i = 0; i < width; ++i)
      y[t * width + i] = x[s * width + i];
  }
  return y;
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

/// Folds x over `axes`, starting from `start`.
template <typename F>
static Tensor reduce(const Tensor &x, const Shape &axes, double start, F f) {
  Shape kept, keptStride(x.shape.size(), 0);
  for (int64_t i = 0; i < x.rank(); ++i)
    if (std::find(axes.begin(), axes.end(), i) == axes.end())
      kept.push_back(x.shape[i]);
  Shape target = strides(kept);
  for (int64_t i = 0, k = 0; i < x.rank(); ++i)
    if (std::find(axes.begin(), axes.end(), i) == axes.end())
      keptStride[i] = target[k++];
  Tensor y(kept, start);
  for (int64_t i = 0; i < x.size(); ++i) {
    double &slot = y[offsetOf(i, x.shape, keptStride)];
    slot = f(slot, x[i]);
  }
  return y;
}

Tensor reference::reduceSum(const Tensor &x, const Shape &axes) {
  return reduce(x, axes, 0.0, [](double a, double b) { return a + b; });
}

Tensor reference::reduceMax(const Tensor &x, const Shape &axes) {
  return reduce(x, axes, -INFINITY,
                [](double a, double b) { return std::max(a, b); });
}

Tensor reference::partialSum(const Tensor &x, int64_t grain) {
  Shape shape = x.shape;
  shape[0] = (x.shape[0] + grain - 1) / grain;
  Tensor y(shape);
  int64_t width = x.inner(0);
  for (int64_t t = 0; t < x.shape[0]; ++t)
    for (int64_t i = 0; i < width; ++i)
      y[t / grain * width + i] += x[t * width + i];
  return y;
}

Tensor reference::rmsNorm(const Tensor &x, double eps) {
  Tensor y(x.shape);
  int64_t width = x.shape.back();
  for (int64_t row = 0; row < x.size() / width; ++row) {
    double square = 0;
    for (int64_t i = 0; i < width; ++i)
      square += x[row * width + i] * x[row * width + i];
    double factor = 1.0 / std::sqrt(square / static_cast<double>(width) + eps);
    for (int64_t i = 0; i < width; ++i)
      y[row * width + i] = x[row * width + i] * factor;
  }
  return y;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// y[r][j] += sum over k of a[r][k] b[k][j] for `rows` rows. The inner loop runs
/// along rows of b and y, so that it vectorises.
template <int rows>
static void addProducts(const double *a, const double *b, int64_t depth,
                        int64_t n, double *y) {
  int64_t k = 0;
  for (; k + 4 <= depth; k += 4) {
    const double *b0 = b + k * n, *b1 = b0 + n, *b2 = b1 + n, *b3 = b2 + n;
    double f[rows][4]; // copies: y may be anything, as far as the compiler knows
    for (int r = 0; r < rows; ++r)
      std::copy_n(a + r * depth + k, 4, f[r]);
    for (int64_t j = 0; j < n; ++j) {
      double v0 = b0[j], v1 = b1[j], v2 = b2[j], v3 = b3[j];
      for (int r = 0; r < rows; ++r) {
        double &sum = y[r * n + j];
        sum = (((sum + f[r][0] * v0) + f[r][1] * v1) + f[r][2] * v2) + f[r][3] * v3;
      }
    }
  }
  for (; k < depth; ++k)
    for (int r = 0; r < rows; ++r)
      for (int64_t j = 0; j < n; ++j)
        y[r * n + j] += a[r * depth + k] * b[k * n + j];
}

Tensor reference::matmul(const Tensor &a, const Tensor &b, bool transposeA,
                         bool transposeB) {
  if (transposeA)
    return matmul(transpose(a, {1, 0}), b, false, transposeB);
  if (transposeB)
    return matmul(a, transpose(b, {1, 0}), false, false);
  int64_t m = a.shape[0], depth = a.shape[1], n = b.shape[1];
  Tensor y(Shape{m, n});
  // Four rows of a by four of b: every element still adds its products one by
  // one in the order of k, but a row of b is read for four results at a time.
  int64_t i = 0;
  for (; i + 4 <= m; i += 4)
    addProducts<4>(&a.data[i * depth], b.data.data(), depth, n, &y.data[i * n]);
  for (; i < m; ++i)
    addProducts<1>(&a.data[i * depth], b.data.data(), depth, n, &y.data[i * n]);
  return y;
}

Tensor reference::groupedMatmul(const Tensor &x, const Tensor &w,
                                bool transposeW, const rt::Batch &batch) {
  int64_t depth = x.shape[1], width = w.shape[transposeW ? 1 : 2];
  Tensor y({x.shape[0], width});
  for (int64_t t = 0; t < batch.numTokens; ++t)
    for (int64_t m = 0; m < width; ++m)
      for (int64_t k = 0; k < depth; ++k) {
        int64_t element = transposeW ? m * depth + k : k * width + m;
        y[t * width + m] += x[t * depth + k] *
                            w[batch.slot[t] * depth * width + element];
      }
  return y;
}

Tensor reference::groupedOuter(const Tensor &a, const Tensor &b, int64_t slots,
                               const rt::Batch &batch) {
  int64_t height = a.shape[1], width = b.shape[1];
  Tensor y({slots, height, width});
  for (int64_t t = 0; t < batch.numTokens; ++t)
    for (int64_t m = 0; m < height; ++m)
      for (int64_t k = 0; k < width; ++k)
        y[(batch.slot[t] * height + m) * width + k] +=
            a[t * height + m] * b[t * width + k];
  return y;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

Tensor reference::rotate(const Tensor &x, const Tensor &cosine,
                         const Tensor &sine) {
  Tensor y = x;
  int64_t heads = x.shape[1], width = x.shape[2], r = cosine.shape[1];
  for (int64_t t = 0; t < x.shape[0]; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t j = 0; j < r; ++j) {
        int64_t first = (t * heads + h) * width + j, second = first + r;
        double c = cosine[t * r + j], s = sine[t * r + j];
        y[first] = x[first] * c + x[second] * s;
        y[second] = -x[first] * s + x[second] * c;
      }
  return y;
}

namespace {
/// Index arithmetic shared by attention and its gradient.
struct Heads {
  int64_t query, key, width, valueWidth;
  Heads(const Tensor &q, const Tensor &k, const Tensor &v)
      : query(q.shape[1]), key(k.shape[1]), width(q.shape[2]),
        valueWidth(v.shape[2]) {}
  int64_t group(int64_t h) const { return h * key / query; }
  int64_t q(int64_t t, int64_t h) const { return (t * query + h) * width; }
  int64_t k(int64_t t, int64_t h) const { return (t * key + group(h)) * width; }
  int64_t v(int64_t t, int64_t h) const {
    return (t * key + group(h)) * valueWidth;
  }
  int64_t out(int64_t t, int64_t h) const {
    return (t * query + h) * valueWidth;
  }
};
} // namespace

/// First token that token t attends to.
static int64_t firstKey(int64_t t, const AttentionArgs &args,
                        const rt::Batch &batch) {
  int64_t first =
      args.withinSegment ? batch.segmentBegin[t] : batch.rowBegin[t];
  return args.window > 0 ? std::max(first, t - args.window + 1) : first;
}

static double dot(const Tensor &a, int64_t i, const Tensor &b, int64_t j,
                  int64_t n) {
  double sum = 0;
  for (int64_t k = 0; k < n; ++k)
    sum += a[i + k] * b[j + k];
  return sum;
}

AttentionResult reference::attention(const Tensor &q, const Tensor &k,
                                     const Tensor &v, const AttentionArgs &args,
                                     const rt::Batch &batch) {
  Heads heads(q, k, v);
  int64_t tokens = q.shape[0];
  AttentionResult result{Tensor({tokens, heads.query, heads.valueWidth}),
                         Tensor({tokens, heads.query})};
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < heads.query; ++h) {
      int64_t first = firstKey(t, args, batch);
      std::vector<double> score(t - first + 1);
      double largest = -INFINITY, total = 0;
      for (int64_t s = first; s <= t; ++s) {
        score[s - first] =
            args.scale * dot(q, heads.q(t, h), k, heads.k(s, h), heads.width);
        largest = std::max(largest, score[s - first]);
      }
      for (double &value : score)
        total += value = std::exp(value - largest);
      for (int64_t s = first; s <= t; ++s)
        for (int64_t e = 0; e < heads.valueWidth; ++e)
          result.out[heads.out(t, h) + e] +=
              score[s - first] / total * v[heads.v(s, h) + e];
      result.lse[t * heads.query + h] = largest + std::log(total);
    }
  return result;
}

AttentionGradient reference::attentionGrad(const Tensor &q, const Tensor &k,
                                           const Tensor &v, const Tensor &dout,
                                           const Tensor &lse,
                                           const Tensor &delta,
                                           const AttentionArgs &args,
                                           const rt::Batch &batch) {
  Heads heads(q, k, v);
  AttentionGradient result{Tensor(q.shape), Tensor(k.shape), Tensor(v.shape)};
  for (int64_t t = 0; t < q.shape[0]; ++t)
    for (int64_t h = 0; h < heads.query; ++h)
      for (int64_t s = firstKey(t, args, batch); s <= t; ++s) {
        double score =
            args.scale * dot(q, heads.q(t, h), k, heads.k(s, h), heads.width);
        double p = std::exp(score - lse[t * heads.query + h]);
        double dp =
            dot(dout, heads.out(t, h), v, heads.v(s, h), heads.valueWidth);
        double ds = args.scale * p * (dp - delta[t * heads.query + h]);
        for (int64_t e = 0; e < heads.valueWidth; ++e)
          result.dv[heads.v(s, h) + e] += p * dout[heads.out(t, h) + e];
        for (int64_t i = 0; i < heads.width; ++i) {
          result.dq[heads.q(t, h) + i] += ds * k[heads.k(s, h) + i];
          result.dk[heads.k(s, h) + i] += ds * q[heads.q(t, h) + i];
        }
      }
  return result;
}

//===----------------------------------------------------------------------===//
// Loss
//===----------------------------------------------------------------------===//

static double logSumExp(const double *z, int64_t n) {
  double largest = *std::max_element(z, z + n), total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += std::exp(z[i] - largest);
  return largest + std::log(total);
}

Tensor reference::crossEntropy(const Tensor &logits, const Tensor &targets) {
  Tensor nll(targets.shape);
  int64_t words = logits.shape[1];
  for (int64_t t = 0; t < targets.size(); ++t) {
    const double *z = &logits.data[t * words];
    nll[t] = logSumExp(z, words) - z[static_cast<int64_t>(targets[t])];
  }
  return nll;
}

static Tensor capped(const Tensor &x, const Tensor &w, double softcap) {
  Tensor z = matmul(x, w, false, true);
  if (softcap != 0)
    for (double &value : z.data)
      value = softcap * std::tanh(value / softcap);
  return z;
}

LossResult reference::linearCrossEntropy(const Tensor &x, const Tensor &w,
                                         const Tensor &targets,
                                         double softcap) {
  return cappedCrossEntropy(matmul(x, w, false, true), targets, softcap);
}

LossResult reference::cappedCrossEntropy(Tensor z, const Tensor &targets,
                                         double softcap) {
  if (softcap != 0)
    for (double &value : z.data)
      value = softcap * std::tanh(value / softcap);
  LossResult result{crossEntropy(z, targets), Tensor(targets.shape)};
  for (int64_t t = 0; t < targets.size(); ++t)
    result.lse[t] = logSumExp(&z.data[t * z.shape[1]], z.shape[1]);
  return result;
}

Tensor reference::rescaled(Tensor z, const Tensor &scale, const Tensor &add) {
  int64_t columns = z.shape[1];
  for (int64_t i = 0; i < z.size(); ++i)
    z[i] = scale[i % columns] * z[i] + add[i];
  return z;
}

Tensor reference::dequantise(const Tensor &codes, const Tensor &scale,
                             const Tensor &add) {
  Tensor w(codes.shape);
  int64_t columns = codes.shape[1];
  for (int64_t i = 0; i < w.size(); ++i)
    w[i] = scale[i / columns] * codes[i] + add[i];
  return w;
}

Tensor reference::linearCrossEntropyGradLogits(const Tensor &x, const Tensor &w,
                                               const Tensor &targets,
                                               const Tensor &lse,
                                               const Tensor &dnll,
                                               double softcap) {
  Tensor z = capped(x, w, softcap);
  int64_t words = z.shape[1];
  for (int64_t t = 0; t < targets.size(); ++t)
    for (int64_t v = 0; v < words; ++v) {
      double value = z[t * words + v];
      double hit = v == static_cast<int64_t>(targets[t]) ? 1.0 : 0.0;
      double slope =
          softcap != 0 ? 1.0 - value / softcap * (value / softcap) : 1.0;
      z[t * words + v] = dnll[t] * (std::exp(value - lse[t]) - hit) * slope;
    }
  return z;
}
