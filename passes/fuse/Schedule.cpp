//===- Schedule.cpp - order of an entry before fusion
//----------------------===//
//
// Structured ops keep their program order and cut the entry into gaps: gap g
// lies between structured op g and structured op g + 1. Every other op may run
// in any gap from `earliest` (its operands exist) to its first needer.
//
//   1. earliest gap of every op, forwards: the largest over its operands.
//   2. gap of every op, backwards:
//      - stores, outputs and reductions over tokens: their earliest gap, so
//        that what they read can die; but a store of static arithmetic that
//        others read goes where these need it;
//      - row-wise ops that would keep alive at least 1.5 times what they leave
//        (sums of contributions, row reductions): their earliest gap, for the
//        same reason; also those that read a row-wise value of their earliest
//        gap and are needed soon after, to share its kernel; but not backward
//        ops that read forward values only, whose earliest gap is in the
//        forward part;
//      - everything else: the gap of its first needer.
//   3. ops are emitted gap by gap, stable in program order.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringMap.h"

#include <limits>

using namespace mlir;

namespace pg {

namespace {

/// The stored values behind an operand, through index ops.
void collectRoots(Value value, llvm::SetVector<Value> &roots) {
  Operation *def = value.getDefiningOp();
  if (def && isIndexOp(def)) {
    for (Value operand : def->getOperands())
      collectRoots(operand, roots);
    return;
  }
  roots.insert(value);
}

/// Structured ops a result may outlive to stay with the kernel that makes its
/// operand.
constexpr int64_t kMaxWait = 2;

using Gaps = llvm::DenseMap<Operation *, int64_t>;

/// First and last gap in which a reader placed so far needs `value`; ops of
/// `except` do not count. {max, -1} when there is none.
struct Readers {
  int64_t first = std::numeric_limits<int64_t>::max(), last = -1;
};
using OpSet = llvm::SmallPtrSet<Operation *, 16>;

void findReaders(Value value, const OpSet &except, const Gaps &gap,
                 Readers &readers) {
  for (Operation *user : value.getUsers()) {
    if (except.contains(user))
      continue;
    if (isIndexOp(user)) {
      findReaders(user->getResult(0), except, gap, readers);
    } else if (auto it = gap.find(user); it != gap.end()) {
      readers.first = std::min(
          readers.first, isStructured(user) ? it->second - 1 : it->second);
      readers.last = std::max(readers.last, it->second);
    }
  }
}

/// The values that the chain ending in `op` starts from: row-wise ops that
/// nothing placed so far reads move together with `op`.
void collectLeaves(Operation *op, OpSet &chain, const Gaps &gap,
                   llvm::SetVector<Value> &leaves) {
  chain.insert(op);
  llvm::SetVector<Value> roots;
  for (Value operand : op->getOperands())
    collectRoots(operand, roots);
  for (Value root : roots) {
    Operation *def = root.getDefiningOp();
    Readers readers;
    findReaders(root, chain, gap, readers);
    bool moves = def && !isReadOp(def) && readers.last < 0 &&
                 chain.size() < 16 &&
                 (roleOf(def) == FusionRole::Map ||
                  roleOf(def) == FusionRole::RowReduce);
    if (moves)
      collectLeaves(def, chain, gap, leaves);
    else
      leaves.insert(root);
  }
}

/// True when the op should run in gap `first` rather than in `needed`: because
/// that frees more than its result takes, or because it joins its producer.
bool runsEarly(Operation *op, int64_t first, int64_t needed, const Gaps &gap,
               const Gaps &earliest) {
  if (isIndexOp(op) || op->hasAttr(kRecomputeAttr) || needed <= first)
    return false;
  OpSet chain;
  llvm::SetVector<Value> leaves;
  collectLeaves(op, chain, gap, leaves);
  double freed = 0, left = 0;
  for (Value result : op->getResults())
    left += bytesOf(result.getType()).perToken;
  bool joins = false;
  for (Value leaf : leaves) {
    double bytes = bytesOf(leaf.getType()).perToken;
    Readers readers;
    findReaders(leaf, chain, gap, readers);
    if (readers.last < needed)
      freed += bytes;
    Operation *def = leaf.getDefiningOp();
    joins |= def && !isReadOp(def) && !isStructured(def) &&
             !def->hasAttr(kRecomputeAttr) && earliest.lookup(def) == first &&
             readers.first == first && 2 * bytes >= left && left > 0;
  }
  return (freed > 0 && freed >= 1.5 * left) ||
         (joins && (freed >= left || needed - first <= kMaxWait));
}

/// Stores of static arithmetic that other ops read as well: such a store can
/// wait for them, for nothing it frees is held by them. Only the one store of a
/// symbol that nothing reads afterwards.
OpSet storesWithReaders(ArrayRef<Operation *> ops, const OpSet &lateReads) {
  llvm::StringMap<int64_t> uses;
  for (Operation *op : ops)
    if (auto store = dyn_cast<StoreOp>(op))
      ++uses[store.getName()];
  for (Operation *read : lateReads)
    ++uses[read->getAttrOfType<FlatSymbolRefAttr>("name").getValue()];
  OpSet found;
  for (Operation *op : ops) {
    auto store = dyn_cast<StoreOp>(op);
    Operation *def = store ? store.getValue().getDefiningOp() : nullptr;
    if (!def || isReadOp(def) || isIndexOp(def) || isStructured(def) ||
        !isStaticOp(def) || uses[store.getName()] != 1)
      continue;
    if (llvm::any_of(def->getUsers(), [](Operation *user) {
          return !isa<StoreOp, OutputOp>(user);
        }))
      found.insert(op);
  }
  return found;
}

} // namespace

void scheduleEntry(func::FuncOp entry) {
  Block &block = entry.getBody().front();
  Operation *terminator = block.getTerminator();

  SmallVector<Operation *> ops;
  for (Operation &op : block.without_terminator())
    ops.push_back(&op);

  // 1. Earliest gaps. Structured op number k (from 1) opens gap k.
  llvm::DenseMap<Operation *, int64_t> earliest, gap;
  int64_t numAnchors = 0, lastForwardAnchor = 0;
  // A read that follows a store to its symbol sees the new value and must not
  // move in front of that store; all other reads go to the top.
  llvm::StringMap<int64_t> storedAt;
  OpSet lateReads;
  for (Operation *op : ops) {
    int64_t at = 0;
    if (auto symbol = op->getAttrOfType<FlatSymbolRefAttr>("name");
        symbol && isReadOp(op))
      if (auto it = storedAt.find(symbol.getValue()); it != storedAt.end()) {
        at = it->second;
        lateReads.insert(op);
      }
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp())
        at = std::max(at, earliest.lookup(def));
    if (isStructured(op)) {
      at = ++numAnchors;
      if (!op->hasAttr(kBackwardAttr))
        lastForwardAnchor = numAnchors;
    }
    earliest[op] = at;
    if (auto store = dyn_cast<StoreOp>(op))
      storedAt[store.getName()] =
          std::max(at, storedAt.lookup(store.getName()));
  }

  OpSet followers = storesWithReaders(ops, lateReads);

  // 2. Final gaps, needers first. An op without users that writes nothing is
  // dead and goes.
  for (Operation *op : llvm::reverse(ops)) {
    int64_t first = earliest[op];
    if (isStructured(op)) {
      gap[op] = first;
      continue;
    }
    bool writes = isa<StoreOp, OutputOp>(op);
    if (!writes && op->use_empty()) {
      op->erase();
      continue;
    }
    if (followers.contains(op))
      continue; // with the op that makes its value
    bool inForwardPart =
        op->hasAttr(kBackwardAttr) && first < lastForwardAnchor;
    if (isReadOp(op) || writes || roleOf(op) == FusionRole::TokenReduce) {
      gap[op] = first;
      continue;
    }
    int64_t needed = numAnchors;
    for (Operation *user : op->getUsers())
      if (!followers.contains(user))
        needed =
            std::min(needed, isStructured(user) ? gap[user] - 1 : gap[user]);
    bool early = !isStaticOp(op) && !inForwardPart &&
                 runsEarly(op, first, needed, gap, earliest);
    gap[op] = early ? first : needed;
    for (Operation *user : op->getUsers())
      if (followers.contains(user))
        gap[user] = gap[op];
  }

  // 3. New order: reads, then by gap the structured op and its row-wise ops.
  SmallVector<SmallVector<Operation *>> byGap(numAnchors + 1);
  SmallVector<Operation *> reads;
  for (Operation &each : block.without_terminator()) {
    Operation *op = &each;
    if (isReadOp(op) && !lateReads.contains(op))
      reads.push_back(op);
    else if (isStructured(op))
      byGap[gap[op]].insert(byGap[gap[op]].begin(), op);
    else
      byGap[gap[op]].push_back(op);
  }
  for (Operation *op : reads)
    op->moveBefore(terminator);
  for (auto &group : byGap)
    for (Operation *op : group)
      op->moveBefore(terminator);
}

#define GEN_PASS_DEF_SCHEDULEPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct SchedulePass : impl::SchedulePassBase<SchedulePass> {
  using Base::Base;
  void runOnOperation() override {
    for (func::FuncOp entry : entriesOf(getOperation()))
      scheduleEntry(entry);
  }
};
} // namespace

} // namespace pg
