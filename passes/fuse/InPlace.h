//===- InPlace.h - results of row kernels that may lie on an operand ------===//
#ifndef PG_PASSES_FUSE_INPLACE_H
#define PG_PASSES_FUSE_INPLACE_H

#include "dialect/Pg.h"

namespace pg {

/// Result number `result` of every launch of a kernel may be written to the memory
/// of its tensor argument number `argument`, which has the same type.
struct Reuse {
  unsigned result, argument;
};

/// All such pairs, results in order. `result` counts fresh yields. Empty for
/// kernels that are not rows over tokens. For targets that run the loop groups of
/// a row in the order of RowPlan and every position of a group once, with all
/// reads at a position before the writes there.
llvm::SmallVector<Reuse> reusesOf(KernelDefOp def);

} // namespace pg

#endif // PG_PASSES_FUSE_INPLACE_H
