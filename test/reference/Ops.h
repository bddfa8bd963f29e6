//===- Ops.h - every primitive as a plain double loop
//----------------------===//
//
// The oracle. Written from the records in dialect/ops/*.td alone, without a
// look at the code that is checked against it; clarity before speed. Operands
// are valid (the dialect's verifiers ran before).
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_REFERENCE_OPS_H
#define PG_TEST_REFERENCE_OPS_H

#include "runtime/package/KernelAbi.h"
#include "test/reference/Tensor.h"

namespace pg::reference {

// Elementwise.
template <typename F> Tensor map(const Tensor &x, F f) {
  Tensor y(x.shape);
  for (int64_t i = 0; i < x.size(); ++i)
    y[i] = f(x[i]);
  return y;
}
template <typename F> Tensor map(const Tensor &a, const Tensor &b, F f) {
  Tensor y(a.shape);
  for (int64_t i = 0; i < a.size(); ++i)
    y[i] = f(a[i], b[i]);
  return y;
}
Tensor select(const Tensor &condition, const Tensor &a, const Tensor &b);

// Movement of elements.
Tensor broadcast(const Tensor &x, const Shape &dims, const Shape &result);
Tensor transpose(const Tensor &x, const Shape &permutation);
Tensor slice(const Tensor &x, int64_t axis, int64_t start, int64_t size);
Tensor pad(const Tensor &x, int64_t axis, int64_t low, int64_t size);
Tensor concat(const std::vector<const Tensor *> &xs, int64_t axis);
Tensor iota(const Shape &shape, int64_t axis);
Tensor gather(const Tensor &table, const Tensor &index);
Tensor gatherGrad(const Tensor &dy, const Tensor &index, const Shape &table);
Tensor pick(const Tensor &x, const Tensor &index);

/// y_t = x_{t - distance} inside the row (or segment), else 0.
Tensor tokenShift(const Tensor &x, int64_t distance, bool withinSegment,
                  const rt::Batch &batch);

// Reductions.
Tensor reduceSum(const Tensor &x, const Shape &axes);
Tensor reduceMax(const Tensor &x, const Shape &axes);
Tensor partialSum(const Tensor &x, int64_t grain);
Tensor rmsNorm(const Tensor &x, double eps);

// Products.
Tensor matmul(const Tensor &a, const Tensor &b, bool transposeA,
              bool transposeB);
/// Every row of the codes times its scale, plus `add`.
Tensor dequantise(const Tensor &codes, const Tensor &scale, const Tensor &add);
/// Each token times w[slot], [K, M] or [M, K] transposed.
Tensor groupedMatmul(const Tensor &x, const Tensor &w, bool transposeW,
                     const rt::Batch &batch);
/// Per slot, the sum over its tokens of a_t (outer) b_t.
Tensor groupedOuter(const Tensor &a, const Tensor &b, int64_t slots,
                    const rt::Batch &batch);

// Attention.
Tensor rotate(const Tensor &x, const Tensor &cosine, const Tensor &sine);
struct AttentionArgs {
  double scale;
  int64_t window; ///< 0 = none
  bool withinSegment;
};
struct AttentionResult {
  Tensor out, lse;
};
AttentionResult attention(const Tensor &q, const Tensor &k, const Tensor &v,
                          const AttentionArgs &args, const rt::Batch &batch);
struct AttentionGradient {
  Tensor dq, dk, dv;
};
AttentionGradient attentionGrad(const Tensor &q, const Tensor &k,
                                const Tensor &v, const Tensor &dout,
                                const Tensor &lse, const Tensor &delta,
                                const AttentionArgs &args,
                                const rt::Batch &batch);

// Loss.
Tensor crossEntropy(const Tensor &logits, const Tensor &targets);
struct LossResult {
  Tensor nll, lse;
};
LossResult linearCrossEntropy(const Tensor &x, const Tensor &w,
                              const Tensor &targets, double softcap);
/// The same from the products themselves.
LossResult cappedCrossEntropy(Tensor z, const Tensor &targets, double softcap);
/// Every column of z times its scale, plus `add`.
Tensor rescaled(Tensor z, const Tensor &scale, const Tensor &add);
/// Gradient w.r.t. the product x w^T: [N, V].
Tensor linearCrossEntropyGradLogits(const Tensor &x, const Tensor &w,
                                    const Tensor &targets, const Tensor &lse,
                                    const Tensor &dnll, double softcap);

} // namespace pg::reference

#endif // PG_TEST_REFERENCE_OPS_H
