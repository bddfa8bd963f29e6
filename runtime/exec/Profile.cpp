//===- Profile.cpp - time per program, kernel and thread --------------------===//
#include "runtime/exec/Profile.h"

#include <algorithm>
#include <map>

namespace pg::rt {
namespace {

/// Roles of the entries that update parameters.
bool isOptimizer(const Entry &entry) { return entry.role == "apply" || entry.role == "adapt_apply"; }

void addTo(Profile::Row &sum, const Profile::Row &row) {
  sum.seconds += row.seconds;
  sum.threadSeconds += row.threadSeconds;
  sum.launches += row.launches;
  sum.flops += row.flops;
  sum.bytes += row.bytes;
  sum.pairFlops += row.pairFlops;
}

void sortByTime(std::vector<Profile::Row> &rows) {
  std::sort(rows.begin(), rows.end(), [](const Profile::Row &a, const Profile::Row &b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name;
  });
}

} // namespace

double attendedKeys(const Batch &batch, int64_t limit) {
  double sum = 0;
  for (int64_t i = 0; i < batch.numTokens; ++i) {
    int64_t keys = i - batch.segmentBegin[i] + 1;
    sum += double(limit > 0 ? std::min(limit, keys) : keys);
  }
  return sum;
}

void Profile::startRun(size_t index, const Batch *given) {
  entry = index;
  batch = given;
  keys.clear();
}

std::span<Profile::ThreadSpan> Profile::threadSpans(size_t threads) {
  spans.assign(threads, ThreadSpan());
  return spans;
}

void Profile::add(uint32_t kernel, double begin, double end, std::span<const ThreadSpan> threads) {
  const Kernel &info = package.kernels[kernel];
  double tokens = batch ? double(batch->numTokens) : 0, attended = 0;
  if (batch && info.flopsPerKey > 0) {
    auto known = std::find_if(keys.begin(), keys.end(), [&](auto &pair) { return pair.first == info.keyLimit; });
    if (known == keys.end())
      known = keys.insert(keys.end(), {info.keyLimit, attendedKeys(*batch, info.keyLimit)});
    attended = known->second;
  }
  size_t index = entry * package.kernels.size() + kernel;
  double flops = info.flopsAt(tokens, attended), bytes = info.bytesFixed + info.bytesPerToken * tokens;
  Row &row = rows[index];
  row.seconds += end - begin;
  row.launches += 1;
  row.flops += flops;
  row.bytes += bytes;
  row.pairFlops += info.multipliesPairs ? flops : 0;
  for (const ThreadSpan &span : threads)
    row.threadSeconds += span.busy;
  if (!isKeeping)
    return;
  kept.push_back({index, -1, begin, end, flops, bytes});
  for (size_t t = 0; t < threads.size(); ++t)
    if (threads[t].end > 0)
      kept.push_back({index, int(t), threads[t].begin, threads[t].end, flops, bytes});
}

void Profile::addHostPart(const std::string &name, double begin, double end) {
  auto part = std::find_if(hostParts.begin(), hostParts.end(), [&](const Row &row) { return row.name == name; });
  if (part == hostParts.end()) {
    part = hostParts.insert(hostParts.end(), Row());
    part->name = name;
  }
  part->seconds += end - begin;
  part->launches += 1;
  if (isKeeping)
    kept.push_back({rows.size() + size_t(part - hostParts.begin()), -1, begin, end, 0, 0});
}

void Profile::keepEvents(bool keep) {
  isKeeping = keep;
  kept.clear();
}

void Profile::reset() {
  rows.assign(rows.size(), Row());
  hostParts.clear();
  kept.clear();
}

Profile::Row Profile::rowAt(size_t index) const {
  if (index >= rows.size())
    return hostParts[index - rows.size()];
  Row row = rows[index];
  const Entry &program = package.entries[index / package.kernels.size()];
  const Kernel &kernel = package.kernels[index % package.kernels.size()];
  row.program = program.name;
  row.name = kernel.symbol;
  row.category = (isOptimizer(program) ? "optimizer: " : "") + kernel.category;
  row.summary = kernel.summary;
  return row;
}

std::vector<Profile::Row> Profile::byKernel() const {
  std::vector<Row> result;
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].launches)
      result.push_back(rowAt(i));
  sortByTime(result);
  return result;
}

std::vector<Profile::Row> Profile::grouped(std::string Row::*key) const {
  std::map<std::string, Row> groups;
  for (const Row &row : byKernel()) {
    Row &group = groups[row.*key];
    group.name = row.*key;
    addTo(group, row);
  }
  std::vector<Row> result;
  for (auto &[name, row] : groups)
    result.push_back(row);
  sortByTime(result);
  return result;
}

std::vector<Profile::Row> Profile::byCategory() const { return grouped(&Row::category); }

std::vector<Profile::Row> Profile::byProgram() const { return grouped(&Row::program); }

std::vector<Profile::Row> Profile::byHostPart() const {
  std::vector<Row> result = hostParts;
  sortByTime(result);
  return result;
}

double Profile::totalSeconds() const {
  double total = 0;
  for (const Row &row : rows)
    total += row.seconds;
  return total;
}

} // namespace pg::rt
