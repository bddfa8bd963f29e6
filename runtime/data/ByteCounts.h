//===- ByteCounts.h - bytes of text behind every token -----------------------===//
//
// From the SentencePiece piece table (data-format §4). The model file is walked
// by a small guarded protobuf reader before the library sees it: 0.1.97 crashes
// on hostile models.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DATA_BYTECOUNTS_H
#define PG_RUNTIME_DATA_BYTECOUNTS_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pg::rt {

struct Piece {
  enum Type { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };
  std::string text;
  int type = Normal;
};

/// A checked model file.
struct PieceTable {
  std::string serialised;       ///< the file, for the library
  std::vector<Piece> pieces;
  bool hasByteFallback = false;
  /// U+2581 is a piece; without it a space costs three byte pieces and naive
  /// counting inflates bytes.
  bool hasSpacePiece = false;
};

/// Corrupt for a broken file or one beyond the caps; Invalid when the number of
/// pieces is not `vocabulary` (0 = not checked).
StatusOr<PieceTable> readPieceTable(const std::string &path, int64_t vocabulary);
StatusOr<PieceTable> parsePieceTable(std::string bytes, const std::string &name, int64_t vocabulary);

class ByteCounts {
public:
  /// Ids beyond the table are boundaries of 0 bytes.
  explicit ByteCounts(const PieceTable &table);
  /// Bytes credited to `target` when it follows `previous`.
  int64_t bytes(int64_t previous, int64_t target) const {
    bool follows = target < size() && lead[size_t(target)];
    return (target < size() ? base[size_t(target)] : 0) + (follows && !isBoundary(previous) ? 1 : 0);
  }

private:
  int64_t size() const { return int64_t(base.size()); }
  bool isBoundary(int64_t id) const { return id >= size() || boundary[size_t(id)]; }
  std::vector<int32_t> base;
  std::vector<uint8_t> lead, boundary;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_BYTECOUNTS_H
