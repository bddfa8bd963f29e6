//===- Bench.cpp - pgrun bench --------------------------------------------------------===//
#include "runtime/data/TokenFile.h"
#include "runtime/eval/Score.h"
#include "runtime/exec/Gradients.h"
#include "runtime/support/Log.h"
#include "runtime/support/Process.h"
#include "runtime/support/Random.h"
#include "runtime/train/Initialise.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

#include <algorithm>
#include <cstdio>

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string entry, batchFile, weights;
  int64_t tokens = 0, rowLength = 0, repeat = 5, kernels = 12;
  bool json = false, step = false;
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

/// Zeros multiply faster than numbers (less power, higher clocks), so parameters
/// that training starts at zero get small random values.
Status fillZeros(Executor &executor) {
  const auto &parameters = executor.package().parameters;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].init.kind != "zeros")
      continue;
    Parameter other = parameters[i];
    other.init = {"normal", {{"std", 0.02}}};
    auto values = initialValues(other, 1);
    if (!values)
      return values.status();
    std::string bytes = parameterBytes(*values, other.dtype);
    if (Status status = executor.writeParameter(i, bytes.data()); !status)
      return status;
  }
  return Status::ok();
}

/// The rows of a token file, in one batch.
StatusOr<BatchTables> readBatch(const std::string &path, const Package &package, int64_t rowLength) {
  TokenFileOptions options;
  options.vocabulary = package.vocabulary;
  options.rowLength = rowLength;
  auto file = readTokenFile(path, options);
  if (!file)
    return file.status();
  BatchTables batch;
  for (const TokenRow &row : file->rows)
    batch.add(row);
  return batch;
}

/// Everything between two batches of a training run: gradients to zero, one
/// accumulation, the norm, clipping, the optimizer.
Status runStep(Executor &executor, int accumulate, int apply, Gradients &gradients, const BatchTables &batch) {
  executor.zeroGradients();
  if (Status status = runBatch(executor, accumulate, batch); !status)
    return status;
  auto norm = gradients.norm();
  if (!norm)
    return norm.status();
  gradients.scale(Gradients::clipFactor(*norm, *norm / 2));
  return executor.run(apply, nullptr);
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
  if (Status status = options.weights.empty() ? fillZeros(executor) : loadWeights(executor, options.weights); !status)
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
  int apply = options.step ? executor.findEntry("apply") : -1;
  if (options.step && (apply < 0 || entry.role != "accumulate"))
    return {Code::Usage, "--step needs an entry accumulate@PHASE and an optimizer; compile with --recipe"};
  for (int e : {index, apply})
    if (e >= 0)
      for (size_t i = 0; i < package.entries[size_t(e)].scalars.size(); ++i)
        executor.setScalar(e, i, package.entries[size_t(e)].scalars[i] == "step" ? 1 : 1e-4);

  int64_t tokens = options.tokens > 0 ? options.tokens : entry.maxTokens;
  int64_t rowLength = options.rowLength > 0 ? options.rowLength : std::min<int64_t>(tokens, 1024);
  bool isPerToken = entry.maxTokens > 0;
  BatchTables batch;
  if (isPerToken && !options.batchFile.empty()) {
    auto read = readBatch(options.batchFile, package, rowLength);
    if (!read)
      return read.status();
    batch = std::move(*read);
    tokens = batch.numTokens();
  } else if (isPerToken) {
    batch = randomBatch(tokens, rowLength, std::max<int64_t>(1, package.vocabulary));
  }
  Gradients gradients(executor);
  std::vector<double> seconds;
  double flops = 0;
  for (int e : {index, apply})
    if (e >= 0)
      for (const Launch &launch : package.entries[size_t(e)].launches)
        flops += package.kernels[launch.kernel].flopsFixed +
                 package.kernels[launch.kernel].flopsPerToken * double(e == index ? tokens : 0);
  // Runs that are not timed: the first, and on a GPU the one that captures.
  int64_t warmUp = executor.device().isHost() ? 1 : 2;
  for (int64_t i = 0; i < options.repeat + warmUp; ++i) {
    double start = monotonicSeconds();
    Status status = options.step ? runStep(executor, index, apply, gradients, batch)
                    : isPerToken ? runBatch(executor, index, batch)
                                 : executor.run(index, nullptr);
    if (status)
      status = executor.synchronize();
    if (!status)
      return status;
    seconds.push_back(monotonicSeconds() - start);
    if (i + 1 == warmUp)
      executor.profile().reset(); // the first run also touches every page
  }
  double first = seconds[0];
  std::vector<double> sorted(seconds.begin() + warmUp, seconds.end());
  std::sort(sorted.begin(), sorted.end());
  double median = sorted[sorted.size() / 2], best = sorted[0];
  if (options.common.profile)
    std::fputs(executor.profile().report(size_t(options.kernels)).c_str(), stderr);
  uint64_t peak = peakResidentBytes();
  if (options.json) {
    Json shares = Json::object();
    double total = executor.profile().totalSeconds();
    for (const Profile::Row &row : executor.profile().byCategory())
      shares[row.name] = total > 0 ? row.seconds / total : 0;
    return print(Json{{"entry", entry.name}, {"tokens", isPerToken ? tokens : 0}, {"row_length", rowLength},
                      {"threads", executor.pool().size()}, {"device", executor.device().describe()},
                      {"step", options.step}, {"median_seconds", median}, {"best_seconds", best},
                      {"first_seconds", first}, {"load_seconds", loaded - began},
                      {"tokens_per_second", isPerToken ? double(tokens) / median : 0},
                      {"gflops_per_second", numberToJson(flops / median * 1e-9)}, {"launches", entry.launches.size()},
                      {"peak_resident_bytes", peak}, {"planned_bytes", executor.plannedBytes()}, {"shares", shares}}
                     .dump());
  }
  return print((options.step ? "step of entry " : "entry ") + entry.name + "  " + (isPerToken ? std::to_string(tokens) + " tokens  " : "") +
               executor.device().describe() + "\nmedian " + formatFixed(median * 1e3, 2) + " ms  best " +
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
  app.add_option("--batch", options->batchFile, "a token file (as for score) as the batch, instead of random tokens");
  app.add_option("--weights", options->weights, "parameters, safetensors, instead of the initialisers");
  app.add_flag("--step", options->step, "time whole steps: zero, accumulate, norm, clip, apply");
  app.add_option("--repeat", options->repeat, "timed runs (default 5)")->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  app.add_option("--kernels", options->kernels, "kernels of the --profile table (default 12)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  app.add_flag("--json", options->json, "result as JSON");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
