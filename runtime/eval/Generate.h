//===- Generate.h - continues a prompt ----------------------------------------===//
#ifndef PG_RUNTIME_EVAL_GENERATE_H
#define PG_RUNTIME_EVAL_GENERATE_H

#include "runtime/exec/Executor.h"

#include <functional>

namespace pg::rt {

struct GenerateOptions {
  std::string phase;
  int64_t tokens = 64;
  double temperature = 1.0;     ///< 0 = the most probable token
  int64_t topK = 0;             ///< 0 = all
  uint64_t seed = 0;
  int32_t stopId = -1;          ///< ends the text, -1 = never
};

/// Draws a token from logits; `draw` in [0, 1).
int32_t sampleToken(const double *logits, int64_t vocabulary, double temperature, int64_t topK, double draw);

/// Appends tokens to `context` one by one, recomputing the prefix through the
/// logits program. The context is cut to the last tokens that fit. `emit` is
/// called with every new token.
Status generate(Executor &executor, std::vector<int32_t> &context, const GenerateOptions &options,
                const std::function<void(int32_t)> &emit);

} // namespace pg::rt

#endif // PG_RUNTIME_EVAL_GENERATE_H
