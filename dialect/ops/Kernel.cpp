//===- Kernel.cpp - fused kernels and their launches ----------------------===//
#include "dialect/Pg.h"

using namespace mlir;

namespace pg {

/// The terminator, or null with an error when the region does not end in one.
static YieldOp getYield(Operation *op, Block &block) {
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield)
    op->emitOpError("expects a body that ends in pg.yield (C1)");
  return yield;
}

/// At most one structured op decides how a kernel is emitted.
static LogicalResult verifyOneStructured(Operation *op, Block &block) {
  Operation *first = nullptr;
  for (Operation &inner : block) {
    auto role = dyn_cast<FusionOpInterface>(inner);
    if (!role || role.getFusionRole() != FusionRole::Structured)
      continue;
    if (first) {
      InFlightDiagnostic error =
          inner.emitOpError("is a second structured op in one kernel (C2)");
      error.attachNote(first->getLoc()) << "the first one";
      return error;
    }
    first = &inner;
  }
  return success();
}

static int64_t countTargets(std::optional<ArrayAttr> targets) {
  return targets ? static_cast<int64_t>(targets->size()) : 0;
}

LogicalResult KernelOp::verify() {
  Block &block = getBody().front();
  YieldOp yield = getYield(*this, block);
  if (!yield || failed(verifyOneStructured(*this, block)))
    return failure();
  if (block.getArgumentTypes() != getInputs().getTypes()) // C3
    return emitOpError("expects block arguments of the operands' types (C3), "
                       "got ")
           << block.getNumArguments() << " arguments for " << getInputs().size()
           << " operands";
  int64_t expected = getNumResults() + countTargets(getTargets());
  if (static_cast<int64_t>(yield.getValues().size()) != expected) // C4
    return emitOpError("expects one yield per result and target, ")
           << expected << " (C4), got " << yield.getValues().size();
  for (auto [i, type] : llvm::enumerate(getResultTypes()))
    if (yield.getValues()[i].getType() != type) // C5
      return emitOpError("expects yield ")
             << i << " of type " << type << " (C5), got "
             << yield.getValues()[i].getType();
  return success();
}

LogicalResult KernelDefOp::verify() {
  Block &block = getBody().front();
  YieldOp yield = getYield(*this, block);
  if (!yield || failed(verifyOneStructured(*this, block)))
    return failure();
  if (getModes().size() != yield.getValues().size()) // C3
    return emitOpError("expects one mode per yield, ")
           << yield.getValues().size() << " (C3), got " << getModes().size();
  for (int64_t mode : getModes())
    if (mode < 0 || mode > 2) // C4
      return emitOpError("expects modes 0, 1 or 2 (C4), got ") << mode;
  bool seenScalar = false;
  for (Type type : block.getArgumentTypes()) {
    bool isScalar = isa<FloatType>(type);
    if (!isScalar && seenScalar) // C5
      return emitOpError("expects tensor arguments before f64 scalars (C5)");
    seenScalar |= isScalar;
  }
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto def =
      tables.lookupNearestSymbolFrom<KernelDefOp>(*this, getKernelAttr());
  if (!def) // C1
    return emitOpError("expects ")
           << getKernelAttr() << " to be a kernel_def of the module (C1)";
  auto mismatch = [&](StringRef label) {
    InFlightDiagnostic error = emitOpError("expects ")
                               << label << " of " << getKernelAttr();
    error.attachNote(def.getLoc()) << "defined here";
    return error;
  };
  Block &block = def.getBody().front();
  SmallVector<Type> tensors;
  int64_t scalars = 0;
  for (Type type : block.getArgumentTypes()) {
    if (isa<FloatType>(type))
      ++scalars;
    else
      tensors.push_back(type);
  }
  if (TypeRange(tensors) != getInputs().getTypes()) // C2
    return mismatch("operands of the tensor argument types (C2)");
  if (static_cast<int64_t>(getScalars().size()) != scalars) // C3
    return mismatch("as many scalars as f64 arguments (C3)");
  auto yield = dyn_cast<YieldOp>(block.back());
  if (!yield)
    return mismatch("the yield (C4)");
  SmallVector<Type> fresh;
  SmallVector<int64_t> stores;
  for (auto [mode, value] : llvm::zip(def.getModes(), yield.getValues())) {
    if (mode == 0)
      fresh.push_back(value.getType());
    else
      stores.push_back(mode);
  }
  if (TypeRange(fresh) != getResultTypes()) // C4
    return mismatch("results of the types of the fresh yields (C4)");
  if (countTargets(getTargets()) != static_cast<int64_t>(stores.size())) // C5
    return mismatch("one target per stored yield (C5)");
  if (!getTargets())
    return success();
  for (auto [mode, attr] : llvm::zip(stores, *getTargets())) {
    auto target = cast<TargetAttr>(attr);
    if ((mode == 1) != (target.getMode() == StoreMode::store)) // C6
      return mismatch("targets with the modes (C6)");
    Operation *symbol =
        tables.lookupNearestSymbolFrom(*this, target.getSymbol());
    if (!isa_and_nonnull<ParameterOp, StateOp>(symbol)) // C7
      return emitOpError("expects target ")
             << target.getSymbol() << " to be a parameter or state (C7)";
  }
  return success();
}

} // namespace pg
