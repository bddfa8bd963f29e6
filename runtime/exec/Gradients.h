//===- Gradients.h - norm, clipping and sums of the gradients ----------------===//
#ifndef PG_RUNTIME_EXEC_GRADIENTS_H
#define PG_RUNTIME_EXEC_GRADIENTS_H

#include "runtime/exec/Executor.h"

namespace pg::rt {

/// All states of role "gradient" of an executor as one vector, on its device.
/// Sums are taken in double over fixed pieces of 4,096 elements and the pieces added pairwise in a fixed tree; nothing
/// depends on the number of threads or the device. What fails on the device is
/// remembered by it and told by the next call that waits (norm). No call allocates after the constructor
/// and reserveRanks.
class Gradients {
public:
  explicit Gradients(Executor &executor);

  void zero() { executor.zeroGradients(); }
  /// L2 norm; waits for the device.
  StatusOr<double> norm();
  /// The same in two parts: what is queued between them does not change it.
  Status queueNorm();
  StatusOr<double> takeNorm();
  /// Multiplies every gradient.
  void scale(double factor);
  /// min(1, limit / (norm + 1e-6)); 1 without a limit (stack-1693 §3.3).
  static double clipFactor(double norm, double limit);

  /// Memory for the sum over `ranks` logical ranks; Environment when there is
  /// none. One rank needs none.
  Status reserveRanks(int64_t ranks);
  /// The gradients now hold rank r = 0, 1, ... in turn: adds them to the sum,
  /// pairwise in a binary tree over the ranks, so that processes that own
  /// aligned groups of ranks would form the same partial sums.
  void addRank();
  /// The gradients become the sum over all ranks added since the last total.
  void total();

  /// Index of the first state whose gradient is not finite, -1 when all are.
  int firstNotFinite();

private:
  /// gradients += level; or the level becomes a copy of the gradients.
  void addLevel(size_t level);
  void storeLevel(size_t level);

  /// One gradient state, and where its copies lie in a level of the tree.
  struct Tensor {
    size_t state;
    char *memory;
    uint64_t bytes, offset;
  };
  Executor &executor;
  std::vector<Tensor> tensors;
  std::vector<FloatSpan> spans;  ///< pieces of the gradients
  std::vector<size_t> stateOf;   ///< per span
  std::vector<double> sums;
  uint64_t sumsTicket = 0;       ///< of queueNorm
  uint64_t bytes = 0;
  std::vector<char *> levels;    ///< level l holds the sum of 2^l ranks
  std::vector<std::vector<FloatSpan>> levelSpans;
  int64_t ranksAdded = 0;        ///< its binary digits say which levels are in use
  int64_t ranks = 1;
};

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_GRADIENTS_H
