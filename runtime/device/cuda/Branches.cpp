//===- Branches.cpp - which launches of an entry may run side by side -------===//
#include "runtime/device/cuda/Branches.h"

#include <algorithm>

namespace pg::rt {
namespace {

constexpr size_t kNobody = size_t(-1);

} // namespace

std::vector<BranchedLaunch> planBranches(const std::vector<std::vector<Access>> &accesses, size_t branches) {
  std::vector<BranchedLaunch> plan(accesses.size());
  std::vector<std::vector<size_t>> allBefore = launchesBefore(accesses);
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
    const std::vector<size_t> &before = allBefore[i];
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
