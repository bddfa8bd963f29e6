// Kernels that the runtime launches itself (runtime/device/cuda): sums of squares
// of all gradients, and scaling them. A span is a part of one float tensor. Part
// of every CUDA package; the prelude comes before.

// Threads of a block, for all of them.
constexpr int pg_support_threads = 256;

struct pg_span {
  void *memory;
  long long count;
  long long is_double;
};

// lanes[8 s + l] = sum over elements l, l + 8, ... of span s, in that order; what
// is left beyond a multiple of 8 goes to lane 0, as on the CPU. One thread a lane.
extern "C" __global__ void __launch_bounds__(256)
pg_square_lanes(const pg_span *spans, long long count, double *lanes) {
  long long at = pg_block() * pg_support_threads + pg_thread();
  long long s = at / 8;
  int lane = int(at % 8);
  if (s >= count)
    return;
  pg_span span = spans[s];
  long long whole = span.count / 8 * 8;
  double sum = 0;
  if (span.is_double) {
    const double *values = (const double *)span.memory;
    for (long long i = lane; i < whole; i += 8)
      sum += values[i] * values[i];
    for (long long i = whole; lane == 0 && i < span.count; ++i)
      sum += values[i] * values[i];
  } else {
    const float *values = (const float *)span.memory;
    // The product of two floats is exact in double: fused or not, the bits agree.
    for (long long i = lane; i < whole; i += 8)
      sum += double(values[i]) * double(values[i]);
    for (long long i = whole; lane == 0 && i < span.count; ++i)
      sum += double(values[i]) * double(values[i]);
  }
  lanes[at] = sum;
}

// sums[s] = the eight lanes of span s, added pairwise. One thread a span.
extern "C" __global__ void __launch_bounds__(256)
pg_sum_lanes(const double *lanes, long long count, double *sums) {
  long long s = pg_block() * pg_support_threads + pg_thread();
  if (s >= count)
    return;
  const double *l = lanes + 8 * s;
  sums[s] = ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]));
}

// Every element of every span times `factor`. One block a span.
extern "C" __global__ void __launch_bounds__(256)
pg_scale(const pg_span *spans, double factor) {
  pg_span span = spans[pg_block()];
  for (long long i = pg_thread(); i < span.count; i += pg_support_threads)
    if (span.is_double)
      ((double *)span.memory)[i] *= factor;
    else
      ((float *)span.memory)[i] *= float(factor);
}

// Every element of others[s] added to spans[s]. One block a span.
extern "C" __global__ void __launch_bounds__(256)
pg_add(const pg_span *spans, const pg_span *others) {
  pg_span span = spans[pg_block()], other = others[pg_block()];
  for (long long i = pg_thread(); i < span.count; i += pg_support_threads)
    if (span.is_double)
      ((double *)span.memory)[i] += ((const double *)other.memory)[i];
    else
      ((float *)span.memory)[i] += ((const float *)other.memory)[i];
}
