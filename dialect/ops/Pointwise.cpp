//===- Pointwise.cpp - folds, gradients and checks of the maps ------------===//
#include "dialect/ops/Constants.h"
#include "dialect/ops/GradientBuilder.h"

#include <cmath>

using namespace mlir;

namespace pg {

static bool isFloatTensor(Type type) {
  return isa<FloatType>(cast<RankedTensorType>(type).getElementType());
}

/// A 64-bit integer result brought back to i32 as two's complement.
static double wrapToI32(int64_t value) {
  return static_cast<double>(static_cast<int32_t>(
      static_cast<uint32_t>(static_cast<uint64_t>(value))));
}

/// Folds a binary op on constants in double, or in 64 bits for i32 operands.
static OpFoldResult
foldBinary(ArrayRef<Attribute> operands, Type type,
           llvm::function_ref<double(double, double)> onFloats,
           llvm::function_ref<int64_t(int64_t, int64_t)> onInts) {
  bool isFloat = isFloatTensor(type);
  return foldElementwise(operands, type, [&](ArrayRef<double> x) {
    if (isFloat)
      return onFloats(x[0], x[1]);
    return wrapToI32(
        onInts(static_cast<int64_t>(x[0]), static_cast<int64_t>(x[1])));
  });
}

static OpFoldResult
foldIntBinary(ArrayRef<Attribute> operands, Type type,
              llvm::function_ref<int64_t(int64_t, int64_t)> onInts) {
  return foldElementwise(operands, type, [&](ArrayRef<double> x) {
    return wrapToI32(
        onInts(static_cast<int64_t>(x[0]), static_cast<int64_t>(x[1])));
  });
}

/// `operand` where it may stand for a result of `type`.
static OpFoldResult forward(Value operand, Type type) {
  return operand.getType() == type ? OpFoldResult(operand) : OpFoldResult();
}

//===----------------------------------------------------------------------===//
// Folds
//===----------------------------------------------------------------------===//

OpFoldResult AddOp::fold(FoldAdaptor adaptor) {
  if (isUniformConstant(adaptor.getRhs(), 0.0))
    return forward(getLhs(), getType());
  if (isUniformConstant(adaptor.getLhs(), 0.0))
    return forward(getRhs(), getType());
  return foldBinary(
      adaptor.getOperands(), getType(),
      [](double x, double y) { return x + y; },
      [](int64_t x, int64_t y) { return x + y; });
}

OpFoldResult SubOp::fold(FoldAdaptor adaptor) {
  if (isUniformConstant(adaptor.getRhs(), 0.0))
    return forward(getLhs(), getType());
  return foldBinary(
      adaptor.getOperands(), getType(),
      [](double x, double y) { return x - y; },
      [](int64_t x, int64_t y) { return x - y; });
}

OpFoldResult MulOp::fold(FoldAdaptor adaptor) {
  if (isUniformConstant(adaptor.getRhs(), 1.0))
    return forward(getLhs(), getType());
  if (isUniformConstant(adaptor.getLhs(), 1.0))
    return forward(getRhs(), getType());
  return foldBinary(
      adaptor.getOperands(), getType(),
      [](double x, double y) { return x * y; },
      [](int64_t x, int64_t y) { return x * y; });
}

OpFoldResult DivOp::fold(FoldAdaptor adaptor) {
  if (isUniformConstant(adaptor.getRhs(), 1.0))
    return forward(getLhs(), getType());
  if (!isFloatTensor(getType())) {
    // An integer division by zero stays in the program.
    std::optional<ConstantOperand> divisor =
        ConstantOperand::read(adaptor.getRhs());
    if (!divisor)
      return {};
    for (int64_t i = 0, e = divisor->size(); i < e; ++i)
      if ((*divisor)[i] == 0.0)
        return {};
  }
  return foldBinary(
      adaptor.getOperands(), getType(),
      [](double x, double y) { return x / y; },
      [](int64_t x, int64_t y) { return x / y; });
}

OpFoldResult MaxOp::fold(FoldAdaptor adaptor) {
  return foldBinary(
      adaptor.getOperands(), getType(),
      [](double x, double y) { return x >= y ? x : y; },
      [](int64_t x, int64_t y) { return std::max(x, y); });
}

OpFoldResult MinOp::fold(FoldAdaptor adaptor) {
  return foldBinary(
      adaptor.getOperands(), getType(),
      [](double x, double y) { return x <= y ? x : y; },
      [](int64_t x, int64_t y) { return std::min(x, y); });
}

OpFoldResult XorOp::fold(FoldAdaptor adaptor) {
  return foldIntBinary(adaptor.getOperands(), getType(),
                       [](int64_t x, int64_t y) { return x ^ y; });
}

OpFoldResult AndOp::fold(FoldAdaptor adaptor) {
  return foldIntBinary(adaptor.getOperands(), getType(),
                       [](int64_t x, int64_t y) { return x & y; });
}

OpFoldResult RemOp::fold(FoldAdaptor adaptor) {
  std::optional<ConstantOperand> divisor =
      ConstantOperand::read(adaptor.getRhs());
  if (!divisor)
    return {};
  for (int64_t i = 0, e = divisor->size(); i < e; ++i)
    if ((*divisor)[i] == 0.0)
      return {};
  return foldIntBinary(adaptor.getOperands(), getType(),
                       [](int64_t x, int64_t y) { return x % y; });
}

OpFoldResult NegOp::fold(FoldAdaptor adaptor) {
  if (auto inner = getX().getDefiningOp<NegOp>())
    return forward(inner.getX(), getType());
  return foldElementwise(adaptor.getOperands(), getType(),
                         [](ArrayRef<double> x) { return -x[0]; });
}

/// Folds of unary functions whose value on constants is the host's.
#define PG_FOLD_UNARY(OP, EXPRESSION)                                          \
  OpFoldResult OP::fold(FoldAdaptor adaptor) {                                 \
    return foldElementwise(                                                    \
        adaptor.getOperands(), getType(),                                      \
        [](ArrayRef<double> x) -> double { return EXPRESSION; });              \
  }
PG_FOLD_UNARY(ExpOp, std::exp(x[0]))
PG_FOLD_UNARY(LogOp, std::log(x[0]))
PG_FOLD_UNARY(TanhOp, std::tanh(x[0]))
PG_FOLD_UNARY(SigmoidOp, 1.0 / (1.0 + std::exp(-x[0])))
PG_FOLD_UNARY(SqrtOp, std::sqrt(x[0]))
PG_FOLD_UNARY(RsqrtOp, 1.0 / std::sqrt(x[0]))
PG_FOLD_UNARY(AbsOp, std::fabs(x[0]))
PG_FOLD_UNARY(SinOp, std::sin(x[0]))
PG_FOLD_UNARY(CosOp, std::cos(x[0]))
PG_FOLD_UNARY(ErfOp, std::erf(x[0]))
#undef PG_FOLD_UNARY

OpFoldResult CompareOp::fold(FoldAdaptor adaptor) {
  Predicate predicate = getPredicate();
  Attribute operands[] = {adaptor.getLhs(), adaptor.getRhs()};
  return foldElementwise(operands, getType(), [&](ArrayRef<double> x) {
    switch (predicate) {
    case Predicate::eq:
      return x[0] == x[1] ? 1.0 : 0.0;
    case Predicate::ne:
      return x[0] != x[1] ? 1.0 : 0.0;
    case Predicate::lt:
      return x[0] < x[1] ? 1.0 : 0.0;
    case Predicate::le:
      return x[0] <= x[1] ? 1.0 : 0.0;
    case Predicate::gt:
      return x[0] > x[1] ? 1.0 : 0.0;
    case Predicate::ge:
      return x[0] >= x[1] ? 1.0 : 0.0;
    }
    return 0.0;
  });
}

OpFoldResult SelectOp::fold(FoldAdaptor adaptor) {
  if (getLhs() == getRhs())
    return getLhs();
  if (isUniformConstant(adaptor.getCondition(), 1.0))
    return getLhs();
  if (isUniformConstant(adaptor.getCondition(), 0.0))
    return getRhs();
  return foldElementwise(
      adaptor.getOperands(), getType(),
      [](ArrayRef<double> x) { return x[0] != 0.0 ? x[1] : x[2]; });
}

OpFoldResult CastOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  auto from = getX().getType();
  auto to = getType();
  // Float to integer truncates; a value that does not fit stays in the program.
  if (isFloatTensor(from) && !isFloatTensor(to)) {
    std::optional<ConstantOperand> constant =
        ConstantOperand::read(adaptor.getX());
    if (!constant)
      return {};
    for (int64_t i = 0, e = constant->size(); i < e; ++i)
      if (!(std::fabs((*constant)[i]) < 2147483648.0))
        return {};
    return foldElementwise(adaptor.getOperands(), to,
                           [](ArrayRef<double> x) { return std::trunc(x[0]); });
  }
  // A fill carries a double: it is rounded here when the target is narrower.
  auto floatType = dyn_cast<FloatType>(to.getElementType());
  return foldElementwise(adaptor.getOperands(), to, [&](ArrayRef<double> x) {
    if (!floatType)
      return x[0];
    APFloat value(x[0]);
    bool losesInfo = false;
    value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    return value.convertToDouble();
  });
}

OpFoldResult RoundOp::fold(FoldAdaptor adaptor) {
  if (auto inner = getX().getDefiningOp<RoundOp>())
    if (inner.getTo() == getTo())
      return forward(inner.getResult(), getType());
  auto own = dyn_cast<FloatType>(getType().getElementType());
  if (!own)
    return {};
  auto narrow = dyn_cast<FloatType>(getTo());
  if (narrow == own)
    return forward(getX(), getType());
  // Rounding happens from the element type, as at run time: first to it (a
  // fill carries a double), then to the narrower one.
  return foldElementwise(adaptor.getX(), getType(), [&](ArrayRef<double> x) {
    APFloat value(x[0]);
    bool losesInfo = false;
    value.convert(own.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    if (narrow)
      value.convert(narrow.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                    &losesInfo);
    else
      value.roundToIntegral(APFloat::rmNearestTiesToEven);
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    return value.convertToDouble();
  });
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

LogicalResult CompareOp::verify() {
  if (getType().getShape() != getLhs().getType().getShape()) // C1
    return emitOpError("expects a result of the operands' shape ")
           << getLhs().getType() << " (C1), got " << getType();
  return success();
}

LogicalResult SelectOp::verify() {
  if (getCondition().getType().getShape() != getType().getShape()) // C1
    return emitOpError("expects a condition of the result's shape ")
           << getType() << " (C1), got " << getCondition().getType();
  return success();
}

LogicalResult CastOp::verify() {
  if (getX().getType().getShape() != getType().getShape()) // C1
    return emitOpError("expects to keep the shape of ")
           << getX().getType() << " (C1), got " << getType();
  if (getType().getElementType().isInteger(1) &&
      !getX().getType().getElementType().isInteger(1)) // C2
    return emitOpError("does not make truth values (C2); compare ")
           << getX().getType() << " with a number instead";
  return success();
}

LogicalResult RoundOp::verify() {
  auto to = dyn_cast<FloatType>(getTo());
  auto own = cast<FloatType>(getType().getElementType());
  bool isSound = to ? to.getWidth() <= own.getWidth() : getTo().isInteger(32);
  if (!isSound) // C1
    return emitOpError("expects i32 or a float type not wider than ")
           << own << " (C1), got " << getTo();
  return success();
}

//===----------------------------------------------------------------------===//
// Gradients
//===----------------------------------------------------------------------===//

LogicalResult AddOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  if (!isFloatTensor(getType()))
    grads.assign(2, nullptr);
  else
    grads.assign({cotangents[0], cotangents[0]});
  return success();
}

LogicalResult SubOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  grads.assign(2, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  grads.assign({cotangents[0], g.neg(cotangents[0])});
  return success();
}

LogicalResult MulOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  grads.assign(2, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  Value dy = cotangents[0];
  grads.assign({g.mul(dy, getRhs()), g.mul(dy, getLhs())});
  return success();
}

LogicalResult DivOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  grads.assign(2, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  Value dx = g.div(cotangents[0], getRhs());
  grads.assign({dx, g.neg(g.mul(dx, getResult()))});
  return success();
}

/// Sends `dy` to the operand `takesLeft` says was chosen.
static void splitChoice(GradientBuilder &g, Value takesLeft, Value dy,
                        SmallVectorImpl<Value> &grads) {
  Value zero = g.fillLike(dy, 0.0);
  grads.assign({g.select(takesLeft, dy, zero), g.select(takesLeft, zero, dy)});
}

LogicalResult MaxOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  grads.assign(2, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  splitChoice(g, g.compare(Predicate::ge, getLhs(), getRhs()), cotangents[0],
              grads);
  return success();
}

LogicalResult MinOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  grads.assign(2, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  splitChoice(g, g.compare(Predicate::le, getLhs(), getRhs()), cotangents[0],
              grads);
  return success();
}

LogicalResult SelectOp::vjp(OpBuilder &builder, ValueRange cotangents,
                            SmallVectorImpl<Value> &grads) {
  grads.assign(3, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  SmallVector<Value> branches;
  splitChoice(g, getCondition(), cotangents[0], branches);
  grads.assign({Value(), branches[0], branches[1]});
  return success();
}

LogicalResult CastOp::vjp(OpBuilder &builder, ValueRange cotangents,
                          SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (isFloatTensor(getType()) && isFloatTensor(getX().getType()))
    grads[0] =
        CastOp::create(builder, getLoc(), getX().getType(), cotangents[0]);
  return success();
}

/// The gradient passes straight through (QAT and rounded tables rely on it).
LogicalResult RoundOp::vjp(OpBuilder &builder, ValueRange cotangents,
                           SmallVectorImpl<Value> &grads) {
  grads.assign({cotangents[0]});
  return success();
}

/// Gradients of unary functions: `dy`, `x` and `y` name cotangent, operand and
/// result, `g` builds.
#define PG_VJP_UNARY(OP, EXPRESSION)                                           \
  LogicalResult OP::vjp(OpBuilder &builder, ValueRange cotangents,             \
                        SmallVectorImpl<Value> &grads) {                       \
    GradientBuilder g(builder, getLoc());                                      \
    Value dy = cotangents[0], x = getX(), y = getResult();                     \
    (void)x, (void)y;                                                          \
    grads.assign({EXPRESSION});                                                \
    return success();                                                          \
  }
PG_VJP_UNARY(NegOp, g.neg(dy))
PG_VJP_UNARY(ExpOp, g.mul(dy, y))
PG_VJP_UNARY(LogOp, g.div(dy, x))
// 1 - y^2
PG_VJP_UNARY(TanhOp, g.mul(dy, g.sub(g.fillLike(y, 1.0), g.mul(y, y))))
// y (1 - y)
PG_VJP_UNARY(SigmoidOp, g.mul(dy, g.mul(y, g.sub(g.fillLike(y, 1.0), y))))
// 1 / (2 y)
PG_VJP_UNARY(SqrtOp, g.div(g.scale(dy, 0.5), y))
// -y^3 / 2
PG_VJP_UNARY(RsqrtOp, g.mul(g.scale(dy, -0.5), g.mul(y, g.mul(y, y))))
PG_VJP_UNARY(AbsOp,
             g.select(g.compare(Predicate::gt, x, g.fillLike(x, 0.0)), dy,
                      g.select(g.compare(Predicate::lt, x, g.fillLike(x, 0.0)),
                               g.neg(dy), g.fillLike(x, 0.0))))
PG_VJP_UNARY(SinOp, g.mul(dy, CosOp::create(g.builder, g.loc, x.getType(), x)))
PG_VJP_UNARY(CosOp,
             g.neg(g.mul(dy, SinOp::create(g.builder, g.loc, x.getType(), x))))
// 2 / sqrt(pi) e^(-x^2)
PG_VJP_UNARY(ErfOp,
             g.mul(g.scale(dy, 1.1283791670955126), g.exp(g.neg(g.mul(x, x)))))
#undef PG_VJP_UNARY

} // namespace pg
