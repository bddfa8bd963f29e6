//===- Branches.h - which launches of an entry may run side by side ---------===//
//
// A plan lists launches in an order; on a GPU those that share no memory need not
// wait for each other. The optimizer's update is hundreds of chains of small
// kernels, one for a matrix, none of which fills a large GPU alone.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_DEVICE_CUDA_BRANCHES_H
#define PG_RUNTIME_DEVICE_CUDA_BRANCHES_H

#include "runtime/exec/Hazards.h"

#include <cstddef>
#include <vector>

namespace pg::rt {

/// Where a launch runs and what it waits for.
struct BranchedLaunch {
  size_t branch = 0;
  /// Launches of other branches that must have ended; at most one of a branch,
  /// and none that an earlier launch of this branch has waited for.
  std::vector<size_t> after;
  bool isAwaited = false; ///< by a launch of another branch
};

/// Spreads launches over at most `branches` branches, each of which keeps the
/// order of the list. Two launches that touch the same bytes, one of them writing,
/// run in the list's order: the numbers are those of one branch, bit by bit.
/// `accesses` has one list per launch.
std::vector<BranchedLaunch> planBranches(const std::vector<std::vector<Access>> &accesses, size_t branches);

} // namespace pg::rt

#endif // PG_RUNTIME_DEVICE_CUDA_BRANCHES_H
