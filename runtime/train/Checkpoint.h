//===- Checkpoint.h - a run's state on disk ----------------------------------===//
//
// A checkpoint is two files. step-00000100.safetensors holds every parameter
// under its name and every state but the gradients as "state/<name>".
// step-00000100.json is written after it and makes it valid: where the run
// stood, what it was (program, data), and length and check sum of the tensors.
// Both appear whole or not at all, so at any instant the newest valid
// checkpoint is complete. The values are finite, always.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_CHECKPOINT_H
#define PG_RUNTIME_TRAIN_CHECKPOINT_H

#include "runtime/data/Loader.h"
#include "runtime/exec/Executor.h"
#include "runtime/support/TimeLedger.h"
#include "runtime/weights/TensorStream.h"

#include <optional>

namespace pg::rt {

/// Where a run stands between two steps. With the tensors it determines
/// everything that follows; the random numbers of a run are counter-based, so
/// seed and step are their state.
struct TrainState {
  int64_t step = 0;              ///< steps done
  int64_t tokens = 0;
  int phase = -1;                ///< last phase that ran, -1 = none
  int64_t seed = 0;
  LoaderPosition loader;
  int64_t validatedStep = -1;    ///< step of the last validation
  int64_t bestStep = -1;         ///< step of the lowest validation loss
  double bestLoss = 0;
  double lastLoss = 0;           ///< training loss of the last step
  std::array<double, kStages> seconds{}; ///< ledger
};

/// What a checkpoint belongs to.
struct RunIdentity {
  std::string data;              ///< fingerprint of the training shards
};

class Checkpoints {
public:
  /// `folder` exists. Memory for the largest tensor is taken here.
  Checkpoints(Executor &executor, std::string folder, RunIdentity identity, int64_t keep, bool keepBest);

  /// Numerical, naming the tensor and its YAML line, when a value is not
  /// finite; Io when it cannot be written. In both cases the older ones stay.
  Status write(const TrainState &state);
  /// Restores executor and state from the newest valid checkpoint; an invalid
  /// one is skipped with a warning. Nothing when the folder has none. Corrupt
  /// when it has some but none is valid; Invalid when they belong to another
  /// program or other data. Other code of the program gets a notice.
  StatusOr<std::optional<TrainState>> restoreNewest();
  /// Restores the checkpoint of one step.
  StatusOr<TrainState> restore(int64_t step);

  /// Steps that have a checkpoint, ascending; whether it is valid is not known.
  std::vector<int64_t> steps() const;

private:
  Status writeTensors(const std::string &path, uint64_t &bytes, std::string &hash);
  Status read(const TensorShape &tensor);
  void prune(const TrainState &state);
  std::string stem(int64_t step) const;

  Executor &executor;
  std::string folder;
  RunIdentity identity;
  int64_t keep;
  bool keepBest;
  std::vector<TensorShape> tensors; ///< file order; source: parameters, then states
  std::string header;
  std::vector<char> staging;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_CHECKPOINT_H
