//===- Bpb.cpp - validation loss and bits per byte --------------------------===//
#include "runtime/eval/Bpb.h"
#include "runtime/data/TokenShards.h"
#include "runtime/eval/Score.h"
#include "runtime/support/Log.h"

#include <cmath>

namespace pg::rt {
namespace {

TokenRow makeRow(const uint16_t *tokens, const EvalOptions &options) {
  TokenRow row;
  row.tokens.assign(tokens, tokens + options.rowLength);
  row.targets.assign(tokens + 1, tokens + options.rowLength + 1);
  row.segmentStarts = deriveSegments(row.tokens.data(), options.rowLength, options.documents ? options.bosId : -1,
                                     options.maxSegment);
  return row;
}

} // namespace

double EvalResult::bitsPerByte() const { return nllSum / std::log(2.0) / double(bytes); }

StatusOr<EvalResult> evaluate(Executor &executor, const std::string &folder, const EvalOptions &options,
                              const ByteCounts *counts) {
  double start = monotonicSeconds();
  auto entry = findRole(executor, "score", options.phase);
  if (!entry)
    return entry.status();
  int64_t maxTokens = executor.package().entries[size_t(*entry)].maxTokens;
  if (options.rowLength < 1 || options.rowLength > maxTokens)
    return Status(Code::Usage, "evaluation rows of " + std::to_string(options.rowLength) +
                                   " tokens, the package was compiled for 1 to " + std::to_string(maxTokens) +
                                   "; give --row-length or recompile with --max-tokens");
  auto paths = findShards(folder, options.pattern);
  if (!paths)
    return paths.status();
  auto tokens = readShards(*paths, executor.package().vocabulary);
  if (!tokens)
    return tokens.status();
  int64_t targets = int64_t(tokens->size()) - 1;
  if (options.limitTargets > 0)
    targets = std::min(targets, options.limitTargets);
  targets = targets / options.rowLength * options.rowLength;
  if (targets < 1)
    return Status(Code::Invalid, "the validation shards in '" + folder + "' hold " + std::to_string(tokens->size()) +
                                     " tokens, less than one row of " + std::to_string(options.rowLength));
  EvalResult result;
  std::vector<uint16_t> sidecar;
  if (counts) {
    auto sidecarPaths = findSidecars(folder);
    if (!sidecarPaths)
      return sidecarPaths.status();
    auto read = readShards(*sidecarPaths, 0);
    if (!read)
      return read.status();
    sidecar = std::move(*read);
    result.fromSidecar = !sidecarPaths->empty();
    if (result.fromSidecar && int64_t(sidecar.size()) < targets + 1)
      return Status(Code::Invalid, "the byte sidecar in '" + folder + "' has " + std::to_string(sidecar.size()) +
                                       " entries, the validation tokens need " + std::to_string(targets + 1));
  }

  Progress progress;
  std::vector<TokenRow> rows;
  int64_t rowsPerRun = std::max<int64_t>(1, (options.batchTokens > 0 ? std::min(options.batchTokens, maxTokens)
                                                                      : maxTokens) / options.rowLength);
  for (int64_t at = 0; at < targets;) {
    rows.clear();
    int64_t first = at;
    for (int64_t r = 0; r < rowsPerRun && at < targets; ++r, at += options.rowLength)
      rows.push_back(makeRow(tokens->data() + at, options));
    auto nll = scoreRows(executor, *entry, rows);
    if (!nll)
      return nll.status();
    for (size_t i = 0; i < nll->size(); ++i) {
      size_t target = size_t(first) + i + 1;
      result.nllSum += (*nll)[i];
      if (result.fromSidecar)
        result.bytes += sidecar[target];
      else if (counts)
        result.bytes += counts->bytes((*tokens)[target - 1], (*tokens)[target]);
    }
    result.tokens = at;
    if (!std::isfinite(result.nllSum))
      return Status(Code::Numerical, "the loss is not finite within the first " + std::to_string(at) + " targets");
    if (options.showProgress && progress.isDue()) {
      double seconds = monotonicSeconds() - start;
      progress.show("evaluate " + std::to_string(at) + "/" + std::to_string(targets) + "  loss " +
                    formatFixed(result.loss(), 4) + "  " + formatFixed(double(at) / seconds, 0) + " tokens/s  ETA " +
                    formatDuration(seconds * double(targets - at) / double(at)));
    }
  }
  result.seconds = monotonicSeconds() - start;
  return result;
}

} // namespace pg::rt
