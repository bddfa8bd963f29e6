//===- Loader.h - training spans in the field's order ------------------------===//
//
// Shards in name order, no shuffling, no seed. Two packings:
//   documents  the cursor starts at the first BOS of a shard, and a take that
//              does not fit drops the shard's rest
//   stream     spans run across shard ends
// The last shard is followed by the first. A span of S tokens takes S + 1 from
// the data: inputs and shifted targets. A take is the spans of all logical
// ranks, one after the other (stack-1693 §3.1).
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DATA_LOADER_H
#define PG_RUNTIME_DATA_LOADER_H

#include "runtime/data/ShardSet.h"

namespace pg::rt {

struct LoaderOptions {
  bool documents = false;     ///< packing
  int32_t bosId = 1;
  int64_t spanTokens = 0;     ///< S
  int64_t spansPerTake = 1;   ///< logical ranks
};

/// Between two takes: the next token is `token` of `shard`.
struct LoaderPosition {
  int64_t shard = 0;
  int64_t token = 0;
  int64_t epochs = 0;         ///< times the last shard was followed by the first
  bool operator==(const LoaderPosition &) const = default;
};

/// For one thread. After open, reading spans allocates nothing.
class Loader {
public:
  /// Loads the first shard. Invalid when a take does not fit any shard
  /// (documents) or there are no tokens.
  static StatusOr<Loader> open(ShardSet shards, const LoaderOptions &options);

  /// Writes the S + 1 tokens of the next span.
  Status next(int32_t *span);

  /// Where the next take begins; asked for between takes only.
  LoaderPosition position() const { return at; }
  /// Continues at a position of an earlier run over the same shards. Corrupt
  /// when there is no such place.
  Status seek(const LoaderPosition &position);
  const ShardSet &shards() const { return set; }

private:
  Status loadShard(int64_t index);
  Status nextShard();
  /// documents: makes sure a whole take lies at the cursor.
  Status placeTake();
  int64_t firstStart() const;

  ShardSet set;
  LoaderOptions options;
  std::vector<uint16_t> tokens;   ///< of the current shard
  LoaderPosition at;
  int64_t spansLeft = 0;          ///< of the current take
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_LOADER_H
