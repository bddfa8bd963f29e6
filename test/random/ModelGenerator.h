//===- ModelGenerator.h - random model files ---------------------------------===//
//
// Writes YAML as a user would: blocks of the library under random options,
// blocks of random expressions, random wiring (norms, gates, lanes, skips,
// recurrence, phases). Every model is causal and has finite values for weights
// of moderate size, so whatever the compiler says against one is a bug.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_RANDOM_MODELGENERATOR_H
#define PG_TEST_RANDOM_MODELGENERATOR_H

#include <cstdint>
#include <string>

namespace pg::random {

struct RandomModel {
  std::string text;            ///< of a model file
  int64_t vocabulary = 0;
  /// Rounding with a straight-through gradient or a stopped gradient is inside:
  /// the derivative is then not the limit of differences.
  bool isSmooth = true;
};

/// The model of a seed: the same text on every machine.
RandomModel generateModel(uint64_t seed);

} // namespace pg::random

#endif // PG_TEST_RANDOM_MODELGENERATOR_H
