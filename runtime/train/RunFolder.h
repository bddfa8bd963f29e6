//===- RunFolder.h - where a training run leaves its files --------------------===//
//
//   config.json          what the run was started with; every recipe value with
//                        its origin
//   metrics.jsonl        one line per logged step, validation or event
//   clock.jsonl          one line per step of a run that the clock steers: what
//                        the schedule saw (TrainClock)
//   replay.jsonl         the clock.jsonl that this run repeats, if any
//   checkpoints/         step-00000100.json + step-00000100.safetensors
//   weights.safetensors  the parameters at the end; ema.safetensors the averages
//   lock                 process id and host of the process that holds it
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_RUNFOLDER_H
#define PG_RUNTIME_TRAIN_RUNFOLDER_H

#include "runtime/support/File.h"
#include "runtime/support/Json.h"

namespace pg::rt {

/// Held by one process at a time, until the object dies.
class RunFolder {
public:
  RunFolder() = default;
  RunFolder(RunFolder &&other) noexcept;
  RunFolder &operator=(RunFolder &&other) noexcept;
  ~RunFolder();

  /// Creates and locks the folder. Io when another process holds it (named),
  /// Usage when it holds a run and `resume` is not set.
  static StatusOr<RunFolder> open(const std::string &path, bool resume);
  /// Whether a run had been started here before open.
  bool hadRun() const { return hasRun; }

  Status writeConfig(const Json &config);
  StatusOr<Json> readConfig() const;

  /// Cuts metrics and clock back to what belongs to the first `steps` steps
  /// (dropping a torn last line) and opens both for appending; -1 starts them empty.
  Status openLogs(int64_t steps);
  AppendFile metrics, clock;

  const std::string &path() const { return path_; }
  std::string file(const std::string &name) const { return path_ + "/" + name; }
  std::string weightsPath() const { return file("weights.safetensors"); }
  std::string averagesPath() const { return file("ema.safetensors"); }
  std::string checkpointsPath() const { return file("checkpoints"); }

private:
  std::string path_;
  int lock = -1;
  bool hasRun = false;
};

/// The whole lines of a .jsonl text that parse as objects and whose "step" is
/// at most `lastStep`; a line without a newline is torn and dropped.
std::string keepLines(const std::string &text, int64_t lastStep);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_RUNFOLDER_H
