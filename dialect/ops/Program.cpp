//===- Program.cpp - symbols, inputs, outputs and state of an entry -------===//
#include "dialect/Pg.h"

using namespace mlir;

namespace pg {

/// Parameters and states have a static shape: they outlive every batch.
static LogicalResult verifyStoredType(Operation *op, Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() || tensor.getEncoding()) // C1
    return op->emitOpError("expects a tensor of static shape (C1), got ")
           << type;
  if (!tensor.getElementType().isF32() && !tensor.getElementType().isF64() &&
      !tensor.getElementType().isBF16() &&
      !tensor.getElementType().isInteger(32) &&
      !tensor.getElementType().isInteger(8)) // C2
    return op->emitOpError("expects f32, f64, bf16, i32 or i8 elements (C2), got ")
           << tensor.getElementType();
  return success();
}

LogicalResult ParameterOp::verify() {
  if (failed(verifyStoredType(*this, getType())))
    return failure();
  if (!getInit().getAs<StringAttr>("kind")) // C3
    return emitOpError("expects init with a string 'kind' (C3), got ")
           << getInit();
  return success();
}

LogicalResult StateOp::verify() {
  if (failed(verifyStoredType(*this, getType())))
    return failure();
  if (getRole().empty()) // C3
    return emitOpError("expects a role (C3), got an empty string");
  if (getDraw() && !getDraw()->getAs<StringAttr>("kind")) // C5
    return emitOpError("expects draw with a string 'kind' (C5), got ")
           << *getDraw();
  return success();
}

LogicalResult ScalarOp::verify() {
  if (getType().getRank() != 0) // C1
    return emitOpError("expects a tensor of rank 0 (C1), got ") << getType();
  return success();
}

/// Checks that `name` is one of `SymbolOps` and has the type `type`.
template <typename... SymbolOps>
static LogicalResult verifySymbol(Operation *op, SymbolTableCollection &tables,
                                  FlatSymbolRefAttr name, Type type,
                                  StringRef kind) {
  Operation *symbol = tables.lookupNearestSymbolFrom(op, name);
  if (!isa_and_nonnull<SymbolOps...>(symbol))
    return op->emitOpError("expects ")
           << name << " to be a " << kind << " of the module (C1)";
  Type declared = symbol->getAttrOfType<TypeAttr>("type").getValue();
  if (declared == type)
    return success();
  InFlightDiagnostic error = op->emitOpError("expects the declared type ")
                             << declared << " of " << name << " (C2), got "
                             << type;
  error.attachNote(symbol->getLoc()) << "declared here";
  return error;
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifySymbol<ParameterOp>(*this, tables, getNameAttr(), getType(),
                                   "parameter");
}

LogicalResult StateOp::verifySymbolUses(SymbolTableCollection &tables) {
  if (!getFromParameter())
    return success();
  ParameterOp parameter;
  if (getOfAttr())
    parameter = dyn_cast_or_null<ParameterOp>(
        tables.lookupNearestSymbolFrom(*this, getOfAttr()));
  auto own = cast<RankedTensorType>(getType());
  if (!parameter || cast<RankedTensorType>(parameter.getType()).getShape() !=
                        own.getShape()) // C4
    return emitOpError("starts as a copy of a parameter and expects 'of' to "
                       "name one of shape ")
           << own << " (C4)";
  return success();
}

LogicalResult ReadStateOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifySymbol<StateOp>(*this, tables, getNameAttr(), getType(),
                               "state");
}

LogicalResult StoreOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifySymbol<ParameterOp, StateOp>(
      *this, tables, getNameAttr(), getValue().getType(), "parameter or state");
}

} // namespace pg
