//===- Peak.cpp - fused multiply-adds from registers only ------------------===//
//
// What the other figures are measured against. Compiled for the machine it
// runs on; twelve independent chains hide the latency of the unit.
//
//===----------------------------------------------------------------------===//
#include <cstdint>

#if defined(__AVX512F__)
using Vector = float __attribute__((vector_size(64)));
#elif defined(__AVX__)
using Vector = float __attribute__((vector_size(32)));
#else
using Vector = float __attribute__((vector_size(16)));
#endif

/// Runs `rounds` rounds; returns the floating-point operations done.
double fmaRounds(int64_t rounds) {
  constexpr int kChains = 12;
  Vector sum[kChains], factor, term;
  for (unsigned lane = 0; lane < sizeof(Vector) / 4; ++lane) {
    factor[lane] = 0.999f;
    term[lane] = 0.001f;
  }
  for (Vector &s : sum)
    s = term;
  for (int64_t r = 0; r < rounds; ++r) {
    for (Vector &s : sum) {
      s = s * factor + term;
      // Keeps each chain in a register of its own.
      asm volatile("" : "+x"(s));
    }
  }
  volatile float sink = 0;
  for (Vector &s : sum)
    sink = sink + s[0];
  return 2.0 * kChains * (sizeof(Vector) / 4) * static_cast<double>(rounds);
}
