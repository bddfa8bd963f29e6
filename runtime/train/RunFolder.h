//===- RunFolder.h - where a training run leaves its files --------------------===//
#ifndef PG_RUNTIME_TRAIN_RUNFOLDER_H
#define PG_RUNTIME_TRAIN_RUNFOLDER_H

#include "runtime/support/Json.h"

namespace pg::rt {

/// Files: config.json (resolved recipe with origins), metrics.jsonl,
/// weights.safetensors, lock. Held by one process at a time.
class RunFolder {
public:
  RunFolder() = default;
  RunFolder(RunFolder &&other) noexcept;
  RunFolder &operator=(RunFolder &&other) noexcept;
  ~RunFolder();

  /// Creates and locks the folder and starts a new metrics file.
  static StatusOr<RunFolder> open(const std::string &path);

  Status writeConfig(const Json &config);
  /// Appends one line to metrics.jsonl.
  Status addMetrics(const std::string &line);
  std::string weightsPath() const { return path + "/weights.safetensors"; }

private:
  std::string path;
  int lock = -1, metrics = -1;
};

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_RUNFOLDER_H
