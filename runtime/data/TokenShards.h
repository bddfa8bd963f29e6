//===- TokenShards.h - the field's .bin files --------------------------------===//
#ifndef PG_RUNTIME_DATA_TOKENSHARDS_H
#define PG_RUNTIME_DATA_TOKENSHARDS_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pg::rt {

/// Reads one shard (data-format: 256 i32 header, then u16 tokens). Corrupt for
/// another magic, version or size; Invalid for an id that is not below
/// `vocabulary` (0 = not checked).
StatusOr<std::vector<uint16_t>> readShard(const std::string &path, int64_t vocabulary);
/// The same from bytes; `name` is for messages.
StatusOr<std::vector<uint16_t>> parseShard(const std::string &bytes, const std::string &name, int64_t vocabulary);

/// The token count of a header (the first 1,024 bytes) of a file of
/// `fileBytes`; Corrupt for another magic, version or size.
StatusOr<int64_t> parseShardHeader(const std::string &header, uint64_t fileBytes, const std::string &name);

/// The bytes of a shard file.
std::string serialiseShard(const std::vector<uint16_t> &tokens);

/// Paths in a folder whose names match `pattern` (`*` and `?`), in name order,
/// byte sidecars (`*_bytes_*`) left out. Invalid when there is none.
StatusOr<std::vector<std::string>> findShards(const std::string &folder, const std::string &pattern);
/// The byte sidecars of the validation shards, `*_val_bytes_*.bin`; possibly none.
StatusOr<std::vector<std::string>> findSidecars(const std::string &folder);

/// All shards one after the other.
StatusOr<std::vector<uint16_t>> readShards(const std::vector<std::string> &paths, int64_t vocabulary);

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_TOKENSHARDS_H
