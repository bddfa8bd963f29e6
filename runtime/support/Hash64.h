//===- Hash64.h - fast check sum of large data -------------------------------===//
#ifndef PG_RUNTIME_SUPPORT_HASH64_H
#define PG_RUNTIME_SUPPORT_HASH64_H

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace pg::rt {

/// 64-bit check sum over bytes that arrive in pieces; the pieces do not
/// matter. Finds torn, swapped and flipped bytes: every change of one 8-byte
/// word changes it for certain. Not for adversaries (Sha256 is).
class Hash64 {
public:
  void add(std::string_view bytes) {
    length += bytes.size();
    while (!bytes.empty()) {
      if (held == 0 && bytes.size() >= sizeof block) {
        mix(bytes.data());
        bytes.remove_prefix(sizeof block);
        continue;
      }
      size_t count = bytes.size() < sizeof block - held ? bytes.size() : sizeof block - held;
      std::memcpy(block + held, bytes.data(), count);
      held += count;
      bytes.remove_prefix(count);
      if (held == sizeof block) {
        mix(block);
        held = 0;
      }
    }
  }

  uint64_t value() const {
    Hash64 last = *this;
    std::memset(last.block + held, 0, sizeof block - held);
    last.mix(last.block);
    uint64_t hash = length;
    for (uint64_t lane : last.lanes)
      hash = step(hash, lane);
    return hash ^ hash >> 29;
  }
  /// 16 lower-case hex digits.
  std::string hex() const {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (int shift = 60; shift >= 0; shift -= 4)
      text += kDigits[value() >> shift & 15];
    return text;
  }

private:
  /// Reversible in both arguments, so nothing that differed becomes equal.
  static uint64_t step(uint64_t lane, uint64_t word) {
    lane = (lane ^ word) * 0x9e3779b97f4a7c15u;
    return lane << 31 | lane >> 33;
  }
  void mix(const char *bytes) {
    for (int i = 0; i < 4; ++i) {
      uint64_t word;
      std::memcpy(&word, bytes + 8 * i, 8);
      lanes[i] = step(lanes[i], word);
    }
  }
  uint64_t lanes[4] = {0x243f6a8885a308d3u, 0x13198a2e03707344u, 0xa4093822299f31d0u, 0x082efa98ec4e6c89u};
  char block[32];
  size_t held = 0;
  uint64_t length = 0;
};

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_HASH64_H
