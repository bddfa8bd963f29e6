//===- Sha256.h - the hash of package sections and names --------------------===//
#ifndef PG_RUNTIME_SUPPORT_SHA256_H
#define PG_RUNTIME_SUPPORT_SHA256_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pg::rt {

using Sha256Digest = std::array<uint8_t, 32>;

/// SHA-256 (FIPS 180-4) of a byte string.
Sha256Digest sha256(std::string_view bytes);
/// The digest as 64 lower-case hex digits.
std::string sha256Hex(std::string_view bytes);

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_SHA256_H
