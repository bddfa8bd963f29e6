//===- LaunchOrder.cpp - launches of an entry and what each waits for -------===//
#include "runtime/exec/LaunchOrder.h"

#include "runtime/exec/Hazards.h"

#include <algorithm>
#include <map>

namespace pg::rt {
namespace {

/// Launches behind the first one not placed that may come before it. Those of the chain
/// for one matrix of an optimizer are fewer; what lies further off would find its operands
/// in no cache.
constexpr size_t kAhead = 32;
/// Bytes of the numbering below that each kind of memory has for itself.
constexpr uint64_t kKindBytes = uint64_t(1) << 44;

/// The arena lies as it is planned; of other memory each tensor is one byte.
std::vector<std::vector<Access>> accessesOf(const Entry &entry) {
  std::vector<std::vector<Access>> all;
  // Of a value in the arena only the launch that makes it knows the size.
  std::map<uint64_t, uint64_t> sizes;
  for (const Launch &launch : entry.launches) {
    std::vector<Access> &accesses = all.emplace_back();
    std::vector<const Written *> written(launch.buffers.size());
    for (const Written &one : launch.writes)
      written[one.buffer] = &one;
    for (size_t i = 0; i < launch.buffers.size(); ++i) {
      const BufferRef &buffer = launch.buffers[i];
      uint64_t first = uint64_t(buffer.kind) * kKindBytes;
      if (buffer.kind != BufferRef::Kind::Arena) {
        accesses.push_back({uintptr_t(first + buffer.index), 1, written[i] != nullptr});
        continue;
      }
      if (written[i])
        sizes[buffer.offset] = uint64_t(written[i]->count(entry.maxTokens)) * dtypeBytes(written[i]->dtype);
      auto size = sizes.find(buffer.offset);
      // Not known: all that follows.
      uint64_t bytes = size == sizes.end() ? kKindBytes - buffer.offset : size->second;
      accesses.push_back({uintptr_t(first + buffer.offset), bytes, written[i] != nullptr});
    }
  }
  return all;
}

} // namespace

std::vector<OrderedLaunch> orderLaunches(const Entry &entry) {
  std::vector<std::vector<size_t>> before = launchesBefore(accessesOf(entry));
  size_t count = before.size(), first = 0;
  std::vector<OrderedLaunch> order;
  constexpr uint32_t kNotYet = UINT32_MAX;
  std::vector<uint32_t> placeOf(count, kNotYet);
  while (order.size() < count) {
    while (placeOf[first] != kNotYet)
      ++first;
    size_t chosen = first;
    for (size_t next = first; next < std::min(count, first + kAhead); ++next) {
      bool mayCome = placeOf[next] == kNotYet && std::all_of(before[next].begin(), before[next].end(),
                                                             [&](size_t one) { return placeOf[one] != kNotYet; });
      bool waits = !order.empty() && std::binary_search(before[next].begin(), before[next].end(), order.back().launch);
      if (mayCome && !waits) {
        chosen = next;
        break;
      }
    }
    OrderedLaunch &placed = order.emplace_back(OrderedLaunch{chosen, {}});
    for (size_t one : before[chosen])
      placed.after.push_back(placeOf[one]);
    placeOf[chosen] = uint32_t(order.size() - 1);
  }
  return order;
}

} // namespace pg::rt
