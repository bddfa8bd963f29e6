//===- ShardSet.h - the shards of a run, checked before it begins -------------===//
#ifndef PG_RUNTIME_DATA_SHARDSET_H
#define PG_RUNTIME_DATA_SHARDSET_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pg::rt {

class ThreadPool;

struct ShardSetOptions {
  int64_t vocabulary = 0;    ///< every id must be below; 0 = not checked
  bool checkTokens = true;   ///< read every token before the run; else each shard when it is loaded
  bool allowGaps = false;    ///< accept numbered names with a number missing
};

/// Shards in name order with what they were when the run began. A shard that
/// changes afterwards is an error, never other data.
class ShardSet {
public:
  struct Shard {
    std::string path;
    int64_t tokens = 0;
    int64_t modified = 0;    ///< nanoseconds
    uint64_t hash = 0;       ///< of the tokens; 0 when they were not read
  };

  /// Headers and sizes of all shards, and every token unless switched off.
  /// Invalid: none found, an id outside the vocabulary, a number missing in
  /// the names. Corrupt: header or size wrong. All problems in one message.
  static StatusOr<ShardSet> open(const std::string &folder, const std::string &pattern,
                                 const ShardSetOptions &options, ThreadPool *pool = nullptr);

  const std::vector<Shard> &shards() const { return all; }
  size_t size() const { return all.size(); }
  int64_t totalTokens() const;
  int64_t largestShard() const;

  /// Reads a shard; allocates only beyond the capacity of `tokens`. Invalid
  /// when it is no longer the shard that was checked.
  Status load(size_t index, std::vector<uint16_t> &tokens) const;

  /// SHA-256 over names, token counts and hashes: the identity of the data,
  /// whatever the folder and the time.
  std::string fingerprint() const;

private:
  ShardSetOptions options;
  std::vector<Shard> all;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_SHARDSET_H
