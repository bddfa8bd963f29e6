//===- Attention.cpp - attention core and rotation ------------------------===//
#include "dialect/ops/GradientBuilder.h"

#include <algorithm>

using namespace mlir;

namespace pg {

//===----------------------------------------------------------------------===//
// RotateOp
//===----------------------------------------------------------------------===//

LogicalResult RotateOp::verify() {
  RankedTensorType x = getX().getType(), cos = getCos().getType();
  if (x.getRank() != 3 || cos.getRank() != 2 ||
      getSin().getType().getRank() != 2 ||
      x.getDimSize(0) != cos.getDimSize(0)) // C1
    return emitOpError("expects x [N, H, d], cos and sin [N, r] (C1), got ")
           << x << ", " << cos << " and " << getSin().getType();
  if (getSin().getType() != cos ||
      cos.getElementType() != x.getElementType()) // C2
    return emitOpError("expects cos and sin of equal type and x's element "
                       "type (C2), got ")
           << cos << " and " << getSin().getType();
  if (2 * cos.getDimSize(1) > x.getDimSize(2)) // C3
    return emitOpError("expects 2r <= d (C3), got r = ")
           << cos.getDimSize(1) << ", d = " << x.getDimSize(2);
  return success();
}

/// The inverse rotation turns by the negated angle.
LogicalResult RotateOp::vjp(OpBuilder &builder, ValueRange cotangents,
                            SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  Value dx = RotateOp::create(builder, getLoc(), getX().getType(),
                              cotangents[0], getCos(), g.neg(getSin()));
  grads.assign({dx, Value(), Value()});
  return success();
}

//===----------------------------------------------------------------------===//
// AttentionOp
//===----------------------------------------------------------------------===//

/// The checks attention and its gradient share.
static LogicalResult verifyHeads(Operation *op, RankedTensorType q,
                                 RankedTensorType k, RankedTensorType v,
                                 int64_t window) {
  if (q.getRank() != 3 || k.getRank() != 3 || v.getRank() != 3 ||
      !isTokenTensor(q) || !isTokenTensor(k) || !isTokenTensor(v)) // C1
    return op->emitOpError("expects token tensors of rank 3 for q, k, v (C1), "
                           "got ")
           << q << ", " << k << ", " << v;
  if (k.getDimSize(1) != v.getDimSize(1) || k.getDimSize(1) == 0 ||
      q.getDimSize(1) % k.getDimSize(1) != 0 ||
      q.getDimSize(2) != k.getDimSize(2) ||
      q.getElementType() != k.getElementType() ||
      q.getElementType() != v.getElementType()) // C2
    return op->emitOpError("expects q [N, H, d], k [N, G, d], v [N, G, e] of "
                           "one element type, H a multiple of G (C2), got ")
           << q << ", " << k << ", " << v;
  if (window < 0) // C3
    return op->emitOpError("expects window >= 0 (C3), got ") << window;
  return success();
}

/// [N, H] of q's heads.
static RankedTensorType perHead(RankedTensorType q, Type element) {
  return RankedTensorType::get(q.getShape().take_front(2), element);
}

/// [N, H, e] of q's heads and v's width.
static RankedTensorType attended(RankedTensorType q, RankedTensorType v,
                                 Type element) {
  return RankedTensorType::get(
      {q.getDimSize(0), q.getDimSize(1), v.getDimSize(2)}, element);
}

/// The element type results are made in: that of `result` where q's may be
/// summed in it, else q's own.
static Type sumType(RankedTensorType q, RankedTensorType result) {
  Type sum = result.getElementType();
  return accumulatesIn(q.getElementType(), sum) ? sum : q.getElementType();
}

LogicalResult AttentionOp::verify() {
  RankedTensorType q = getQ().getType(), v = getV().getType();
  if (failed(verifyHeads(*this, q, getK().getType(), v, getWindow())))
    return failure();
  Type sum = sumType(q, getOut().getType());
  if (getOut().getType() != attended(q, v, sum) ||
      getLse().getType() != perHead(q, sum)) // C2
    return emitOpError("expects results ")
           << attended(q, v, sum) << " and " << perHead(q, sum)
           << " (C2), got " << getOut().getType() << " and "
           << getLse().getType();
  return success();
}

OperandStorage AttentionOp::getOperandStorage(unsigned) {
  return OperandStorage::Factor;
}

FusionRole AttentionOp::getFusionRole() { return FusionRole::Structured; }

Horizon AttentionOp::getHorizon() { return {Horizon::Kind::Prefix}; }

/// A window bounds the keys of a token.
static int64_t keysWithin(int64_t context, int64_t window) {
  return window > 0 ? std::min(context, window) : context;
}

/// Two products per key, 2 FLOPs per multiply-add.
int64_t AttentionOp::getFlops(int64_t context) {
  RankedTensorType q = getQ().getType();
  return 2 * keysWithin(context, getWindow()) * q.getDimSize(1) *
         (q.getDimSize(2) + getV().getType().getDimSize(2));
}

/// dS = P (dP - delta) with delta = rowsum(dout out); a cotangent of the
/// log-sum-exp adds P dlse, so it is taken from delta.
LogicalResult AttentionOp::vjp(OpBuilder &builder, ValueRange cotangents,
                               SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  Value dout = cotangents[0], dlse = cotangents[1];
  Value delta;
  if (dout)
    delta = g.reduceSum(g.mul(dout, getOut()), {2});
  else
    dout = g.fillLike(getOut(), 0.0);
  if (dlse)
    delta = delta ? g.sub(delta, dlse) : g.neg(dlse);
  auto grad = AttentionGradOp::create(
      builder, getLoc(), getQ().getType(), getK().getType(), getV().getType(),
      getQ(), getK(), getV(), dout, getLse(), delta, getScaleAttr(),
      getWindowAttr(), getWithinAttr());
  grads.assign({grad.getDq(), grad.getDk(), grad.getDv()});
  return success();
}

//===----------------------------------------------------------------------===//
// AttentionGradOp
//===----------------------------------------------------------------------===//

LogicalResult AttentionGradOp::verify() {
  RankedTensorType q = getQ().getType(), v = getV().getType();
  if (failed(verifyHeads(*this, q, getK().getType(), v, getWindow())))
    return failure();
  Type sum = sumType(q, getDq().getType());
  RankedTensorType dout = attended(q, v, q.getElementType());
  if (getDout().getType() != dout || getLse().getType() != perHead(q, sum) ||
      getDelta().getType() != perHead(q, sum)) // C4
    return emitOpError("expects dout ")
           << dout << ", lse and delta " << perHead(q, sum) << " (C4), got "
           << getDout().getType() << ", " << getLse().getType() << " and "
           << getDelta().getType();
  if (getDq().getType() != q.clone(sum) ||
      getDk().getType() != getK().getType().clone(sum) ||
      getDv().getType() != v.clone(sum)) // C5
    return emitOpError("expects results of the types of q, k, v (C5), got ")
           << getDq().getType() << ", " << getDk().getType() << " and "
           << getDv().getType();
  return success();
}

/// lse and delta belong to the exponent and to a difference of sums.
OperandStorage AttentionGradOp::getOperandStorage(unsigned index) {
  return index < 4 ? OperandStorage::Factor : OperandStorage::Result;
}

FusionRole AttentionGradOp::getFusionRole() { return FusionRole::Structured; }

/// dk and dv of a token gather from the tokens that attended to it.
Horizon AttentionGradOp::getHorizon() { return {Horizon::Kind::All}; }

/// q k^T again, dout v^T, then dq, dk and dv.
int64_t AttentionGradOp::getFlops(int64_t context) {
  RankedTensorType q = getQ().getType();
  return 2 * keysWithin(context, getWindow()) * q.getDimSize(1) *
         (3 * q.getDimSize(2) + 2 * getV().getType().getDimSize(2));
}

} // namespace pg
