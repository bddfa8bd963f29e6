//===- Grouped.cpp - products with one matrix per slot --------------------===//
#include "dialect/Pg.h"

using namespace mlir;

namespace pg {

static bool isTokenMatrix(RankedTensorType type) {
  return type.getRank() == 2 && isTokenTensor(type);
}

LogicalResult GroupedMatmulOp::verify() {
  RankedTensorType x = getX().getType(), w = getW().getType();
  RankedTensorType result = getType();
  if (!isTokenMatrix(x)) // C1
    return emitOpError("expects a token tensor of rank 2 (C1), got ") << x;
  if (w.getRank() != 3 || !w.hasStaticShape()) // C2
    return emitOpError("expects static matrices of rank 3 (C2), got ") << w;
  int64_t contracted = w.getDimSize(getTransposeW() ? 2 : 1);
  if (x.getDimSize(1) != contracted) // C3
    return emitOpError("expects equal contracted dimensions (C3), got ")
           << x << " and " << w << (getTransposeW() ? " transposed" : "");
  int64_t expected[] = {ShapedType::kDynamic,
                        w.getDimSize(getTransposeW() ? 1 : 2)};
  if (result.getShape() != ArrayRef<int64_t>(expected)) // C4
    return emitOpError("expects result ")
           << RankedTensorType::get(expected, x.getElementType())
           << " (C4), got " << result;
  if (x.getElementType() != w.getElementType() ||
      !accumulatesIn(x.getElementType(), result.getElementType())) // C5
    return emitOpError("expects one element type (C5), got ")
           << x << ", " << w << " and " << result
           << "; only the result of bf16 operands may be wider, f32";
  return success();
}

FusionRole GroupedMatmulOp::getFusionRole() { return FusionRole::Structured; }

OperandStorage GroupedMatmulOp::getOperandStorage(unsigned) {
  return OperandStorage::Factor;
}

int64_t GroupedMatmulOp::getFlops(int64_t context) {
  return 2 * getX().getType().getDimSize(1) * elementsPerToken(getType());
}

LogicalResult GroupedMatmulOp::vjp(OpBuilder &builder, ValueRange cotangents,
                                   SmallVectorImpl<Value> &grads) {
  Value dy = cotangents[0], x = getX(), w = getW();
  Value dx = GroupedMatmulOp::create(builder, getLoc(), x.getType(), dy, w,
                                     !getTransposeW());
  Value dw = getTransposeW()
                 ? GroupedOuterOp::create(builder, getLoc(), w.getType(), dy, x)
                 : GroupedOuterOp::create(builder, getLoc(), w.getType(), x, dy);
  grads.assign({dx, dw});
  return success();
}

LogicalResult GroupedOuterOp::verify() {
  RankedTensorType a = getA().getType(), b = getB().getType();
  RankedTensorType result = getType();
  if (!isTokenMatrix(a) || !isTokenMatrix(b)) // C1
    return emitOpError("expects token tensors of rank 2 (C1), got ")
           << a << " and " << b;
  if (result.getRank() != 3 || !result.hasStaticShape() ||
      result.getDimSize(1) != a.getDimSize(1) ||
      result.getDimSize(2) != b.getDimSize(1)) // C2
    return emitOpError("expects a static result of rank 3 with the widths of "
                       "the operands (C2), got ")
           << result << " of " << a << " and " << b;
  if (a.getElementType() != b.getElementType() ||
      !accumulatesIn(a.getElementType(), result.getElementType())) // C3
    return emitOpError("expects one element type (C3), got ")
           << a << ", " << b << " and " << result
           << "; only the result of bf16 operands may be wider, f32";
  return success();
}

FusionRole GroupedOuterOp::getFusionRole() { return FusionRole::Structured; }

OperandStorage GroupedOuterOp::getOperandStorage(unsigned) {
  return OperandStorage::Factor;
}

Horizon GroupedOuterOp::getHorizon() { return {Horizon::Kind::All}; }

int64_t GroupedOuterOp::getFlops(int64_t context) {
  return 2 * getA().getType().getDimSize(1) * getB().getType().getDimSize(1);
}

LogicalResult GroupedOuterOp::vjp(OpBuilder &builder, ValueRange cotangents,
                                  SmallVectorImpl<Value> &grads) {
  Value dr = cotangents[0], a = getA(), b = getB();
  Value da = GroupedMatmulOp::create(builder, getLoc(), a.getType(), b, dr,
                                     /*transpose_w=*/true);
  Value db = GroupedMatmulOp::create(builder, getLoc(), b.getType(), a, dr,
                                     /*transpose_w=*/false);
  grads.assign({da, db});
  return success();
}

LogicalResult SiteOp::verify() {
  RankedTensorType from = getFrom().getType(), to = getTo().getType();
  if (!isTokenMatrix(from) || !isTokenMatrix(to)) // C1
    return emitOpError("expects token tensors of rank 2 (C1), got ")
           << from << " and " << to;
  if (from.getElementType() != to.getElementType()) // C2
    return emitOpError("expects one element type (C2), got ")
           << from << " and " << to;
  return success();
}

} // namespace pg
