//===- RowDomain.h - what a row is, and in which loops a row is computed -----===//
//
// Planning only, no emission. A row kernel runs once per row; inside a row its
// values are computed by loop groups in order. A group is one loop nest over
// one iteration space; it reduces some values and stores others. Values needed
// by several groups are kept in row scratch when dear, recomputed when cheap.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_KERNEL_ROWDOMAIN_H
#define PG_PASSES_KERNEL_ROWDOMAIN_H

#include "dialect/Pg.h"

namespace pg {

struct RowDomain {
  enum class Kind {
    Tokens,  ///< one row per token
    Taken,   ///< one row per entry of a list of tokens (pg.take_rows)
    Leading, ///< one row per leading index of static tensors
    Whole    ///< all static tensors together are one row
  };
  Kind kind = Kind::Whole;
  int64_t rows = 1;      ///< static number of rows (not Tokens)
  mlir::Value takeIndex; ///< Taken: the list
  int64_t grain = 1;     ///< rows a thread takes at a time
};

/// One loop nest of a row.
struct LoopGroup {
  mlir::RankedTensorType space;                ///< iteration space, row included
  llvm::SmallVector<int64_t> axes;             ///< reduced dimensions
  llvm::SmallVector<mlir::Value> reductions;   ///< results of reduce ops
  llvm::SmallVector<mlir::Value> kept;         ///< stored to row scratch
  llvm::SmallVector<unsigned> yields;          ///< stored as yields
  int64_t level = 0;
  bool last = false; ///< writes symbols: after every other group
};

struct RowPlan {
  RowDomain domain;
  std::vector<LoopGroup> groups; ///< in order of execution
};

/// Plans a kernel without structured op other than take_rows. Ops that cannot
/// live in a row are reported.
mlir::FailureOr<RowPlan> planRows(KernelDefOp def);

} // namespace pg

#endif // PG_PASSES_KERNEL_ROWDOMAIN_H
