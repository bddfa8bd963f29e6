//===- TensorBuilder.cpp - NumPy-like arithmetic as pg ops -----------------===//
#include "frontend/TensorBuilder.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>

using namespace pg::frontend;
using mlir::RankedTensorType;
using mlir::ShapedType;

RankedTensorType TensorBuilder::floatType(llvm::ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, builder.getF32Type());
}

std::string TensorBuilder::describe(RankedTensorType type) const {
  std::string text = "[";
  for (auto [index, size] : llvm::enumerate(type.getShape())) {
    text += index ? ", " : "";
    if (ShapedType::isDynamic(size)) {
      text += "T";
      continue;
    }
    // A name helps only when it is the only one of that size.
    std::string name;
    int matches = 0;
    for (const auto &[candidate, value] : sizeNames)
      if (value == size)
        name = candidate, ++matches;
    text += (matches == 1 ? name + "=" : "") + std::to_string(size);
  }
  return text + "]";
}

mlir::Value TensorBuilder::tensor(const Value &value, SpecPos pos,
                                  const std::string &what) {
  if (value.isPoison())
    return {};
  if (value.kind == Value::Kind::Tensor)
    return value.tensor;
  if (value.kind == Value::Kind::Parameter)
    return readParameter(value, pos);
  reporter.error(pos, what + " expects a tensor, got " + value.kindName());
  return {};
}

mlir::Value TensorBuilder::cast(SpecPos pos, mlir::Value x,
                                mlir::Type element) {
  RankedTensorType type = typeOf(x);
  if (type.getElementType() == element)
    return x;
  return pg::CastOp::create(builder, location(pos),
                            RankedTensorType::get(type.getShape(), element), x);
}

mlir::Value TensorBuilder::floatTensor(const Value &value, SpecPos pos) {
  mlir::Value x = tensor(value, pos, "the operand");
  if (!x || mlir::isa<mlir::FloatType>(typeOf(x).getElementType()))
    return x;
  return cast(pos, x, builder.getF32Type());
}

mlir::Value TensorBuilder::fill(SpecPos pos, double value,
                                RankedTensorType type) {
  return pg::FillOp::create(builder, location(pos), type,
                            builder.getF64FloatAttr(value));
}

mlir::Value TensorBuilder::reshape(SpecPos pos, mlir::Value x,
                                   llvm::ArrayRef<int64_t> shape) {
  RankedTensorType type = typeOf(x);
  if (type.getShape() == shape)
    return x;
  return pg::ReshapeOp::create(
      builder, location(pos),
      RankedTensorType::get(shape, type.getElementType()), x);
}

mlir::Value TensorBuilder::broadcast(SpecPos pos, mlir::Value x,
                                     llvm::ArrayRef<int64_t> shape) {
  RankedTensorType type = typeOf(x);
  if (type.getShape() == shape)
    return x;
  int64_t offset = static_cast<int64_t>(shape.size()) - type.getRank();
  llvm::SmallVector<int64_t> dims;
  for (int64_t i = 0; i < type.getRank(); ++i)
    dims.push_back(offset + i);
  return pg::BroadcastOp::create(
      builder, location(pos),
      RankedTensorType::get(shape, type.getElementType()), x,
      builder.getDenseI64ArrayAttr(dims));
}

mlir::Value TensorBuilder::slice(SpecPos pos, mlir::Value x, int64_t axis,
                                 int64_t start, int64_t size) {
  RankedTensorType type = typeOf(x);
  if (type.getDimSize(axis) == size)
    return x;
  llvm::SmallVector<int64_t> shape(type.getShape());
  shape[axis] = size;
  return pg::SliceOp::create(
      builder, location(pos),
      RankedTensorType::get(shape, type.getElementType()), x,
      builder.getI64IntegerAttr(axis), builder.getI64IntegerAttr(start));
}

/// NumPy's common shape, aligned on the right; false when there is none. The
/// token axis may only be the leading dimension of the result.
static bool commonShape(llvm::ArrayRef<mlir::Value> tensors,
                        llvm::SmallVectorImpl<int64_t> &shape) {
  size_t rank = 0;
  for (mlir::Value tensor : tensors)
    rank = std::max<size_t>(rank, typeOf(tensor).getRank());
  shape.assign(rank, 1);
  for (mlir::Value tensor : tensors) {
    llvm::ArrayRef<int64_t> own = typeOf(tensor).getShape();
    for (size_t i = 0; i < own.size(); ++i) {
      int64_t &size = shape[rank - own.size() + i];
      if (own[i] == 1 || own[i] == size)
        continue;
      if (size != 1)
        return false;
      size = own[i];
    }
  }
  for (size_t i = 1; i < rank; ++i)
    if (ShapedType::isDynamic(shape[i]))
      return false;
  return true;
}

bool TensorBuilder::unify(SpecPos pos, llvm::ArrayRef<Value> operands,
                          llvm::SmallVectorImpl<mlir::Value> &out,
                          bool forceFloat) {
  llvm::SmallVector<mlir::Value> tensors;
  bool isFloat = forceFloat;
  for (const Value &operand : operands) {
    if (operand.isPoison())
      return false;
    if (operand.isNumber()) {
      isFloat |= !operand.isInt();
      continue;
    }
    mlir::Value x = tensor(operand, pos, "the operand");
    if (!x)
      return false;
    tensors.push_back(x);
    isFloat |= mlir::isa<mlir::FloatType>(typeOf(x).getElementType());
  }
  llvm::SmallVector<int64_t> shape;
  if (!commonShape(tensors, shape)) {
    std::string shapes;
    for (auto [index, x] : llvm::enumerate(tensors))
      shapes += (index ? " and " : "") + describe(typeOf(x));
    reporter.error(pos, "shapes " + shapes +
                            " do not fit: sizes are compared from the right "
                            "and must be equal or 1");
    return false;
  }
  mlir::Type element = isFloat ? mlir::Type(builder.getF32Type())
                               : mlir::Type(builder.getI32Type());
  auto next = tensors.begin();
  for (const Value &operand : operands) {
    if (operand.isNumber()) {
      if (!isFloat && (operand.integer < INT32_MIN || operand.integer > INT32_MAX)) {
        reporter.error(pos, "'" + operand.str() + "' does not fit the 32-bit "
                                                  "integers of the tensor");
        return false;
      }
      out.push_back(fill(pos, operand.number(),
                         RankedTensorType::get(shape, element)));
      continue;
    }
    out.push_back(broadcast(pos, cast(pos, *next++, element), shape));
  }
  return true;
}

Value TensorBuilder::binary(SpecPos pos, const std::string &op,
                            const Value &left, const Value &right) {
  if (op == "+")
    return pair<pg::AddOp>(pos, left, right);
  if (op == "-")
    return pair<pg::SubOp>(pos, left, right);
  if (op == "*")
    return pair<pg::MulOp>(pos, left, right);
  if (op == "**")
    return power(pos, left, right);
  llvm::SmallVector<mlir::Value> operands;
  if (!unify(pos, {left, right}, operands, /*forceFloat=*/op == "/"))
    return Value::poison();
  mlir::Location loc = location(pos);
  if (op == "/")
    return Value::of(
        pg::DivOp::create(builder, loc, operands[0], operands[1]).getResult());
  if (!typeOf(operands[0]).getElementType().isInteger(32)) {
    reporter.error(pos, "'" + op + "' on tensors needs integers, got " +
                            describe(typeOf(operands[0])) + " of floats");
    return Value::poison();
  }
  if (op == "%")
    return Value::of(
        pg::RemOp::create(builder, loc, operands[0], operands[1]).getResult());
  if (op == "^")
    return Value::of(
        pg::XorOp::create(builder, loc, operands[0], operands[1]).getResult());
  if (op == "&")
    return Value::of(
        pg::AndOp::create(builder, loc, operands[0], operands[1]).getResult());
  reporter.error(pos, "'" + op + "' does not work on tensors");
  return Value::poison();
}

Value TensorBuilder::compare(SpecPos pos, const std::string &op,
                             const Value &left, const Value &right) {
  static const std::map<std::string, pg::Predicate> kPredicates = {
      {"==", pg::Predicate::eq}, {"!=", pg::Predicate::ne},
      {"<", pg::Predicate::lt},  {"<=", pg::Predicate::le},
      {">", pg::Predicate::gt},  {">=", pg::Predicate::ge}};
  auto predicate = kPredicates.find(op);
  if (predicate == kPredicates.end()) {
    reporter.error(pos, "'" + op + "' does not work on tensors");
    return Value::poison();
  }
  llvm::SmallVector<mlir::Value> operands;
  if (!unify(pos, {left, right}, operands))
    return Value::poison();
  auto type = RankedTensorType::get(typeOf(operands[0]).getShape(),
                                    builder.getI1Type());
  return Value::of(pg::CompareOp::create(builder, location(pos), type,
                                         predicate->second, operands[0],
                                         operands[1])
                       .getResult());
}

Value TensorBuilder::power(SpecPos pos, const Value &base,
                           const Value &exponent) {
  // Small whole exponents and halves are exact products and roots.
  if (exponent.isNumber() && base.isTensor()) {
    double wanted = exponent.number();
    if (wanted == 0.5)
      return unary<pg::SqrtOp>(pos, base);
    if (wanted == -0.5)
      return unary<pg::RsqrtOp>(pos, base);
    if (wanted == std::floor(wanted) && wanted != 0 && std::abs(wanted) <= 8) {
      Value x = Value::of(tensor(base, pos, "the base"));
      Value result = x;
      for (int i = 1; i < static_cast<int>(std::abs(wanted)); ++i)
        result = pair<pg::MulOp>(pos, result, x);
      return wanted > 0 ? result
                        : binary(pos, "/", Value::of(int64_t(1)), result);
    }
  }
  // x ** y = exp(y ln x), for positive x.
  Value logarithm;
  if (base.isNumber()) {
    if (base.number() <= 0) {
      reporter.error(pos, "a power with a tensor as exponent needs a positive "
                          "base, got " + base.str());
      return Value::poison();
    }
    logarithm = Value::of(std::log(base.number()));
  } else {
    logarithm = unary<pg::LogOp>(pos, base);
  }
  return unary<pg::ExpOp>(pos, pair<pg::MulOp>(pos, exponent, logarithm));
}

Value TensorBuilder::negate(SpecPos pos, const Value &operand) {
  mlir::Value x = tensor(operand, pos, "'-'");
  if (!x)
    return Value::poison();
  if (typeOf(x).getElementType().isInteger())
    return pair<pg::SubOp>(pos, Value::of(int64_t(0)), operand);
  return unary<pg::NegOp>(pos, operand);
}

Value TensorBuilder::select(SpecPos pos, const Value &condition,
                            const Value &left, const Value &right) {
  mlir::Value mask = tensor(condition, pos, "the condition");
  if (!mask)
    return Value::poison();
  if (!typeOf(mask).getElementType().isInteger(1)) {
    reporter.error(pos, "the condition expects truth values such as 'x > 0', "
                        "got numbers of shape " + describe(typeOf(mask)));
    return Value::poison();
  }
  llvm::SmallVector<mlir::Value> sides;
  // The mask takes part in the common shape as a number tensor would.
  bool isFloat = left.kind == Value::Kind::Float || right.kind == Value::Kind::Float;
  if (left.isNumber() && right.isNumber()) {
    auto type = RankedTensorType::get(
        typeOf(mask).getShape(), isFloat ? mlir::Type(builder.getF32Type())
                                         : mlir::Type(builder.getI32Type()));
    sides = {fill(pos, left.number(), type), fill(pos, right.number(), type)};
  } else if (!unify(pos, {left, right}, sides)) {
    return Value::poison();
  }
  llvm::SmallVector<int64_t> shape;
  if (!commonShape({mask, sides[0]}, shape)) {
    reporter.error(pos, "the condition of shape " + describe(typeOf(mask)) +
                            " does not fit values of shape " +
                            describe(typeOf(sides[0])));
    return Value::poison();
  }
  return Value::of(pg::SelectOp::create(builder, location(pos),
                                        broadcast(pos, mask, shape),
                                        broadcast(pos, sides[0], shape),
                                        broadcast(pos, sides[1], shape))
                       .getResult());
}

Value TensorBuilder::linear(SpecPos pos, const Value &input,
                            const Value &weight) {
  mlir::Value x = floatTensor(input, pos), w = floatTensor(weight, pos);
  if (!x || !w)
    return Value::poison();
  llvm::ArrayRef<int64_t> xShape = typeOf(x).getShape();
  llvm::ArrayRef<int64_t> wShape = typeOf(w).getShape();
  if (wShape.size() != 2 || ShapedType::isDynamic(wShape[0]) ||
      xShape.empty() || xShape.back() != wShape[1] ||
      ShapedType::isDynamic(xShape.back())) {
    std::string wanted =
        xShape.empty() || ShapedType::isDynamic(xShape.back())
            ? "[outputs, inputs] and an input whose last dimension is a feature"
            : "[outputs, " + std::to_string(xShape.back()) + "]";
    reporter.error(pos, "linear expects a weight of shape " + wanted +
                            ", got input " + describe(typeOf(x)) +
                            " and weight " + describe(typeOf(w)));
    return Value::poison();
  }
  bool hasTokens = ShapedType::isDynamic(xShape.front());
  llvm::SmallVector<int64_t> resultShape(xShape);
  resultShape.back() = wShape[0];
  auto product = [&](mlir::Value rows) -> mlir::Value {
    auto type = floatType({typeOf(rows).getDimSize(0), wShape[0]});
    return pg::MatmulOp::create(builder, location(pos), type, rows, w,
                                /*transpose_a=*/false, /*transpose_b=*/true);
  };
  if (!hasTokens || xShape.size() == 2) {
    int64_t rows = 1;
    for (int64_t size : xShape.drop_back())
      rows *= size;
    mlir::Value flat =
        xShape.size() == 2 ? x : reshape(pos, x, {rows, xShape.back()});
    return Value::of(reshape(pos, product(flat), resultShape));
  }
  // [T, H, in]: the token axis stays alone, so each h has its own product.
  int64_t groups = 1;
  for (int64_t size : xShape.drop_back().drop_front())
    groups *= size;
  if (groups > 64) {
    reporter.error(pos, "linear over " + describe(typeOf(x)) + " needs " +
                            std::to_string(groups) +
                            " products, at most 64 are made; use reshape");
    return Value::poison();
  }
  int64_t width = xShape.back();
  mlir::Value flat = reshape(pos, x, {ShapedType::kDynamic, groups * width});
  llvm::SmallVector<mlir::Value> parts;
  for (int64_t i = 0; i < groups; ++i)
    parts.push_back(product(slice(pos, flat, 1, i * width, width)));
  mlir::Value joined = parts.front();
  if (parts.size() > 1)
    joined = pg::ConcatOp::create(
        builder, location(pos),
        floatType({ShapedType::kDynamic, groups * wShape[0]}), parts,
        builder.getI64IntegerAttr(1));
  return Value::of(reshape(pos, joined, resultShape));
}

mlir::Value TensorBuilder::reduce(SpecPos pos, mlir::Value x,
                                  llvm::ArrayRef<int64_t> axes, bool isMax,
                                  bool keepDims) {
  llvm::SmallVector<int64_t> shape, kept;
  for (auto [index, size] : llvm::enumerate(typeOf(x).getShape())) {
    bool isReduced = llvm::is_contained(axes, static_cast<int64_t>(index));
    if (!isReduced)
      shape.push_back(size);
    kept.push_back(isReduced ? 1 : size);
  }
  mlir::DenseI64ArrayAttr attr = builder.getDenseI64ArrayAttr(axes);
  mlir::Value result;
  if (isMax)
    result = pg::ReduceMaxOp::create(builder, location(pos), floatType(shape),
                                     x, attr);
  else
    result = pg::ReduceSumOp::create(builder, location(pos), floatType(shape),
                                     x, attr);
  return keepDims ? reshape(pos, result, kept) : result;
}
