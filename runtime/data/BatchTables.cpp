//===- BatchTables.cpp - rows and segments as per-token tables --------------===//
#include "runtime/data/BatchTables.h"

namespace pg::rt {

std::vector<int32_t> deriveSegments(const int32_t *tokens, int64_t count, int32_t bosId, int64_t maxSegment) {
  std::vector<int32_t> starts = {0};
  for (int64_t i = 1; i < count; ++i)
    if ((bosId >= 0 && tokens[i] == bosId) || (maxSegment > 0 && i - starts.back() >= maxSegment))
      starts.push_back(int32_t(i));
  return starts;
}

void BatchTables::reserve(int64_t maxTokens) {
  for (auto *table : {&tokens, &targets, &position, &rowBegin, &rowEnd, &segmentBegin, &segmentEnd, &slot})
    table->reserve(size_t(maxTokens));
}

void BatchTables::clear() {
  for (auto *table : {&tokens, &targets, &position, &rowBegin, &rowEnd, &segmentBegin, &segmentEnd, &slot})
    table->clear();
}

void BatchTables::add(const TokenRow &row) {
  auto base = int32_t(numTokens());
  auto count = int32_t(row.size());
  tokens.insert(tokens.end(), row.tokens.begin(), row.tokens.end());
  targets.insert(targets.end(), row.targets.begin(), row.targets.end());
  size_t segment = 0;
  for (int32_t i = 0; i < count; ++i) {
    while (segment + 1 < row.segmentStarts.size() && row.segmentStarts[segment + 1] <= i)
      ++segment;
    bool isLast = segment + 1 == row.segmentStarts.size();
    position.push_back(i);
    rowBegin.push_back(base);
    rowEnd.push_back(base + count);
    segmentBegin.push_back(base + row.segmentStarts[segment]);
    segmentEnd.push_back(base + (isLast ? count : row.segmentStarts[segment + 1]));
    slot.push_back(row.slot);
  }
}

void BatchTables::addSpan(const int32_t *span, int64_t count, int32_t bosId, int64_t maxSegment) {
  auto base = int32_t(numTokens()), end = base + int32_t(count);
  tokens.insert(tokens.end(), span, span + count);
  targets.insert(targets.end(), span + 1, span + count + 1);
  int32_t begin = 0;
  for (int32_t i = 0; i < int32_t(count); ++i) {
    if (i > 0 && ((bosId >= 0 && span[i] == bosId) || (maxSegment > 0 && i - begin >= maxSegment))) {
      for (int32_t k = begin; k < i; ++k)
        segmentEnd[size_t(base + k)] = base + i;
      begin = i;
    }
    position.push_back(i);
    rowBegin.push_back(base);
    rowEnd.push_back(end);
    segmentBegin.push_back(base + begin);
    segmentEnd.push_back(end);
    slot.push_back(0);
  }
}

Batch BatchTables::view() const {
  return {numTokens(), rowBegin.data(), rowEnd.data(), segmentBegin.data(), segmentEnd.data(), slot.data()};
}

} // namespace pg::rt
