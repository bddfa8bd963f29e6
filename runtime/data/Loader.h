//===- Loader.h - training spans in the field's order ------------------------===//
//
// Shards in name order, no shuffling, no seed. Two packings:
//   documents  segments at BOS; the cursor starts at the first BOS of a shard,
//              and a take that does not fit drops the shard's rest
//   stream     rows are one segment; spans run across shard ends, and the last
//              shard is followed by the first
// A span of S tokens takes S + 1 from the data, inputs and shifted targets, and
// is cut into rows.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DATA_LOADER_H
#define PG_RUNTIME_DATA_LOADER_H

#include "runtime/data/BatchTables.h"

#include <string>

namespace pg::rt {

struct LoaderOptions {
  bool documents = false;     ///< packing
  int32_t bosId = 1;
  int64_t maxSegment = 0;     ///< longest attention segment, 0 = no cap
  int64_t spanTokens = 0;     ///< S
  int64_t spansPerTake = 1;   ///< spans that must come from one shard together (documents)
  int64_t rowLength = 0;      ///< tokens of a row, divides S
  int64_t vocabulary = 0;
};

class Loader {
public:
  /// Opens the first shard. Invalid when a take does not fit any shard.
  static StatusOr<Loader> open(std::vector<std::string> paths, const LoaderOptions &options);

  /// The rows of the next span.
  StatusOr<std::vector<TokenRow>> next();

private:
  Status loadShard(size_t index);
  /// documents: makes sure a whole take lies at the cursor.
  Status placeTake();

  LoaderOptions options;
  std::vector<std::string> paths;
  size_t shard = 0;
  std::vector<uint16_t> tokens;   ///< of the current shard
  size_t cursor = 0;
  int64_t spansLeft = 0;          ///< of the current take
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_LOADER_H
