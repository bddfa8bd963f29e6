//===- Peaks.cpp - what this machine can do, measured -----------------------===//
//
// Twelve independent chains hide the latency of two units. Each instruction set
// has its own function, chosen by what the CPU says it has.
//
//===----------------------------------------------------------------------===//
#include "runtime/exec/Peaks.h"
#include "runtime/exec/Arena.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <unistd.h>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pg::rt {
namespace {

constexpr size_t kChains = 12;
using Chains = std::make_index_sequence<kChains>;
constexpr int kCopies = 8;
/// A measurement of the arithmetic is this many parts of at least so long.
constexpr int64_t kParts = 4;
constexpr double kPartSeconds = 0.005;
constexpr uint64_t kMiB = uint64_t(1) << 20;

/// Runs `rounds` rounds of kChains multiply-adds, the chains beginning at `first` and the numbers after it; returns a number
/// that depends on all of them. The compiler must not know `first`: a chain that begins at a fixed point of its multiply-add
/// would be left out.
using Rounds = double (*)(int64_t rounds, int64_t first);

struct Arithmetic {
  Rounds loop;
  double flops;      ///< of one chain in one round
  const char *text;
};

#if defined(__x86_64__)
template <size_t... I>
__attribute__((target("avx512f"))) double loop512(int64_t rounds, int64_t first, std::index_sequence<I...>) {
  __m512 sum[] = {_mm512_set1_ps(float(first + int64_t(I)))...}, factor = _mm512_set1_ps(0.999f), term = _mm512_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r)
    ((sum[I] = _mm512_fmadd_ps(sum[I], factor, term)), ...);
  return double((_mm512_reduce_add_ps(sum[I]) + ...));
}

template <size_t... I>
__attribute__((target("avx512f"))) double loop512d(int64_t rounds, int64_t first, std::index_sequence<I...>) {
  __m512d sum[] = {_mm512_set1_pd(double(first + int64_t(I)))...}, factor = _mm512_set1_pd(0.999), term = _mm512_set1_pd(0.001);
  for (int64_t r = 0; r < rounds; ++r)
    ((sum[I] = _mm512_fmadd_pd(sum[I], factor, term)), ...);
  return (_mm512_reduce_add_pd(sum[I]) + ...);
}

template <size_t... I>
__attribute__((target("avx512f,avx512bf16"))) double loop512bf16(int64_t rounds, int64_t first, std::index_sequence<I...>) {
  __m512 sum[] = {_mm512_set1_ps(float(first + int64_t(I)))...};
  __m512bh a = (__m512bh)_mm512_set1_epi16(0x3c23), b = (__m512bh)_mm512_set1_epi16(0x3dcc); // about 0.01 and 0.1
  for (int64_t r = 0; r < rounds; ++r)
    ((sum[I] = _mm512_dpbf16_ps(sum[I], a, b)), ...);
  return double((_mm512_reduce_add_ps(sum[I]) + ...));
}

template <size_t... I>
__attribute__((target("avx2,fma"))) double loop256(int64_t rounds, int64_t first, std::index_sequence<I...>) {
  __m256 sum[] = {_mm256_set1_ps(float(first + int64_t(I)))...}, factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r)
    ((sum[I] = _mm256_fmadd_ps(sum[I], factor, term)), ...);
  return double((sum[I][0] + ...));
}

template <size_t... I>
__attribute__((target("avx2,fma"))) double loop256d(int64_t rounds, int64_t first, std::index_sequence<I...>) {
  __m256d sum[] = {_mm256_set1_pd(double(first + int64_t(I)))...}, factor = _mm256_set1_pd(0.999), term = _mm256_set1_pd(0.001);
  for (int64_t r = 0; r < rounds; ++r)
    ((sum[I] = _mm256_fmadd_pd(sum[I], factor, term)), ...);
  return (sum[I][0] + ...);
}
#endif

/// Vectors of 16 bytes, which every 64-bit processor has.
template <typename T, size_t... I> double loop128(int64_t rounds, int64_t first, std::index_sequence<I...>) {
  using Vector [[gnu::vector_size(16)]] = T;
  auto all = [](T value) { return Vector{} + value; };
  Vector sum[] = {all(T(first + int64_t(I)))...}, factor = all(T(0.999)), term = all(T(0.001));
  for (int64_t r = 0; r < rounds; ++r)
    ((sum[I] = sum[I] * factor + term), ...);
  return double((sum[I][0] + ...));
}

Arithmetic choose(PeakKind kind) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    if (kind == PeakKind::BF16Dot && __builtin_cpu_supports("avx512bf16"))
      return {[](int64_t n, int64_t first) { return loop512bf16(n, first, Chains()); }, 64, "bf16 dot products, 32 lanes"};
    if (kind == PeakKind::F64)
      return {[](int64_t n, int64_t first) { return loop512d(n, first, Chains()); }, 16, "f64 multiply-adds, 8 lanes"};
    return {[](int64_t n, int64_t first) { return loop512(n, first, Chains()); }, 32, "f32 multiply-adds, 16 lanes"};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (kind == PeakKind::F64)
      return {[](int64_t n, int64_t first) { return loop256d(n, first, Chains()); }, 8, "f64 multiply-adds, 4 lanes"};
    return {[](int64_t n, int64_t first) { return loop256(n, first, Chains()); }, 16, "f32 multiply-adds, 8 lanes"};
  }
#endif
  if (kind == PeakKind::F64)
    return {[](int64_t n, int64_t first) { return loop128<double>(n, first, Chains()); }, 4, "f64 multiply-adds, 2 lanes"};
  return {[](int64_t n, int64_t first) { return loop128<float>(n, first, Chains()); }, 8, "f32 multiply-adds, 4 lanes"};
}

/// Stores past the caches where the processor has such stores, so that written lines are not read first.
void copyPastCaches(char *to, const char *from, uint64_t bytes) {
#if defined(__x86_64__)
  for (uint64_t i = 0; i < bytes; i += 64)
    for (uint64_t j = 0; j < 64; j += 16)
      _mm_stream_si128(reinterpret_cast<__m128i *>(to + i + j),
                       _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i + j)));
  _mm_sfence();
#else
  std::memcpy(to, from, bytes);
#endif
}

uint64_t copyBytes() {
  long cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
  return std::clamp(2 * uint64_t(std::max(cache, 0L)), 64 * kMiB, 256 * kMiB) / kMiB * kMiB;
}

double copyRate(ThreadPool &pool) {
  uint64_t bytes = copyBytes();
  Arena arena;
  if (!arena.allocate(2 * bytes))
    return 0;
  char *from = arena.data(), *to = from + bytes;
  double best = 0;
  for (int k = 0; k < kCopies; ++k) {
    double start = monotonicSeconds();
    pool.parallelFor(int64_t(bytes / kMiB), 1, [&](int64_t begin, int64_t end, int) {
      uint64_t at = uint64_t(begin) * kMiB, size = uint64_t(end - begin) * kMiB;
      if (k == 0)
        std::memset(from + at, 1, size); // the first round only touches the pages
      if (k % 2)
        copyPastCaches(to + at, from + at, size);
      else
        std::memcpy(to + at, from + at, size);
    });
    if (k > 0)
      best = std::max(best, 2 * double(bytes) / (monotonicSeconds() - start));
  }
  return best;
}

} // namespace

struct PeakMeter::Loop {
  Arithmetic what;
  int64_t roundsOfPart = 1000; ///< doubled until a part takes long enough
  std::vector<double> rates = {};

  double secondsOf(ThreadPool &pool, int64_t rounds) const {
    std::atomic<double> sink{0};
    double start = monotonicSeconds();
    pool.parallelFor(pool.size(), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        sink.store(what.loop(rounds, rates.size()), std::memory_order_relaxed);
    });
    return monotonicSeconds() - start;
  }

  double median() const {
    std::vector<double> sorted = rates;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[sorted.size() / 2];
  }
};

PeakMeter::PeakMeter(ThreadPool &pool, PeakKind kind, bool withPairs) : pool(pool) {
  loops.push_back({choose(kind)});
  if (withPairs)
    loops.push_back({choose(PeakKind::BF16Dot)});
}
PeakMeter::~PeakMeter() = default;

void PeakMeter::measureArithmetic() {
  for (Loop &loop : loops) {
    while (loop.secondsOf(pool, loop.roundsOfPart) < kPartSeconds && loop.roundsOfPart < (int64_t(1) << 40))
      loop.roundsOfPart *= 2;
    double seconds = loop.secondsOf(pool, kParts * loop.roundsOfPart);
    loop.rates.push_back(double(kParts * loop.roundsOfPart) * kChains * loop.what.flops * pool.size() / seconds);
  }
}

void PeakMeter::measureCopy() { bytesPerSecond = std::max(bytesPerSecond, copyRate(pool)); }

Peaks PeakMeter::peaks() const {
  return {loops[0].median(), loops.size() > 1 ? loops[1].median() : 0, bytesPerSecond, loops[0].what.text};
}

} // namespace pg::rt
