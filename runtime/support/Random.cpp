//===- Random.cpp - Philox 4x32-10 ------------------------------------------===//
#include "runtime/support/Random.h"
#include "runtime/support/Sha256.h"

#include <cmath>
#include <string>

namespace pg::rt {
namespace {

/// 53 random bits of two words, in [0, 1).
double toUnit(uint32_t high, uint32_t low) {
  return double((uint64_t(high) << 32 | low) >> 11) * 0x1p-53;
}

} // namespace

Random::Random(uint64_t seed, std::string_view name) {
  std::string text = std::to_string(seed) + ":" + std::string(name);
  Sha256Digest digest = sha256(text);
  for (int word = 0; word < 2; ++word) {
    key[word] = 0;
    for (int i = 0; i < 4; ++i)
      key[word] |= uint32_t(digest[4 * word + i]) << (8 * i);
  }
}

std::array<uint32_t, 4> Random::block(uint64_t index) const {
  std::array<uint32_t, 4> x = {uint32_t(index), uint32_t(index >> 32), 0, 0};
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t(0xD2511F53u) * x[0];
    uint64_t p1 = uint64_t(0xCD9E8D57u) * x[2];
    x = {uint32_t(p1 >> 32) ^ x[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ x[3] ^ k1, uint32_t(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return x;
}

double Random::uniform(uint64_t index) const {
  auto words = block(index / 2);
  return index % 2 ? toUnit(words[2], words[3]) : toUnit(words[0], words[1]);
}

double Random::normal(uint64_t index) const {
  // One block gives a pair: cosine for the even element, sine for the odd one.
  auto words = block(index / 2);
  double radius = std::sqrt(-2.0 * std::log(1.0 - toUnit(words[0], words[1])));
  double angle = 6.283185307179586 * toUnit(words[2], words[3]);
  return radius * (index % 2 ? std::sin(angle) : std::cos(angle));
}

} // namespace pg::rt
