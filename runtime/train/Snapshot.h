//===- Snapshot.h - parameters and states, put aside ---------------------------===//
#ifndef PG_RUNTIME_TRAIN_SNAPSHOT_H
#define PG_RUNTIME_TRAIN_SNAPSHOT_H

#include "runtime/exec/Executor.h"

namespace pg::rt {

/// A copy of every parameter and of every state but the gradients.
class Snapshot {
public:
  explicit Snapshot(const Executor &executor);
  /// Puts everything back except states whose name matches one of the
  /// patterns in `keepStates` (separated by commas, `*` and `?`). Returns the
  /// number of states that were kept.
  int64_t restore(Executor &executor, const std::string &keepStates = "") const;

private:
  std::vector<std::vector<char>> parameters, states;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_SNAPSHOT_H
