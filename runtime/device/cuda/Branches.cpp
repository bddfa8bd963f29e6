//===- Branches.cpp - which launches of an entry may run side by side -------===//
#include "runtime/device/cuda/Branches.h"

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
    auto begin = reinterpret_cast<uintptr_t>(access.memory), end = begin + access.bytes;
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

std::vector<BranchedLaunch> planBranches(const std::vector<std::vector<Access>> &accesses, size_t branches) {
  std::vector<BranchedLaunch> plan(accesses.size());
  Memory memory;
  // Per branch: its last launch, how many it has, and up to which launch of each
  // branch it is known to have waited (one more than the index).
  struct Branch {
    size_t last = kNobody, launches = 0;
    std::vector<size_t> waited;
  };
  std::vector<Branch> state(branches);
  for (Branch &branch : state)
    branch.waited.assign(branches, 0);
  std::vector<std::vector<size_t>> waitedAt(accesses.size()); ///< of a launch, when it had ended

  for (size_t i = 0; i < accesses.size(); ++i) {
    std::set<size_t> before;
    for (bool writes : {false, true})
      for (const Access &access : accesses[i])
        if (access.writes == writes)
          memory.touch(access, i, before);
    // Behind the latest of what it waits for when nothing has followed that yet,
    // else where there is least to do.
    size_t chosen = kNobody;
    for (auto at = before.rbegin(); at != before.rend() && chosen == kNobody; ++at)
      if (state[plan[*at].branch].last == *at)
        chosen = plan[*at].branch;
    if (chosen == kNobody)
      chosen = size_t(std::min_element(state.begin(), state.end(),
                                       [](const Branch &a, const Branch &b) { return a.launches < b.launches; }) -
                      state.begin());
    Branch &branch = state[chosen];
    plan[i].branch = chosen;
    // Latest first: what that has waited for need not be waited for again.
    for (auto at = before.rbegin(); at != before.rend(); ++at) {
      size_t other = plan[*at].branch;
      if (other == chosen || branch.waited[other] > *at)
        continue;
      plan[i].after.push_back(*at);
      plan[*at].isAwaited = true;
      for (size_t b = 0; b < branches; ++b)
        branch.waited[b] = std::max(branch.waited[b], waitedAt[*at][b]);
    }
    branch.waited[chosen] = i + 1;
    branch.last = i;
    ++branch.launches;
    waitedAt[i] = branch.waited;
  }
  return plan;
}

} // namespace pg::rt
