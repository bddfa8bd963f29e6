//===- Differentiate.h - reverse mode over one block ----------------------===//
#ifndef PG_PASSES_DERIVE_DIFFERENTIATE_H
#define PG_PASSES_DERIVE_DIFFERENTIATE_H

#include "dialect/Pg.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace pg {

/// What is differentiated and where the gradient goes.
struct GradientSpec {
  /// Name of the state that gathers the gradient of a leaf (`pg.param` or
  /// `pg.read_state`); "" for a constant. May be asked more than once.
  llvm::function_ref<std::string(mlir::Operation *)> stateOf;
  llvm::StringRef scale;       ///< run-time scalar
  llvm::StringRef weights = ""; ///< input per token, or none
};

/// Appends to `entry` the gradient of sum(output * scale * weights). Every
/// contribution to a leaf becomes one `pg.store accumulate` into its state, in
/// reverse program order; the appended ops carry `pg.backward`. Fails with a
/// diagnostic when an op has no gradient for the results that need one.
llvm::LogicalResult differentiate(mlir::func::FuncOp entry, mlir::Value output,
                                  const GradientSpec &spec);

/// Name of the state that gathers the gradient of a parameter or state.
std::string gradientName(llvm::StringRef symbol);

} // namespace pg

#endif // PG_PASSES_DERIVE_DIFFERENTIATE_H
