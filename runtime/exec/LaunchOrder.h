//===- LaunchOrder.h - launches of an entry and what each waits for ---------===//
//
// A plan lists launches in an order; those that share no memory need not wait for
// each other. The gradient of a layer's weights and that of its input are such a pair,
// and the optimizer's update is a chain of launches for every matrix. On a CPU threads
// that have done their part of one launch then go on with the next instead of waiting.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_EXEC_LAUNCHORDER_H
#define PG_RUNTIME_EXEC_LAUNCHORDER_H

#include "runtime/package/Package.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pg::rt {

struct OrderedLaunch {
  size_t launch; ///< into Entry::launches
  /// Places in the order, before this one, of the launches that must have ended.
  std::vector<uint32_t> after;
};

/// Every launch of the entry once. A launch that must wait for the one in front of it is
/// put off for a later one near it that need not. Launches that touch the same bytes, one
/// of them writing, keep the order of the entry's list and wait: the numbers are those of
/// that list, bit by bit.
std::vector<OrderedLaunch> orderLaunches(const Entry &entry);

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_LAUNCHORDER_H
