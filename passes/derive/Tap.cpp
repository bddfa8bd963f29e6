//===- Tap.cpp - second moments of what enters quantised products ---------===//
//
// `calibrate@P` is `forward@P` with, for every product of a token tensor X and
// a parameter W that has a quantisation label, `hessian.<W>` += X^T X. A weight
// used several times adds every use; weights that read one input share one
// product, since equal ops are merged. A table that is looked up by token and
// used as a weight as well has the moment of the product.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"
#include "passes/derive/Programs.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_TAPPASS
#include "passes/derive/Passes.h.inc"

namespace {

constexpr StringLiteral kForwardPrefix = "forward@";

/// The parameter whose elements `value` holds, through changes of type.
ParamOp parameterOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto param = dyn_cast<ParamOp>(op))
      return param;
    if (!isa<CastOp, RoundOp>(op))
      break;
    value = op->getOperand(0);
  }
  return {};
}

class Tapper {
public:
  explicit Tapper(ModuleOp module) : module(module), symbols(module) {}

  /// Replaces the outputs of `entry` by the moments of its products.
  void run(func::FuncOp entry) {
    for (auto output : llvm::make_early_inc_range(entry.getOps<OutputOp>()))
      output.erase();
    SmallVector<MatmulOp> products(entry.getBody().front().getOps<MatmulOp>());
    for (MatmulOp product : products)
      tap(product);
  }

private:
  void tap(MatmulOp product) {
    Value x = product.getA();
    ParamOp param = parameterOf(product.getB());
    if (!param || product.getTransposeA() || !isTokenTensor(x.getType()))
      return;
    auto parameter = symbols.lookup<ParameterOp>(param.getName());
    if (!parameter || parameter.getQuant().empty())
      return;
    OpBuilder builder(product);
    Location loc = product.getLoc();
    auto type = cast<RankedTensorType>(x.getType());
    auto square = [&](Type element) {
      return RankedTensorType::get({type.getDimSize(1), type.getDimSize(1)},
                                   element);
    };
    // Moments are sums over many tokens: never in a narrow type.
    Type element = type.getElementType();
    if (!element.isF64())
      element = builder.getF32Type();
    if (element != type.getElementType())
      x = CastOp::create(builder, loc, type.clone(element), x);
    Value moment =
        MatmulOp::create(builder, loc, square(element), x, x, true, false);
    StateOp state = stateOf(parameter, square(element));
    StoreOp::create(builder, loc, StoreMode::accumulate, state.getSymName(),
                    moment);
  }

  StateOp stateOf(ParameterOp parameter, RankedTensorType type) {
    std::string name = ("hessian." + parameter.getSymName()).str();
    if (auto known = symbols.lookup<StateOp>(name))
      return known;
    OpBuilder builder(module.getContext());
    auto state = StateOp::create(
        builder, parameter.getLoc(), builder.getStringAttr(name),
        TypeAttr::get(type), builder.getStringAttr("hessian"),
        FlatSymbolRefAttr::get(parameter.getSymNameAttr()),
        builder.getF64FloatAttr(0.0));
    // Behind all parameters and states that there are.
    Operation *last = parameter;
    for (Operation &op : *module.getBody())
      if (isa<ParameterOp, StateOp>(op))
        last = &op;
    symbols.insert(state, std::next(Block::iterator(last)));
    return state;
  }

  ModuleOp module;
  SymbolTable symbols;
};

struct TapPass : impl::TapPassBase<TapPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (!isWanted(module, "calibrate"))
      return;
    for (auto forward :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!forward.getName().starts_with(kForwardPrefix))
        continue;
      OpBuilder builder(forward->getContext());
      builder.setInsertionPointAfter(forward);
      auto copy = cast<func::FuncOp>(builder.clone(*forward));
      copy.setName(
          ("calibrate@" + forward.getName().drop_front(kForwardPrefix.size()))
              .str());
      Tapper(module).run(copy);
    }
  }
};

} // namespace
} // namespace pg
