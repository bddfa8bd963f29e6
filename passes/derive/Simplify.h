//===- Simplify.h - the clean-up that ends a derive pass ------------------===//
#ifndef PG_PASSES_DERIVE_SIMPLIFY_H
#define PG_PASSES_DERIVE_SIMPLIFY_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace pg {

/// Canonicalisation and common subexpressions over a module.
inline void addSimplification(mlir::OpPassManager &pipeline) {
  pipeline.addPass(mlir::createCanonicalizerPass());
  pipeline.addPass(mlir::createCSEPass());
}

} // namespace pg

#endif // PG_PASSES_DERIVE_SIMPLIFY_H
