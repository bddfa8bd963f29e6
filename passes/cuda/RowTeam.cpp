//===- RowTeam.cpp - how many threads share a row -----------------------------===//
#include "passes/cuda/RowTeam.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pg::cuda {

/// Threads of a block that holds several rows: few, for a kernel of many
/// registers fills a multiprocessor better with small blocks.
static constexpr int64_t kBlockThreads = 128;
/// Elements of a row a thread should have at most.
static constexpr int64_t kElementsPerThread = 32;
/// Shared memory that partial sums of one block may take.
static constexpr int64_t kPartialBytes = 48 * 1024;

int64_t elementsPerRow(RankedTensorType type, bool hasRow) {
  int64_t count = 1;
  for (int64_t d = hasRow ? 1 : 0; d < type.getRank(); ++d)
    count *= type.getDimSize(d);
  return count;
}

RowLayout RowTeam::layout(RankedTensorType space, bool hasRow) const {
  RowLayout layout;
  layout.elements = elementsPerRow(space, hasRow);
  int64_t last = space.getRank() > (hasRow ? 1 : 0) ? space.getShape().back() : 1;
  layout.width = width;
  while (layout.width > 1 && (last % layout.width != 0 ||
                              layout.elements < lanes * layout.width))
    layout.width /= 2;
  layout.steps = llvm::divideCeil(layout.elements, lanes * layout.width);
  return layout;
}

RowTeam chooseTeam(KernelDefOp def, const RowPlan &plan, int64_t partialBytes) {
  RowTeam team;
  // Half-width elements among the wide values ask for eight in 16 bytes.
  int64_t widest = 1, smallest = 8;
  auto see = [&](Value v) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    if (!type || type.getRank() == 0 || type.getElementType().isInteger(1))
      return;
    bool hasRow = isTokenTensor(type) || plan.domain.kind != RowDomain::Kind::Tokens;
    if (hasRow && elementsPerRow(type, true) >= 64)
      smallest = std::min(smallest, elementBytes(type.getElementType()));
  };
  for (BlockArgument argument : def.getBody().front().getArguments())
    see(argument);
  for (Value v : def.getBody().front().getTerminator()->getOperands())
    see(v);
  for (const LoopGroup &group : plan.groups)
    widest = std::max(widest, elementsPerRow(group.space, true));
  team.width = smallest == 2 ? 8 : smallest == 8 ? 2 : 4;
  // Narrow rows have a thread each, or a few.
  team.lanes = 1;
  while (team.lanes < 32 && team.lanes * team.width < widest)
    team.lanes *= 2;
  if (widest <= 8)
    team.lanes = 1;
  while (team.lanes < 512 && widest > team.lanes * kElementsPerThread)
    team.lanes *= 2;
  team.teams = team.lanes > 32 ? 1 : kBlockThreads / team.lanes;
  while (team.teams > 1 && team.teams * team.lanes > 32 &&
         team.teams * partialBytes > kPartialBytes)
    team.teams /= 2;
  return team;
}

} // namespace pg::cuda
