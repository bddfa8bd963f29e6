//===- InPlace.cpp - results of row kernels that may lie on an operand ----===//
//
// A row of a token tensor belongs to one run of the row's loop groups. A result
// may overwrite an argument of its type when
//
//   1. no op of the kernel looks at other tokens;
//   2. the group that stores the result reads the argument, if at all, at the
//      position it stores;
//   3. no later group reads the argument. What an earlier group stored, kept or
//      reduced is read from there.
//
//===----------------------------------------------------------------------===//
#include "passes/fuse/InPlace.h"

#include "passes/fuse/Tensors.h"
#include "passes/kernel/RowDomain.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace pg {
namespace {

/// How a loop group reads an argument.
enum class Reading { None, AtPosition, Elsewhere };

class Reuses {
public:
  Reuses(KernelDefOp def, RowPlan plan)
      : def(def), plan(std::move(plan)),
        yields(cast<YieldOp>(def.getBody().front().getTerminator()).getValues()) {}

  SmallVector<Reuse> find() {
    SmallVector<Reuse> found;
    unsigned result = 0;
    for (auto [index, value] : llvm::enumerate(yields)) {
      if (def.getModes()[index] != 0)
        continue;
      unsigned argument = 0;
      for (BlockArgument candidate : def.getBody().front().getArguments()) {
        if (!isa<RankedTensorType>(candidate.getType()))
          break;
        if (mayOverwrite(candidate, index))
          found.push_back({result, argument});
        ++argument;
      }
      ++result;
    }
    return found;
  }

private:
  bool mayOverwrite(BlockArgument argument, unsigned index) {
    Value value = yields[index];
    Operation *op = value.getDefiningOp();
    // A reduction is stored when its loops have ended.
    if (!op || isa<ReduceSumOp, ReduceMaxOp, PartialSumOp>(op) ||
        argument.getType() != value.getType() || !isTokenTensor(value.getType()))
      return false;
    llvm::DenseSet<Value> inMemory;
    bool isStored = false;
    for (const LoopGroup &group : plan.groups) {
      bool stores = llvm::is_contained(group.yields, index);
      if (stores || isStored) {
        Reading reading = readingOf(group, argument, inMemory);
        if (reading == Reading::Elsewhere ||
            (isStored && reading != Reading::None))
          return false;
        if (stores && !sameShape(group.space, value.getType()))
          return false;
      }
      isStored |= stores;
      remember(group, inMemory);
    }
    return isStored;
  }

  /// What later groups read instead of computing it.
  void remember(const LoopGroup &group, llvm::DenseSet<Value> &inMemory) {
    inMemory.insert(group.reductions.begin(), group.reductions.end());
    inMemory.insert(group.kept.begin(), group.kept.end());
    for (unsigned index : group.yields)
      if (def.getModes()[index] == 0 && yields[index].getDefiningOp() &&
          !yields[index].getDefiningOp<PartialSumOp>())
        inMemory.insert(yields[index]);
  }

  Reading readingOf(const LoopGroup &group, BlockArgument argument,
                    const llvm::DenseSet<Value> &inMemory) {
    // Values at the position of the loops, and at any other.
    llvm::DenseSet<Value> here, elsewhere;
    SmallVector<std::pair<Value, bool>> work;
    for (Value reduction : group.reductions)
      work.push_back({reduction.getDefiningOp()->getOperand(0), true});
    for (Value kept : group.kept)
      work.push_back({kept, true});
    for (unsigned index : group.yields) {
      Value value = yields[index];
      if (auto partial = value.getDefiningOp<PartialSumOp>())
        value = partial.getX();
      if (!llvm::is_contained(group.reductions, value))
        work.push_back({value, true});
    }
    while (!work.empty()) {
      auto [value, isHere] = work.pop_back_val();
      if (inMemory.contains(value) || !(isHere ? here : elsewhere).insert(value).second)
        continue;
      Operation *op = value.getDefiningOp();
      if (!op)
        continue;
      bool keepsPosition = isHere && isElementwise(op);
      for (Value operand : op->getOperands())
        if (isa<RankedTensorType>(operand.getType()))
          work.push_back({operand, keepsPosition});
    }
    if (elsewhere.contains(argument))
      return Reading::Elsewhere;
    return here.contains(argument) ? Reading::AtPosition : Reading::None;
  }

  KernelDefOp def;
  RowPlan plan;
  ValueRange yields;
};

} // namespace

SmallVector<Reuse> reusesOf(KernelDefOp def) {
  for (Operation &op : def.getBody().front()) {
    FusionRole role = roleOf(&op);
    if (role == FusionRole::Structured || role == FusionRole::Neighbour ||
        isa<CombineOp, TakeRowsOp>(op))
      return {};
  }
  FailureOr<RowPlan> plan = planRows(def);
  if (failed(plan) || plan->domain.kind != RowDomain::Kind::Tokens)
    return {};
  return Reuses(def, std::move(*plan)).find();
}

} // namespace pg
