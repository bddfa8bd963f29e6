//===- SeedSummary.h - several seeds of one recipe --------------------------------===//
#ifndef PG_RUNTIME_REPORT_SEEDSUMMARY_H
#define PG_RUNTIME_REPORT_SEEDSUMMARY_H

#include "runtime/report/Statistics.h"
#include "runtime/support/Json.h"

#include <optional>

namespace pg::rt {

/// What one seed came to.
struct SeedResult {
  int64_t seed = 0;
  std::string folder;                 ///< name inside the folder of all seeds
  int64_t steps = 0;
  double seconds = 0;                 ///< of training
  double trainLoss = 0;               ///< of the last step
  std::optional<double> valLoss, bpb; ///< of the final weights on the validation data
  int64_t artifactBytes = 0;          ///< predicted
};

/// What the seeds are compared with.
struct Baseline {
  std::string from;                   ///< as the user gave it
  std::string metric;                 ///< "" = as the seeds
  std::vector<double> values;
};

/// "1.0573,1.0569,1.0578", or a folder with a seeds.json. Usage, Io or Corrupt.
StatusOr<Baseline> readBaseline(const std::string &text);

/// The seeds a user asks for: "3" = `first` and the two after it, "42,0,1234" =
/// these. Usage for anything else, for a repeated seed and for more than 64.
StatusOr<std::vector<int64_t>> parseSeeds(const std::string &text, int64_t first);

struct SeedSummary {
  std::string metric;                 ///< best measure that every seed has: "bpb", "val_loss" or "train_loss"
  std::vector<SeedResult> runs;
  double mean = 0, deviation = 0;     ///< of the metric; deviation NaN for one seed
  std::optional<Baseline> baseline;
  std::optional<WelchTest> welch;

  double valueOf(const SeedResult &run) const;
  Json toJson() const;                ///< seeds.json
  std::string toText() const;         ///< a table and a sentence
};

/// Invalid when the baseline has another metric or too few values for a test.
StatusOr<SeedSummary> summarise(std::vector<SeedResult> runs, std::optional<Baseline> baseline, double margin);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_SEEDSUMMARY_H
