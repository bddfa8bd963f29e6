//===- Shape.cpp - constants and movement of elements ---------------------===//
#include "dialect/ops/Constants.h"
#include "dialect/ops/GradientBuilder.h"

using namespace mlir;

namespace pg {

static bool isFloatTensor(Type type) {
  return isa<FloatType>(cast<RankedTensorType>(type).getElementType());
}

/// A fill moved is the same fill: the value of a uniform constant, else null.
static OpFoldResult foldUniform(Attribute operand) {
  std::optional<ConstantOperand> constant = ConstantOperand::read(operand);
  if (!constant || !constant->isUniform())
    return {};
  return FloatAttr::get(Float64Type::get(operand.getContext()), (*constant)[0]);
}

/// True when `axis` names a static dimension of `type`.
static bool isStaticAxis(RankedTensorType type, int64_t axis) {
  return axis >= 0 && axis < type.getRank() && !type.isDynamicDim(axis);
}

/// True when the shapes agree in rank, element type and every dimension but
/// `axis`.
static bool agreesExceptOn(RankedTensorType x, RankedTensorType y,
                           int64_t axis) {
  if (x.getRank() != y.getRank() || x.getElementType() != y.getElementType())
    return false;
  for (int64_t i = 0, rank = x.getRank(); i < rank; ++i)
    if (i != axis && x.getDimSize(i) != y.getDimSize(i))
      return false;
  return true;
}

/// Splits the linear index `i` of a tensor cut at `axis`: (outer, at, inner).
struct CutIndex {
  CutIndex(RankedTensorType type, int64_t axis, int64_t i) {
    inner = 1;
    for (int64_t size : type.getShape().drop_front(axis + 1))
      inner *= size;
    offset = i % inner;
    at = i / inner % type.getDimSize(axis);
    outer = i / inner / type.getDimSize(axis);
  }
  /// Linear index of element `position` of a dimension of `size` elements.
  int64_t linear(int64_t position, int64_t size) const {
    return (outer * size + position) * inner + offset;
  }
  int64_t inner, offset, at, outer;
};

//===----------------------------------------------------------------------===//
// ConstantOp, FillOp, IotaOp
//===----------------------------------------------------------------------===//

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValueAttr(); }

OpFoldResult FillOp::fold(FoldAdaptor) { return getValueAttr(); }

LogicalResult IotaOp::verify() {
  if (!isStaticAxis(getType(), getAxis())) // C1
    return emitOpError("expects a static axis of ")
           << getType() << " (C1), got " << getAxis();
  return success();
}

OpFoldResult IotaOp::fold(FoldAdaptor) {
  RankedTensorType type = getType();
  if (!type.hasStaticShape() || type.getNumElements() > kMaxFoldedElements)
    return {};
  SmallVector<double> values;
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i)
    values.push_back(CutIndex(type, getAxis(), i).at);
  return denseConstant(type, values);
}

//===----------------------------------------------------------------------===//
// BroadcastOp
//===----------------------------------------------------------------------===//

LogicalResult BroadcastOp::verify() {
  RankedTensorType from = getX().getType(), to = getType();
  if (from.getElementType() != to.getElementType()) // C4
    return emitOpError("expects to keep the element type of ")
           << from << " (C4), got " << to;
  ArrayRef<int64_t> dims = getDims();
  if (static_cast<int64_t>(dims.size()) != from.getRank()) // C3
    return emitOpError("expects one result dimension per operand dimension, ")
           << from.getRank() << " (C3), got " << dims.size();
  int64_t previous = -1;
  for (auto [i, dim] : llvm::enumerate(dims)) {
    if (dim <= previous || dim >= to.getRank()) // C3
      return emitOpError("expects strictly increasing dims inside rank ")
             << to.getRank() << " (C3), got " << dim;
    previous = dim;
    if (from.isDynamicDim(i) && dim != 0) // C2
      return emitOpError("expects the token axis to stay dimension 0 (C2), "
                         "got dimension ")
             << dim;
    int64_t size = from.getDimSize(i);
    if (size != 1 && size != to.getDimSize(dim)) // C1
      return emitOpError("expects operand dimension ")
             << i << " of " << from << " to be 1 or equal dimension " << dim
             << " of " << to << " (C1)";
  }
  return success();
}

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  if (OpFoldResult uniform = foldUniform(adaptor.getX()))
    return uniform;
  // Two broadcasts are one.
  if (auto inner = getX().getDefiningOp<BroadcastOp>()) {
    SmallVector<int64_t> dims;
    for (int64_t dim : inner.getDims())
      dims.push_back(getDims()[dim]);
    getXMutable().assign(inner.getX());
    setDims(dims);
    return getResult();
  }
  // Broadcasting small tables would only make them larger; a table without
  // repetition (unit dimensions added) folds.
  if (!getType().hasStaticShape() ||
      getType().getNumElements() != getX().getType().getNumElements())
    return {};
  return foldMovement(adaptor.getX(), getType(), [](int64_t i) { return i; });
}

LogicalResult BroadcastOp::vjp(OpBuilder &builder, ValueRange cotangents,
                               SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  GradientBuilder g(builder, getLoc());
  RankedTensorType from = getX().getType(), to = getType();
  SmallVector<int64_t> repeated;
  for (int64_t i = 0, rank = to.getRank(); i < rank; ++i) {
    const int64_t *dim = llvm::find(getDims(), i);
    bool isKept = dim != getDims().end() &&
                  from.getDimSize(dim - getDims().begin()) == to.getDimSize(i);
    if (!isKept)
      repeated.push_back(i);
  }
  grads[0] = g.reshape(g.reduceSum(cotangents[0], repeated), from);
  return success();
}

//===----------------------------------------------------------------------===//
// ReshapeOp
//===----------------------------------------------------------------------===//

LogicalResult ReshapeOp::verify() {
  RankedTensorType from = getX().getType(), to = getType();
  if (elementsPerToken(from) != elementsPerToken(to)) // C1
    return emitOpError("expects as many elements as ")
           << from << " (C1), got " << to;
  if (from.getElementType() != to.getElementType()) // C2
    return emitOpError("expects to keep the element type of ")
           << from << " (C2), got " << to;
  if (isTokenTensor(from) != isTokenTensor(to)) // C3
    return emitOpError("expects the token axis on both sides or neither (C3), "
                       "got ")
           << from << " and " << to;
  return success();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  if (OpFoldResult uniform = foldUniform(adaptor.getX()))
    return uniform;
  if (auto inner = getX().getDefiningOp<ReshapeOp>()) {
    if (inner.getX().getType() == getType())
      return inner.getX();
    getXMutable().assign(inner.getX());
    return getResult();
  }
  return foldMovement(adaptor.getX(), getType(), [](int64_t i) { return i; });
}

LogicalResult ReshapeOp::vjp(OpBuilder &builder, ValueRange cotangents,
                             SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (isFloatTensor(getType()))
    grads[0] = GradientBuilder(builder, getLoc())
                   .reshape(cotangents[0], getX().getType());
  return success();
}

//===----------------------------------------------------------------------===//
// TransposeOp
//===----------------------------------------------------------------------===//

LogicalResult TransposeOp::verify() {
  RankedTensorType from = getX().getType(), to = getType();
  ArrayRef<int64_t> permutation = getPermutation();
  SmallVector<int64_t> sorted(permutation);
  llvm::sort(sorted);
  bool isPermutation =
      static_cast<int64_t>(permutation.size()) == from.getRank();
  for (auto [i, dim] : llvm::enumerate(sorted))
    isPermutation &= dim == static_cast<int64_t>(i);
  if (!isPermutation) // C1
    return emitOpError("expects a permutation of ")
           << from.getRank() << " dimensions (C1)";
  SmallVector<int64_t> shape;
  for (int64_t dim : permutation)
    shape.push_back(from.getDimSize(dim));
  if (to.getShape() != ArrayRef<int64_t>(shape) ||
      to.getElementType() != from.getElementType()) // C2
    return emitOpError("expects the permuted shape of ")
           << from << " (C2), got " << to;
  return success();
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  ArrayRef<int64_t> permutation = getPermutation();
  if (llvm::is_sorted(permutation) && getX().getType() == getType())
    return getX();
  if (OpFoldResult uniform = foldUniform(adaptor.getX()))
    return uniform;
  if (auto inner = getX().getDefiningOp<TransposeOp>()) {
    SmallVector<int64_t> combined;
    for (int64_t dim : permutation)
      combined.push_back(inner.getPermutation()[dim]);
    if (llvm::is_sorted(combined))
      return inner.getX();
    getXMutable().assign(inner.getX());
    setPermutation(combined);
    return getResult();
  }
  SmallVector<int64_t> from = rowMajorStrides(getX().getType().getShape());
  SmallVector<int64_t> to = rowMajorStrides(getType().getShape());
  return foldMovement(adaptor.getX(), getType(), [&](int64_t i) {
    int64_t source = 0;
    for (auto [dim, stride, size] :
         llvm::zip(permutation, to, getType().getShape()))
      source += i / stride % size * from[dim];
    return source;
  });
}

LogicalResult TransposeOp::vjp(OpBuilder &builder, ValueRange cotangents,
                               SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  SmallVector<int64_t> inverse(getPermutation().size());
  for (auto [i, dim] : llvm::enumerate(getPermutation()))
    inverse[dim] = i;
  grads[0] =
      TransposeOp::create(builder, getLoc(), getX().getType(), cotangents[0],
                          builder.getDenseI64ArrayAttr(inverse));
  return success();
}

//===----------------------------------------------------------------------===//
// SliceOp, PadOp, ConcatOp
//===----------------------------------------------------------------------===//

LogicalResult SliceOp::verify() {
  RankedTensorType from = getX().getType(), to = getType();
  int64_t axis = getAxis(), start = getStart();
  if (!isStaticAxis(from, axis)) // C1
    return emitOpError("expects a static axis of ")
           << from << " (C1), got " << axis;
  if (!agreesExceptOn(from, to, axis)) // C2
    return emitOpError("expects to change ")
           << from << " only along axis " << axis << " (C2), got " << to;
  if (start < 0 || to.getDimSize(axis) < 1 ||
      start + to.getDimSize(axis) > from.getDimSize(axis)) // C3
    return emitOpError("expects elements inside dimension ")
           << axis << " of " << from << " (C3), got [" << start << ", "
           << start + to.getDimSize(axis) << ")";
  return success();
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  if (OpFoldResult uniform = foldUniform(adaptor.getX()))
    return uniform;
  int64_t axis = getAxis(), start = getStart();
  if (auto inner = getX().getDefiningOp<SliceOp>()) {
    if (static_cast<int64_t>(inner.getAxis()) == axis) {
      int64_t combined = start + static_cast<int64_t>(inner.getStart());
      getXMutable().assign(inner.getX());
      setStart(combined);
      return getResult();
    }
  }
  int64_t size = getX().getType().getDimSize(axis);
  return foldMovement(adaptor.getX(), getType(), [&](int64_t i) {
    CutIndex index(getType(), axis, i);
    return index.linear(index.at + start, size);
  });
}

LogicalResult SliceOp::vjp(OpBuilder &builder, ValueRange cotangents,
                           SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (isFloatTensor(getType()))
    grads[0] = PadOp::create(builder, getLoc(), getX().getType(), cotangents[0],
                             getAxisAttr(), getStartAttr());
  return success();
}

LogicalResult PadOp::verify() {
  RankedTensorType from = getX().getType(), to = getType();
  int64_t axis = getAxis(), low = getLow();
  if (!isStaticAxis(from, axis)) // C1
    return emitOpError("expects a static axis of ")
           << from << " (C1), got " << axis;
  if (!agreesExceptOn(from, to, axis)) // C2
    return emitOpError("expects to change ")
           << from << " only along axis " << axis << " (C2), got " << to;
  if (low < 0 || low + from.getDimSize(axis) > to.getDimSize(axis)) // C3
    return emitOpError("expects ")
           << from << " from " << low << " to fit into " << to << " (C3)";
  return success();
}

OpFoldResult PadOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  if (isUniformConstant(adaptor.getX(), 0.0))
    return foldUniform(adaptor.getX());
  int64_t axis = getAxis(), low = getLow();
  int64_t size = getX().getType().getDimSize(axis);
  return foldMovement(adaptor.getX(), getType(), [&](int64_t i) -> int64_t {
    CutIndex index(getType(), axis, i);
    int64_t position = index.at - low;
    return position < 0 || position >= size ? -1 : index.linear(position, size);
  });
}

LogicalResult PadOp::vjp(OpBuilder &builder, ValueRange cotangents,
                         SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (isFloatTensor(getType()))
    grads[0] = SliceOp::create(builder, getLoc(), getX().getType(),
                               cotangents[0], getAxisAttr(), getLowAttr());
  return success();
}

LogicalResult ConcatOp::verify() {
  RankedTensorType to = getType();
  int64_t axis = getAxis();
  if (getXs().empty()) // C1
    return emitOpError("expects at least one operand (C1)");
  if (!isStaticAxis(to, axis)) // C2
    return emitOpError("expects a static axis of ")
           << to << " (C2), got " << axis;
  int64_t total = 0;
  for (Value x : getXs()) {
    auto type = cast<RankedTensorType>(x.getType());
    if (!agreesExceptOn(type, to, axis)) // C3
      return emitOpError("expects operands that differ from ")
             << to << " only along axis " << axis << " (C3), got " << type;
    total += type.getDimSize(axis);
  }
  if (total != to.getDimSize(axis)) // C4
    return emitOpError("expects dimension ")
           << axis << " of the result to be " << total << " (C4), got " << to;
  return success();
}

OpFoldResult ConcatOp::fold(FoldAdaptor adaptor) {
  if (getXs().size() == 1 && getXs().front().getType() == getType())
    return getXs().front();
  RankedTensorType type = getType();
  int64_t axis = getAxis();
  if (!type.hasStaticShape() || type.getNumElements() > kMaxFoldedElements)
    return {};
  SmallVector<ConstantOperand> parts;
  for (Attribute attr : adaptor.getXs()) {
    std::optional<ConstantOperand> part = ConstantOperand::read(attr);
    if (!part)
      return {};
    parts.push_back(std::move(*part));
  }
  SmallVector<double> values;
  for (int64_t i = 0, e = type.getNumElements(); i < e; ++i) {
    CutIndex index(type, axis, i);
    int64_t position = index.at, which = 0, size = 0;
    for (;; ++which) {
      size = cast<RankedTensorType>(getXs()[which].getType()).getDimSize(axis);
      if (position < size)
        break;
      position -= size;
    }
    values.push_back(parts[which][index.linear(position, size)]);
  }
  return denseConstant(type, values);
}

LogicalResult ConcatOp::vjp(OpBuilder &builder, ValueRange cotangents,
                            SmallVectorImpl<Value> &grads) {
  grads.assign(getXs().size(), nullptr);
  if (!isFloatTensor(getType()))
    return success();
  int64_t start = 0;
  for (auto [i, x] : llvm::enumerate(getXs())) {
    grads[i] = SliceOp::create(builder, getLoc(), x.getType(), cotangents[0],
                               getAxisAttr(), builder.getI64IntegerAttr(start));
    start += cast<RankedTensorType>(x.getType()).getDimSize(getAxis());
  }
  return success();
}

//===----------------------------------------------------------------------===//
// TokenShiftOp
//===----------------------------------------------------------------------===//

LogicalResult TokenShiftOp::verify() {
  if (!isTokenTensor(getType())) // C1
    return emitOpError("expects a token tensor (C1), got ") << getType();
  if (getDistance() == 0) // C2
    return emitOpError("expects a distance other than 0 (C2)");
  return success();
}

FusionRole TokenShiftOp::getFusionRole() { return FusionRole::Neighbour; }

Horizon TokenShiftOp::getHorizon() {
  int64_t distance = getDistance();
  if (distance > 0)
    return {Horizon::Kind::Earlier, distance};
  return {Horizon::Kind::Later, -distance};
}

LogicalResult TokenShiftOp::vjp(OpBuilder &builder, ValueRange cotangents,
                                SmallVectorImpl<Value> &grads) {
  grads.assign(1, nullptr);
  if (!isFloatTensor(getType()))
    return success();
  int64_t distance = getDistance();
  grads[0] = TokenShiftOp::create(
      builder, getLoc(), getX().getType(), cotangents[0],
      builder.getI64IntegerAttr(-distance), getWithinAttr());
  return success();
}

//===----------------------------------------------------------------------===//
// GatherOp, GatherGradOp, PickOp, TakeRowsOp
//===----------------------------------------------------------------------===//

/// [index's dimension, table's other dimensions].
static RankedTensorType gathered(RankedTensorType table,
                                 RankedTensorType index) {
  SmallVector<int64_t> shape(table.getShape());
  shape[0] = index.getDimSize(0);
  return RankedTensorType::get(shape, table.getElementType());
}

LogicalResult GatherOp::verify() {
  RankedTensorType table = getTable().getType(), index = getIndex().getType();
  if (table.getRank() < 1 || !table.hasStaticShape()) // C1
    return emitOpError("expects a static table [V, ...] (C1), got ") << table;
  if (index.getRank() != 1) // C2
    return emitOpError("expects an index of rank 1 (C2), got ") << index;
  if (getType() != gathered(table, index)) // C2
    return emitOpError("expects result ")
           << gathered(table, index) << " (C2), got " << getType();
  return success();
}

LogicalResult GatherOp::vjp(OpBuilder &builder, ValueRange cotangents,
                            SmallVectorImpl<Value> &grads) {
  if (getType().getElementType().isInteger(8))
    return emitOpError("has no gradient: its table holds codes");
  Value dtable = GatherGradOp::create(builder, getLoc(), getTable().getType(),
                                      cotangents[0], getIndex());
  grads.assign({dtable, Value()});
  return success();
}

LogicalResult GatherGradOp::verify() {
  RankedTensorType index = getIndex().getType(), table = getType();
  if (table.getRank() < 1 || !table.hasStaticShape()) // C1
    return emitOpError("expects a static result [V, ...] (C1), got ") << table;
  if (index.getRank() != 1) // C2
    return emitOpError("expects an index of rank 1 (C2), got ") << index;
  RankedTensorType dy = getDy().getType();
  if (dy.clone(table.getElementType()) != gathered(table, index) ||
      !accumulatesIn(dy.getElementType(), table.getElementType())) // C2
    return emitOpError("expects dy ")
           << gathered(table, index) << " (C2), got " << dy;
  return success();
}

/// Rows are added, not multiplied: each is widened as it is read.
OperandStorage GatherGradOp::getOperandStorage(unsigned index) {
  return index == 0 ? OperandStorage::Any : OperandStorage::Result;
}

FusionRole GatherGradOp::getFusionRole() { return FusionRole::Structured; }

Horizon GatherGradOp::getHorizon() { return {Horizon::Kind::All}; }

LogicalResult PickOp::verify() {
  RankedTensorType x = getX().getType(), index = getIndex().getType();
  if (x.getRank() != 2 || index.getRank() != 1 ||
      x.getDimSize(0) != index.getDimSize(0)) // C1
    return emitOpError("expects x [N, V] and index [N] (C1), got ")
           << x << " and " << index;
  if (getType() != dropAxes(x, {1})) // C2
    return emitOpError("expects result ")
           << dropAxes(x, {1}) << " (C2), got " << getType();
  return success();
}

/// dx[t, v] = dy_t where v = index_t, else 0.
LogicalResult PickOp::vjp(OpBuilder &builder, ValueRange cotangents,
                          SmallVectorImpl<Value> &grads) {
  GradientBuilder g(builder, getLoc());
  RankedTensorType type = getX().getType();
  auto indexType = type.clone(builder.getI32Type());
  Value columns = IotaOp::create(builder, getLoc(), indexType,
                                 builder.getI64IntegerAttr(1));
  Value isPicked = g.compare(Predicate::eq, columns,
                             g.broadcast(getIndex(), indexType, {0}));
  Value dy = g.broadcast(cotangents[0], type, {0});
  grads.assign({g.select(isPicked, dy, g.fill(type, 0.0)), Value()});
  return success();
}

LogicalResult TakeRowsOp::verify() {
  RankedTensorType x = getX().getType(), index = getIndex().getType();
  if (!isTokenTensor(x)) // C1
    return emitOpError("expects a token tensor (C1), got ") << x;
  if (index.getRank() != 1 || !index.hasStaticShape()) // C2
    return emitOpError("expects a static list of rows (C2), got ") << index;
  if (getType() != gathered(x, index)) // C3
    return emitOpError("expects result ")
           << gathered(x, index) << " (C3), got " << getType();
  return success();
}

FusionRole TakeRowsOp::getFusionRole() { return FusionRole::Neighbour; }

} // namespace pg
