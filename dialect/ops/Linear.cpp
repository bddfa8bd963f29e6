//===- Linear.cpp - matrix products ---------------------------------------===//
#include "dialect/Pg.h"

using namespace mlir;

namespace pg {

LogicalResult MatmulOp::verify() {
  RankedTensorType a = getA().getType(), b = getB().getType();
  RankedTensorType result = getType();
  if (a.getRank() != 2 || b.getRank() != 2) // C1
    return emitOpError("expects operands of rank 2 (C1), got ")
           << a << " and " << b;
  int64_t contractedA = a.getDimSize(getTransposeA() ? 0 : 1);
  int64_t contractedB = b.getDimSize(getTransposeB() ? 1 : 0);
  if (contractedA != contractedB) // C2
    return emitOpError("expects equal contracted dimensions (C2), got ")
           << a << (getTransposeA() ? " transposed" : "") << " and " << b
           << (getTransposeB() ? " transposed" : "");
  int64_t expected[] = {a.getDimSize(getTransposeA() ? 1 : 0),
                        b.getDimSize(getTransposeB() ? 0 : 1)};
  if (result.getShape() != ArrayRef<int64_t>(expected)) { // C3
    auto expectedType = RankedTensorType::get(expected, a.getElementType());
    return emitOpError("expects result ")
           << expectedType << " (C3), got " << result;
  }
  if ((a.getElementType() != b.getElementType() &&
       !b.getElementType().isInteger(8)) ||
      !accumulatesIn(a.getElementType(), result.getElementType())) // C4
    return emitOpError("expects one element type (C4), got ")
           << a << ", " << b << " and " << result
           << "; only the result of bf16 operands may be wider, f32";
  return success();
}

FusionRole MatmulOp::getFusionRole() { return FusionRole::Structured; }

OperandStorage MatmulOp::getOperandStorage(unsigned) {
  return OperandStorage::Factor;
}

int64_t MatmulOp::getFlops(int64_t context) {
  int64_t contracted = getA().getType().getDimSize(getTransposeA() ? 0 : 1);
  // Contracted over tokens: every token adds to the whole result.
  if (ShapedType::isDynamic(contracted))
    contracted = 1;
  // A value times its own transpose is symmetric: one triangle is enough.
  if (getA() == getB() && getTransposeA() != getTransposeB() &&
      !isTokenTensor(getType()))
    return contracted * getType().getDimSize(0) *
           (getType().getDimSize(0) + 1);
  return 2 * contracted * elementsPerToken(getType());
}

/// The four cases differ in which factor comes first and which is transposed;
/// weights and activations are never transposed in memory.
LogicalResult MatmulOp::vjp(OpBuilder &builder, ValueRange cotangents,
                            SmallVectorImpl<Value> &grads) {
  if (getB().getType().getElementType().isInteger(8))
    return emitOpError("has no gradient: its right operand holds codes");
  Value dy = cotangents[0], a = getA(), b = getB();
  auto product = [&](Type type, Value x, Value y, bool transposeX,
                     bool transposeY) -> Value {
    return MatmulOp::create(builder, getLoc(), type, x, y, transposeX,
                            transposeY);
  };
  bool ta = getTransposeA(), tb = getTransposeB();
  // A' = op(a), B' = op(b): dA' = dy B'^T, dB' = A'^T dy.
  Value da = ta ? product(a.getType(), b, dy, tb, true)
                : product(a.getType(), dy, b, false, !tb);
  Value db = tb ? product(b.getType(), dy, a, true, ta)
                : product(b.getType(), a, dy, !ta, false);
  grads.assign({da, db});
  return success();
}

} // namespace pg
