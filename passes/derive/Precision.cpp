//===- Precision.cpp - one floating-point type for the module -------------===//
//
// The type of a policy's maths; what it stores in a narrower type is a matter of
// kernels (pg-narrow). Only types change: f32 becomes f64 in results, block arguments, signatures,
// declarations and dense constants. `pg.fill` carries an f64 in any case, and
// the target type of `pg.round` is part of the model.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"

#include "runtime/package/Precision.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_PRECISIONPASS
#include "passes/derive/Passes.h.inc"

namespace {

Type widen(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    if (tensor.getElementType().isF32())
      return RankedTensorType::get(tensor.getShape(),
                                   Float64Type::get(type.getContext()),
                                   tensor.getEncoding());
  return type;
}

ElementsAttr widen(ElementsAttr value) {
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense || !dense.getElementType().isF32())
    return value;
  return dense.mapValues(
      Float64Type::get(value.getContext()), [](const APFloat &element) {
        APFloat wide = element;
        bool losesInfo = false;
        wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                     &losesInfo);
        return wide.bitcastToAPInt();
      });
}

void widenOp(Operation *op) {
  if (auto constant = dyn_cast<ConstantOp>(op))
    constant.setValueAttr(widen(constant.getValue()));
  if (auto parameter = dyn_cast<ParameterOp>(op))
    parameter.setType(widen(parameter.getType()));
  if (auto state = dyn_cast<StateOp>(op))
    state.setType(widen(state.getType()));
  if (auto function = dyn_cast<func::FuncOp>(op)) {
    auto widenAll = [](TypeRange types) {
      return llvm::map_to_vector(types, [](Type type) { return widen(type); });
    };
    FunctionType type = function.getFunctionType();
    function.setFunctionType(FunctionType::get(op->getContext(),
                                               widenAll(type.getInputs()),
                                               widenAll(type.getResults())));
  }
  for (Value result : op->getResults())
    result.setType(widen(result.getType()));
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Value argument : block.getArguments())
        argument.setType(widen(argument.getType()));
}

struct PrecisionPass : impl::PrecisionPassBase<PrecisionPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    const rt::PrecisionPolicy *known = rt::findPrecisionPolicy(policy);
    if (!known) {
      module.emitError("unknown precision policy '")
          << policy << "'; expected " << rt::precisionNames();
      return signalPassFailure();
    }
    module->setAttr("pg.precision", StringAttr::get(&getContext(), policy));
    if (known->maths == rt::DType::F64)
      module.walk([](Operation *op) { widenOp(op); });
  }
};

} // namespace
} // namespace pg
