//===- Passes.h - passes that derive the programs -------------------------===//
#ifndef PG_PASSES_DERIVE_PASSES_H
#define PG_PASSES_DERIVE_PASSES_H

#include "dialect/Pg.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace pg {

/// Unit attribute of the ops that only the gradient needs.
inline constexpr llvm::StringLiteral kBackwardAttr = "pg.backward";

/// Marks every op made while it listens as part of the gradient.
struct BackwardMarker : mlir::OpBuilder::Listener {
  void notifyOperationInserted(mlir::Operation *op,
                               mlir::OpBuilder::InsertPoint) override {
    op->setAttr(kBackwardAttr, mlir::UnitAttr::get(op->getContext()));
  }
};

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/derive/Passes.h.inc"

} // namespace pg

#endif // PG_PASSES_DERIVE_PASSES_H
