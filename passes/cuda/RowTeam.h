//===- RowTeam.h - how many threads share a row, and who has which element ----===//
//
// A row is computed by a team of threads: part of a warp, a warp, or a block. A
// loop nest over E elements of a row is laid out linearly: in step i, thread l
// of T has the W consecutive elements from (i T + l) W on, so that a step's
// accesses are one stretch of memory. Loops with the same E and W give every
// element to the same thread, which may so keep it in a register.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CUDA_ROWTEAM_H
#define PG_PASSES_CUDA_ROWTEAM_H

#include "passes/kernel/RowDomain.h"

namespace pg::cuda {

/// Elements of one row of a loop group and their layout.
struct RowLayout {
  int64_t elements = 1;
  int64_t width = 1;
  int64_t steps = 1;
  bool operator==(const RowLayout &other) const {
    return elements == other.elements && width == other.width;
  }
  bool isWhole(int64_t lanes) const {
    return elements == steps * lanes * width;
  }
};

struct RowTeam {
  int64_t lanes = 32; ///< threads of a team, a power of two
  int64_t teams = 8;  ///< per block
  int64_t width = 4;  ///< elements of a 16-byte access, of the widest loop
  int threads() const { return static_cast<int>(lanes * teams); }

  RowLayout layout(mlir::RankedTensorType space, bool hasRow) const;
};

/// Elements of a value that one row has; with `hasRow` false, of all of it.
int64_t elementsPerRow(mlir::RankedTensorType type, bool hasRow);

/// The team for a plan whose rows are tokens or leading indices. Partial sums
/// are kept in shared memory per team; `partialBytes` of them limit the teams.
RowTeam chooseTeam(KernelDefOp def, const RowPlan &plan, int64_t partialBytes);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_ROWTEAM_H
