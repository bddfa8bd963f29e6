//===- TokenFile.h - the --tokens argument ------------------------------------===//
#ifndef PG_RUNTIME_DATA_TOKENFILE_H
#define PG_RUNTIME_DATA_TOKENFILE_H

#include "runtime/data/BatchTables.h"

#include <string>

namespace pg::rt {

struct TokenFileOptions {
  int64_t vocabulary = 0;
  int64_t rowLength = 1024;   ///< rows of a .bin shard
  int32_t bosId = -1;         ///< >= 0: segments begin at this token
  int64_t maxSegment = 0;     ///< > 0: longest segment
};

struct TokenFile {
  std::vector<TokenRow> rows;
  /// Shape of one value per target: [T] or [B, T].
  std::vector<int64_t> targetShape;
  int64_t numTargets() const;
};

/// A `.bin` shard (rows of rowLength over the whole stream, the tail as a
/// shorter last row), or a safetensors file with integer `tokens` [T+1] or
/// [B, T+1] and optional `cu_seqlens` (offsets from 0 to T; one row only).
StatusOr<TokenFile> readTokenFile(const std::string &path, const TokenFileOptions &options);

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_TOKENFILE_H
