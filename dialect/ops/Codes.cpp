//===- Codes.cpp - weights held as integer codes --------------------------===//
#include "dialect/Pg.h"

using namespace mlir;

namespace pg {

LogicalResult DequantiseOp::verify() {
  RankedTensorType codes = getCodes().getType(), scale = getScale().getType();
  if (codes.getRank() != 2 || !codes.hasStaticShape()) // C1
    return emitOpError("expects static codes of rank 2 (C1), got ") << codes;
  int64_t rows = codes.getDimSize(0), columns = codes.getDimSize(1);
  Type element = scale.getElementType();
  if (scale.getShape() != ArrayRef<int64_t>{rows}) // C2
    return emitOpError("expects a scale for each of ")
           << rows << " rows (C2), got " << scale;
  if (!getLeft() != !getRight()) // C3
    return emitOpError("expects left and right together (C3)");
  if (getLeft()) {
    auto left = cast<RankedTensorType>(getLeft().getType());
    auto right = cast<RankedTensorType>(getRight().getType());
    if (left.getRank() != 2 || right.getRank() != 2 ||
        left.getDimSize(0) != rows || right.getDimSize(1) != columns ||
        left.getDimSize(1) != right.getDimSize(0) || left.getDimSize(1) < 1) // C3
      return emitOpError("expects left [")
             << rows << ", r] and right [r, " << columns << "] (C3), got "
             << left << " and " << right;
    if (left.getElementType() != element || right.getElementType() != element) // C4
      return emitOpError("expects one float type (C4), got ")
             << scale << ", " << left << " and " << right;
  }
  if (getType() != codes.clone(element)) // C4
    return emitOpError("expects result ")
           << codes.clone(element) << " (C4), got " << getType();
  return success();
}

int64_t DequantiseOp::getFlops(int64_t) {
  int64_t rank =
      getLeft() ? cast<RankedTensorType>(getLeft().getType()).getDimSize(1) : 0;
  return (1 + 2 * rank) * getType().getNumElements();
}

} // namespace pg
