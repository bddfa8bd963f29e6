//===- Random.h - counter-based random numbers -------------------------------===//
//
// Philox 4x32-10 (Salmon et al. 2011). A stream is keyed by seed and name, and
// element i of a stream is a pure function of (key, i): the order of
// initialisation and the number of threads cannot change a bit.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_RANDOM_H
#define PG_RUNTIME_SUPPORT_RANDOM_H

#include <array>
#include <cstdint>
#include <string_view>

namespace pg::rt {

class Random {
public:
  Random(uint64_t seed, std::string_view name);
  /// With a given Philox key, for the published test vectors.
  explicit Random(std::array<uint32_t, 2> key) : key{key[0], key[1]} {}

  /// The four words of block `index`.
  std::array<uint32_t, 4> block(uint64_t index) const;
  /// Uniform in [0, 1), 53 bits, element `index` of the stream.
  double uniform(uint64_t index) const;
  /// Standard normal (Box-Muller), element `index`.
  double normal(uint64_t index) const;

private:
  uint32_t key[2];
};

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_RANDOM_H
