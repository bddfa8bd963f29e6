//===- Derive.cpp - the entries of each phase -----------------------------===//
//
// 1. Copy `forward@P` once per wanted program and keep only that program's
//    output; simplification then drops what the output does not need. Copies of
//    `adapted@P` make the programs with adapters.
// 2. `logits@P`: take the wanted rows below the head instead of above it, so
//    that everything on the head's side has M rows.
// 3. `accumulate@P`: put the fake quantisation behind the weights that have
//    one, append the gradient w.r.t. parameters; `adapt@P`: append that w.r.t.
//    adapters alone.
// 4. Remove stop_gradient, simplify, and clear the gradient's mark from
//    constants, which folding shares between both parts.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Differentiate.h"
#include "passes/derive/FakeQuantise.h"
#include "passes/derive/Passes.h"
#include "passes/derive/Programs.h"
#include "passes/derive/Simplify.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_DERIVEPASS
#include "passes/derive/Passes.h.inc"

namespace {

constexpr StringLiteral kForwardPrefix = "forward@";
constexpr StringLiteral kAdaptedPrefix = "adapted@";
constexpr StringLiteral kAdapterRole = "adapter";

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
  StringRef phase = forward.getName().split('@').second;
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

/// Declares `grad.<adapter>` for the adapters that have none.
void declareAdapterGradients(ModuleOp module) {
  for (StateOp state : llvm::make_early_inc_range(module.getOps<StateOp>())) {
    std::string name = gradientName(state.getSymName());
    if (state.getRole() != kAdapterRole || module.lookupSymbol(name))
      continue;
    OpBuilder builder(module.getContext());
    builder.setInsertionPointAfter(state);
    StateOp::create(builder, state.getLoc(), builder.getStringAttr(name),
                    state.getTypeAttr(),
                    builder.getStringAttr("adapter_gradient"),
                    FlatSymbolRefAttr(), builder.getF64FloatAttr(0.0));
  }
}

/// Copies of the forward functions by what is still to be done with them.
struct Copies {
  SmallVector<func::FuncOp> logits, accumulate, adapt;
};

struct DerivePass : impl::DerivePassBase<DerivePass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto rows = module->getAttrOfType<IntegerAttr>("pg.logit_rows");
    if (!rows || rows.getInt() < 1) {
      module.emitError("expects a positive module attribute 'pg.logit_rows'");
      return signalPassFailure();
    }
    Copies copies;
    if (failed(copyEntries(module, copies)) ||
        failed(fakeQuantise(module, copies.accumulate)) ||
        failed(simplify(module)))
      return signalPassFailure();
    if (isWanted(module, "accumulate"))
      declareGradients(module);
    if (!copies.adapt.empty())
      declareAdapterGradients(module);
    for (func::FuncOp entry : copies.logits)
      takeLogitRows(entry, rows.getInt());
    SymbolTable symbols(module);
    auto ofParameter = [](Operation *leaf) {
      auto param = dyn_cast<ParamOp>(leaf);
      return param ? gradientName(param.getName()) : std::string();
    };
    auto ofAdapter = [&](Operation *leaf) {
      auto read = dyn_cast<ReadStateOp>(leaf);
      auto state = read ? symbols.lookup<StateOp>(read.getName()) : StateOp();
      return state && state.getRole() == kAdapterRole
                 ? gradientName(state.getSymName())
                 : std::string();
    };
    for (func::FuncOp entry : copies.accumulate)
      if (failed(differentiate(entry, findOutput(entry, "nll").getValue(),
                               {ofParameter, "loss_scale"})))
        return signalPassFailure();
    for (func::FuncOp entry : copies.adapt)
      if (failed(differentiate(entry, findOutput(entry, "nll").getValue(),
                               {ofAdapter, "loss_scale", "loss_weight"})))
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
    module->removeAttr(kProgramsAttr);
  }

private:
  /// One copy of `forward` for `program` when it is wanted; kept in `copies`
  /// when given.
  LogicalResult copy(ModuleOp module, func::FuncOp forward, StringRef program,
                     StringRef name, StringRef output,
                     SmallVectorImpl<func::FuncOp> *copies = nullptr) {
    if (!isWanted(module, program))
      return success();
    FailureOr<func::FuncOp> entry = copyEntry(forward, name, output);
    if (failed(entry))
      return failure();
    if (copies)
      copies->push_back(*entry);
    return success();
  }

  LogicalResult copyEntries(ModuleOp module, Copies &copies) {
    for (auto forward :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      // All of them, so that every missing output is reported.
      bool isComplete = true;
      if (forward.getName().starts_with(kForwardPrefix)) {
        isComplete &=
            succeeded(copy(module, forward, "score", "score", "nll"));
        isComplete &= succeeded(copy(module, forward, "logits", "logits",
                                     "logits", &copies.logits));
        isComplete &= succeeded(copy(module, forward, "accumulate",
                                     "accumulate", "nll", &copies.accumulate));
      } else if (forward.getName().starts_with(kAdaptedPrefix)) {
        isComplete &=
            succeeded(copy(module, forward, "adapt", "adapt_score", "nll"));
        isComplete &= succeeded(
            copy(module, forward, "adapt", "adapt", "nll", &copies.adapt));
      } else {
        continue;
      }
      if (!isComplete)
        return failure();
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
