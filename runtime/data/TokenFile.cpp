//===- TokenFile.cpp - the --tokens argument --------------------------------===//
#include "runtime/data/TokenFile.h"
#include "runtime/data/TokenShards.h"
#include "runtime/weights/Safetensors.h"

#include <algorithm>

namespace pg::rt {
namespace {

template <typename T>
TokenRow makeRow(const T *tokens, int64_t length, const TokenFileOptions &options) {
  TokenRow row;
  row.tokens.assign(tokens, tokens + length);
  row.targets.assign(tokens + 1, tokens + length + 1);
  row.segmentStarts = deriveSegments(row.tokens.data(), length, options.bosId, options.maxSegment);
  return row;
}

/// cu_seqlens: 0 = first, increasing, last = T; entries equal to T at the end
/// are padding.
Status applyOffsets(const std::vector<int64_t> &offsets, TokenRow &row) {
  int64_t length = row.size();
  auto invalid = [](const std::string &text) { return Status(Code::Invalid, "'cu_seqlens' " + text); };
  if (offsets.empty() || offsets.front() != 0)
    return invalid("does not start with 0");
  if (offsets.back() != length)
    return invalid("ends with " + std::to_string(offsets.back()) + ", expected the number of targets " +
                   std::to_string(length));
  row.segmentStarts.clear();
  for (size_t i = 0; i < offsets.size(); ++i) {
    bool isPadding = i > 0 && offsets[i] == length && offsets[i - 1] == length;
    if (i > 0 && offsets[i] <= offsets[i - 1] && !isPadding)
      return invalid("is not increasing at entry " + std::to_string(i) + " (" + std::to_string(offsets[i - 1]) +
                     ", " + std::to_string(offsets[i]) + ")");
    if (offsets[i] < length)
      row.segmentStarts.push_back(int32_t(offsets[i]));
  }
  return Status::ok();
}

StatusOr<TokenFile> fromShard(const std::string &path, const TokenFileOptions &options) {
  auto tokens = readShard(path, options.vocabulary);
  if (!tokens)
    return tokens.status();
  if (tokens->size() < 2)
    return Status(Code::Invalid, "'" + path + "' has " + std::to_string(tokens->size()) +
                                     " tokens, at least 2 are needed for one target");
  if (options.rowLength < 1)
    return Status(Code::Usage, "the row length must be at least 1");
  TokenFile file;
  int64_t targets = int64_t(tokens->size()) - 1;
  for (int64_t at = 0; at < targets; at += options.rowLength)
    file.rows.push_back(makeRow(tokens->data() + at, std::min(options.rowLength, targets - at), options));
  file.targetShape = {targets};
  return file;
}

StatusOr<TokenFile> fromSafetensors(const std::string &path, const TokenFileOptions &options) {
  auto source = SafetensorsFile::read(path);
  if (!source)
    return source.status();
  auto invalid = [&](const std::string &text) { return Status(Code::Invalid, "'" + path + "': " + text); };
  const TensorView *tensor = source->find("tokens");
  if (!tensor)
    return invalid("holds no tensor 'tokens'");
  size_t rank = tensor->shape.size();
  if (rank < 1 || rank > 2 || tensor->shape.back() < 2 || tensor->shape[0] < 1)
    return invalid("'tokens' has shape " + shapeText(tensor->shape) + ", expected [T+1] or [B, T+1] with T >= 1");
  auto tokens = toIntegers(*tensor, "tokens");
  if (!tokens)
    return tokens.status().with("'" + path + "'");
  int64_t limit = options.vocabulary > 0 ? options.vocabulary : int64_t(1) << 31;
  for (size_t i = 0; i < tokens->size(); ++i)
    if ((*tokens)[i] < 0 || (*tokens)[i] >= limit)
      return invalid("token " + std::to_string((*tokens)[i]) + " at position " + std::to_string(i) +
                     " is outside the vocabulary of " + std::to_string(limit));
  TokenFile file;
  int64_t rows = rank == 2 ? tensor->shape[0] : 1, length = tensor->shape.back() - 1;
  for (int64_t r = 0; r < rows; ++r)
    file.rows.push_back(makeRow(tokens->data() + r * (length + 1), length, options));
  file.targetShape = rank == 2 ? std::vector<int64_t>{rows, length} : std::vector<int64_t>{length};
  if (const TensorView *offsets = source->find("cu_seqlens")) {
    if (rows != 1 || offsets->shape.size() != 1)
      return invalid("'cu_seqlens' needs shape [k] and one row of tokens, got " + shapeText(offsets->shape) +
                     " and tokens " + shapeText(tensor->shape));
    auto values = toIntegers(*offsets, "cu_seqlens");
    if (!values)
      return values.status().with("'" + path + "'");
    if (Status status = applyOffsets(*values, file.rows[0]); !status)
      return status.with("'" + path + "'");
  }
  return file;
}

} // namespace

int64_t TokenFile::numTargets() const {
  int64_t count = 1;
  for (int64_t dim : targetShape)
    count *= dim;
  return count;
}

StatusOr<TokenFile> readTokenFile(const std::string &path, const TokenFileOptions &options) {
  bool isShard = path.size() > 4 && path.compare(path.size() - 4, 4, ".bin") == 0;
  return isShard ? fromShard(path, options) : fromSafetensors(path, options);
}

} // namespace pg::rt
