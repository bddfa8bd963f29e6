//===- RowDomain.cpp
//---------------------------------------------------------===//
#include "passes/kernel/RowDomain.h"

#include "llvm/ADT/SetVector.h"

#include <numeric>

using namespace mlir;

namespace pg {
namespace {

/// Elements one thread should take at a time.
constexpr int64_t kElementsPerGrain = 16384;
/// Operation weight from which keeping a value beats computing it again.
constexpr int64_t kDear = 6;
/// Row scratch a kept value may take, in elements.
constexpr int64_t kMaxKeptElements = 16384;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}
bool isReduction(Operation *op) { return isa<ReduceSumOp, ReduceMaxOp>(op); }
ArrayRef<int64_t> axesOf(Operation *op) {
  if (auto sum = dyn_cast<ReduceSumOp>(op))
    return sum.getAxes();
  return cast<ReduceMaxOp>(op).getAxes();
}

/// An op that only moves, so an argument seen through it is read elsewhere.
bool isElementwise(Operation *op) {
  auto result = op->getNumResults() == 1
                    ? dyn_cast<RankedTensorType>(op->getResult(0).getType())
                    : RankedTensorType();
  if (!result || isa<TokenShiftOp, RotateOp, TransposeOp, ReshapeOp, SliceOp,
                     ConcatOp, PadOp, BroadcastOp, GatherOp, PickOp>(op))
    return false;
  return llvm::all_of(op->getOperandTypes(), [&](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getShape() == result.getShape();
  });
}

/// Keeps leading index i of its operands at leading index i of its result.
bool keepsLeading(Operation *op) {
  if (auto transpose = dyn_cast<TransposeOp>(op))
    return transpose.getPermutation().empty() ||
           transpose.getPermutation()[0] == 0;
  if (auto reshape = dyn_cast<ReshapeOp>(op)) {
    auto from = tensorType(reshape.getX());
    return from.getRank() > 0 && reshape.getType().getRank() > 0 &&
           from.getDimSize(0) == reshape.getType().getDimSize(0);
  }
  if (auto slice = dyn_cast<SliceOp>(op))
    return slice.getAxis() != 0;
  if (auto pad = dyn_cast<PadOp>(op))
    return pad.getAxis() != 0;
  if (auto concat = dyn_cast<ConcatOp>(op))
    return concat.getAxis() != 0;
  return !isa<GatherOp, PickOp>(op);
}

/// True when a written symbol of this type may be read through `argument` at
/// another place than where it is written. The launch decides what aliases; a
/// kernel assumes that equal types may.
bool readElsewhere(BlockArgument argument) {
  return llvm::any_of(argument.getUsers(), [](Operation *user) {
    return !isElementwise(user) && !isa<YieldOp>(user);
  });
}

class Planner {
public:
  explicit Planner(KernelDefOp def)
      : def(def), body(def.getBody().front()),
        yield(cast<YieldOp>(body.getTerminator())) {}

  FailureOr<RowPlan> run() {
    RowPlan plan;
    if (failed(chooseDomain(plan.domain)) ||
        failed(checkReductions(plan.domain)))
      return failure();
    groupReductions();
    groupYields();
    stageSymbols();
    keepDearValues();
    // In level order, writers of symbols last; a stable sort by insertion.
    for (LoopGroup &group : groups) {
      auto after = llvm::find_if(plan.groups, [&](const LoopGroup &other) {
        return std::pair(other.last, other.level) >
               std::pair(group.last, group.level);
      });
      plan.groups.insert(after, group);
    }
    return plan;
  }

private:
  //===--- domain ---------------------------------------------------------===//

  LogicalResult chooseDomain(RowDomain &domain) {
    bool tokens = false;
    int64_t partialGrain = 0;
    auto see = [&](Value v) {
      auto type = dyn_cast<RankedTensorType>(v.getType());
      tokens |= type && isTokenTensor(type);
    };
    for (BlockArgument argument : body.getArguments())
      see(argument);
    for (Operation &op : body.without_terminator()) {
      for (Value result : op.getResults())
        see(result);
      if (auto take = dyn_cast<TakeRowsOp>(op)) {
        if (domain.takeIndex && domain.takeIndex != take.getIndex())
          return op.emitError("a row kernel takes rows by one list, found two");
        domain.takeIndex = take.getIndex();
        domain.rows = tensorType(take.getIndex()).getDimSize(0);
      }
      if (auto partial = dyn_cast<PartialSumOp>(op)) {
        auto chunks = cast<ChunksAttr>(
            cast<RankedTensorType>(partial.getType()).getEncoding());
        partialGrain = partialGrain ? std::lcm(partialGrain, chunks.getGrain())
                                    : chunks.getGrain();
      }
    }
    int64_t widest = 1;
    for (Value v : yield.getValues())
      widest = std::max(widest, elementsPerToken(v.getType()));
    if (domain.takeIndex) {
      domain.kind = RowDomain::Kind::Taken;
      return success();
    }
    if (tokens) {
      domain.kind = RowDomain::Kind::Tokens;
      domain.grain =
          partialGrain ? partialGrain
                       : std::clamp<int64_t>(kElementsPerGrain / widest, 1, 64);
      for (Value v : yield.getValues())
        if (!isTokenTensor(v.getType()) && !isChunkTensor(v.getType()))
          return def.emitError("a row kernel over tokens yields the static "
                               "value ")
                 << v.getType();
      return success();
    }
    int64_t leading = leadingRows();
    if (leading > 1) {
      domain.kind = RowDomain::Kind::Leading;
      domain.rows = leading;
      domain.grain = std::clamp<int64_t>(
          kElementsPerGrain / std::max<int64_t>(1, widest / leading), 1,
          leading);
      return success();
    }
    domain.kind = RowDomain::Kind::Whole;
    return success();
  }

  /// A reduction runs once per row, so its operand must have the rows.
  LogicalResult checkReductions(const RowDomain &domain) {
    for (Operation &op : body.without_terminator()) {
      if (!isReduction(&op) || domain.kind == RowDomain::Kind::Whole)
        continue;
      auto type = tensorType(op.getOperand(0));
      bool token = isTokenTensor(type);
      bool hasRows = token ? domain.kind != RowDomain::Kind::Leading
                           : domain.kind != RowDomain::Kind::Tokens &&
                                 type.getDimSize(0) == domain.rows;
      if (!hasRows || axesOf(&op).front() == 0)
        return op.emitError("a reduction in a row kernel stays inside a row, "
                            "found one over ")
               << type;
    }
    return success();
  }

  /// Number of rows when the leading dimension can be one, else 0.
  int64_t leadingRows() {
    int64_t rows = 0;
    for (Value v : yield.getValues()) {
      auto type = tensorType(v);
      if (type.getRank() == 0 || (rows && type.getDimSize(0) != rows))
        return 0;
      rows = type.getDimSize(0);
    }
    bool wide = false, reduces = false, moves = false;
    for (Operation &op : body.without_terminator()) {
      for (Value v : op.getResults())
        wide |=
            tensorType(v).getRank() > 1 && tensorType(v).getDimSize(0) == rows;
      moves |= !keepsLeading(&op);
      if (!isReduction(&op))
        continue;
      reduces = true;
      auto operand = tensorType(op.getOperand(0));
      if (operand.getDimSize(0) != rows || axesOf(&op).front() == 0)
        return 0;
    }
    for (Value v : yield.getValues())
      wide |= tensorType(v).getRank() > 1;
    if (!wide || (reduces && moves) || symbolsReadElsewhere())
      return 0;
    return rows;
  }

  bool symbolsReadElsewhere() {
    for (auto [index, v] : llvm::enumerate(yield.getValues()))
      if (def.getModes()[index] != 0)
        for (BlockArgument argument : body.getArguments())
          if (argument.getType() == v.getType() && readElsewhere(argument))
            return true;
    return false;
  }

  //===--- groups ---------------------------------------------------------===//

  /// First level at which a value can be computed element by element.
  int64_t levelOf(Value v) {
    Operation *op = v.getDefiningOp();
    if (!op)
      return 0;
    auto [it, isNew] = levels.try_emplace(v, 0);
    if (!isNew)
      return it->second;
    int64_t level = 0;
    for (Value operand : op->getOperands())
      level = std::max(level, levelOf(operand));
    if (isReduction(op))
      ++level;
    return levels[v] = level;
  }

  LoopGroup &groupFor(RankedTensorType space, ArrayRef<int64_t> axes,
                      int64_t level, bool last) {
    for (LoopGroup &group : groups)
      if (group.space.getShape() == space.getShape() && group.level == level &&
          group.last == last && (axes.empty() || group.axes == axes))
        return group;
    LoopGroup &group = groups.emplace_back();
    group.space = space;
    group.axes.assign(axes.begin(), axes.end());
    group.level = level;
    group.last = last;
    return group;
  }

  void groupReductions() {
    llvm::SetVector<Value> needed;
    SmallVector<Value> work(yield.getValues());
    while (!work.empty()) {
      Value v = work.pop_back_val();
      if (!needed.insert(v) || !v.getDefiningOp())
        continue;
      for (Value operand : v.getDefiningOp()->getOperands())
        work.push_back(operand);
    }
    for (Operation &op : body.without_terminator())
      if (isReduction(&op) && needed.contains(op.getResult(0)))
        groupFor(tensorType(op.getOperand(0)), axesOf(&op),
                 levelOf(op.getOperand(0)), false)
            .reductions.push_back(op.getResult(0));
  }

  /// What a yield evaluates: the rows behind a partial sum, else itself.
  static Value stored(Value v) {
    auto partial = v.getDefiningOp<PartialSumOp>();
    return partial ? partial.getX() : v;
  }

  void groupYields() {
    for (auto [index, v] : llvm::enumerate(yield.getValues())) {
      Value value = stored(v);
      bool symbol = def.getModes()[index] != 0;
      // The group of a reduction stores its result by itself; a later group
      // would only copy it.
      Operation *op = v.getDefiningOp();
      if (op && isReduction(op) && !symbol) {
        for (LoopGroup &group : groups)
          if (llvm::is_contained(group.reductions, v))
            group.yields.push_back(index);
        continue;
      }
      groupFor(tensorType(value), {}, levelOf(value), symbol)
          .yields.push_back(index);
    }
  }

  /// Symbols are written in place. When one write could be seen by a later
  /// read, all values go through row scratch and are copied at the end.
  void stageSymbols() {
    int64_t writers = llvm::count_if(
        groups, [](const LoopGroup &group) { return group.last; });
    bool seen = symbolsReadElsewhere();
    if (writers > 1)
      for (auto [index, v] : llvm::enumerate(yield.getValues()))
        for (BlockArgument argument : body.getArguments())
          seen |=
              def.getModes()[index] != 0 && argument.getType() == v.getType();
    if (writers == 0 || !seen)
      return;
    for (auto [index, v] : llvm::enumerate(yield.getValues()))
      if (def.getModes()[index] != 0)
        keep(v);
  }

  //===--- kept values ----------------------------------------------------===//

  void keep(Value v) {
    if (!v.getDefiningOp() || isReduction(v.getDefiningOp()) || !kept.insert(v))
      return;
    // A fresh yield is in memory already once its group has run.
    for (auto [index, y] : llvm::enumerate(yield.getValues()))
      if (y == v && def.getModes()[index] == 0)
        return;
    groupFor(tensorType(v), {}, levelOf(v), false).kept.push_back(v);
  }

  static int64_t weight(Operation *op) {
    if (isa<ExpOp, LogOp, TanhOp, SigmoidOp, SinOp, CosOp, ErfOp>(op))
      return 8;
    if (isa<DivOp, SqrtOp, RsqrtOp, RemOp>(op))
      return 4;
    return isElementwise(op) || isa<RotateOp>(op) ? 1 : 0;
  }

  /// Values a group computes, given what is in memory when it runs.
  llvm::SetVector<Value> computedBy(const LoopGroup &group) {
    llvm::SetVector<Value> seen;
    SmallVector<Value> work;
    for (Value r : group.reductions)
      work.push_back(r.getDefiningOp()->getOperand(0));
    work.append(group.kept.begin(), group.kept.end());
    for (unsigned index : group.yields) {
      Value v = stored(yield.getValues()[index]);
      if (!llvm::is_contained(group.reductions, v))
        work.push_back(v);
    }
    llvm::DenseSet<Value> own(work.begin(), work.end());
    while (!work.empty()) {
      Value v = work.pop_back_val();
      Operation *op = v.getDefiningOp();
      bool inMemory =
          !op || isReduction(op) || (kept.contains(v) && !own.contains(v));
      if (inMemory || !seen.insert(v))
        continue;
      work.append(op->operand_begin(), op->operand_end());
    }
    return seen;
  }

  int64_t costOf(Value v) {
    llvm::SetVector<Value> seen;
    SmallVector<Value> work{v};
    int64_t cost = 0;
    while (!work.empty()) {
      Value next = work.pop_back_val();
      Operation *op = next.getDefiningOp();
      if (!op || isReduction(op) || (kept.contains(next) && next != v) ||
          !seen.insert(next))
        continue;
      cost += weight(op);
      for (Value operand : op->getOperands())
        if (isa<RankedTensorType>(operand.getType()))
          work.push_back(operand);
    }
    return cost;
  }

  /// From consumers to producers: what two groups would both compute, and is
  /// dear, is computed once.
  void keepDearValues() {
    SmallVector<Operation *> ops;
    for (Operation &op : body.without_terminator())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops)) {
      if (op->getNumResults() != 1 || isReduction(op) || !isElementwise(op))
        continue;
      Value v = op->getResult(0);
      auto type = tensorType(v);
      if (kept.contains(v) || isChunkTensor(type) ||
          elementsPerToken(type) > kMaxKeptElements)
        continue;
      int64_t users = llvm::count_if(groups, [&](const LoopGroup &group) {
        return computedBy(group).contains(v);
      });
      if (users > 1 && costOf(v) >= kDear)
        keep(v);
    }
  }

  KernelDefOp def;
  Block &body;
  YieldOp yield;
  llvm::DenseMap<Value, int64_t> levels;
  std::vector<LoopGroup> groups;
  llvm::SetVector<Value> kept;
};

} // namespace

FailureOr<RowPlan> planRows(KernelDefOp def) { return Planner(def).run(); }

} // namespace pg
