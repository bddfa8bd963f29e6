//===- Loader.cpp - training spans in the field's order ---------------------===//
#include "runtime/data/Loader.h"

#include <algorithm>

namespace pg::rt {

StatusOr<Loader> Loader::open(ShardSet shards, const LoaderOptions &options) {
  if (options.spanTokens < 1 || options.spansPerTake < 1)
    return Status(Code::Invalid, "a training span needs at least one token");
  Loader loader;
  loader.options = options;
  loader.set = std::move(shards);
  if (loader.set.totalTokens() < 1)
    return Status(Code::Invalid, "the training shards hold no tokens");
  loader.tokens.reserve(size_t(loader.set.largestShard()));
  if (Status status = loader.loadShard(0); !status)
    return status;
  loader.at = {0, loader.firstStart(), 0};
  return loader;
}

int64_t Loader::firstStart() const {
  return options.documents ? std::find(tokens.begin(), tokens.end(), options.bosId) - tokens.begin() : 0;
}

Status Loader::loadShard(int64_t index) {
  // A single shard is read once.
  if (set.size() == 1 && !tokens.empty())
    return Status::ok();
  return set.load(size_t(index), tokens);
}

Status Loader::nextShard() {
  int64_t next = at.shard + 1 < int64_t(set.size()) ? at.shard + 1 : 0;
  if (Status status = loadShard(next); !status)
    return status;
  at = {next, firstStart(), at.epochs + (next == 0)};
  return Status::ok();
}

Status Loader::placeTake() {
  int64_t need = options.spansPerTake * (options.spanTokens + 1);
  for (size_t tries = 0; at.token + need > int64_t(tokens.size()); ++tries) {
    if (tries > set.size())
      return {Code::Invalid, "no training shard holds the " + std::to_string(need) +
                                 " tokens of one take behind its first BOS (id " + std::to_string(options.bosId) +
                                 "); reduce batch.rank_tokens or batch.logical_ranks, or give more data"};
    if (Status status = nextShard(); !status)
      return status;
  }
  return Status::ok();
}

Status Loader::next(int32_t *span) {
  if (spansLeft == 0) {
    if (options.documents)
      if (Status status = placeTake(); !status)
        return status;
    spansLeft = options.spansPerTake;
  }
  int64_t need = options.spanTokens + 1;
  for (int64_t done = 0; done < need;) {
    if (at.token >= int64_t(tokens.size())) {
      if (Status status = nextShard(); !status)
        return status;
      continue;
    }
    int64_t count = std::min(need - done, int64_t(tokens.size()) - at.token);
    std::copy_n(tokens.begin() + at.token, count, span + done);
    at.token += count;
    done += count;
  }
  --spansLeft;
  return Status::ok();
}

Status Loader::seek(const LoaderPosition &position) {
  if (position.shard < 0 || position.shard >= int64_t(set.size()) || position.token < 0 ||
      position.token > set.shards()[size_t(position.shard)].tokens || position.epochs < 0)
    return {Code::Corrupt, "there is no token " + std::to_string(position.token) + " in training shard " +
                               std::to_string(position.shard)};
  if (position.shard != at.shard)
    if (Status status = loadShard(position.shard); !status)
      return status;
  at = position;
  spansLeft = 0;
  return Status::ok();
}

} // namespace pg::rt
