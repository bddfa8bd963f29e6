//===- Constants.cpp - arithmetic on constants at compile time ------------===//
#include "dialect/ops/Constants.h"

using namespace mlir;

namespace pg {

std::optional<ConstantOperand> ConstantOperand::read(Attribute attr) {
  ConstantOperand result;
  if (auto number = dyn_cast_or_null<FloatAttr>(attr)) {
    result.uniform = true;
    result.values.push_back(number.getValueAsDouble());
    return result;
  }
  auto dense = dyn_cast_or_null<DenseElementsAttr>(attr);
  if (!dense)
    return std::nullopt;
  result.uniform = dense.isSplat();
  if (!result.uniform && dense.getNumElements() > kMaxFoldedElements)
    return std::nullopt;
  auto appendFloat = [&](const APFloat &value) {
    APFloat wide = value;
    bool losesInfo = false;
    wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                 &losesInfo);
    result.values.push_back(wide.convertToDouble());
  };
  auto appendInt = [&](const APInt &value) {
    result.values.push_back(value.getBitWidth() == 1
                                ? static_cast<double>(value.getZExtValue())
                                : static_cast<double>(value.getSExtValue()));
  };
  if (isa<FloatType>(dense.getElementType())) {
    if (result.uniform)
      appendFloat(dense.getSplatValue<APFloat>());
    else
      for (APFloat value : dense.getValues<APFloat>())
        appendFloat(value);
    return result;
  }
  if (result.uniform)
    appendInt(dense.getSplatValue<APInt>());
  else
    for (APInt value : dense.getValues<APInt>())
      appendInt(value);
  return result;
}

bool isUniformConstant(Attribute attr, double value) {
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(attr))
    if (!dense.isSplat())
      return false;
  std::optional<ConstantOperand> constant = ConstantOperand::read(attr);
  return constant && constant->isUniform() && (*constant)[0] == value;
}

Attribute denseConstant(RankedTensorType type, ArrayRef<double> values) {
  if (auto floatType = dyn_cast<FloatType>(type.getElementType())) {
    SmallVector<APFloat> elements;
    elements.reserve(values.size());
    for (double value : values) {
      APFloat element(value);
      bool losesInfo = false;
      element.convert(floatType.getFloatSemantics(),
                      APFloat::rmNearestTiesToEven, &losesInfo);
      elements.push_back(element);
    }
    return DenseElementsAttr::get(type, elements);
  }
  unsigned width = type.getElementTypeBitWidth();
  SmallVector<APInt> elements;
  elements.reserve(values.size());
  for (double value : values)
    elements.push_back(APInt(width,
                             static_cast<uint64_t>(static_cast<int64_t>(value)),
                             /*isSigned=*/true, /*implicitTrunc=*/true));
  return DenseElementsAttr::get(type, elements);
}

OpFoldResult
foldElementwise(ArrayRef<Attribute> operands, Type resultType,
                llvm::function_ref<double(ArrayRef<double>)> function) {
  auto type = cast<RankedTensorType>(resultType);
  SmallVector<ConstantOperand, 3> constants;
  bool isUniform = true;
  for (Attribute operand : operands) {
    std::optional<ConstantOperand> constant = ConstantOperand::read(operand);
    if (!constant)
      return {};
    isUniform &= constant->isUniform();
    constants.push_back(std::move(*constant));
  }
  SmallVector<double, 3> arguments(operands.size());
  auto evaluate = [&](int64_t i) {
    for (auto [argument, constant] : llvm::zip(arguments, constants))
      argument = constant[i];
    return function(arguments);
  };
  if (isUniform)
    return FloatAttr::get(Float64Type::get(type.getContext()), evaluate(0));
  if (!type.hasStaticShape() || type.getNumElements() > kMaxFoldedElements)
    return {};
  SmallVector<double> values;
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i)
    values.push_back(evaluate(i));
  return denseConstant(type, values);
}

OpFoldResult foldMovement(Attribute operand, Type resultType,
                          llvm::function_ref<int64_t(int64_t)> source) {
  auto type = cast<RankedTensorType>(resultType);
  std::optional<ConstantOperand> constant = ConstantOperand::read(operand);
  if (!constant || !type.hasStaticShape() ||
      type.getNumElements() > kMaxFoldedElements)
    return {};
  SmallVector<double> values;
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i) {
    int64_t from = source(i);
    values.push_back(from < 0 ? 0.0 : (*constant)[from]);
  }
  return denseConstant(type, values);
}

SmallVector<int64_t> rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

} // namespace pg
