//===- Differentiate.cpp - reverse mode over one block --------------------===//
//
// 1. A parameter repeated over tokens gets one broadcast per use, so that each
//    use is reduced to the parameter's shape at once and no cotangent with a
//    token axis waits for the last use (equal broadcasts merge again later).
// 2. Values that depend on a leaf (a parameter or state asked for) are varied;
//    only they get cotangents.
// 3. Walk the forward ops backwards. An op one of whose results has a cotangent
//    is asked for its vector-Jacobian product. A contribution to a leaf is
//    stored at once; one to another value is added to what that value has, also
//    at once, so that a long residual chain holds one cotangent at a time.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Differentiate.h"
#include "passes/derive/Passes.h"

using namespace mlir;

namespace pg {

std::string gradientName(StringRef symbol) {
  return ("grad." + symbol).str();
}

namespace {

bool isFloat(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isa<FloatType>(type.getElementType());
}

void splitRepeatedStatics(Block &block) {
  for (auto op : llvm::make_early_inc_range(block.getOps<BroadcastOp>())) {
    if (isTokenTensor(op.getX().getType()) || !isTokenTensor(op.getType()))
      continue;
    for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
      if (op->hasOneUse())
        break;
      OpBuilder builder(use.getOwner());
      use.set(builder.clone(*op)->getResult(0));
    }
  }
}

class Differentiator {
public:
  Differentiator(Block &block, OpBuilder &builder, const GradientSpec &spec)
      : block(block), builder(builder), spec(spec) {}

  LogicalResult run(Value output, Value seed) {
    SmallVector<Operation *> forward;
    for (Operation &op : block.without_terminator()) {
      if (op.hasAttr(kBackwardAttr))
        break;
      forward.push_back(&op);
    }
    findVaried(forward);
    contribute(output, seed, output.getLoc());
    for (Operation *op : llvm::reverse(forward))
      if (failed(visit(op)))
        return failure();
    return success();
  }

private:
  void findVaried(ArrayRef<Operation *> forward) {
    for (Operation *op : forward) {
      bool isVaried =
          isa<ParamOp, ReadStateOp>(op) && !spec.stateOf(op).empty();
      if (isa<DifferentiableOpInterface>(op))
        isVaried |= llvm::any_of(op->getOperands(), [&](Value operand) {
          return varied.contains(operand);
        });
      if (!isVaried)
        continue;
      for (Value result : op->getResults())
        if (isFloat(result))
          varied.insert(result);
    }
  }

  void contribute(Value value, Value cotangent, Location loc) {
    if (!cotangent || !varied.contains(value))
      return;
    if (Operation *leaf = value.getDefiningOp();
        isa_and_nonnull<ParamOp, ReadStateOp>(leaf)) {
      StoreOp::create(builder, loc, StoreMode::accumulate, spec.stateOf(leaf),
                      cotangent);
      return;
    }
    Value &sum = cotangents[value];
    sum = sum ? AddOp::create(builder, loc, value.getType(), sum, cotangent)
                    .getResult()
              : cotangent;
  }

  LogicalResult visit(Operation *op) {
    auto differentiable = dyn_cast<DifferentiableOpInterface>(op);
    if (!differentiable)
      return success();
    SmallVector<Value> incoming;
    for (Value result : op->getResults())
      incoming.push_back(cotangents.lookup(result));
    if (llvm::none_of(incoming, [](Value value) { return bool(value); }))
      return success();
    SmallVector<Value> grads;
    if (failed(differentiable.vjp(builder, incoming, grads)))
      return failure();
    for (auto [operand, grad] : llvm::zip_equal(op->getOperands(), grads))
      contribute(operand, grad, op->getLoc());
    return success();
  }

  Block &block;
  OpBuilder &builder;
  const GradientSpec &spec;
  llvm::DenseSet<Value> varied;
  llvm::DenseMap<Value, Value> cotangents;
};

} // namespace

LogicalResult differentiate(func::FuncOp entry, Value output,
                            const GradientSpec &spec) {
  Block &block = entry.getBody().front();
  splitRepeatedStatics(block);
  BackwardMarker marker;
  OpBuilder builder(block.getTerminator());
  builder.setListener(&marker);
  auto type = cast<RankedTensorType>(output.getType());
  Location loc = output.getLoc();
  Value scale = ScalarOp::create(
      builder, loc, RankedTensorType::get({}, type.getElementType()),
      builder.getStringAttr(spec.scale));
  Value seed = BroadcastOp::create(builder, loc, type, scale,
                                   builder.getDenseI64ArrayAttr({}));
  if (!spec.weights.empty()) {
    Value weights = InputOp::create(builder, loc, type,
                                    builder.getStringAttr(spec.weights));
    seed = MulOp::create(builder, loc, type, seed, weights);
  }
  return Differentiator(block, builder, spec).run(output, seed);
}

} // namespace pg
