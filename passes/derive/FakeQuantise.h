//===- FakeQuantise.h - training computes with rounded weights -------------===//
#ifndef PG_PASSES_DERIVE_FAKEQUANTISE_H
#define PG_PASSES_DERIVE_FAKEQUANTISE_H

#include "dialect/Pg.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace pg {

/// In each of `entries`, replaces the value of every parameter that has the
/// attribute `pg.fake_quant` by that function of it; then drops attributes and
/// functions. To run before differentiation: the function decides which
/// gradient passes through it.
mlir::LogicalResult fakeQuantise(mlir::ModuleOp module,
                                 llvm::ArrayRef<mlir::func::FuncOp> entries);

} // namespace pg

#endif // PG_PASSES_DERIVE_FAKEQUANTISE_H
