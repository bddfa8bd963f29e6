//===- Dequantise.h - readers of weights held as codes ---------------------===//
#ifndef PG_PASSES_DERIVE_DEQUANTISE_H
#define PG_PASSES_DERIVE_DEQUANTISE_H

#include "dialect/Pg.h"

#include "mlir/IR/BuiltinOps.h"

namespace pg {

/// Leaves no `dequantise`: products, look-ups and the merged head read the codes
/// and scale and correct what they make; other readers get the value.
void decomposeDequantise(mlir::ModuleOp module);

} // namespace pg

#endif // PG_PASSES_DERIVE_DEQUANTISE_H
