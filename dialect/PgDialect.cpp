//===- PgDialect.cpp - registration, attributes, shape queries ------------===//
#include "dialect/Pg.h"

#include "mlir/IR/DialectImplementation.h"
#include "mlir/Transforms/InliningUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

#include "dialect/PgDialect.cpp.inc"
#include "dialect/PgEnums.cpp.inc"
#include "dialect/PgInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialect/PgAttrs.cpp.inc"

namespace pg {
namespace {

/// Every op of the dialect may move into a caller: values are tensors and the
/// ops that read or write symbols name them absolutely.
struct PgInlinerInterface : DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;

  bool isLegalToInline(Operation *, Operation *, bool) const final {
    return true;
  }
  bool isLegalToInline(Region *, Region *, bool, IRMapping &) const final {
    return true;
  }
  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const final {
    return true;
  }
};

} // namespace

void PgDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialect/PgOps.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/PgAttrs.cpp.inc"
      >();
  addInterfaces<PgInlinerInterface>();
}

Operation *PgDialect::materializeConstant(OpBuilder &builder, Attribute value,
                                          Type type, Location loc) {
  if (auto number = dyn_cast<FloatAttr>(value))
    return FillOp::create(builder, loc, type, number);
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return ConstantOp::create(builder, loc, type, elements);
}

bool isTokenTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() > 0 && tensor.isDynamicDim(0) &&
         !isa_and_nonnull<ChunksAttr>(tensor.getEncoding());
}

bool isChunkTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() > 0 && tensor.isDynamicDim(0) &&
         isa_and_nonnull<ChunksAttr>(tensor.getEncoding());
}

bool hasPackedShape(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return false;
  for (int64_t i = 1, rank = tensor.getRank(); i < rank; ++i)
    if (tensor.isDynamicDim(i))
      return false;
  return true;
}

int64_t elementsPerToken(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return 1;
  int64_t count = 1;
  for (int64_t size : tensor.getShape())
    if (!ShapedType::isDynamic(size))
      count *= size;
  return count;
}

Value throughReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getX();
  return value;
}

bool accumulatesIn(Type factor, Type sum) {
  return factor == sum || (factor.isBF16() && sum.isF32());
}

int64_t elementBytes(Type elementType) {
  if (elementType.isInteger(1))
    return 1;
  return elementType.getIntOrFloatBitWidth() / 8;
}

} // namespace pg
