//===- Loader.cpp - training spans in the field's order ---------------------===//
#include "runtime/data/Loader.h"
#include "runtime/data/TokenShards.h"

#include <algorithm>

namespace pg::rt {
namespace {

TokenRow makeRow(const int32_t *span, int64_t length) {
  TokenRow row;
  row.tokens.assign(span, span + length);
  row.targets.assign(span + 1, span + length + 1);
  return row;
}

} // namespace

StatusOr<Loader> Loader::open(std::vector<std::string> paths, const LoaderOptions &options) {
  if (options.spanTokens < 1)
    return Status(Code::Invalid, "a training span needs at least one token");
  if (options.rowLength < 1 || options.spanTokens % options.rowLength)
    return Status(Code::Invalid, "batch.micro_tokens " + std::to_string(options.spanTokens) +
                                     " is not a multiple of batch.row_length " + std::to_string(options.rowLength));
  Loader loader;
  loader.options = options;
  loader.paths = std::move(paths);
  if (Status status = loader.loadShard(0); !status)
    return status;
  return loader;
}

Status Loader::loadShard(size_t index) {
  shard = index;
  // One shard after the other is the common case; a single shard is read once.
  if (paths.size() > 1 || tokens.empty()) {
    auto read = readShard(paths[shard], options.vocabulary);
    if (!read)
      return read.status();
    tokens = std::move(*read);
  }
  cursor = 0;
  if (options.documents)
    cursor = size_t(std::find(tokens.begin(), tokens.end(), options.bosId) - tokens.begin());
  return Status::ok();
}

Status Loader::placeTake() {
  auto need = size_t(options.spansPerTake * (options.spanTokens + 1));
  for (size_t tries = 0; cursor + need > tokens.size(); ++tries) {
    if (tries > paths.size())
      return {Code::Invalid, "no training shard holds the " + std::to_string(need) +
                                 " tokens of one step behind its first BOS (id " + std::to_string(options.bosId) +
                                 "); reduce batch.tokens or give more data"};
    if (Status status = loadShard((shard + 1) % paths.size()); !status)
      return status;
  }
  spansLeft = options.spansPerTake;
  return Status::ok();
}

StatusOr<std::vector<TokenRow>> Loader::next() {
  std::vector<int32_t> span;
  size_t need = size_t(options.spanTokens) + 1;
  span.reserve(need);
  if (options.documents && spansLeft == 0)
    if (Status status = placeTake(); !status)
      return status;
  for (size_t emptyShards = 0; span.size() < need;) {
    if (cursor >= tokens.size()) {
      if (++emptyShards > paths.size())
        return Status(Code::Invalid, "the training shards hold no tokens");
      if (Status status = loadShard((shard + 1) % paths.size()); !status)
        return status;
      continue;
    }
    size_t count = std::min(need - span.size(), tokens.size() - cursor);
    span.insert(span.end(), tokens.begin() + int64_t(cursor), tokens.begin() + int64_t(cursor + count));
    cursor += count;
  }
  if (options.documents)
    --spansLeft;
  std::vector<TokenRow> rows;
  for (int64_t at = 0; at < options.spanTokens; at += options.rowLength) {
    rows.push_back(makeRow(span.data() + at, options.rowLength));
    rows.back().segmentStarts = deriveSegments(span.data() + at, options.rowLength,
                                               options.documents ? options.bosId : -1, options.maxSegment);
  }
  return rows;
}

} // namespace pg::rt
