//===- Absorb.h - prologues and epilogues of matrix products
//---------------===//
#ifndef PG_PASSES_FUSE_ABSORB_H
#define PG_PASSES_FUSE_ABSORB_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace pg {

/// Row-wise op -> the product whose kernel computes it.
using AbsorbedBy = llvm::DenseMap<mlir::Operation *, mlir::Operation *>;

/// A cheap map of one stored tensor, which its readers may repeat instead.
bool isRepeatable(mlir::Operation *op);

/// Gives every reader of a cheap map of one stored tensor a copy of its own, so
/// that the map never has to be stored. Equal copies that meet in one kernel
/// are merged again there.
void duplicateCheapMaps(mlir::func::FuncOp entry);

/// Decides which maps move into the kernels of the products beside them.
AbsorbedBy absorbIntoProducts(mlir::func::FuncOp entry);

} // namespace pg

#endif // PG_PASSES_FUSE_ABSORB_H
