//===- BatchTables.h - rows and segments as per-token tables -----------------===//
#ifndef PG_RUNTIME_DATA_BATCHTABLES_H
#define PG_RUNTIME_DATA_BATCHTABLES_H

#include "runtime/package/KernelAbi.h"
#include "runtime/support/Status.h"

#include <cstdint>
#include <vector>

namespace pg::rt {

/// One row of inputs with its targets and the starts of its attention segments
/// (relative to the row; the first is 0; strictly increasing).
struct TokenRow {
  std::vector<int32_t> tokens, targets;
  std::vector<int32_t> segmentStarts = {0};
  int32_t slot = 0; ///< adapters its tokens meet
  int64_t size() const { return int64_t(tokens.size()); }
};

/// Segment starts of a row: 0, every position of `bosId` (when >= 0), and every
/// `maxSegment` tokens (when > 0) within a document (stack-1693 §3.1).
std::vector<int32_t> deriveSegments(const int32_t *tokens, int64_t count, int32_t bosId, int64_t maxSegment);

/// Tables of one run. Memory is kept between batches.
class BatchTables {
public:
  void reserve(int64_t maxTokens);
  void clear();
  /// Appends a row.
  void add(const TokenRow &row);
  /// Appends the row of `count` inputs at `span`, whose targets are the tokens
  /// one further, with the segments of deriveSegments. Within what was
  /// reserved nothing is allocated.
  void addSpan(const int32_t *span, int64_t count, int32_t bosId, int64_t maxSegment);
  int64_t numTokens() const { return int64_t(rowBegin.size()); }
  /// Valid until the next add or clear.
  Batch view() const;

  std::vector<int32_t> tokens, targets, position;

private:
  std::vector<int32_t> rowBegin, rowEnd, segmentBegin, segmentEnd, slot;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_BATCHTABLES_H
