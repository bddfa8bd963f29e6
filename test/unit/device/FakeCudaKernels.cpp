//===- FakeCudaKernels.cpp - kernels of the one-table model for the fake driver --===//
//
// The formulas of test/unit/runtime/FakeKernels.cpp with a thread per item, and
// the real text of the runtime's support kernels. Threads run one after the
// other: none of these kernels lets them meet.
//
//===----------------------------------------------------------------------===//
#include "runtime/package/KernelAbi.h"

#include "test/emulator/include/pg_parameters.h"

#include <cmath>
#include <cstdint>
#include <utility>

namespace {

unsigned currentBlock, currentThread, currentThreads;

} // namespace

// The words of the device prelude that the support kernels use.
#define __global__
#define __launch_bounds__(threads)
static inline long long pg_block() { return currentBlock; }
static inline int pg_thread() { return int(currentThread); }

#include "runtime/kernels/pg_support.cu"

namespace {

using pg::rt::Batch;

long long item() { return (long long)currentBlock * currentThreads + currentThread; }

double logSumExp(const float *row, int64_t vocabulary) {
  double largest = row[0], sum = 0;
  for (int64_t v = 1; v < vocabulary; ++v)
    largest = row[v] > largest ? row[v] : largest;
  for (int64_t v = 0; v < vocabulary; ++v)
    sum += std::exp(row[v] - largest);
  return largest + std::log(sum);
}

void fake_nll(const int *tokens, const int *targets, const float *table, float *nll, double vocabulary, Batch batch,
              unsigned char *) {
  long long i = item();
  if (i >= batch.numTokens)
    return;
  auto size = int64_t(vocabulary);
  const float *row = table + tokens[i] * size;
  nll[i] = float(logSumExp(row, size) - row[targets[i]]);
}

/// One thread per row of the table; the probabilities go through the workspace.
void fake_gradient(const int *tokens, const int *targets, const float *table, const float *scale, float *gradient,
                   double vocabulary, Batch batch, unsigned char *workspace) {
  long long r = item();
  auto size = int64_t(vocabulary);
  if (r >= size)
    return;
  float *probability = reinterpret_cast<float *>(workspace) + r * size;
  double normaliser = logSumExp(table + r * size, size);
  for (int64_t v = 0; v < size; ++v)
    probability[v] = float(std::exp(table[r * size + v] - normaliser));
  for (int64_t i = 0; i < batch.numTokens; ++i)
    if (tokens[i] == r)
      for (int64_t v = 0; v < size; ++v)
        gradient[r * size + v] += *scale * (probability[v] - float(targets[i] == v));
}

void fake_logits(const int *tokens, const int *rows, const float *table, float *logits, double vocabulary, Batch,
                 unsigned char *) {
  long long r = item();
  auto size = int64_t(vocabulary);
  if (r >= 2)
    return;
  for (int64_t v = 0; v < size; ++v)
    logits[r * size + v] = table[tokens[rows[r]] * size + v];
}

void fake_apply(const float *gradient, float *momentum, float *table, const float *lr, const float *decay,
                const float *step, double vocabulary, Batch, unsigned char *) {
  long long r = item();
  auto size = int64_t(vocabulary);
  if (r >= size)
    return;
  for (int64_t i = r * size; i < (r + 1) * size; ++i) {
    momentum[i] = *step == 1 ? gradient[i] : *decay * momentum[i] + gradient[i];
    table[i] -= *lr * momentum[i];
  }
}

void fake_where(const int *position, float *where, double, Batch batch, unsigned char *) {
  long long i = item();
  if (i >= batch.numTokens)
    return;
  where[i] = float(position[i] + 10 * batch.rowBegin[i] + 100 * batch.rowEnd[i] + 1000 * batch.segmentBegin[i] +
                   10000 * batch.segmentEnd[i]);
}

/// Threads one after the other, all with the same arguments.
template <typename... A, size_t... i>
void runGrid(void (*kernel)(A...), void **parameters, unsigned blocks, unsigned threads, std::index_sequence<i...>) {
  currentThreads = threads;
  for (currentBlock = 0; currentBlock < blocks; ++currentBlock)
    for (currentThread = 0; currentThread < threads; ++currentThread)
      kernel(*static_cast<A *>(parameters[i])...);
}
template <typename... A> void runGrid(void (*kernel)(A...), void **parameters, unsigned blocks, unsigned threads) {
  runGrid(kernel, parameters, blocks, threads, std::index_sequence_for<A...>());
}

} // namespace

#define EXPORT(name)                                                                                                   \
  extern "C" void fake_grid_##name(void **parameters, unsigned blocks, unsigned threads) {                             \
    runGrid(name, parameters, blocks, threads);                                                                        \
  }                                                                                                                    \
  extern "C" const unsigned *pg_sizes_##name() { return pg_sizes_of(name); }

EXPORT(fake_nll)
EXPORT(fake_gradient)
EXPORT(fake_logits)
EXPORT(fake_apply)
EXPORT(fake_where)
EXPORT(pg_square_lanes)
EXPORT(pg_sum_lanes)
EXPORT(pg_scale)
EXPORT(pg_add)
