//===- FakeQuantise.cpp - training computes with rounded weights -----------===//
//
// Nothing is stored between the reads of one entry, so its first read of a
// parameter serves all others.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/FakeQuantise.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace pg {
namespace {

/// The result of `function` of `weight`, written at the insertion point.
Value copyBody(OpBuilder &builder, func::FuncOp function, Value weight) {
  IRMapping mapping;
  Block &body = function.getBody().front();
  mapping.map(body.getArgument(0), weight);
  for (Operation &op : body.without_terminator()) {
    Operation *copy = builder.clone(op, mapping);
    copy->setLoc(CallSiteLoc::get(op.getLoc(), weight.getLoc()));
  }
  return mapping.lookupOrDefault(body.getTerminator()->getOperand(0));
}

LogicalResult replaceReads(func::FuncOp entry, SymbolTable &symbols) {
  llvm::StringMap<SmallVector<ParamOp>> reads;
  for (auto read : entry.getOps<ParamOp>())
    reads[read.getName()].push_back(read);
  for (auto &[name, same] : reads) {
    auto parameter = symbols.lookup<ParameterOp>(name);
    auto callee =
        parameter ? parameter->getAttrOfType<FlatSymbolRefAttr>(kFakeQuantAttr)
                  : FlatSymbolRefAttr();
    if (!callee)
      continue;
    auto function = symbols.lookup<func::FuncOp>(callee.getValue());
    Type type = parameter.getType();
    if (!function || function.getFunctionType() !=
                         FunctionType::get(type.getContext(), {type}, {type}))
      return parameter.emitOpError("expects '")
             << kFakeQuantAttr << "' to name a function from "
             << parameter.getType() << " to itself";
    ParamOp first = same.front();
    for (ParamOp other : ArrayRef(same).drop_front()) {
      other.replaceAllUsesWith(first.getResult());
      other.erase();
    }
    OpBuilder builder(first->getContext());
    builder.setInsertionPointAfter(first);
    Operation *next = first->getNextNode();
    Value quantised = copyBody(builder, function, first.getResult());
    first.getResult().replaceUsesWithIf(quantised, [&](OpOperand &use) {
      // What was copied stands before `next`.
      return !use.getOwner()->isBeforeInBlock(next);
    });
  }
  return success();
}

} // namespace

LogicalResult fakeQuantise(ModuleOp module, ArrayRef<func::FuncOp> entries) {
  SymbolTable symbols(module);
  for (func::FuncOp entry : entries)
    if (failed(replaceReads(entry, symbols)))
      return failure();
  for (auto parameter : module.getOps<ParameterOp>())
    parameter->removeAttr(kFakeQuantAttr);
  for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
    if (function.isPrivate())
      function.erase();
  return success();
}

} // namespace pg
