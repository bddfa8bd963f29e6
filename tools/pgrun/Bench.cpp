//===- Bench.cpp - pgrun bench --------------------------------------------------------===//
#include "runtime/data/TokenFile.h"
#include "runtime/device/cpu/CpuCode.h"
#include "runtime/eval/Score.h"
#include "runtime/exec/Gradients.h"
#include "runtime/exec/Peaks.h"
#include "runtime/report/ProfileReport.h"
#include "runtime/support/File.h"
#include "runtime/support/Log.h"
#include "runtime/support/Process.h"
#include "runtime/support/Random.h"
#include "runtime/train/Initialise.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

#include <algorithm>
#include <cstdio>
#include <optional>

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string entry, batchFile, weights, json, trace;
  int64_t tokens = 0, rowLength = 0, repeat = 5, kernels = 12;
  bool isJson = false, step = false;
};

/// Random tokens in rows of at most rowLength.
std::vector<TokenRow> randomRows(int64_t tokens, int64_t rowLength, int64_t vocabulary) {
  Random random(1, "bench");
  std::vector<TokenRow> rows;
  for (int64_t at = 0; at < tokens; at += rowLength) {
    TokenRow &row = rows.emplace_back();
    for (int64_t i = at; i < std::min(tokens, at + rowLength); ++i) {
      row.tokens.push_back(int32_t(random.uniform(uint64_t(2 * i)) * double(vocabulary)));
      row.targets.push_back(int32_t(random.uniform(uint64_t(2 * i + 1)) * double(vocabulary)));
    }
  }
  return rows;
}

/// Rows in as few calls as hold `maxTokens` each; a longer row is a call of its own, which the executor refuses.
std::vector<BatchTables> cutIntoCalls(const std::vector<TokenRow> &rows, int64_t maxTokens) {
  std::vector<BatchTables> calls;
  for (const TokenRow &row : rows) {
    if (calls.empty() || calls.back().numTokens() + row.size() > maxTokens)
      calls.emplace_back();
    calls.back().add(row);
  }
  return calls;
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

StatusOr<std::vector<TokenRow>> readRows(const std::string &path, const Package &package, int64_t rowLength) {
  TokenFileOptions options;
  options.vocabulary = package.vocabulary;
  options.rowLength = rowLength;
  auto file = readTokenFile(path, options);
  if (!file)
    return file.status();
  return std::move(file->rows);
}

/// The arithmetic that bounds this package's products: that of its precision, and whether beside it that of bf16 pairs, where
/// a program of wider numbers multiplies some that it has rounded itself.
std::pair<PeakKind, bool> arithmeticOf(const Package &package) {
  bool isPairs = multipliesPairs(package, cpuFlags());
  if (package.precision == "bf16" && isPairs)
    return {PeakKind::BF16Dot, false};
  return {package.precision == "f64" ? PeakKind::F64 : PeakKind::F32, isPairs};
}

/// What is run again and again: one entry over all calls, or a whole step.
class Work {
public:
  Work(Executor &executor, int entry, int apply, std::vector<BatchTables> calls)
      : executor(executor), entry(entry), apply(apply), calls(std::move(calls)), gradients(executor) {}

  /// Until the device is done.
  Status run() {
    Status status = apply >= 0 ? step() : forward();
    return status ? executor.synchronize() : status;
  }

  /// Of one run, and those of them in products of pairs.
  std::pair<double, double> flops() const {
    const Package &package = executor.package();
    double sum = 0, pairs = 0;
    auto add = [&](const Kernel &kernel, double flops) {
      sum += flops;
      pairs += kernel.multipliesPairs ? flops : 0;
    };
    for (const BatchTables &call : calls)
      for (const Launch &launch : package.entries[size_t(entry)].launches) {
        const Kernel &kernel = package.kernels[launch.kernel];
        double keys = kernel.flopsPerKey > 0 ? attendedKeys(call.view(), kernel.keyLimit) : 0;
        add(kernel, kernel.flopsAt(double(call.numTokens()), keys));
      }
    for (int e : {calls.empty() ? entry : -1, apply})
      if (e >= 0)
        for (const Launch &launch : package.entries[size_t(e)].launches)
          add(package.kernels[launch.kernel], package.kernels[launch.kernel].flopsFixed);
    return {sum, pairs};
  }

private:
  Status forward() {
    if (calls.empty())
      return executor.run(entry, nullptr);
    for (const BatchTables &call : calls)
      if (Status status = runBatch(executor, entry, call); !status)
        return status;
    return Status::ok();
  }

  /// Everything between two batches of a training run: gradients to zero, accumulation, the norm, clipping, the
  /// optimizer.
  Status step() {
    Status status;
    host("zero gradients", [&] { gradients.zero(); });
    if (status = forward(); !status)
      return status;
    double norm = 0;
    host("gradient norm", [&] {
      auto found = gradients.norm();
      status = found.status();
      norm = found ? *found : 0;
    });
    if (!status)
      return status;
    host("clip gradients", [&] { gradients.scale(Gradients::clipFactor(norm, norm / 2)); });
    return executor.run(apply, nullptr);
  }

  template <typename F> void host(const char *name, F &&part) {
    double begin = monotonicSeconds();
    part();
    executor.profile().addHostPart(name, begin, monotonicSeconds());
  }

  Executor &executor;
  int entry, apply;
  std::vector<BatchTables> calls;
  Gradients gradients;
};

/// Entry to run: the one that is named, else accumulate or score of the last phase.
StatusOr<int> findEntry(const Executor &executor, const std::string &name) {
  const Package &package = executor.package();
  if (name.empty()) {
    for (const char *role : {"accumulate", "score"})
      if (auto found = findRole(executor, role, ""))
        return *found;
    return Status(Code::Usage, "the package has nothing to run");
  }
  int index = executor.findEntry(name);
  if (index >= 0)
    return index;
  std::string known;
  for (const Entry &entry : package.entries)
    known += (known.empty() ? "" : ", ") + entry.name;
  return Status(Code::Usage, "the package has no entry '" + name + "', it has: " + known);
}

struct Times {
  double load = 0, initialise = 0, first = 0, median = 0, best = 0, mean = 0;
  double processor = 0; ///< median of all threads' processor time
};

/// Runs `repeat` timed runs after those that are not: the first, which touches every page, and on a GPU the one that
/// captures. Without timed runs the first one counts. After each run the meter measures the arithmetic.
Status measure(Work &work, Executor &executor, int64_t repeat, bool isTraced, PeakMeter *meter, Times &times) {
  int64_t warmUp = repeat == 0 || executor.device().isHost() ? 1 : 2;
  std::vector<double> seconds, processor;
  executor.profile().keepEvents(isTraced && repeat == 0);
  for (int64_t i = 0; i < repeat + warmUp; ++i) {
    // A trace shows the last run.
    if (isTraced && i > 0 && i + 1 == repeat + warmUp)
      executor.profile().keepEvents(true);
    double start = monotonicSeconds(), used = processSeconds();
    if (Status status = work.run(); !status)
      return status;
    seconds.push_back(monotonicSeconds() - start);
    processor.push_back(processSeconds() - used);
    if (meter)
      meter->measureArithmetic();
    if (i + 1 == warmUp && repeat > 0)
      executor.profile().reset();
  }
  times.first = seconds[0];
  auto timed = [&](const std::vector<double> &all) {
    std::vector<double> sorted(all.begin() + (repeat > 0 ? warmUp : 0), all.end());
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  };
  std::vector<double> sorted = timed(seconds);
  times.processor = timed(processor)[sorted.size() / 2];
  times.median = sorted[sorted.size() / 2];
  times.best = sorted[0];
  for (double one : sorted)
    times.mean += one / double(sorted.size());
  return Status::ok();
}

Status run(Options options) {
  double began = monotonicSeconds();
  bool isProfiled = options.common.profile;
  options.common.profile |= !options.trace.empty();
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  const Package &package = executor.package();
  double loaded = monotonicSeconds();
  auto index = findEntry(executor, options.entry);
  if (!index)
    return index.status();
  const Entry &entry = package.entries[size_t(*index)];
  int apply = executor.findEntry("apply");
  if (options.step && (apply < 0 || entry.role != "accumulate"))
    return {Code::Usage, "--step needs an entry accumulate@PHASE and an optimizer; compile with --recipe"};
  // Where a step's time goes is a question about the whole step.
  bool isStep = options.step || (isProfiled && options.entry.empty() && apply >= 0 && entry.role == "accumulate");
  if (!isStep)
    apply = -1;

  // Before anything large is resident, so that the array that is copied does not count as memory of the run.
  std::optional<PeakMeter> meter;
  if (executor.device().isHost()) {
    auto [kind, withPairs] = arithmeticOf(package);
    meter.emplace(executor.pool(), kind, withPairs);
  }
  if (isProfiled && meter)
    meter->measureCopy();
  double measured = monotonicSeconds();
  bool isGiven = !options.weights.empty();
  if (Status status = isGiven ? executor.resetStates() : initialise(executor, 1); !status)
    return status;
  if (Status status = isGiven ? loadWeights(executor, options.weights) : fillZeros(executor); !status)
    return status;
  double initialised = monotonicSeconds();
  for (int e : {*index, apply})
    if (e >= 0)
      for (size_t i = 0; i < package.entries[size_t(e)].scalars.size(); ++i)
        executor.setScalar(e, i, package.entries[size_t(e)].scalars[i] == "step" ? 1 : 1e-4);

  int64_t tokens = options.tokens > 0 ? options.tokens : entry.maxTokens;
  int64_t rowLength = options.rowLength > 0 ? options.rowLength : std::min({tokens, entry.maxTokens, int64_t(1024)});
  bool isPerToken = entry.maxTokens > 0;
  std::vector<BatchTables> calls;
  if (isPerToken) {
    auto rows = options.batchFile.empty()
                    ? randomRows(tokens, rowLength, std::max<int64_t>(1, package.vocabulary))
                    : readRows(options.batchFile, package, rowLength);
    if (!rows)
      return rows.status();
    calls = cutIntoCalls(*rows, entry.maxTokens);
    tokens = 0;
    for (const BatchTables &call : calls)
      tokens += call.numTokens();
  }
  size_t numCalls = calls.size();
  Work work(executor, *index, apply, std::move(calls));
  Times times;
  times.load = loaded - began;
  times.initialise = initialised - measured;
  if (Status status = measure(work, executor, options.repeat, !options.trace.empty(), meter ? &*meter : nullptr, times); !status)
    return status;

  uint64_t peak = peakResidentBytes();
  auto [flops, pairFlops] = work.flops();
  Profile &profile = executor.profile();
  ProfileContext context{std::max<int64_t>(1, options.repeat), times.mean, executor.device().describe(), {}};
  if (isProfiled && meter)
    meter->measureCopy();
  if (meter)
    context.peaks = meter->peaks();
  double peakFlops = context.peaks.flopsPerSecond, pairPeak = context.peaks.pairFlopsPerSecond;
  double ofPeak = context.peaks.secondsOf(flops, pairFlops) / times.median;
  if (isProfiled)
    std::fputs(profileText(profile, context, size_t(options.kernels)).c_str(), stderr);
  if (!options.trace.empty())
    if (Status status = writeFileAtomic(options.trace, traceJson(profile, context).dump() + "\n"); !status)
      return status;
  if (options.isJson) {
    Json shares = Json::object();
    double total = profile.totalSeconds();
    for (const Profile::Row &row : profile.byCategory())
      shares[row.name] = total > 0 ? row.seconds / total : 0;
    Json result = {{"entry", entry.name}, {"tokens", isPerToken ? tokens : 0}, {"row_length", rowLength},
                   {"calls", numCalls}, {"threads", executor.pool().size()},
                   {"device", executor.device().describe()}, {"step", isStep}, {"median_seconds", times.median},
                   {"best_seconds", times.best}, {"first_seconds", times.first}, {"processor_seconds", times.processor}, {"load_seconds", times.load},
                   {"initialise_seconds", times.initialise},
                   {"tokens_per_second", isPerToken ? double(tokens) / times.median : 0},
                   {"gflops_per_second", numberToJson(flops / times.median * 1e-9)},
                   {"peak_flops_per_second", peakFlops > 0 ? Json(peakFlops) : Json()},
                   {"pair_peak_flops_per_second", pairPeak > 0 ? Json(pairPeak) : Json()},
                   {"share_of_peak_flops", peakFlops > 0 ? Json(ofPeak) : Json()}, {"launches", entry.launches.size()},
                   {"peak_resident_bytes", peak}, {"planned_bytes", executor.plannedBytes()}, {"shares", shares}};
    if (isProfiled)
      result["profile"] = profileJson(profile, context);
    if (!options.json.empty())
      return writeFileAtomic(options.json, result.dump(1) + "\n");
    return print(result.dump());
  }
  return print((isStep ? "step of entry " : "entry ") + entry.name + "  " + (isPerToken ? std::to_string(tokens) + " tokens  " : "") +
               (numCalls > 1 ? "in " + std::to_string(numCalls) + " calls  " : "") + executor.device().describe() +
               "\nmedian " + formatFixed(times.median * 1e3, 2) + " ms  best " + formatFixed(times.best * 1e3, 2) +
               " ms  first " + formatFixed(times.first * 1e3, 2) + " ms  " +
               (isPerToken ? formatFixed(double(tokens) / times.median, 0) + " tokens/s  " : "") +
               formatFixed(flops / times.median * 1e-9, 1) + " GFLOP/s" +
               (peakFlops > 0 ? ", " + formatFixed(100 * ofPeak, 1) + " % of the " + formatFixed(peakFlops * 1e-9, 1) +
                                    (pairPeak > 0 ? " (bf16 pairs: " + formatFixed(pairPeak * 1e-9, 1) + ")" : "") + " measured between the runs" : "") +
               "\nload " + formatFixed(times.load * 1e3, 1) +
               " ms  initialise " + formatFixed(times.initialise * 1e3, 1) + " ms\npeak resident " +
               std::to_string(peak >> 20) + " MiB, planned " + std::to_string(executor.plannedBytes() >> 20) + " MiB");
}

} // namespace

VerbFn addBench(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--entry", options->entry, "program to run; default accumulate of the last phase");
  app.add_option("--tokens", options->tokens,
                 "tokens of a run, cut at rows into calls of what the package was compiled for; default one such call")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--row-length", options->rowLength, "tokens of a row (default 1024)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--batch", options->batchFile, "a token file (as for score) as the batch, instead of random tokens");
  app.add_option("--weights", options->weights, "parameters, safetensors, instead of the initialisers");
  app.add_flag("--step", options->step,
               "time whole steps: zero, accumulate, norm, clip, apply (with --profile and no --entry the default)");
  app.add_option("--repeat", options->repeat, "timed runs after the first (default 5); 0: the first run alone")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  app.add_option("--kernels", options->kernels, "kernels of the --profile table (default 12)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  app.add_option("--trace", options->trace,
                 "write the launches of the last run, with every thread's part, as Chrome trace events (chrome://tracing, Perfetto)");
  app.add_option_function<std::vector<std::string>>(
         "--json",
         [options](const std::vector<std::string> &file) {
           options->isJson = true;
           options->json = file.empty() ? "" : file[0];
         },
         "result, with --profile the profile too, as JSON: in FILE, or without one on standard output")
      ->type_name("[FILE]")
      ->expected(0, 1);
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
