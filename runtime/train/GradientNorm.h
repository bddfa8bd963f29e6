//===- GradientNorm.h - joint norm and clipping of the gradients --------------===//
#ifndef PG_RUNTIME_TRAIN_GRADIENTNORM_H
#define PG_RUNTIME_TRAIN_GRADIENTNORM_H

#include "runtime/exec/Executor.h"

namespace pg::rt {

/// L2 norm over all gradient states: double sums over fixed pieces of 4,096
/// elements, the pieces added pairwise in a fixed tree. The same bits for any
/// number of threads.
class GradientNorm {
public:
  explicit GradientNorm(Executor &executor);
  double norm();
  /// Multiplies all gradients by min(1, limit / (norm + 1e-6)).
  void clip(double norm, double limit);

private:
  struct Piece {
    void *memory;
    int64_t count;
    bool isDouble;
  };
  Executor &executor;
  std::vector<Piece> pieces;
  std::vector<double> sums;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_GRADIENTNORM_H
