//===- Fuse.cpp - ops to pg.kernel regions
//---------------------------------===//
//
// Builds one pg.kernel for each group of KernelGroups.cpp. A body is written by
// walking back from what the kernel yields: operands, argument order and op
// order follow from the yields alone, so equal kernels of different layers
// come out equal whatever the program order was. Equal ops of one body are
// merged; index ops are copied in; reshapes between kernels stay outside as
// views of memory.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/KernelGroups.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace pg {

namespace {

class EntryFuser {
public:
  EntryFuser(func::FuncOp entry, const KernelPlan &plan)
      : entry(entry), plan(plan), outer(entry.getContext()) {}

  void run() {
    Block &block = entry.getBody().front();
    SmallVector<Operation *> old;
    for (Operation &op : block.without_terminator())
      old.push_back(&op);
    outer.setInsertionPoint(block.getTerminator());
    for (Operation *op : old)
      if (isReadOp(op))
        op->moveBefore(block.getTerminator());
    for (const KernelGroup &group : plan.groups)
      build(group);
    for (Operation *op : old)
      if (auto output = dyn_cast<OutputOp>(op)) {
        output.getValueMutable().assign(inMemory(output.getValue()));
        output->moveBefore(block.getTerminator());
      }
    for (Operation *op : llvm::reverse(old)) {
      if (isa<OutputOp>(op) || (isReadOp(op) && !op->use_empty()))
        continue;
      op->dropAllUses();
      op->erase();
    }
  }

private:
  /// The value outside kernels that holds `value`, as a view where its shape
  /// differs from what lies in memory.
  Value inMemory(Value value) {
    Value base = throughReshapes(value);
    Value now = memory.lookup(base);
    if (!now)
      now = base; // a read
    if (base.getType() == value.getType())
      return now;
    Value &view = views[{now, value.getType()}];
    if (!view)
      view = ReshapeOp::create(outer, value.getLoc(), value.getType(), now);
    return view;
  }

  void build(const KernelGroup &group) {
    members.clear();
    members.insert(group.ops.begin(), group.ops.end());
    arguments.clear();
    inner.clear();
    merged.clear();
    outerInputs.clear();

    Region region;
    body = new Block();
    region.push_back(body);
    OpBuilder in(entry.getContext());
    in.setInsertionPointToEnd(body);

    SmallVector<Value> yields;
    SmallVector<Type> types;
    SmallVector<Attribute> targets;
    if (group.combined) {
      Value partial = partials.lookup(group.combined->getResult(0));
      Value chunk =
          argument(partial, partial.getType(), group.combined->getLoc());
      Type type = group.combined->getResult(0).getType();
      Value sum = CombineOp::create(in, group.combined->getLoc(), type, chunk);
      inner[group.combined->getResult(0)] = sum;
    }
    for (Value result : group.results) {
      Value yielded = emit(result, in);
      yields.push_back(yielded);
      types.push_back(yielded.getType());
    }
    SmallVector<Location> locations;
    for (Operation *op : group.ops)
      locations.push_back(op->getLoc());
    if (group.combined)
      locations.push_back(group.combined->getLoc());
    for (StoreOp store : group.stores) {
      yields.push_back(emit(store.getValue(), in));
      targets.push_back(TargetAttr::get(entry.getContext(), store.getNameAttr(),
                                        store.getMode()));
      locations.push_back(store.getLoc());
    }
    Location loc = FusedLoc::get(entry.getContext(), locations);
    YieldOp::create(in, loc, yields);

    auto kernel = KernelOp::create(
        outer, loc, types, outerInputs,
        targets.empty() ? ArrayAttr()
                        : ArrayAttr::get(entry.getContext(), targets));
    kernel.getBody().takeBody(region);
    for (auto [old, now] : llvm::zip(group.results, kernel.getResults())) {
      bool isPartial = !group.combined &&
                       roleOf(old.getDefiningOp()) == FusionRole::TokenReduce;
      (isPartial ? partials : memory)[old] = now;
    }
  }

  Value argument(Value now, Type type, Location loc) {
    Value &arg = arguments[now];
    if (!arg) {
      arg = body->addArgument(type, loc);
      outerInputs.push_back(now);
    }
    return arg;
  }

  /// `value` inside the kernel under construction.
  Value emit(Value value, OpBuilder &in) {
    if (Value known = inner.lookup(value))
      return known;
    Operation *def = value.getDefiningOp();
    bool isMember = members.contains(def);
    if (!isMember && !isIndexOp(def)) {
      Value now = inMemory(value);
      return argument(now, value.getType(), value.getLoc());
    }
    SmallVector<Value> operands;
    FusionRole role = roleOf(def);
    bool readsMemory =
        role == FusionRole::Structured || role == FusionRole::Neighbour;
    for (Value operand : def->getOperands()) {
      if (readsMemory && !members.contains(operand.getDefiningOp()))
        operands.push_back(
            argument(inMemory(operand), operand.getType(), operand.getLoc()));
      else
        operands.push_back(emit(operand, in));
    }
    if (isMember && role == FusionRole::TokenReduce) {
      auto type = cast<RankedTensorType>(operands[0].getType());
      auto chunks = RankedTensorType::get(
          type.getShape(), type.getElementType(),
          ChunksAttr::get(entry.getContext(), kChunkRows));
      return inner[value] =
                 PartialSumOp::create(in, def->getLoc(), chunks, operands[0]);
    }
    Operation *copy = copyOnce(def, operands, in);
    for (auto [old, now] : llvm::zip(def->getResults(), copy->getResults()))
      inner[old] = now;
    return inner[value];
  }

  /// Clones `op` onto `operands`, or returns an equal op of this body.
  Operation *copyOnce(Operation *op, ArrayRef<Value> operands, OpBuilder &in) {
    std::string key;
    llvm::raw_string_ostream text(key);
    text << op->getName();
    for (NamedAttribute attr : op->getAttrs())
      if (!attr.getName().getValue().starts_with("pg."))
        text << ' ' << attr.getName().getValue() << '='
             << attr.getValue().getAsOpaquePointer();
    for (Value operand : operands)
      text << ' ' << operand.getAsOpaquePointer();
    for (Type type : op->getResultTypes())
      text << ' ' << type.getAsOpaquePointer();
    Operation *&copy = merged[key];
    if (copy)
      return copy;
    IRMapping map;
    map.map(op->getOperands(), operands);
    copy = in.clone(*op, map);
    copy->removeDiscardableAttr(kBackwardAttr);
    copy->removeDiscardableAttr(kRecomputeAttr);
    return copy;
  }

  func::FuncOp entry;
  const KernelPlan &plan;
  OpBuilder outer;
  llvm::DenseMap<Value, Value> memory, partials;
  llvm::DenseMap<std::pair<Value, Type>, Value> views;
  // Of the kernel under construction.
  llvm::DenseSet<Operation *> members;
  llvm::DenseMap<Value, Value> arguments, inner;
  llvm::StringMap<Operation *> merged;
  SmallVector<Value> outerInputs;
  Block *body = nullptr;
};

} // namespace

LogicalResult fuseEntry(func::FuncOp entry, int64_t &numAbsorbed) {
  duplicateCheapMaps(entry);
  AbsorbedBy absorbed = absorbIntoProducts(entry);
  FailureOr<KernelPlan> plan = planKernels(entry, absorbed);
  if (failed(plan))
    return failure();
  numAbsorbed += absorbed.size();
  EntryFuser(entry, *plan).run();
  return success();
}

#define GEN_PASS_DEF_FUSEPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct FusePass : impl::FusePassBase<FusePass> {
  using Base::Base;
  void runOnOperation() override {
    int64_t absorbed = 0;
    for (func::FuncOp entry : entriesOf(getOperation())) {
      if (failed(fuseEntry(entry, absorbed)))
        return signalPassFailure();
      entry.walk([&](KernelOp) { ++numKernels; });
    }
    numAbsorbed = absorbed;
  }
};
} // namespace

} // namespace pg
