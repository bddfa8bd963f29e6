//===- Bpb.h - validation loss and bits per byte ------------------------------===//
#ifndef PG_RUNTIME_EVAL_BPB_H
#define PG_RUNTIME_EVAL_BPB_H

#include "runtime/data/ByteCounts.h"
#include "runtime/exec/Executor.h"

namespace pg::rt {

struct EvalOptions {
  std::string pattern = "fineweb_val_*.bin";
  std::string phase;            ///< "" = the last
  int64_t rowLength = 1024;
  int64_t batchTokens = 0;      ///< 0 = as many as planned
  int64_t limitTargets = 0;     ///< 0 = all
  bool documents = true;        ///< attention segments begin at BOS
  int32_t bosId = 1;
  int64_t maxSegment = 0;
  bool showProgress = true;
};

struct EvalResult {
  double nllSum = 0;            ///< nats
  int64_t tokens = 0;
  int64_t bytes = 0;            ///< 0 without a piece table
  bool fromSidecar = false;     ///< bytes came from the byte sidecar
  double seconds = 0;
  double loss() const { return nllSum / double(tokens); }
  /// (sum of nll / ln 2) / bytes
  double bitsPerByte() const;
};

/// Scores the validation shards of a folder (data-format §3): the stream cut to
/// 1 + a multiple of the row length, every position a target once; sums in
/// double in stream order. `counts` may be null: then only the loss. Numerical
/// when the loss is not finite.
StatusOr<EvalResult> evaluate(Executor &executor, const std::string &folder, const EvalOptions &options,
                              const ByteCounts *counts);

} // namespace pg::rt

#endif // PG_RUNTIME_EVAL_BPB_H
