//===- Bench.cpp - pgrun bench --------------------------------------------------------===//
#include "runtime/eval/Score.h"
#include "runtime/support/Log.h"
#include "runtime/support/Process.h"
#include "runtime/support/Random.h"
#include "runtime/train/Initialise.h"
#include "tools/pgrun/Verbs.h"

#include <algorithm>

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string entry;
  int64_t tokens = 0, rowLength = 0, repeat = 5;
  bool json = false;
};

/// Random tokens in rows of at most rowLength.
BatchTables randomBatch(int64_t tokens, int64_t rowLength, int64_t vocabulary) {
  Random random(1, "bench");
  BatchTables batch;
  for (int64_t at = 0; at < tokens; at += rowLength) {
    TokenRow row;
    for (int64_t i = at; i < std::min(tokens, at + rowLength); ++i) {
      row.tokens.push_back(int32_t(random.uniform(uint64_t(2 * i)) * double(vocabulary)));
      row.targets.push_back(int32_t(random.uniform(uint64_t(2 * i + 1)) * double(vocabulary)));
    }
    batch.add(row);
  }
  return batch;
}

Status run(const Options &options) {
  double began = monotonicSeconds();
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  const Package &package = executor.package();
  double loaded = monotonicSeconds();
  if (Status status = initialise(executor, 1); !status)
    return status;
  double initialised = monotonicSeconds();

  int index = options.entry.empty() ? -1 : executor.findEntry(options.entry);
  if (!options.entry.empty() && index < 0) {
    std::string known;
    for (const Entry &entry : package.entries)
      known += (known.empty() ? "" : ", ") + entry.name;
    return {Code::Usage, "the package has no entry '" + options.entry + "', it has: " + known};
  }
  for (const char *role : {"accumulate", "score"})
    if (index < 0)
      if (auto found = findRole(executor, role, ""))
        index = *found;
  if (index < 0)
    return {Code::Usage, "the package has nothing to run"};
  const Entry &entry = package.entries[size_t(index)];
  for (size_t i = 0; i < entry.scalars.size(); ++i)
    executor.setScalar(index, i, entry.scalars[i] == "step" ? 1 : 1e-4);

  int64_t tokens = options.tokens > 0 ? options.tokens : entry.maxTokens;
  int64_t rowLength = options.rowLength > 0 ? options.rowLength : std::min<int64_t>(tokens, 1024);
  bool isPerToken = entry.maxTokens > 0;
  BatchTables batch;
  if (isPerToken)
    batch = randomBatch(tokens, rowLength, std::max<int64_t>(1, package.vocabulary));
  std::vector<double> seconds;
  double flops = 0;
  for (const Launch &launch : entry.launches)
    flops += package.kernels[launch.kernel].flopsFixed + package.kernels[launch.kernel].flopsPerToken * double(tokens);
  for (int64_t i = 0; i <= options.repeat; ++i) {
    double start = monotonicSeconds();
    Status status = isPerToken ? runBatch(executor, index, batch) : executor.run(index, nullptr);
    if (!status)
      return status;
    seconds.push_back(monotonicSeconds() - start);
    if (i == 0)
      executor.profile().reset(); // the first run also touches every page
  }
  double first = seconds[0];
  std::vector<double> sorted(seconds.begin() + 1, seconds.end());
  std::sort(sorted.begin(), sorted.end());
  double median = sorted[sorted.size() / 2], best = sorted[0];
  showProfile(executor, options.common.profile);
  uint64_t peak = peakResidentBytes();
  if (options.json) {
    Json shares = Json::object();
    double total = executor.profile().totalSeconds();
    for (const Profile::Row &row : executor.profile().byCategory())
      shares[row.name] = total > 0 ? row.seconds / total : 0;
    return print(Json{{"entry", entry.name}, {"tokens", isPerToken ? tokens : 0}, {"row_length", rowLength},
                      {"threads", executor.pool().size()}, {"median_seconds", median}, {"best_seconds", best},
                      {"first_seconds", first}, {"load_seconds", loaded - began},
                      {"tokens_per_second", isPerToken ? double(tokens) / median : 0},
                      {"gflops_per_second", numberToJson(flops / median * 1e-9)}, {"launches", entry.launches.size()},
                      {"peak_resident_bytes", peak}, {"planned_bytes", executor.plannedBytes()}, {"shares", shares}}
                     .dump());
  }
  return print("entry " + entry.name + "  " + (isPerToken ? std::to_string(tokens) + " tokens  " : "") +
               std::to_string(executor.pool().size()) + " threads\nmedian " + formatFixed(median * 1e3, 2) + " ms  best " +
               formatFixed(best * 1e3, 2) + " ms  first " + formatFixed(first * 1e3, 2) + " ms  " +
               (isPerToken ? formatFixed(double(tokens) / median, 0) + " tokens/s  " : "") +
               formatFixed(flops / median * 1e-9, 1) + " GFLOP/s\nload " + formatFixed((loaded - began) * 1e3, 1) +
               " ms  initialise " + formatFixed((initialised - loaded) * 1e3, 1) + " ms\npeak resident " +
               std::to_string(peak >> 20) + " MiB, planned " + std::to_string(executor.plannedBytes() >> 20) + " MiB");
}

} // namespace

VerbFn addBench(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--entry", options->entry, "program to run; default accumulate of the last phase");
  app.add_option("--tokens", options->tokens, "tokens of a run; default what the package was compiled for")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--row-length", options->rowLength, "tokens of a row (default 1024)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--repeat", options->repeat, "timed runs (default 5)")->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  app.add_flag("--json", options->json, "result as JSON");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
