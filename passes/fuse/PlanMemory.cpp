//===- PlanMemory.cpp - one static arena plan per entry
//--------------------===//
//
//   1. Every launch result is a buffer of its bytes at pg.max_tokens, rounded
//      up to 64. It lives from its launch to the last launch or output that
//      reads it (through views). A launch's inputs and results overlap.
//   2. live bytes: the largest sum of living buffers over all launches. No plan
//      can be smaller.
//   3. Buffers are placed one at a time, each into the tightest hole between
//      the placed ones it overlaps in time. Three orders are tried (size; size
//      times lifetime; launch order), the smallest arena wins, the first on a
//      tie.
//   4. Asked to spread, an entry without a token axis (the optimizer's update) is
//      planned once more so that buffers are left alone for as many launches after
//      their last reader as the largest arena has room for: chains of launches
//      that share nothing but memory may then run side by side.
//   5. Where the target allows it, a result of a row kernel may lie where an
//      operand lies that ends there (InPlace.cpp): both are one buffer then. The
//      entry is planned with and without, and keeps the smaller arena, on a tie
//      the one in place.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/InPlace.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

#include <limits>
#include <optional>

using namespace mlir;

namespace pg {

namespace {

constexpr int64_t kAlignment = 64;

struct Buffer {
  SmallVector<Value, 1> values; ///< one after the other, each made from the last
  int64_t bytes;
  int64_t first, last; ///< launches, inclusive
  int64_t offset = 0;
};

/// Last launch that reads `value`, through views; outputs count as `end`.
int64_t lastUse(Value value, const llvm::DenseMap<Operation *, int64_t> &index,
                int64_t end, int64_t last) {
  for (Operation *user : value.getUsers()) {
    if (isa<OutputOp>(user))
      last = std::max(last, end);
    else if (isa<ReshapeOp>(user))
      last = lastUse(user->getResult(0), index, end, last);
    else
      last = std::max(last, index.lookup(user));
  }
  return last;
}

/// Best fit in the given order; returns the arena's size.
int64_t pack(MutableArrayRef<Buffer> buffers, ArrayRef<size_t> order) {
  int64_t arena = 0;
  SmallVector<size_t> placed; // sorted by offset
  for (size_t next : order) {
    Buffer &buffer = buffers[next];
    int64_t best = -1, bestHole = std::numeric_limits<int64_t>::max(), end = 0;
    for (size_t other : placed) {
      const Buffer &neighbour = buffers[other];
      if (neighbour.last < buffer.first || buffer.last < neighbour.first)
        continue;
      int64_t hole = neighbour.offset - end;
      if (hole >= buffer.bytes && hole < bestHole) {
        best = end;
        bestHole = hole;
      }
      end = std::max(end, neighbour.offset + neighbour.bytes);
    }
    buffer.offset = best >= 0 ? best : end;
    arena = std::max(arena, buffer.offset + buffer.bytes);
    auto at = llvm::upper_bound(placed, buffer.offset,
                                [&](int64_t offset, size_t other) {
                                  return offset < buffers[other].offset;
                                });
    placed.insert(at, next);
  }
  return arena;
}

int64_t liveBytes(ArrayRef<Buffer> buffers, int64_t numLaunches) {
  std::vector<int64_t> change(numLaunches + 2, 0);
  for (const Buffer &buffer : buffers) {
    change[buffer.first] += buffer.bytes;
    change[buffer.last + 1] -= buffer.bytes;
  }
  int64_t live = 0, most = 0;
  for (int64_t delta : change)
    most = std::max(most, live += delta);
  return most;
}

/// Point 4: offsets within `room` bytes, or nothing when that allows no more than
/// the tightest plan. Returns the arena.
std::optional<int64_t> spread(MutableArrayRef<Buffer> buffers,
                              ArrayRef<size_t> order, int64_t numLaunches,
                              int64_t room) {
  for (int64_t extra = numLaunches; extra > 0; extra /= 2) {
    SmallVector<Buffer> kept(buffers);
    for (Buffer &buffer : kept)
      buffer.last = std::min(numLaunches, buffer.last + extra);
    int64_t size = pack(kept, order);
    if (size > room)
      continue;
    for (auto [buffer, placed] : llvm::zip(buffers, kept))
      buffer.offset = placed.offset;
    return size;
  }
  return std::nullopt;
}

/// What row kernels may write over, once for every kernel.
using ReusesByKernel = llvm::StringMap<SmallVector<Reuse>>;

/// The operand of `launch` whose memory result number `number` may take: made by
/// a launch, read here last, once and through no view.
Value operandToReuse(LaunchOp launch, unsigned number, int64_t at,
                     ArrayRef<Reuse> reuses, llvm::DenseSet<Value> &taken,
                     function_ref<int64_t(Value)> lastUseOf) {
  for (const Reuse &reuse : reuses) {
    if (reuse.result != number)
      continue;
    Value operand = launch.getInputs()[reuse.argument];
    Operation *def = operand.getDefiningOp();
    bool isOwn = isa_and_nonnull<LaunchOp>(def) && lastUseOf(operand) == at &&
                 operand.getType() == launch.getResult(number).getType() &&
                 llvm::count_if(launch.getInputs(), [&](Value other) {
                   return throughReshapes(other) == operand;
                 }) == 1;
    if (isOwn && taken.insert(operand).second)
      return operand;
  }
  return {};
}

/// The smallest of three packings; leaves its offsets in `buffers`.
int64_t packTightly(SmallVectorImpl<Buffer> &buffers,
                    SmallVectorImpl<size_t> &bySize) {
  SmallVector<size_t> inOrder(buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i)
    inOrder[i] = i;
  SmallVector<SmallVector<size_t>> orders(3, inOrder);
  llvm::sort(orders[0], [&](size_t a, size_t b) {
    return std::tuple(-buffers[a].bytes, a) < std::tuple(-buffers[b].bytes, b);
  });
  auto area = [&](size_t i) {
    return double(buffers[i].bytes) *
           double(buffers[i].last - buffers[i].first + 1);
  };
  llvm::sort(orders[1], [&](size_t a, size_t b) {
    return std::tuple(-area(a), a) < std::tuple(-area(b), b);
  });
  bySize = orders[0];

  int64_t arena = std::numeric_limits<int64_t>::max();
  SmallVector<Buffer> best;
  for (auto &order : orders) {
    int64_t size = pack(buffers, order);
    if (size < arena) {
      arena = size;
      best.assign(buffers.begin(), buffers.end());
    }
  }
  buffers.assign(best.begin(), best.end());
  return buffers.empty() ? 0 : arena;
}

/// Tight for `room` = 0.
int64_t planEntry(func::FuncOp entry, int64_t maxTokens, int64_t room,
                  const ReusesByKernel &reuses) {
  SmallVector<LaunchOp> launches(entry.getBody().front().getOps<LaunchOp>());
  llvm::DenseMap<Operation *, int64_t> index;
  for (auto [i, launch] : llvm::enumerate(launches))
    index[launch] = i;
  int64_t end = launches.size();

  auto buffersOf = [&](bool inPlace) {
    SmallVector<Buffer> buffers;
    llvm::DenseMap<Value, size_t> bufferOf;
    llvm::DenseSet<Value> taken;
    for (auto [i, launch] : llvm::enumerate(launches)) {
      auto lastUseOf = [&](Value value) {
        return lastUse(value, index, end, index.lookup(value.getDefiningOp()));
      };
      for (auto [number, result] : llvm::enumerate(launch.getResults())) {
        int64_t last = lastUse(result, index, end, i);
        Value operand =
            inPlace ? operandToReuse(launch, number, i,
                                     reuses.lookup(launch.getKernel()), taken,
                                     lastUseOf)
                    : Value();
        if (operand) {
          size_t shared = bufferOf.lookup(operand);
          bufferOf[result] = shared;
          buffers[shared].values.push_back(result);
          buffers[shared].last = last;
          continue;
        }
        int64_t bytes = llvm::alignTo(
            std::max<int64_t>(bytesAt(result.getType(), maxTokens), 1),
            kAlignment);
        bufferOf[result] = buffers.size();
        buffers.push_back({{result}, bytes, int64_t(i), last});
      }
    }
    return buffers;
  };

  SmallVector<size_t> bySize;
  SmallVector<Buffer> best = buffersOf(/*inPlace=*/false);
  int64_t arena = packTightly(best, bySize);
  if (!reuses.empty()) {
    SmallVector<size_t> order;
    SmallVector<Buffer> shared = buffersOf(/*inPlace=*/true);
    if (int64_t size = packTightly(shared, order); size <= arena) {
      arena = size;
      best = std::move(shared);
      bySize = std::move(order);
    }
  }

  if (room > 0 && !best.empty())
    arena = spread(best, bySize, end, room).value_or(arena);

  llvm::DenseMap<Value, int64_t> offsets;
  for (const Buffer &buffer : best)
    for (Value value : buffer.values)
      offsets[value] = buffer.offset;
  OpBuilder builder(entry.getContext());
  for (LaunchOp launch : launches) {
    SmallVector<int64_t> values;
    for (Value result : launch.getResults())
      values.push_back(offsets.lookup(result));
    launch.setOffsets(values);
  }
  entry->setAttr("pg.arena_bytes", builder.getI64IntegerAttr(arena));
  entry->setAttr("pg.live_bytes",
                 builder.getI64IntegerAttr(liveBytes(best, end)));
  return arena;
}

} // namespace

static bool hasTokens(func::FuncOp entry) {
  return llvm::any_of(entry.getBody().front(), [](Operation &op) {
    return llvm::any_of(op.getOperandTypes(), isTokenTensor) ||
           llvm::any_of(op.getResultTypes(), isTokenTensor);
  });
}

FailureOr<int64_t> planMemory(ModuleOp module, MemoryRules rules) {
  ReusesByKernel reuses;
  if (rules.inPlace)
    for (auto def : module.getOps<KernelDefOp>())
      if (SmallVector<Reuse> found = reusesOf(def); !found.empty())
        reuses[def.getSymName()] = std::move(found);
  int64_t largest = 0;
  for (func::FuncOp entry : entriesOf(module)) {
    if (!entry.getOps<KernelOp>().empty())
      return (*entry.getOps<KernelOp>().begin())
          .emitError("memory planning expects launches, got a kernel in place; "
                     "run pg-outline first");
    largest = std::max(largest, planEntry(entry, maxTokensOf(module), 0, reuses));
  }
  if (rules.spreads)
    for (func::FuncOp entry : entriesOf(module))
      if (!hasTokens(entry))
        planEntry(entry, maxTokensOf(module), largest, reuses);
  return largest;
}

#define GEN_PASS_DEF_PLANMEMORYPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct PlanMemoryPass : impl::PlanMemoryPassBase<PlanMemoryPass> {
  using Base::Base;
  void runOnOperation() override {
    FailureOr<int64_t> arena = planMemory(getOperation(), {spreads, inPlace});
    if (failed(arena))
      return signalPassFailure();
    arenaBytes = *arena;
  }
};
} // namespace

} // namespace pg
