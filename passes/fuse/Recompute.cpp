//===- Recompute.cpp - values rebuilt in the backward part
//------------------===//
//
//   1. Forward ops are classified in program order. Inputs, parameters, static
//      values, structured results and looks at other tokens are stored. Of a
//      row-wise op the stored values its chain starts from are known; it is
//      stored when those are dearer to load than the value itself, when the
//      chain is long, when it costs many flops for a byte, or when backward
//      ops far apart read it. Residual streams
//      end up stored by this rule: their chain starts at the stream and at
//      every contribution to it. So are operands of structured ops of both parts,
//      which the forward part puts in memory anyway: keeping them takes memory and
//      no time.
//   2. Operands of backward ops that are not stored are rebuilt: their chains
//      are cloned in front of the first reader and shared by later ones.
//   3. With a memory limit the whole rest of the pipeline is tried on copies.
//      Operands of both parts are then rebuilt, and, if that is not enough,
//      structured results the backward part reads, a
//      growing prefix of them by bytes freed for a flop spent, until the plan
//      fits. What else step 1 stored among row-wise values stays stored, so a chain
//      never runs past the residual stream.
//
// Clones are the same ops on the same bits, so nothing but time changes.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/Absorb.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

#include <limits>
#include <map>
#include <optional>
#include <set>

using namespace mlir;

namespace pg {

namespace {

/// Loads worth one kept value, in units of its own bytes. Below 2, so that
/// every sum of a stream and a contribution of its width is kept: a layer
/// rebuilds nothing of the layers before it.
constexpr double kMaxLeafRatio = 1.75;
/// Ops of the longest chain worth repeating.
constexpr size_t kMaxChainOps = 32;
/// Flops worth spending to avoid keeping a byte.
constexpr double kMaxFlopsPerByte = 12;
/// Structured ops between the first and the last backward reader of a value
/// worth rebuilding. Beyond that its clone would live through other layers.
constexpr int64_t kMaxReaderSpan = 8;
/// What a transcendental function costs beside a multiplication.
constexpr double kTranscendentalFlops = 16;

/// A structured op by its number among the forward structured ops of an entry.
using StructuredId = std::pair<size_t, size_t>;

bool isBackward(Operation *op) { return op->hasAttr(kBackwardAttr); }

class EntryRecompute {
public:
  /// `rebuilt`: numbers of structured forward ops that are not kept. `keepsOperands`:
  /// what structured ops of both parts read is kept.
  EntryRecompute(func::FuncOp entry, const std::set<size_t> &rebuilt, bool keepsOperands)
      : entry(entry), rebuilt(rebuilt), keepsOperands(keepsOperands) {}

  /// Clones; returns how many ops were made.
  int64_t run() {
    classify();
    Block &block = entry.getBody().front();
    SmallVector<Operation *> backward;
    for (Operation &op : block.without_terminator())
      if (isBackward(&op))
        backward.push_back(&op);
    for (Operation *op : backward) {
      OpBuilder builder(op);
      for (OpOperand &operand : op->getOpOperands())
        operand.set(rebuild(operand.get(), builder));
    }
    return numClones;
  }

private:
  struct Chain {
    llvm::SetVector<Value> leaves;
    llvm::SetVector<Operation *> ops;
  };

  void classify() {
    int64_t before = 0;
    for (Operation &op : entry.getBody().front()) {
      structuredBefore[&op] = before;
      before += !isReadOp(&op) && isStructured(&op);
    }
    size_t structured = 0;
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (isBackward(&op) || isReadOp(&op) || isa<StoreOp, OutputOp>(op))
        continue;
      if (isStructured(&op)) {
        if (!rebuilt.contains(structured++))
          stored.insert(&op);
        Chain &chain = chains[&op]; // seen from its readers it is one load
        for (Value result : op.getResults())
          chain.leaves.insert(result);
        continue;
      }
      Chain chain;
      for (Value operand : op.getOperands()) {
        Operation *def = operand.getDefiningOp();
        auto known = chains.find(def);
        if (known == chains.end() || stored.contains(def)) {
          chain.leaves.insert(operand);
        } else {
          chain.leaves.insert(known->second.leaves.begin(),
                              known->second.leaves.end());
          chain.ops.insert(known->second.ops.begin(), known->second.ops.end());
        }
      }
      chain.ops.insert(&op);
      if (!isIndexOp(&op) && mustStore(&op, chain)) {
        stored.insert(&op);
        chain = {};
        for (Value result : op.getResults())
          chain.leaves.insert(result);
      }
      chains[&op] = std::move(chain);
    }
  }

  bool isReadFarApart(Operation *op) {
    int64_t first = std::numeric_limits<int64_t>::max(), last = -1;
    for (Operation *user : op->getUsers())
      if (isBackward(user)) {
        first = std::min(first, structuredBefore[user]);
        last = std::max(last, structuredBefore[user]);
      }
    return last - first > kMaxReaderSpan && last >= 0;
  }

  bool isReadByStructured(Operation *op, bool inBackward) {
    return llvm::any_of(op->getUsers(), [&](Operation *user) {
      if (isa<ReshapeOp>(user))
        return isReadByStructured(user, inBackward);
      return isStructured(user) && isBackward(user) == inBackward;
    });
  }

  bool mustStore(Operation *op, const Chain &chain) {
    FusionRole role = roleOf(op);
    if (isStaticOp(op) || role == FusionRole::TokenReduce ||
        role == FusionRole::Neighbour)
      return true;
    if (isReadFarApart(op))
      return true;
    if (keepsOperands && !isRepeatable(op) && isReadByStructured(op, false) &&
        isReadByStructured(op, true))
      return true;
    double bytes = 0, loads = 0, flops = 0;
    for (Value result : op->getResults())
      bytes += bytesOf(result.getType()).perToken;
    for (Value leaf : chain.leaves)
      loads += bytesOf(leaf.getType()).perToken;
    for (Operation *link : chain.ops) {
      // Rows looked up in a static table are loads too.
      if (!isIndexOp(link) && !isElementwise(link) &&
          roleOf(link) == FusionRole::Map)
        for (Value operand : link->getOperands())
          if (bytesOf(operand.getType()).fixed > 0)
            loads += bytesOf(link->getResult(0).getType()).perToken;
      flops += flopsOf(link).perToken *
               (isTranscendental(link) ? kTranscendentalFlops : 1);
    }
    return loads > kMaxLeafRatio * bytes || chain.ops.size() > kMaxChainOps ||
           flops > kMaxFlopsPerByte * bytes;
  }

  Value rebuild(Value value, OpBuilder &builder) {
    Operation *def = value.getDefiningOp();
    if (!def || isBackward(def) || isReadOp(def) || stored.contains(def))
      return value;
    Operation *&clone = clones[def];
    if (!clone) {
      IRMapping map;
      for (Value operand : def->getOperands())
        map.map(operand, rebuild(operand, builder));
      clone = builder.clone(*def, map);
      clone->setAttr(kBackwardAttr, builder.getUnitAttr());
      clone->setAttr(kRecomputeAttr, builder.getUnitAttr());
      ++numClones;
    }
    return clone->getResult(cast<OpResult>(value).getResultNumber());
  }

  func::FuncOp entry;
  const std::set<size_t> &rebuilt;
  bool keepsOperands;
  std::map<Operation *, Chain> chains;
  std::map<Operation *, Operation *> clones;
  llvm::DenseMap<Operation *, int64_t> structuredBefore;
  llvm::DenseSet<Operation *> stored;
  int64_t numClones = 0;
};

bool hasBackward(func::FuncOp entry) {
  return llvm::any_of(entry.getBody().front(),
                      [](Operation &op) { return isBackward(&op); });
}

struct Choice {
  std::set<StructuredId> rebuilt;
  bool keepsOperands = true;
};

int64_t cloneInto(ModuleOp module, const Choice &choice) {
  int64_t clones = 0;
  for (auto [e, entry] : llvm::enumerate(entriesOf(module))) {
    if (!hasBackward(entry))
      continue;
    std::set<size_t> rebuilt;
    for (auto [chosenEntry, number] : choice.rebuilt)
      if (chosenEntry == e)
        rebuilt.insert(number);
    clones += EntryRecompute(entry, rebuilt, choice.keepsOperands).run();
  }
  return clones;
}

struct Candidate {
  StructuredId id;
  double bytesPerFlop;
};

/// Structured forward results the backward part reads, in the order in which
/// rebuilding them pays.
SmallVector<Candidate> candidatesOf(ModuleOp module) {
  SmallVector<Candidate> candidates;
  for (auto [e, entry] : llvm::enumerate(entriesOf(module))) {
    if (!hasBackward(entry))
      continue;
    size_t number = 0;
    for (Operation &op : entry.getBody().front().without_terminator()) {
      if (!isStructured(&op) || isBackward(&op))
        continue;
      size_t id = number++;
      double bytes = 0;
      for (Value result : op.getResults())
        if (llvm::any_of(result.getUsers(), isBackward))
          bytes += bytesOf(result.getType()).perToken;
      double flops = flopsOf(&op).perToken;
      if (bytes > 0)
        candidates.push_back({{e, id}, bytes / std::max(flops, 1.0)});
    }
  }
  llvm::sort(candidates, [](const Candidate &a, const Candidate &b) {
    return std::tuple(-a.bytesPerFlop, a.id) <
           std::tuple(-b.bytesPerFlop, b.id);
  });
  return candidates;
}

/// The largest arena of the module under `choice`, learnt on a copy.
FailureOr<int64_t> trialArena(ModuleOp module, const Choice &choice,
                              const TrialSteps &steps) {
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
  cloneInto(*copy, choice);
  if (steps.beforeFuse && failed(steps.beforeFuse(*copy)))
    return failure();
  int64_t absorbed = 0;
  for (func::FuncOp entry : entriesOf(*copy)) {
    scheduleEntry(entry);
    if (failed(fuseEntry(entry, absorbed)))
      return failure();
  }
  if (steps.beforeOutline && failed(steps.beforeOutline(*copy)))
    return failure();
  if (failed(outlineKernels(*copy)))
    return failure();
  return planMemory(*copy, steps.memory);
}

/// Looks for the shortest prefix of the candidates whose plan meets the limit:
/// more rebuilding needs less memory, but for the little that the order of
/// buffers adds or takes. The operands of both parts come before all candidates.
class LimitSearch {
public:
  LimitSearch(ModuleOp module, int64_t limit, const TrialSteps &steps)
      : module(module), limit(limit), steps(steps) {
    OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
    cloneInto(*copy, {.rebuilt = {}, .keepsOperands = false});
    candidates = candidatesOf(*copy);
  }

  Choice choiceOf(size_t count) const {
    Choice choice{.rebuilt = {}, .keepsOperands = count == 0 && steps.memory.keepsOperands};
    for (size_t i = 1; i < count; ++i)
      choice.rebuilt.insert(candidates[i - 1].id);
    return choice;
  }

  FailureOr<bool> fits(size_t count) {
    FailureOr<int64_t> arena = trialArena(module, choiceOf(count), steps);
    if (failed(arena))
      return failure();
    smallest = std::min(smallest, *arena);
    return *arena <= limit;
  }

  /// A length that fits: 0 where that does, else one near the whole list.
  /// Rebuilding everything may need more than rebuilding most.
  FailureOr<std::optional<size_t>> findAny() {
    SmallVector<size_t> lengths{0};
    for (size_t eighths = 8; eighths > 0; --eighths)
      if (size_t length = (candidates.size() + 1) * eighths / 8;
          length > 0 && length != lengths.back())
        lengths.push_back(length);
    for (size_t length : lengths) {
      FailureOr<bool> ok = fits(length);
      if (failed(ok))
        return failure();
      if (*ok)
        return std::optional(length);
    }
    return std::optional<size_t>();
  }

  /// The shortest that fits, `high` being one that does.
  FailureOr<size_t> shorten(size_t high) {
    size_t low = 0;
    while (high > 0 && high - low > 1) {
      size_t middle = (low + high) / 2;
      FailureOr<bool> ok = fits(middle);
      if (failed(ok))
        return failure();
      (*ok ? high : low) = middle;
    }
    return high;
  }

  int64_t smallest = std::numeric_limits<int64_t>::max(); ///< arena seen

private:
  ModuleOp module;
  int64_t limit;
  const TrialSteps &steps;
  SmallVector<Candidate> candidates;
};

} // namespace

double keptBytesPerToken(func::FuncOp entry) {
  OwningOpRef<func::FuncOp> copy(entry.clone());
  EntryRecompute(*copy, {}, true).run();
  double bytes = 0;
  for (Operation &op : copy->getBody().front().without_terminator())
    if (!isBackward(&op) && !isReadOp(&op) && !isIndexOp(&op))
      for (Value result : op.getResults())
        if (llvm::any_of(result.getUsers(), isBackward))
          bytes += bytesOf(result.getType()).perToken;
  return bytes;
}

FailureOr<bool> canMeetLimit(ModuleOp module, int64_t memoryLimit,
                             const TrialSteps &steps) {
  FailureOr<std::optional<size_t>> found =
      LimitSearch(module, memoryLimit, steps).findAny();
  if (failed(found))
    return failure();
  return found->has_value();
}

FailureOr<int64_t> recompute(ModuleOp module, int64_t memoryLimit,
                             const TrialSteps &steps) {
  OpBuilder builder(module.getContext());
  // Without fusion every token tensor would cross memory, in the type the
  // precision policy stores activations in.
  const rt::PrecisionPolicy *policy = precisionPolicyOf(module);
  double narrower = policy ? double(rt::dtypeBytes(policy->activation)) /
                                 double(rt::dtypeBytes(policy->maths))
                           : 1;
  for (func::FuncOp entry : entriesOf(module)) {
    PerToken bytes;
    for (Operation &op : entry.getBody().front().without_terminator())
      bytes += unfusedBytesOf(&op);
    entry->setAttr("pg.unfused_bytes_per_token",
                   builder.getF64FloatAttr(bytes.perToken * narrower));
    entry->setAttr("pg.unfused_bytes_fixed",
                   builder.getF64FloatAttr(bytes.fixed));
  }
  if (memoryLimit <= 0)
    return cloneInto(module, {.rebuilt = {}, .keepsOperands = steps.memory.keepsOperands});

  LimitSearch search(module, memoryLimit, steps);
  FailureOr<std::optional<size_t>> any = search.findAny();
  if (failed(any))
    return failure();
  if (!any->has_value())
    return module.emitError("the memory plan needs at least ")
           << search.smallest
           << " arena bytes with everything rebuilt that can be, the limit "
              "is "
           << memoryLimit
           << " bytes; raise the limit or lower the maximum of tokens (now "
           << maxTokensOf(module) << ")";
  FailureOr<size_t> enough = search.shorten(**any);
  if (failed(enough))
    return failure();
  return cloneInto(module, search.choiceOf(*enough));
}

#define GEN_PASS_DEF_RECOMPUTEPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct RecomputePass : impl::RecomputePassBase<RecomputePass> {
  using Base::Base;
  void runOnOperation() override {
    TrialSteps steps;
    steps.memory.keepsOperands = keepsOperands;
    FailureOr<int64_t> clones = recompute(getOperation(), memoryLimit, steps);
    if (failed(clones))
      return signalPassFailure();
    numClones = *clones;
  }
};
} // namespace

} // namespace pg
