//===- Draw.h - random choices that are the same on every machine ------------===//
#ifndef PG_TEST_RANDOM_DRAW_H
#define PG_TEST_RANDOM_DRAW_H

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <iterator>

namespace pg::random {

/// SplitMix64; the standard library's distributions differ between versions.
class Draw {
public:
  explicit Draw(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}

  uint64_t bits() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// An integer of [low, high].
  int64_t range(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1));
  }
  /// True in `percent` of a hundred draws.
  bool chance(int percent) { return range(0, 99) < percent; }
  template <typename T> T pick(std::initializer_list<T> values) {
    return *std::next(values.begin(), range(0, int64_t(values.size()) - 1));
  }
  /// A number of [0, 1).
  double unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// A normal deviate, exactly representable in f32.
  double normal() {
    double u = 1.0 - unit(), v = unit();
    return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v));
  }

private:
  uint64_t state;
};

} // namespace pg::random

#endif // PG_TEST_RANDOM_DRAW_H
