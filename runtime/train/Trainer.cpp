//===- Trainer.cpp - the training protocol ----------------------------------===//
#include "runtime/train/Trainer.h"
#include "runtime/data/Loader.h"
#include "runtime/data/TokenShards.h"
#include "runtime/eval/Bpb.h"
#include "runtime/eval/Score.h"
#include "runtime/support/Log.h"
#include "runtime/support/Process.h"
#include "runtime/train/GradientNorm.h"
#include "runtime/train/Initialise.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Schedule.h"
#include "runtime/weights/Weights.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <unistd.h>

namespace pg::rt {
namespace {

volatile std::sig_atomic_t pendingSignal = 0;

void onSignal(int signal) {
  if (pendingSignal)
    ::_exit(128 + signal); // the second one ends at once
  pendingSignal = signal;
}

/// Catches SIGINT and SIGTERM for the time of a run.
class SignalGuard {
public:
  SignalGuard() {
    pendingSignal = 0;
    struct sigaction action {};
    action.sa_handler = onSignal;
    ::sigaction(SIGINT, &action, &oldInterrupt);
    ::sigaction(SIGTERM, &action, &oldTerminate);
  }
  ~SignalGuard() {
    ::sigaction(SIGINT, &oldInterrupt, nullptr);
    ::sigaction(SIGTERM, &oldTerminate, nullptr);
  }

private:
  struct sigaction oldInterrupt, oldTerminate;
};

/// What one step works with, resolved once.
struct PhaseEntry {
  std::string phase;
  int entry = -1;
};

class Run {
public:
  Run(Executor &executor, const Recipe &recipe, const TrainOptions &options)
      : executor(executor), recipe(recipe), options(options), gradients(executor) {}

  StatusOr<TrainResult> run();

private:
  Status prepare();
  Status prepareScalars();
  Status step(int64_t index);
  Status validate();
  Status report(double seconds, bool isLast);
  Status writeEvent(const std::string &fields);
  double fractionSpent(int64_t index) const;
  double remainingSeconds() const;
  bool isOver(int64_t index) const;
  std::string metricsStart(const char *stage) const;
  Status saveAll(const std::string &path) const;

  Executor &executor;
  const Recipe &recipe;
  const TrainOptions &options;
  GradientNorm gradients;
  RunFolder folder;
  std::optional<Loader> loader;
  std::vector<PhaseEntry> phases;
  int currentPhase = -1;
  int apply = -1;
  std::vector<double> scalars;        ///< of apply, before the schedule
  std::vector<bool> isLearningRate, isStep;
  Schedule schedule;
  int64_t steps = 0, microBatches = 1, stepTokens = 0, microTokens = 0;
  double maxSeconds = 0, clipNorm = 0;
  double started = 0, trainStarted = 0, validateSeconds = 0;
  double loss = 0, norm = 0, multiplier = 1;
  int64_t done = 0;
  std::vector<double> stepSeconds;
  std::vector<double> nll;
  BatchTables batch;
  Progress progress;
};

Status Run::prepare() {
  if (Status status = prepareScalars(); !status)
    return status;
  for (const char *unsupported : {"eval.stride", "ema.decay"})
    if (recipe.number(unsupported) != 0)
      return {Code::Invalid, std::string(unsupported) + " is not supported by this version, expected 0"};
  steps = recipe.integer("schedule.steps");
  maxSeconds = recipe.number("schedule.max_seconds");
  if (steps <= 0 && maxSeconds <= 0)
    return {Code::Usage, "the run has no end: give --steps, schedule.steps or schedule.max_seconds"};
  schedule = {recipe.integer("schedule.warmup_steps"), recipe.number("schedule.warmdown_fraction"),
              recipe.number("schedule.min_lr")};
  clipNorm = recipe.number("clip.norm");
  microTokens = recipe.integer("batch.micro_tokens");
  stepTokens = recipe.integer("batch.step_tokens");
  if (stepTokens == 0)
    stepTokens = microTokens;
  if (microTokens < 1 || stepTokens % microTokens)
    return {Code::Invalid, "batch.step_tokens " + std::to_string(stepTokens) +
                               " is not a multiple of batch.micro_tokens " + std::to_string(microTokens)};
  microBatches = stepTokens / microTokens;

  // Phases in order of start; a package without phases has one program.
  const Package &package = executor.package();
  std::vector<std::string> names;
  for (const Phase &phase : package.phases)
    names.push_back(phase.name);
  if (names.empty())
    names.push_back("");
  for (const std::string &name : names) {
    auto entry = findRole(executor, "accumulate", name);
    if (!entry)
      return entry.status();
    int64_t maxTokens = package.entries[size_t(*entry)].maxTokens;
    if (microTokens > maxTokens)
      return {Code::Usage, "batch.micro_tokens is " + std::to_string(microTokens) +
                               ", the package was compiled for at most " + std::to_string(maxTokens) +
                               " tokens; recompile with --max-tokens " + std::to_string(microTokens)};
    phases.push_back({name, *entry});
  }

  auto paths = findShards(options.dataFolder, recipe.text("data.train"));
  if (!paths)
    return paths.status();
  LoaderOptions data;
  data.documents = recipe.text("batch.packing") == "documents";
  data.bosId = int32_t(recipe.integer("data.bos_id"));
  data.maxSegment = recipe.integer("batch.max_segment");
  data.spanTokens = microTokens;
  data.rowLength = recipe.integer("batch.row_length");
  data.vocabulary = package.vocabulary;
  auto opened = Loader::open(*paths, data);
  if (!opened)
    return opened.status();
  loader = std::move(*opened);
  batch.reserve(microTokens);
  nll.resize(size_t(microTokens));
  return Status::ok();
}

Status Run::prepareScalars() {
  apply = executor.findEntry("apply");
  if (apply < 0)
    return {Code::Usage, "the package has no optimizer; compile it with --recipe"};
  for (const std::string &name : executor.package().entries[size_t(apply)].scalars) {
    bool lr = name.size() > 3 && name.compare(name.size() - 3, 3, ".lr") == 0;
    isLearningRate.push_back(lr);
    isStep.push_back(name == "step");
    scalars.push_back(0);
    if (name == "step")
      continue;
    auto value = recipe.groupScalar(name);
    if (!value)
      return value.status();
    scalars.back() = *value;
  }
  return Status::ok();
}

double Run::fractionSpent(int64_t index) const {
  // Whichever budget runs out first rules; without a clock the bits of a run
  // do not depend on time.
  double fraction = steps > 0 ? double(index) / double(steps) : 0;
  if (maxSeconds > 0)
    fraction = std::max(fraction, (monotonicSeconds() - trainStarted - validateSeconds) / maxSeconds);
  return std::min(fraction, 1.0);
}

bool Run::isOver(int64_t index) const {
  return (steps > 0 && index >= steps) ||
         (maxSeconds > 0 && monotonicSeconds() - trainStarted - validateSeconds >= maxSeconds);
}

std::string Run::metricsStart(const char *stage) const {
  return "{\"run\":" + Json(options.runFolder).dump(-1, ' ', false, Json::error_handler_t::replace) +
         ",\"t\":" + formatFixed(monotonicSeconds() - started, 3) + ",\"step\":" + std::to_string(done) +
         ",\"stage\":\"" + stage + "\"";
}

Status Run::writeEvent(const std::string &fields) { return folder.addMetrics(metricsStart("event") + "," + fields + "}"); }

Status Run::step(int64_t index) {
  double fraction = fractionSpent(index);
  int phase = std::max(0, phaseAt(executor.package().phases, fraction));
  if (phase != currentPhase) {
    currentPhase = phase;
    if (Status status = writeEvent("\"event\":\"phase\",\"phase\":" + Json(phases[size_t(phase)].phase).dump()); !status)
      return status;
  }
  multiplier = schedule.multiplier(fraction, index);
  int entry = phases[size_t(phase)].entry;

  executor.zeroGradients();
  executor.setScalar(entry, "loss_scale", 1.0 / double(stepTokens));
  double sum = 0;
  for (int64_t micro = 0; micro < microBatches; ++micro) {
    auto rows = loader->next();
    if (!rows)
      return rows.status();
    batch.clear();
    for (const TokenRow &row : *rows)
      batch.add(row);
    if (Status status = runBatch(executor, entry, batch); !status)
      return status;
    readOutput(executor, entry, "nll", microTokens, nll.data());
    for (double value : nll)
      sum += value;
  }
  loss = sum / double(stepTokens);
  norm = gradients.norm();
  if (!std::isfinite(loss) || !std::isfinite(norm))
    return {Code::Numerical, "the loss is " + formatDouble(loss) + " and the gradient norm " + formatDouble(norm) +
                                 " at step " + std::to_string(index + 1) +
                                 "; lower the learning rate or set clip.norm"};
  if (clipNorm > 0)
    gradients.clip(norm, clipNorm);

  for (size_t i = 0; i < scalars.size(); ++i)
    executor.setScalar(apply, i,
                       isStep[i] ? double(index + 1) : isLearningRate[i] ? scalars[i] * multiplier : scalars[i]);
  if (Status status = executor.run(apply, nullptr); !status)
    return status;
  done = index + 1;
  return Status::ok();
}

double Run::remainingSeconds() const {
  std::vector<double> last(stepSeconds.end() - std::min<int64_t>(50, int64_t(stepSeconds.size())), stepSeconds.end());
  std::nth_element(last.begin(), last.begin() + int64_t(last.size() / 2), last.end());
  double bySteps = steps > 0 ? last[last.size() / 2] * double(steps - done) : 1e30;
  double byClock = maxSeconds > 0 ? maxSeconds - (monotonicSeconds() - trainStarted - validateSeconds) : 1e30;
  return std::max(0.0, std::min(bySteps, byClock));
}

Status Run::report(double seconds, bool isLast) {
  double rate = double(stepTokens) / std::max(seconds, 1e-9);
  std::string line = metricsStart("train") + ",\"loss\":" + formatDouble(loss) + ",\"grad_norm\":" +
                     formatDouble(norm) + ",\"lr_multiplier\":" + formatDouble(multiplier) +
                     ",\"tokens\":" + std::to_string(done * stepTokens) +
                     ",\"tokens_per_second\":" + formatFixed(rate, 1) + "}";
  int64_t every = std::max<int64_t>(1, recipe.integer("log.every"));
  if (done == 1 || isLast || done % every == 0)
    if (Status status = folder.addMetrics(line); !status)
      return status;
  if (progress.isDue() || done == 1 || isLast)
    progress.show("train " + std::to_string(done) + (steps > 0 ? "/" + std::to_string(steps) : "") + "  loss " +
                  formatFixed(loss, 4) + "  " + formatFixed(rate, 0) + " tokens/s  " +
                  (phases.size() > 1 ? phases[size_t(currentPhase)].phase + "  " : "") +
                  std::to_string(peakResidentBytes() >> 20) + " MiB  ETA " + formatDuration(remainingSeconds()));
  return Status::ok();
}

Status Run::validate() {
  double start = monotonicSeconds();
  EvalOptions eval;
  eval.pattern = recipe.text("data.validation");
  eval.phase = phases[size_t(std::max(0, currentPhase))].phase;
  eval.rowLength = recipe.integer("eval.row_length");
  eval.batchTokens = recipe.integer("eval.batch_tokens");
  eval.documents = recipe.text("batch.packing") == "documents";
  eval.bosId = int32_t(recipe.integer("data.bos_id"));
  eval.maxSegment = recipe.integer("batch.max_segment");
  auto result = evaluate(executor, options.dataFolder, eval, nullptr);
  if (!result)
    return result.status();
  validateSeconds += monotonicSeconds() - start;
  return folder.addMetrics(metricsStart("validate") + ",\"val_loss\":" + formatDouble(result->loss()) +
                           ",\"val_tokens\":" + std::to_string(result->tokens) + "}");
}

Status Run::saveAll(const std::string &path) const {
  return saveWeights(executor, path,
                     {{"model", executor.package().model}, {"program", executor.package().programHash},
                      {"step", std::to_string(done)}});
}

StatusOr<TrainResult> Run::run() {
  started = monotonicSeconds();
  if (Status status = prepare(); !status)
    return status;
  auto opened = RunFolder::open(options.runFolder);
  if (!opened)
    return opened.status();
  folder = std::move(*opened);
  const Package &package = executor.package();
  Json config = {{"model", package.model},       {"program", package.programHash}, {"compiler", package.compiler},
                 {"precision", package.precision}, {"threads", executor.pool().size()}, {"recipe", recipe.toJson()},
                 {"initial_weights", options.initialWeights}, {"data", options.dataFolder}};
  if (Status status = folder.writeConfig(config); !status)
    return status;

  Status status = options.initialWeights.empty() ? initialise(executor, uint64_t(recipe.integer("seed")))
                                                 : loadWeights(executor, options.initialWeights);
  if (!status)
    return status;
  double loadSeconds = monotonicSeconds() - started;

  SignalGuard guard;
  TrainResult result;
  result.weights = folder.weightsPath();
  trainStarted = monotonicSeconds();
  int64_t evalEvery = recipe.integer("eval.every"), saveEvery = recipe.integer("checkpoint.every");
  stepSeconds.reserve(size_t(std::clamp<int64_t>(steps, 0, 1 << 20)));
  for (int64_t index = 0; !isOver(index) && !pendingSignal; ++index) {
    double start = monotonicSeconds();
    status = step(index);
    if (!status)
      break;
    stepSeconds.push_back(monotonicSeconds() - start);
    status = report(stepSeconds.back(), isOver(index + 1) || pendingSignal);
    if (status && evalEvery > 0 && done % evalEvery == 0)
      status = validate();
    if (status && saveEvery > 0 && done % saveEvery == 0)
      status = saveAll(result.weights);
    if (!status)
      break;
  }
  progress.finish();
  double trainSeconds = monotonicSeconds() - trainStarted - validateSeconds;
  result.steps = done;
  result.lastLoss = loss;
  result.seconds = trainSeconds;
  result.tokens = done * stepTokens;
  result.signal = pendingSignal;
  double saveStart = monotonicSeconds();
  if (status || status.code() == Code::Numerical)
    if (Status saved = saveAll(result.weights); !saved)
      return saved;
  double saveSeconds = monotonicSeconds() - saveStart;
  if (Status written = writeEvent("\"event\":\"" + std::string(!status ? "failed" : result.signal ? "interrupted" : "end") +
                                  "\",\"seconds\":{\"load\":" + formatFixed(loadSeconds, 3) + ",\"train\":" +
                                  formatFixed(trainSeconds, 3) + ",\"validate\":" + formatFixed(validateSeconds, 3) +
                                  ",\"save\":" + formatFixed(saveSeconds, 3) + "}");
      !written)
    return written;
  if (!status)
    return status;
  return result;
}

} // namespace

StatusOr<TrainResult> train(Executor &executor, const Recipe &recipe, const TrainOptions &options) {
  Run run(executor, recipe, options);
  return run.run();
}

} // namespace pg::rt
