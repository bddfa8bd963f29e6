//===- Loss.cpp - softcapped cross-entropy --------------------------------===//
#include "dialect/ops/GradientBuilder.h"

using namespace mlir;

namespace pg {

//===----------------------------------------------------------------------===//
// CrossEntropyOp
//===----------------------------------------------------------------------===//

LogicalResult CrossEntropyOp::verify() {
  RankedTensorType logits = getLogits().getType();
  RankedTensorType targets = getTargets().getType();
  if (logits.getRank() != 2 || targets.getRank() != 1 ||
      logits.getDimSize(0) != targets.getDimSize(0)) // C1
    return emitOpError("expects logits [N, V] and targets [N] (C1), got ")
           << logits << " and " << targets;
  RankedTensorType expected = dropAxes(logits, {1});
  if (getNll().getType() != expected) // C2
    return emitOpError("expects result ")
           << expected << " (C2), got " << getNll().getType();
  return success();
}

FusionRole CrossEntropyOp::getFusionRole() { return FusionRole::RowReduce; }

/// dz = (softmax(z) - onehot(target)) dnll.
LogicalResult CrossEntropyOp::vjp(OpBuilder &builder, ValueRange cotangents,
                                  SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  Value z = getLogits();
  RankedTensorType type = getLogits().getType();
  Value top = g.reduceMax(z, {1});
  Value e = g.exp(g.sub(z, g.restoreAxes(top, type, {1})));
  Value total = g.restoreAxes(g.reduceSum(e, {1}), type, {1});
  auto indexType = type.clone(builder.getI32Type());
  Value words = IotaOp::create(builder, getLoc(), indexType,
                               builder.getI64IntegerAttr(1));
  Value wanted = g.broadcast(getTargets(), indexType, {0});
  Value onehot = g.select(g.compare(Predicate::eq, words, wanted),
                          g.fill(type, 1.0), g.fill(type, 0.0));
  Value dnll = g.restoreAxes(cotangents[0], type, {1});
  grads.assign({g.mul(g.sub(g.div(e, total), onehot), dnll), Value()});
  return success();
}

//===----------------------------------------------------------------------===//
// LinearCrossEntropyOp and its gradients
//===----------------------------------------------------------------------===//

static LogicalResult verifyHead(Operation *op, RankedTensorType x,
                                RankedTensorType w, RankedTensorType targets,
                                double softcap) {
  if (x.getRank() != 2 || w.getRank() != 2 || targets.getRank() != 1 ||
      x.getDimSize(1) != w.getDimSize(1) ||
      x.getDimSize(0) != targets.getDimSize(0) ||
      x.getElementType() != w.getElementType()) // C1
    return op->emitOpError("expects x [N, D], w [V, D] and targets [N] (C1), "
                           "got ")
           << x << ", " << w << " and " << targets;
  if (!(softcap >= 0.0)) // C2
    return op->emitOpError("expects softcap >= 0 (C2), got ") << softcap;
  return success();
}

LogicalResult LinearCrossEntropyOp::verify() {
  RankedTensorType x = getX().getType();
  bool hasCodes = getW().getType().getElementType().isInteger(8);
  // Codes stand for numbers of any float type.
  RankedTensorType w = hasCodes ? getW().getType().clone(x.getElementType())
                                : getW().getType();
  if (failed(verifyHead(*this, x, w, getTargets().getType(),
                        getSoftcap().convertToDouble())))
    return failure();
  RankedTensorType expected = dropAxes(x, {1});
  if (Type sum = getNll().getType().getElementType();
      accumulatesIn(x.getElementType(), sum))
    expected = expected.clone(sum);
  if (getNll().getType() != expected || getLse().getType() != expected) // C3
    return emitOpError("expects results ")
           << expected << " (C3), got " << getNll().getType() << " and "
           << getLse().getType();
  auto hasType = [&](Value value, ArrayRef<int64_t> shape) {
    return value.getType() ==
           RankedTensorType::get(shape, expected.getElementType());
  };
  auto rank = getP() ? cast<RankedTensorType>(getP().getType()) : RankedTensorType();
  bool isPlain = !getScale() && !getP() && !getQ();
  bool isCoded = hasCodes && getScale() && !getP() == !getQ() &&
                 hasType(getScale(), {w.getDimSize(0)}) &&
                 (!rank || (rank.getRank() == 2 && rank.getDimSize(1) > 0 &&
                            hasType(getP(), {x.getDimSize(0), rank.getDimSize(1)}) &&
                            hasType(getQ(), {w.getDimSize(0), rank.getDimSize(1)})));
  if (hasCodes ? !isCoded : !isPlain) // C4
    return emitOpError("expects codes with a scale [V] and, together or neither, "
                       "p [N, r] and q [V, r] of the results' type, and floats "
                       "without (C4), got ")
           << getOperandTypes();
  return success();
}

/// x and w; lse and dnll of the gradients belong to the results.
static OperandStorage headStorage(unsigned index) {
  return index < 2 ? OperandStorage::Factor : OperandStorage::Result;
}

OperandStorage LinearCrossEntropyOp::getOperandStorage(unsigned index) {
  return headStorage(index);
}

FusionRole LinearCrossEntropyOp::getFusionRole() {
  return FusionRole::Structured;
}

int64_t LinearCrossEntropyOp::getFlops(int64_t context) {
  int64_t rank = getQ() ? cast<RankedTensorType>(getQ().getType()).getDimSize(1) : 0;
  return 2 * (getW().getType().getNumElements() +
              rank * getW().getType().getDimSize(0));
}

LogicalResult LinearCrossEntropyOp::vjp(OpBuilder &builder,
                                        ValueRange cotangents,
                                        SmallVectorImpl<Value> &grads) {
  if (cotangents[1])
    return emitOpError("has no gradient through its log-sum-exp");
  if (getScale())
    return emitOpError("has no gradient: its table holds codes");
  Value dx = LinearCrossEntropyGradXOp::create(
      builder, getLoc(), getX().getType(), getX(), getW(), getTargets(),
      getLse(), cotangents[0], getSoftcapAttr());
  Value dw = LinearCrossEntropyGradWOp::create(
      builder, getLoc(), getW().getType(), getX(), getW(), getTargets(),
      getLse(), cotangents[0], getSoftcapAttr());
  grads.assign({dx, dw, Value()});
  return success();
}

template <typename OpType>
static LogicalResult verifyHeadGradient(OpType op, RankedTensorType expected) {
  RankedTensorType x = op.getX().getType();
  if (failed(verifyHead(op, x, op.getW().getType(), op.getTargets().getType(),
                        op.getSoftcap().convertToDouble())))
    return failure();
  if (Type sum = op.getType().getElementType();
      accumulatesIn(x.getElementType(), sum))
    expected = expected.clone(sum);
  RankedTensorType perToken = dropAxes(x, {1}).clone(expected.getElementType());
  if (op.getLse().getType() != perToken ||
      op.getDnll().getType() != perToken) // C3
    return op.emitOpError("expects lse and dnll ")
           << perToken << " (C3), got " << op.getLse().getType() << " and "
           << op.getDnll().getType();
  if (op.getType() != expected) // C4
    return op.emitOpError("expects result ")
           << expected << " (C4), got " << op.getType();
  return success();
}

LogicalResult LinearCrossEntropyGradXOp::verify() {
  return verifyHeadGradient(*this, getX().getType());
}

OperandStorage LinearCrossEntropyGradXOp::getOperandStorage(unsigned index) {
  return headStorage(index);
}

FusionRole LinearCrossEntropyGradXOp::getFusionRole() {
  return FusionRole::Structured;
}

Horizon LinearCrossEntropyGradXOp::getHorizon() {
  return {Horizon::Kind::Token};
}

/// The logits again, then the product with w.
int64_t LinearCrossEntropyGradXOp::getFlops(int64_t context) {
  return 4 * getW().getType().getNumElements();
}

LogicalResult LinearCrossEntropyGradWOp::verify() {
  return verifyHeadGradient(*this, getW().getType());
}

OperandStorage LinearCrossEntropyGradWOp::getOperandStorage(unsigned index) {
  return headStorage(index);
}

FusionRole LinearCrossEntropyGradWOp::getFusionRole() {
  return FusionRole::Structured;
}

Horizon LinearCrossEntropyGradWOp::getHorizon() { return {Horizon::Kind::All}; }

int64_t LinearCrossEntropyGradWOp::getFlops(int64_t context) {
  return 4 * getW().getType().getNumElements();
}

} // namespace pg
