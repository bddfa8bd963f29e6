//===- Differentiate.h - reverse mode over one block ----------------------===//
#ifndef PG_PASSES_DERIVE_DIFFERENTIATE_H
#define PG_PASSES_DERIVE_DIFFERENTIATE_H

#include "dialect/Pg.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace pg {

/// Appends to `entry` the gradient of sum(output * scale), `scale` being the
/// run-time scalar `scaleName`. Every contribution to a parameter becomes one
/// `pg.store accumulate @"grad.<parameter>"`, in reverse program order; the
/// appended ops carry `pg.backward`. Fails with a diagnostic when an op has no
/// gradient for the results that need one.
llvm::LogicalResult differentiate(mlir::func::FuncOp entry, mlir::Value output,
                                  llvm::StringRef scaleName);

/// Name of the state that gathers the gradient of a parameter.
std::string gradientName(llvm::StringRef parameter);

} // namespace pg

#endif // PG_PASSES_DERIVE_DIFFERENTIATE_H
