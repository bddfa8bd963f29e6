//===- Reduce.cpp - sums, maxima and the norm -----------------------------===//
#include "dialect/ops/Constants.h"
#include "dialect/ops/GradientBuilder.h"

using namespace mlir;

namespace pg {

//===----------------------------------------------------------------------===//
// Shapes of reductions
//===----------------------------------------------------------------------===//

RankedTensorType dropAxes(RankedTensorType type, ArrayRef<int64_t> axes) {
  SmallVector<int64_t> shape;
  for (int64_t i = 0, rank = type.getRank(); i < rank; ++i)
    if (!llvm::is_contained(axes, i))
      shape.push_back(type.getDimSize(i));
  return RankedTensorType::get(shape, type.getElementType());
}

/// The dimensions of a tensor of `type` that are not in `axes`.
static SmallVector<int64_t> keptAxes(RankedTensorType type,
                                     ArrayRef<int64_t> axes) {
  SmallVector<int64_t> kept;
  for (int64_t i = 0, rank = type.getRank(); i < rank; ++i)
    if (!llvm::is_contained(axes, i))
      kept.push_back(i);
  return kept;
}

Value GradientBuilder::reduceSum(Value x, ArrayRef<int64_t> axes) {
  if (axes.empty())
    return x;
  auto type = cast<RankedTensorType>(x.getType());
  if (isTokenTensor(type) && axes.front() == 0 && axes.size() > 1) {
    // Features first: the token reduction then sees the smallest row.
    Value rows = reduceSum(x, axes.drop_front());
    return reduceSum(rows, {0});
  }
  return ReduceSumOp::create(builder, loc, dropAxes(type, axes), x,
                             builder.getDenseI64ArrayAttr(axes));
}

Value GradientBuilder::reduceMax(Value x, ArrayRef<int64_t> axes) {
  auto type = cast<RankedTensorType>(x.getType());
  return ReduceMaxOp::create(builder, loc, dropAxes(type, axes), x,
                             builder.getDenseI64ArrayAttr(axes));
}

Value GradientBuilder::restoreAxes(Value x, Type type, ArrayRef<int64_t> axes) {
  return broadcast(x, type, keptAxes(cast<RankedTensorType>(type), axes));
}

static FusionRole reductionRole(RankedTensorType type, ArrayRef<int64_t> axes) {
  return isTokenTensor(type) && llvm::is_contained(axes, 0)
             ? FusionRole::TokenReduce
             : FusionRole::RowReduce;
}

static LogicalResult verifyReduction(Operation *op, RankedTensorType type,
                                     ArrayRef<int64_t> axes,
                                     RankedTensorType result) {
  int64_t previous = -1;
  for (int64_t axis : axes) {
    if (axis <= previous || axis >= type.getRank()) // C1
      return op->emitOpError("expects strictly increasing axes inside rank ")
             << type.getRank() << " (C1), got axis " << axis;
    previous = axis;
  }
  RankedTensorType expected = dropAxes(type, axes);
  if (result != expected) // C2
    return op->emitOpError("expects result ")
           << expected << " (C2), got " << result;
  if (isTokenTensor(type) && axes.size() > 1 && axes.front() == 0) // C3
    return op->emitOpError("reduces the token axis together with others (C3); "
                           "write two ops");
  return success();
}

//===----------------------------------------------------------------------===//
// ReduceSumOp
//===----------------------------------------------------------------------===//

LogicalResult ReduceSumOp::verify() {
  return verifyReduction(*this, getX().getType(), getAxes(), getType());
}

FusionRole ReduceSumOp::getFusionRole() {
  return reductionRole(getX().getType(), getAxes());
}

OpFoldResult ReduceSumOp::fold(FoldAdaptor adaptor) {
  if (getAxes().empty() && getX().getType() == getType())
    return getX();
  RankedTensorType type = getX().getType();
  std::optional<ConstantOperand> constant =
      ConstantOperand::read(adaptor.getX());
  if (!constant)
    return {};
  if (constant->isUniform()) {
    int64_t count = 1;
    for (int64_t axis : getAxes()) {
      if (type.isDynamicDim(axis))
        return {};
      count *= type.getDimSize(axis);
    }
    return FloatAttr::get(Float64Type::get(getContext()),
                          (*constant)[0] * static_cast<double>(count));
  }
  // A dense constant: every element goes to the sum its kept indices name.
  SmallVector<int64_t> strides = rowMajorStrides(type.getShape());
  SmallVector<int64_t> kept = keptAxes(type, getAxes());
  SmallVector<int64_t> outStrides = rowMajorStrides(getType().getShape());
  SmallVector<double> sums(getType().getNumElements(), 0.0);
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i) {
    int64_t to = 0;
    for (auto [axis, stride] : llvm::zip(kept, outStrides))
      to += (i / strides[axis]) % type.getDimSize(axis) * stride;
    sums[to] += (*constant)[i];
  }
  return denseConstant(getType(), sums);
}

LogicalResult ReduceSumOp::vjp(OpBuilder &builder, ValueRange cotangents,
                               SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  grads.assign({g.restoreAxes(cotangents[0], getX().getType(), getAxes())});
  return success();
}

//===----------------------------------------------------------------------===//
// ReduceMaxOp
//===----------------------------------------------------------------------===//

LogicalResult ReduceMaxOp::verify() {
  if (failed(verifyReduction(*this, getX().getType(), getAxes(), getType())))
    return failure();
  if (isTokenTensor(getX().getType()) && llvm::is_contained(getAxes(), 0)) // C4
    return emitOpError("takes no maximum over tokens (C4)");
  return success();
}

FusionRole ReduceMaxOp::getFusionRole() { return FusionRole::RowReduce; }

/// Equal maxima share: dx = [x = max] dy / (number of maxima).
LogicalResult ReduceMaxOp::vjp(OpBuilder &builder, ValueRange cotangents,
                               SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  RankedTensorType type = getX().getType();
  Value maximum = g.restoreAxes(getResult(), type, getAxes());
  Value isMaximum = g.compare(Predicate::eq, getX(), maximum);
  Value count = g.reduceSum(
      g.select(isMaximum, g.fill(type, 1.0), g.fill(type, 0.0)), getAxes());
  Value share = g.restoreAxes(g.div(cotangents[0], count), type, getAxes());
  grads.assign({g.select(isMaximum, share, g.fill(type, 0.0))});
  return success();
}

//===----------------------------------------------------------------------===//
// RmsNormOp
//===----------------------------------------------------------------------===//

LogicalResult RmsNormOp::verify() {
  RankedTensorType type = getType();
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1)) // C1
    return emitOpError("expects a static last dimension to normalise over "
                       "(C1), got ")
           << type;
  if (!(getEps().convertToDouble() >= 0.0)) // C2
    return emitOpError("expects eps >= 0 (C2), got ")
           << getEps().convertToDouble();
  return success();
}

FusionRole RmsNormOp::getFusionRole() { return FusionRole::RowReduce; }

/// r = (mean(x^2) + eps)^(-1/2);  dx = r dy - x r^3 mean(dy x).
LogicalResult RmsNormOp::vjp(OpBuilder &builder, ValueRange cotangents,
                             SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  Value x = getX(), dy = cotangents[0];
  RankedTensorType type = getType();
  int64_t last = type.getRank() - 1;
  double inverseWidth = 1.0 / static_cast<double>(type.getDimSize(last));
  Value meanSquare = g.scale(g.reduceSum(g.mul(x, x), {last}), inverseWidth);
  Value shifted =
      g.add(meanSquare, g.fillLike(meanSquare, getEps().convertToDouble()));
  Value r = RsqrtOp::create(builder, getLoc(), shifted.getType(), shifted);
  Value meanProduct = g.scale(g.reduceSum(g.mul(dy, x), {last}), inverseWidth);
  Value pull = g.mul(g.mul(r, g.mul(r, r)), meanProduct);
  Value direct = g.mul(dy, g.restoreAxes(r, type, {last}));
  grads.assign({g.sub(direct, g.mul(x, g.restoreAxes(pull, type, {last})))});
  return success();
}

//===----------------------------------------------------------------------===//
// PartialSumOp, CombineOp
//===----------------------------------------------------------------------===//

LogicalResult PartialSumOp::verify() {
  if (!isTokenTensor(getX().getType())) // C1
    return emitOpError("expects a token tensor (C1), got ") << getX().getType();
  auto chunks = dyn_cast_or_null<ChunksAttr>(getType().getEncoding());
  if (!chunks || chunks.getGrain() <= 0) // C2
    return emitOpError("expects a result with a positive #pg.chunks grain "
                       "(C2), got ")
           << getType();
  if (getType().getShape() != getX().getType().getShape() ||
      getType().getElementType() != getX().getType().getElementType()) // C3
    return emitOpError("expects to keep rows of ")
           << getX().getType() << " (C3), got " << getType();
  return success();
}

FusionRole PartialSumOp::getFusionRole() { return FusionRole::TokenReduce; }

LogicalResult CombineOp::verify() {
  if (!isChunkTensor(getX().getType())) // C1
    return emitOpError("expects partial sums (#pg.chunks) (C1), got ")
           << getX().getType();
  RankedTensorType expected = dropAxes(getX().getType(), {0});
  if (getType() != expected) // C2
    return emitOpError("expects result ")
           << expected << " (C2), got " << getType();
  return success();
}

FusionRole CombineOp::getFusionRole() { return FusionRole::Structured; }

} // namespace pg
