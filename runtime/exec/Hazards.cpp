//===- Hazards.cpp - which launches must wait for which ---------------------===//
#include "runtime/exec/Hazards.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

namespace pg::rt {
namespace {

constexpr size_t kNobody = size_t(-1);

/// Who touched which bytes last.
class Memory {
public:
  /// Launch `index` reads or writes; what it has to wait for is added to `before`.
  void touch(const Access &access, size_t index, std::set<size_t> &before) {
    uintptr_t begin = access.begin, end = begin + access.bytes;
    if (begin == end)
      return;
    split(begin);
    split(end);
    auto first = pieces.lower_bound(begin), last = pieces.lower_bound(end);
    for (auto at = first; at != last; ++at) {
      const Piece &piece = at->second;
      if (piece.writer != kNobody && piece.writer != index)
        before.insert(piece.writer);
      if (access.writes)
        for (size_t reader : piece.readers)
          if (reader != index)
            before.insert(reader);
    }
    if (access.writes) {
      pieces.erase(first, last);
      pieces[begin] = {end, index, {}};
      return;
    }
    // Bytes that nobody has touched become pieces of their own.
    uintptr_t at = begin;
    while (at < end) {
      auto piece = pieces.lower_bound(at);
      uintptr_t next = piece == pieces.end() ? end : std::min(end, piece->first);
      if (next > at) {
        pieces[at] = {next, kNobody, {index}};
      } else {
        piece->second.readers.push_back(index);
        next = piece->second.end;
      }
      at = next;
    }
  }

private:
  struct Piece {
    uintptr_t end;
    size_t writer = kNobody;
    std::vector<size_t> readers; ///< since the writer
  };

  /// No piece reaches across `at` afterwards.
  void split(uintptr_t at) {
    auto after = pieces.upper_bound(at);
    if (after == pieces.begin())
      return;
    auto piece = std::prev(after);
    if (piece->first == at || piece->second.end <= at)
      return;
    Piece rest = piece->second;
    piece->second.end = at;
    pieces[at] = std::move(rest);
  }

  std::map<uintptr_t, Piece> pieces; ///< by first byte; they do not overlap
};

} // namespace

std::vector<std::vector<size_t>> launchesBefore(const std::vector<std::vector<Access>> &accesses) {
  std::vector<std::vector<size_t>> all;
  Memory memory;
  for (size_t i = 0; i < accesses.size(); ++i) {
    std::set<size_t> before;
    for (bool writes : {false, true})
      for (const Access &access : accesses[i])
        if (access.writes == writes)
          memory.touch(access, i, before);
    all.emplace_back(before.begin(), before.end());
  }
  return all;
}

} // namespace pg::rt
