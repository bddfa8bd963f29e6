//===- FakeKernels.cpp - kernels of a model that is one table -------------------===//
//
// logits of token t = row t of a V x V table. Small enough to check by hand,
// complete enough to train. scalars[0] of every launch is V.
//
//===----------------------------------------------------------------------===//
#include "runtime/package/KernelAbi.h"

#include <cmath>

using pg::rt::Batch;

namespace {

double logSumExp(const float *row, int64_t vocabulary) {
  double largest = row[0], sum = 0;
  for (int64_t v = 1; v < vocabulary; ++v)
    largest = row[v] > largest ? row[v] : largest;
  for (int64_t v = 0; v < vocabulary; ++v)
    sum += std::exp(row[v] - largest);
  return largest + std::log(sum);
}

} // namespace

extern "C" {

/// buffers: tokens, targets, table, nll. One item per token.
void fake_nll(void *const *buffers, const double *scalars, const Batch *, int64_t begin, int64_t end, void *) {
  auto *tokens = static_cast<const int32_t *>(buffers[0]);
  auto *targets = static_cast<const int32_t *>(buffers[1]);
  auto *table = static_cast<const float *>(buffers[2]);
  auto *nll = static_cast<float *>(buffers[3]);
  auto vocabulary = int64_t(scalars[0]);
  for (int64_t i = begin; i < end; ++i) {
    const float *row = table + tokens[i] * vocabulary;
    nll[i] = float(logSumExp(row, vocabulary) - row[targets[i]]);
  }
}

/// buffers: tokens, targets, table, loss_scale, gradient. One item per table
/// row; tokens are visited in order, so the sum has one order.
void fake_gradient(void *const *buffers, const double *scalars, const Batch *batch, int64_t begin, int64_t end,
                   void *scratch) {
  auto *tokens = static_cast<const int32_t *>(buffers[0]);
  auto *targets = static_cast<const int32_t *>(buffers[1]);
  auto *table = static_cast<const float *>(buffers[2]);
  float scale = *static_cast<const float *>(buffers[3]);
  auto *gradient = static_cast<float *>(buffers[4]);
  auto vocabulary = int64_t(scalars[0]);
  auto *probability = static_cast<float *>(scratch);
  for (int64_t r = begin; r < end; ++r) {
    double normaliser = logSumExp(table + r * vocabulary, vocabulary);
    for (int64_t v = 0; v < vocabulary; ++v)
      probability[v] = float(std::exp(table[r * vocabulary + v] - normaliser));
    for (int64_t i = 0; i < batch->numTokens; ++i)
      if (tokens[i] == r)
        for (int64_t v = 0; v < vocabulary; ++v)
          gradient[r * vocabulary + v] += scale * (probability[v] - float(targets[i] == v));
  }
}

/// buffers: tokens, rows, table, logits. One item per slot.
void fake_logits(void *const *buffers, const double *scalars, const Batch *, int64_t begin, int64_t end, void *) {
  auto *tokens = static_cast<const int32_t *>(buffers[0]);
  auto *rows = static_cast<const int32_t *>(buffers[1]);
  auto *table = static_cast<const float *>(buffers[2]);
  auto *logits = static_cast<float *>(buffers[3]);
  auto vocabulary = int64_t(scalars[0]);
  for (int64_t r = begin; r < end; ++r)
    for (int64_t v = 0; v < vocabulary; ++v)
      logits[r * vocabulary + v] = table[tokens[rows[r]] * vocabulary + v];
}

/// buffers: gradient, momentum, table, lr, decay, step. One item per row.
void fake_apply(void *const *buffers, const double *scalars, const Batch *, int64_t begin, int64_t end, void *) {
  auto *gradient = static_cast<const float *>(buffers[0]);
  auto *momentum = static_cast<float *>(buffers[1]);
  auto *table = static_cast<float *>(buffers[2]);
  float lr = *static_cast<const float *>(buffers[3]), decay = *static_cast<const float *>(buffers[4]);
  float step = *static_cast<const float *>(buffers[5]);
  auto vocabulary = int64_t(scalars[0]);
  for (int64_t i = begin * vocabulary; i < end * vocabulary; ++i) {
    momentum[i] = step == 1 ? gradient[i] : decay * momentum[i] + gradient[i];
    table[i] -= lr * momentum[i];
  }
}

/// buffers: position, where. where[i] = position + 10 row begin + 100 row end
/// + 1000 segment begin + 10000 segment end.
void fake_where(void *const *buffers, const double *, const Batch *batch, int64_t begin, int64_t end, void *) {
  auto *position = static_cast<const int32_t *>(buffers[0]);
  auto *where = static_cast<float *>(buffers[1]);
  for (int64_t i = begin; i < end; ++i)
    where[i] = float(position[i] + 10 * batch->rowBegin[i] + 100 * batch->rowEnd[i] + 1000 * batch->segmentBegin[i] +
                     10000 * batch->segmentEnd[i]);
}

} // extern "C"
