//===- Derive.cpp - the entries of each phase -----------------------------===//
//
// 1. Copy `forward@P` once per program and keep only that program's output;
//    simplification then drops what the output does not need.
// 2. `logits@P`: take the wanted rows below the head instead of above it, so
//    that everything on the head's side has M rows.
// 3. `accumulate@P`: append the gradient.
// 4. Remove stop_gradient, simplify, and clear the gradient's mark from
//    constants, which folding shares between both parts.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Differentiate.h"
#include "passes/derive/Passes.h"
#include "passes/derive/Simplify.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_DERIVEPASS
#include "passes/derive/Passes.h.inc"

namespace {

constexpr StringLiteral kForwardPrefix = "forward@";

OutputOp findOutput(func::FuncOp entry, StringRef name) {
  for (auto output : entry.getOps<OutputOp>())
    if (output.getName() == name)
      return output;
  return {};
}

/// A copy of `forward` named `program@P` with the one output `output`.
FailureOr<func::FuncOp> copyEntry(func::FuncOp forward, StringRef program,
                                  StringRef output) {
  if (!findOutput(forward, output))
    return forward.emitError("entry '")
           << forward.getName() << "' has no output '" << output << "'";
  OpBuilder builder(forward);
  auto copy = cast<func::FuncOp>(builder.clone(*forward));
  StringRef phase = forward.getName().drop_front(kForwardPrefix.size());
  copy.setName((program + "@" + phase).str());
  for (auto op : llvm::make_early_inc_range(copy.getOps<OutputOp>()))
    if (op.getName() != output)
      op.erase();
  return copy;
}

/// Rebuilds values for the M wanted rows alone.
class RowTaker {
public:
  RowTaker(OpBuilder &builder, Value rows)
      : builder(builder), rows(rows),
        count(cast<RankedTensorType>(rows.getType()).getDimSize(0)) {}

  /// The wanted rows of `value`. `isBelowHead` is true under the product that
  /// makes the logits: there only a single chain is followed, so that the walk
  /// stops at the final hidden state instead of climbing the residual stream.
  Value take(Value value, bool isBelowHead) {
    if (!isTokenTensor(value.getType()))
      return value;
    if (Value known = taken.lookup(value))
      return known;
    Operation *op = value.getDefiningOp();
    auto product = dyn_cast_or_null<MatmulOp>(op);
    bool isHead = product && !isBelowHead && !product.getTransposeA() &&
                  !isTokenTensor(product.getB().getType());
    Value result;
    if (op && (isRepeated(value) ||
               (isOnlyUser(value) && (isHead || isRowWise(op, isBelowHead)))))
      result = rebuild(op, isBelowHead || isHead);
    else
      result = TakeRowsOp::create(builder, value.getLoc(),
                                  withRows(value.getType()), value, rows);
    taken[value] = result;
    return result;
  }

private:
  RankedTensorType withRows(Type type) {
    auto tensor = cast<RankedTensorType>(type);
    SmallVector<int64_t> shape(tensor.getShape());
    shape[0] = count;
    return RankedTensorType::get(shape, tensor.getElementType());
  }

  static bool hasRole(Operation *op, FusionRole role) {
    auto fusion = dyn_cast_or_null<FusionOpInterface>(op);
    return fusion && fusion.getFusionRole() == role;
  }

  /// True for a static value repeated over tokens (or a fill).
  static bool isRepeated(Value value) {
    Operation *op = value.getDefiningOp();
    return hasRole(op, FusionRole::Map) &&
           llvm::none_of(op->getOperandTypes(), isTokenTensor);
  }

  /// True when one op alone uses `value`, so that taking rows saves the rest.
  static bool isOnlyUser(Value value) {
    return llvm::all_equal(value.getUsers());
  }

  static bool isRowWise(Operation *op, bool isSingleChain) {
    if (op->getNumResults() != 1 ||
        (!hasRole(op, FusionRole::Map) && !hasRole(op, FusionRole::RowReduce)))
      return false;
    if (!isSingleChain)
      return true;
    llvm::SmallPtrSet<Value, 2> chains;
    for (Value operand : op->getOperands())
      if (isTokenTensor(operand.getType()) && !isRepeated(operand))
        chains.insert(operand);
    return chains.size() == 1;
  }

  Value rebuild(Operation *op, bool isBelowHead) {
    IRMapping mapping;
    for (Value operand : op->getOperands())
      mapping.map(operand, take(operand, isBelowHead));
    Operation *copy = builder.clone(*op, mapping);
    copy->getResult(0).setType(withRows(op->getResult(0).getType()));
    return copy->getResult(0);
  }

  OpBuilder &builder;
  Value rows;
  int64_t count;
  llvm::DenseMap<Value, Value> taken;
};

void takeLogitRows(func::FuncOp entry, int64_t count) {
  OutputOp output = findOutput(entry, "logits");
  OpBuilder builder(output);
  auto type = RankedTensorType::get({count}, builder.getI32Type());
  Value rows = InputOp::create(builder, output.getLoc(), type, "rows");
  Value taken = RowTaker(builder, rows).take(output.getValue(), false);
  output.getValueMutable().assign(taken);
}

/// Declares `grad.<parameter>` for every parameter, in their order.
void declareGradients(ModuleOp module) {
  SmallVector<ParameterOp> parameters(module.getOps<ParameterOp>());
  if (parameters.empty())
    return;
  OpBuilder builder(module.getContext());
  builder.setInsertionPointAfter(parameters.back());
  for (ParameterOp parameter : parameters) {
    std::string name = gradientName(parameter.getSymName());
    if (!module.lookupSymbol(name))
      StateOp::create(builder, parameter.getLoc(), builder.getStringAttr(name),
                      parameter.getTypeAttr(),
                      builder.getStringAttr("gradient"),
                      FlatSymbolRefAttr::get(parameter.getSymNameAttr()),
                      builder.getF64FloatAttr(0.0));
  }
}

struct DerivePass : impl::DerivePassBase<DerivePass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto rows = module->getAttrOfType<IntegerAttr>("pg.logit_rows");
    if (!rows || rows.getInt() < 1) {
      module.emitError("expects a positive module attribute 'pg.logit_rows'");
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> logits, accumulate;
    if (failed(copyEntries(module, logits, accumulate)) ||
        failed(simplify(module)))
      return signalPassFailure();
    declareGradients(module);
    for (func::FuncOp entry : logits)
      takeLogitRows(entry, rows.getInt());
    for (func::FuncOp entry : accumulate)
      if (failed(differentiate(entry, findOutput(entry, "nll").getValue(),
                               "loss_scale")))
        return signalPassFailure();
    module.walk([](StopGradientOp op) {
      op.replaceAllUsesWith(op.getX());
      op.erase();
    });
    if (failed(simplify(module)))
      return signalPassFailure();
    module.walk([](Operation *op) {
      if (op->hasTrait<OpTrait::ConstantLike>())
        op->removeAttr(kBackwardAttr);
    });
  }

private:
  LogicalResult copyEntries(ModuleOp module, SmallVector<func::FuncOp> &logits,
                            SmallVector<func::FuncOp> &accumulate) {
    for (auto forward :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!forward.getName().starts_with(kForwardPrefix))
        continue;
      FailureOr<func::FuncOp> score = copyEntry(forward, "score", "nll");
      FailureOr<func::FuncOp> rows = copyEntry(forward, "logits", "logits");
      FailureOr<func::FuncOp> grads = copyEntry(forward, "accumulate", "nll");
      if (failed(score) || failed(rows) || failed(grads))
        return failure();
      logits.push_back(*rows);
      accumulate.push_back(*grads);
      forward.erase();
    }
    return success();
  }

  LogicalResult simplify(ModuleOp module) {
    OpPassManager pipeline(ModuleOp::getOperationName());
    addSimplification(pipeline);
    return runPipeline(pipeline, module);
  }
};

} // namespace
} // namespace pg
