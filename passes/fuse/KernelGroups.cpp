//===- KernelGroups.cpp - which ops share a kernel
//-------------------------===//
//
//   1. Index ops that a structured op, a look at other tokens or an output
//      needs in memory are pinned: they become members of kernels.
//   2. Structured ops open kernels and take their absorbed maps along.
//   3. Row-wise ops get a level inside their gap: one more than what they read
//      across a barrier (a look at other tokens, a sum over tokens, another
//      row domain, the gradient of a stream), else the same; then ops move up
//      to the level of their readers where that moves fewer bytes. Ops of one
//      gap, level and domain share a kernel when one reads the other or both
//      read one token tensor. Edges never go down a level, so kernels cannot
//      wait for each other.
//   4. Every reduction over tokens gets a kernel that adds up partial sums.
//   5. Stores join the kernel that makes their value, unless that would write
//      a tensor in place before its last reader; then they copy.
//   6. Kernels are sorted: dependences first, then program order.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/KernelGroups.h"
#include "passes/fuse/Tensors.h"

#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringMap.h"

#include <limits>
#include <map>
#include <set>

using namespace mlir;

namespace pg {

namespace {

/// Row domains: rows over tokens, no rows, or the leading extent.
constexpr int64_t kTokenDomain = -2, kScalarDomain = -1;

/// Structured ops between two layers' parts of one sum, at least.
constexpr int64_t kFarGaps = 4;

int64_t leadingExtent(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getRank() == 0 ? kScalarDomain : tensor.getDimSize(0);
}

/// Ops that read their operands as they lie in memory.
bool readsMemory(Operation *op) {
  FusionRole role = roleOf(op);
  return role == FusionRole::Structured || role == FusionRole::Neighbour;
}

class Planner {
public:
  Planner(func::FuncOp entry, const AbsorbedBy &absorbed)
      : entry(entry), absorbed(absorbed) {}

  FailureOr<KernelPlan> run() {
    number();
    pinIndexOps();
    openStructured();
    groupRowWise();
    openCombines();
    for (size_t g = 0; g < groups.size(); ++g)
      inputs.push_back(inputsOf(groups[g]));
    connect();
    for (StoreOp store : stores)
      placeStore(store);
    findResults();
    return sortKernels();
  }

private:
  //===--- 1. numbering and pinning
  //-----------------------------------------===//

  void number() {
    int64_t index = 0, gap = 0;
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (isStructured(&op))
        ++gap;
      position[&op] = index++;
      gapOf[&op] = gap;
      if (auto store = dyn_cast<StoreOp>(op))
        stores.push_back(store);
    }
  }

  void pin(Value operand) {
    Value value = throughReshapes(operand);
    Operation *def = value.getDefiningOp();
    if (def && isIndexOp(def))
      pinned.insert(def);
  }

  void pinIndexOps() {
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (isa<OutputOp>(op) ||
          (!isReadOp(&op) && !isa<StoreOp>(op) && readsMemory(&op)))
        for (Value operand : op.getOperands())
          pin(operand);
    }
  }

  bool isMember(Operation *op) {
    if (isReadOp(op) || isa<StoreOp, OutputOp>(op))
      return false;
    return !isIndexOp(op) || pinned.contains(op);
  }

  //===--- 2. structured ops
  //------------------------------------------------===//

  void openStructured() {
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (!isStructured(&op))
        continue;
      KernelGroup group;
      group.anchor = &op;
      group.position = position[&op];
      groupOf[&op] = groups.size();
      groups.push_back(std::move(group));
    }
    for (Operation &op : entry.getBody().front().without_terminator()) {
      Operation *anchor = isStructured(&op) ? &op : absorbed.lookup(&op);
      if (!anchor)
        continue;
      groupOf[&op] = groupOf[anchor];
      groups[groupOf[anchor]].ops.push_back(&op);
    }
  }

  //===--- 3. row-wise ops
  //--------------------------------------------------===//

  /// A domain no other op has: the op gets a kernel of its own.
  int64_t ownDomain(Operation *op) { return -3 - position[op]; }

  /// True for a static reduction over the leading dimension of what static
  /// reductions of rows left: in their kernel it would make the whole tensor
  /// one piece of work.
  bool sumsRowSums(Operation *op) {
    auto sum = dyn_cast<ReduceSumOp>(op);
    if (!sum || !isStaticOp(op) || sum.getAxes().empty() ||
        sum.getAxes().front() != 0)
      return false;
    Operation *def = sum.getX().getDefiningOp();
    while (def && isIndexOp(def) && def->getNumOperands() == 1)
      def = def->getOperand(0).getDefiningOp();
    auto rows = dyn_cast_or_null<ReduceSumOp>(def);
    return rows && rows.getAxes().front() != 0;
  }

  int64_t domainOf(Operation *op) {
    if (!isStaticOp(op)) {
      // Rows picked out of a token tensor are rows of another domain.
      bool leavesTokens = roleOf(op) == FusionRole::Neighbour &&
                          !isTokenTensor(op->getResult(0).getType());
      return leavesTokens || runningSums.contains(op) ? ownDomain(op)
                                                      : kTokenDomain;
    }
    // A transposition is emitted by tiles: a kernel of its own.
    if (isa<TransposeOp>(op) || sumsRowSums(op))
      return ownDomain(op);
    if (roleOf(op) == FusionRole::RowReduce)
      return leadingExtent(op->getOperand(0).getType());
    return leadingExtent(op->getResult(0).getType());
  }

  /// True when readers of `op` must wait for a kernel boundary.
  bool leavesItsDomain(Operation *op) {
    if (roleOf(op) == FusionRole::TokenReduce)
      return true;
    return isStaticOp(op) && roleOf(op) == FusionRole::RowReduce &&
           leadingExtent(op->getResult(0).getType()) != domainOf(op);
  }

  /// 1 when `reader` must be in a later kernel than `op`, else 0.
  int64_t isBarrier(Operation *op, Operation *reader) {
    return roleOf(reader) == FusionRole::Neighbour || leavesItsDomain(op) ||
           streamGradients.contains(op) || domainOf(op) != domainOf(reader);
  }

  /// True for the sum that carries contributions to one gradient from layer to
  /// layer: it adds what this place makes to what an earlier place left, for a
  /// place far behind. Inside the layer's kernel it would make the kernel of
  /// the first contribution, which has nothing to add to, a different one.
  bool isRunningSum(Operation *op) {
    if (!isa<AddOp>(op) || !op->hasAttr(kBackwardAttr) || isStaticOp(op))
      return false;
    bool addsEarlier = false, addsPresent = false;
    for (Value operand : op->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (isIndexOp(def) || isReadOp(def) || isStructured(def))
        return false;
      addsEarlier |= gapOf[def] + kFarGaps < gapOf[op];
      addsPresent |= gapOf[def] == gapOf[op];
    }
    return addsEarlier && addsPresent &&
           llvm::none_of(op->getUsers(), [&](Operation *user) {
             return gapOf[user] <= gapOf[op] + kFarGaps;
           });
  }

  /// True for a sum of gradients that this place and a later one read: the
  /// gradient of a residual stream. It is stored in any case; ending a kernel
  /// there costs one load, and keeps kernels from spanning two layers, so that
  /// they do not depend on which kinds of layers happen to be neighbours.
  bool isStreamGradient(Operation *op) {
    if (!isa<AddOp>(op) || !op->hasAttr(kBackwardAttr) || isStaticOp(op))
      return false;
    return llvm::any_of(op->getUsers(), [&](Operation *user) {
      return !isIndexOp(user) && !isStructured(user) &&
             gapOf[user] > gapOf[op] + 1;
    });
  }

  /// True when making the result where it is read loads no more than storing
  /// it in an earlier kernel and loading it again would move.
  bool loadsLittle(Operation *op, const llvm::SetVector<Value> &roots) {
    auto weight = [](Type type) {
      PerToken bytes = bytesOf(type);
      return bytes.perToken > 0 ? bytes.perToken : bytes.fixed;
    };
    double loads = 0;
    for (Value root : roots)
      loads += weight(root.getType());
    return loads <= 2 * weight(op->getResult(0).getType());
  }

  void collectRoots(Value value, llvm::SetVector<Value> &roots) {
    Operation *def = value.getDefiningOp();
    if (def && isIndexOp(def)) {
      for (Value operand : def->getOperands())
        collectRoots(operand, roots);
      return;
    }
    roots.insert(value);
  }

  /// Values a member reads, through index ops; as they lie in memory for ops
  /// that look at other tokens.
  llvm::SetVector<Value> rootsOf(Operation *op) {
    llvm::SetVector<Value> roots;
    for (Value operand : op->getOperands()) {
      if (readsMemory(op))
        roots.insert(throughReshapes(operand));
      else
        collectRoots(operand, roots);
    }
    return roots;
  }

  void groupRowWise() {
    SmallVector<Operation *> rows;
    for (Operation &op : entry.getBody().front().without_terminator())
      if (isMember(&op) && !groupOf.contains(&op))
        rows.push_back(&op);

    for (Operation *op : rows) {
      if (isRunningSum(op))
        runningSums.insert(op);
      else if (isStreamGradient(op))
        streamGradients.insert(op);
    }

    // As early as possible first, then up to the kernel of the readers where
    // that saves storing the value between two kernels.
    llvm::DenseMap<Operation *, llvm::SetVector<Value>> roots;
    llvm::DenseMap<Operation *, SmallVector<Operation *>> readers;
    llvm::DenseMap<Operation *, int64_t> level;
    auto isBeside = [&](Value root, Operation *op) {
      Operation *def = root.getDefiningOp();
      return def && level.contains(def) && gapOf[def] == gapOf[op];
    };
    for (Operation *op : rows) {
      roots[op] = rootsOf(op);
      int64_t at = 0;
      for (Value root : roots[op])
        if (isBeside(root, op)) {
          Operation *def = root.getDefiningOp();
          readers[def].push_back(op);
          at = std::max(at, level[def] + isBarrier(def, op));
        }
      level[op] = at;
    }
    for (Operation *op : llvm::reverse(rows)) {
      FusionRole role = roleOf(op);
      if (readers[op].empty() ||
          (role != FusionRole::Map && role != FusionRole::RowReduce))
        continue;
      int64_t highest = std::numeric_limits<int64_t>::max();
      for (Operation *reader : readers[op])
        highest = std::min(highest, level[reader] - isBarrier(op, reader));
      bool joins = llvm::any_of(readers[op], [&](Operation *reader) {
        return !isBarrier(op, reader) && level[reader] == highest;
      });
      if (joins && highest > level[op] && loadsLittle(op, roots[op]))
        level[op] = highest;
    }

    llvm::EquivalenceClasses<Operation *> sets;
    std::map<std::tuple<int64_t, int64_t, void *>, Operation *> sharers;
    for (Operation *op : rows) {
      sets.insert(op);
      for (Value root : roots[op]) {
        Operation *def = root.getDefiningOp();
        if (isBeside(root, op) && level[def] == level[op] &&
            !isBarrier(def, op))
          sets.unionSets(def, op);
        if (domainOf(op) == kTokenDomain && isTokenTensor(root.getType())) {
          auto [it, isNew] = sharers.insert(
              {{gapOf[op], level[op], root.getAsOpaquePointer()}, op});
          if (!isNew)
            sets.unionSets(it->second, op);
        }
      }
    }
    // Two ops of one set may stand in different places of the program: keep
    // groups in the order of their first member.
    llvm::DenseMap<Operation *, size_t> byLeader;
    for (Operation *op : rows) {
      Operation *leader = sets.getLeaderValue(op);
      auto [it, isNew] = byLeader.insert({leader, groups.size()});
      if (isNew) {
        KernelGroup group;
        group.position = position[op];
        groups.push_back(std::move(group));
      }
      groupOf[op] = it->second;
      groups[it->second].ops.push_back(op);
    }
  }

  //===--- 4. sums over tokens
  //----------------------------------------------===//

  void openCombines() {
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (isReadOp(&op) || isa<StoreOp, OutputOp>(op) ||
          roleOf(&op) != FusionRole::TokenReduce)
        continue;
      KernelGroup group;
      group.combined = &op;
      group.position = position[&op];
      combineOf[&op] = groups.size();
      groups.push_back(std::move(group));
    }
  }

  //===--- inputs and dependences
  //-------------------------------------------===//

  void visit(Value value, size_t group, llvm::SetVector<Value> &found,
             llvm::SmallPtrSetImpl<Operation *> &seen) {
    Operation *def = value.getDefiningOp();
    auto it = groupOf.find(def);
    bool inside = it != groupOf.end() && it->second == group &&
                  roleOf(def) != FusionRole::TokenReduce;
    if (!inside && !(def && isIndexOp(def))) {
      found.insert(value);
      return;
    }
    if (seen.insert(def).second)
      visitOperands(def, group, found, seen);
  }

  void visitOperands(Operation *op, size_t group, llvm::SetVector<Value> &found,
                     llvm::SmallPtrSetImpl<Operation *> &seen) {
    for (Value operand : op->getOperands()) {
      auto it = groupOf.find(operand.getDefiningOp());
      bool inside = it != groupOf.end() && it->second == group;
      if (readsMemory(op) && !inside)
        found.insert(throughReshapes(operand));
      else
        visit(operand, group, found, seen);
    }
  }

  llvm::SetVector<Value> inputsOf(const KernelGroup &group) {
    llvm::SetVector<Value> found;
    llvm::SmallPtrSet<Operation *, 16> seen;
    size_t index = &group - groups.data();
    for (Operation *op : group.ops)
      if (seen.insert(op).second)
        visitOperands(op, index, found, seen);
    return found;
  }

  /// The kernel that leaves `value` in memory, if one does.
  std::optional<size_t> maker(Value value) {
    Operation *def = value.getDefiningOp();
    if (!def)
      return std::nullopt;
    if (auto it = combineOf.find(def); it != combineOf.end())
      return it->second;
    if (auto it = groupOf.find(def); it != groupOf.end())
      return it->second;
    return std::nullopt;
  }

  void addEdge(size_t from, size_t to) {
    if (from != to)
      followers[from].insert(to);
  }

  void connect() {
    followers.resize(groups.size());
    for (size_t g = 0; g < groups.size(); ++g) {
      for (Value value : inputs[g])
        if (auto from = maker(value))
          addEdge(*from, g);
      if (groups[g].combined)
        addEdge(groupOf[groups[g].combined], g);
    }
  }

  bool reaches(size_t from, size_t to) {
    std::set<size_t> seen;
    SmallVector<size_t> work{from};
    while (!work.empty()) {
      size_t at = work.pop_back_val();
      if (at == to)
        return true;
      for (size_t next : followers[at])
        if (seen.insert(next).second)
          work.push_back(next);
    }
    return false;
  }

  //===--- 5. stores
  //--------------------------------------------------------===//

  static StringRef symbolOf(Operation *read) {
    return read->getAttrOfType<FlatSymbolRefAttr>("name").getValue();
  }

  /// Reads of the symbol before or after the store in program order.
  SmallVector<Operation *> readsOf(StoreOp store, bool before) {
    SmallVector<Operation *> reads;
    for (Operation &op : entry.getBody().front())
      if (isa<ParamOp, ReadStateOp>(op) && symbolOf(&op) == store.getName() &&
          (position[&op] < position[store]) == before)
        reads.push_back(&op);
    return reads;
  }

  /// Kernel `group` may overwrite the tensor `read` while it reads it: element
  /// i is read for element i only.
  bool readsInPlace(size_t group, Operation *read) {
    for (Operation *user : read->getUsers()) {
      auto it = groupOf.find(user);
      if (isIndexOp(user)) {
        // A view may feed this kernel at other places.
        if (inputs[group].contains(read->getResult(0)))
          return false;
        continue;
      }
      if (it != groupOf.end() && it->second == group && !isElementwise(user))
        return false;
    }
    return true;
  }

  bool mayTarget(StoreOp store, size_t group) {
    const KernelGroup &kernel = groups[group];
    Value value = store.getValue();
    if (kernel.anchor || kernel.combined) {
      if (throughReshapes(value) != value)
        return false;
      for (StoreOp other : kernel.stores)
        if (other.getValue() == value)
          return false;
    }
    for (StoreOp other : kernel.stores)
      if (other.getName() == store.getName())
        return false;
    for (Operation *read : readsOf(store, /*before=*/true))
      for (size_t reader = 0; reader < groups.size(); ++reader) {
        if (!inputs[reader].contains(read->getResult(0)))
          continue;
        if (reader == group ? !readsInPlace(group, read)
                            : reaches(group, reader))
          return false;
      }
    if (auto last = lastWriter.find(store.getName()); last != lastWriter.end())
      if (reaches(group, last->second))
        return false;
    return true;
  }

  void placeStore(StoreOp store) {
    std::optional<size_t> group;
    Operation *def = throughReshapes(store.getValue()).getDefiningOp();
    if (!isReadOp(def) && !isIndexOp(def))
      group = maker(throughReshapes(store.getValue()));
    if (!group || !mayTarget(store, *group)) {
      // A kernel that copies the value, reading it through its views.
      KernelGroup copy;
      copy.position = position[store];
      group = groups.size();
      groups.push_back(std::move(copy));
      followers.emplace_back();
      llvm::SetVector<Value> found;
      llvm::SmallPtrSet<Operation *, 4> seen;
      visit(store.getValue(), *group, found, seen);
      inputs.push_back(found);
      for (Value value : found)
        if (auto from = maker(value))
          addEdge(*from, *group);
    }
    groups[*group].stores.push_back(store);

    for (bool before : {true, false})
      for (Operation *read : readsOf(store, before))
        for (size_t reader = 0; reader < groups.size(); ++reader)
          if (reader != *group && inputs[reader].contains(read->getResult(0)))
            before ? addEdge(reader, *group) : addEdge(*group, reader);
    if (auto last = lastWriter.find(store.getName()); last != lastWriter.end())
      addEdge(last->second, *group);
    lastWriter[store.getName()] = *group;
  }

  //===--- results and order
  //------------------------------------------------===//

  void findResults() {
    llvm::DenseSet<Value> needed;
    for (auto &values : inputs)
      needed.insert(values.begin(), values.end());
    for (auto output : entry.getBody().front().getOps<OutputOp>())
      needed.insert(throughReshapes(output.getValue()));
    for (KernelGroup &group : groups) {
      if (group.combined && needed.contains(group.combined->getResult(0)))
        group.results.push_back(group.combined->getResult(0));
      for (Operation *op : group.ops) {
        if (roleOf(op) == FusionRole::TokenReduce) {
          group.results.push_back(op->getResult(0)); // as partial sums
          continue;
        }
        for (Value result : op->getResults())
          if (needed.contains(result))
            group.results.push_back(result);
      }
    }
  }

  FailureOr<KernelPlan> sortKernels() {
    std::vector<int64_t> waits(groups.size(), 0);
    for (auto &next : followers)
      for (size_t to : next)
        ++waits[to];
    std::set<std::pair<int64_t, size_t>> ready;
    for (size_t g = 0; g < groups.size(); ++g)
      if (waits[g] == 0)
        ready.insert({groups[g].position, g});
    KernelPlan plan;
    while (!ready.empty()) {
      size_t g = ready.begin()->second;
      ready.erase(ready.begin());
      for (size_t to : followers[g])
        if (--waits[to] == 0)
          ready.insert({groups[to].position, to});
      if (!groups[g].results.empty() || !groups[g].stores.empty())
        plan.groups.push_back(groups[g]);
    }
    for (size_t g = 0; g < groups.size(); ++g)
      if (waits[g] > 0) {
        Operation *culprit = !groups[g].stores.empty()
                                 ? groups[g].stores.front().getOperation()
                             : groups[g].ops.empty() ? groups[g].combined
                                                     : groups[g].ops.front();
        return culprit->emitError(
            "reads and in-place writes of this program wait for each "
            "other: a value is needed both before and after its symbol "
            "is overwritten");
      }
    return plan;
  }

  func::FuncOp entry;
  const AbsorbedBy &absorbed;
  llvm::DenseMap<Operation *, int64_t> position, gapOf;
  llvm::SmallPtrSet<Operation *, 16> pinned;
  SmallVector<StoreOp> stores;
  std::vector<KernelGroup> groups;
  std::vector<llvm::SetVector<Value>> inputs;
  std::vector<std::set<size_t>> followers;
  llvm::DenseMap<Operation *, size_t> groupOf, combineOf;
  llvm::SmallPtrSet<Operation *, 16> runningSums, streamGradients;
  llvm::StringMap<size_t> lastWriter;
};

} // namespace

FailureOr<KernelPlan> planKernels(func::FuncOp entry,
                                  const AbsorbedBy &absorbed) {
  return Planner(entry, absorbed).run();
}

} // namespace pg
