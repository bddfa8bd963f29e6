//===- Trainer.cpp - the training protocol ----------------------------------===//
#include "runtime/train/Trainer.h"
#include "runtime/exec/NotFinite.h"
#include "runtime/support/Log.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Initialise.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Setup.h"
#include "runtime/train/Signals.h"
#include "runtime/train/Snapshot.h"
#include "runtime/train/TrainClock.h"
#include "runtime/weights/Weights.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {
namespace {

class Run {
public:
  Run(Executor &executor, const Recipe &recipe, const TrainOptions &options)
      : executor(executor), recipe(recipe), options(options), ledger(options.ledger ? *options.ledger : ownLedger) {}

  StatusOr<TrainResult> run();

private:
  Status prepare();
  Status restoreOrInitialise();
  Status openClock();
  Status rehearse();
  Status begin();
  Status loop();
  Status step();
  Status afterStep();
  Status validate();
  Status save();
  Status finish(Status status);
  Status announce(const std::string &event, Json fields = Json::object());
  Status tellStep(const Step::Result &result, double multiplier, double seconds);
  Status numericalProblem(const Step::Result &result, int phase, const StepTokens &tokens);
  Position position() const { return {state.step, state.tokens, elapsed}; }
  void carryLedger();

  Executor &executor;
  const Recipe &recipe;
  const TrainOptions &options;
  TimeLedger ownLedger;
  TimeLedger &ledger;

  RunFolder folder;
  StepShape shape;
  Schedule schedule;
  std::optional<Prefetcher> data;
  std::optional<Step> stepper;
  std::optional<Checkpoints> checkpoints;
  std::optional<TrainClock> clock;
  std::optional<MetricsWriter> metrics;
  std::vector<TrainObserver *> observers;

  TrainState state;
  int64_t resumedFrom = -1, savedStep = -1;
  double elapsed = 0;          ///< on the clock, before the next step
  bool isOver = false;         ///< the budget is spent or the replay at its end
  double savedSeconds = 0;     ///< training time at the last checkpoint
  int64_t evalEvery = 0, saveEvery = 0;
  double saveEverySeconds = 0;
  bool keepBest = true;
};

Status Run::prepare() {
  auto wantedShape = StepShape::from(recipe);
  if (!wantedShape)
    return wantedShape.status();
  shape = *wantedShape;
  auto wantedSchedule = scheduleFrom(recipe);
  if (!wantedSchedule)
    return wantedSchedule.status();
  schedule = *wantedSchedule;
  if (recipe.number("eval.stride") != 0)
    return {Code::Invalid, "eval.stride is not supported while training, expected 0"};
  evalEvery = recipe.integer("eval.every");
  saveEvery = recipe.integer("checkpoint.every");
  saveEverySeconds = recipe.number("checkpoint.every_seconds");
  keepBest = recipe.number("checkpoint.keep_best") != 0;
  stepper.emplace(executor, recipe, shape);
  if (Status status = stepper->prepare(); !status)
    return status;
  auto loader = openTrainingData(options.dataFolder, recipe, shape, executor.package().vocabulary, executor.pool());
  if (!loader)
    return loader.status();
  auto opened = RunFolder::open(options.runFolder, options.resume);
  if (!opened)
    return opened.status();
  folder = std::move(*opened);
  checkpoints.emplace(executor, folder.checkpointsPath(), RunIdentity{loader->shards().fingerprint()},
                      recipe.integer("checkpoint.keep"), keepBest);
  state.seed = recipe.integer("seed");
  state.loader = loader->position();
  data.emplace(std::move(*loader), shape.rankTokens, shape.spans());
  return Status::ok();
}

Status Run::restoreOrInitialise() {
  if (options.resume && folder.hadRun()) {
    auto restored = checkpoints->restoreNewest();
    if (!restored)
      return restored.status();
    if (*restored) {
      state = **restored;
      resumedFrom = savedStep = state.step;
      carryLedger();
      return data->seek(state.loader);
    }
    note("'" + folder.path() + "' has no checkpoint yet: the run begins anew");
  }
  if (options.initialWeights.empty())
    return initialise(executor, uint64_t(state.seed));
  // A weights file has every parameter: nothing is drawn (seconds, where matrices are orthogonal).
  if (Status status = executor.resetStates(); !status)
    return status;
  return loadWeights(executor, options.initialWeights);
}

void Run::carryLedger() {
  for (size_t i = 0; i < kStages; ++i)
    ledger.carry(Stage(i), state.seconds[i]);
}

Status Run::openClock() {
  std::string record = folder.file("replay.jsonl");
  if (!options.replayFolder.empty()) {
    auto text = readFile(options.replayFolder + "/clock.jsonl");
    if (!text)
      return text.status();
    if (Status status = writeFileAtomic(record, *text); !status)
      return status;
  }
  AppendFile *log = schedule.isClocked() ? &folder.clock : nullptr;
  auto text = readFile(record);
  if (!text) {
    clock.emplace(ledger, log);
    return Status::ok();
  }
  auto seconds = parseClock(*text);
  if (!seconds)
    return seconds.status().with("'" + record + "'");
  // A run without a clock leaves an empty record: there is nothing to repeat.
  if (seconds->empty())
    clock.emplace(ledger, log);
  else
    clock.emplace(ledger, log, std::move(*seconds));
  return Status::ok();
}

Status Run::announce(const std::string &event, Json fields) {
  for (TrainObserver *observer : observers)
    if (Status status = observer->onEvent({event, state.step, fields}); !status)
      return status;
  return Status::ok();
}

Status Run::begin() {
  Json config = options.about;
  const Package &package = executor.package();
  config.update({{"model", package.model},
                 {"program", package.programHash},
                 {"compiler", package.compiler},
                 {"precision", package.precision},
                 {"threads", executor.pool().size()},
                 {"device", executor.device().describe()},
                 {"recipe", recipe.toJson()},
                 {"initial_weights", options.initialWeights},
                 {"data", options.dataFolder}});
  if (!options.replayFolder.empty())
    config["replay"] = options.replayFolder;
  if (Status status = folder.writeConfig(config); !status)
    return status;
  if (Status status = folder.openLogs(resumedFrom); !status)
    return status;
  if (Status status = openClock(); !status)
    return status;
  metrics.emplace(folder.metrics);
  observers = options.observers;
  observers.insert(observers.begin(), &*metrics);
  RunView view;
  view.folder = options.runFolder;
  view.model = package.model;
  view.steps = schedule.budget.steps;
  view.maxSeconds = schedule.budget.seconds;
  view.maxTokens = schedule.budget.tokens;
  view.stepTokens = shape.stepTokens();
  view.logEvery = recipe.integer("log.every");
  view.scalarNames = stepper->scalarNames();
  view.ledger = &ledger;
  for (TrainObserver *observer : observers)
    if (Status status = observer->onStart(view); !status)
      return status;
  if (resumedFrom >= 0)
    return announce("resume", {{"tokens", state.tokens}});
  return announce("start", {{"seed", state.seed}, {"shards", data->shards().size()},
                            {"data_tokens", data->shards().totalTokens()}, {"data", data->shards().fingerprint()}});
}

/// stack-1693 §3.2: real steps of every phase with the first learning rate,
/// then everything as it was, except what the recipe says survives.
Status Run::rehearse() {
  int64_t steps = recipe.integer("schedule.restored_warmup.steps");
  if (steps <= 0 || resumedFrom >= 0)
    return Status::ok();
  StageScope stage(ledger, Stage::WarmUp);
  Snapshot before(executor);
  for (size_t phase = 0; phase < stepper->phases().size(); ++phase)
    for (int64_t index = 0; index < steps; ++index) {
      auto tokens = data->next();
      if (!tokens)
        return tokens.status();
      auto result = stepper->accumulate(int(phase), **tokens, {index, 0, 1});
      if (!result)
        return result.status();
      if (!std::isfinite(result->loss) || !std::isfinite(result->norm))
        return numericalProblem(*result, int(phase), **tokens);
      if (Status status = stepper->apply(index, 1); !status)
        return status;
    }
  int64_t kept = before.restore(executor, recipe.text("schedule.restored_warmup.keep_states"));
  if (Status status = executor.synchronize(); !status)
    return status;
  if (Status status = data->seek(state.loader); !status)
    return status;
  return announce("warm_up", {{"steps", steps * int64_t(stepper->phases().size())}, {"kept_states", kept}});
}

Status Run::numericalProblem(const Step::Result &result, int phase, const StepTokens &tokens) {
  // A parameter first: it makes everything behind it so. Then the first value of
  // the step that is not finite, and if the step cannot be had again, its sums.
  std::string place = parameterNotFinite(executor);
  if (place.empty()) {
    std::string gradient = stateNotFinite(executor); // now: the step run again begins with zeros
    auto found = stepper->locateNotFinite(phase, tokens);
    place = found && !found->empty() ? *found : gradient;
  }
  return {Code::Numerical, "the loss is " + formatDouble(result.loss) + " and the gradient norm " +
                               formatDouble(result.norm) + " at step " + std::to_string(state.step + 1) +
                               (place.empty() ? "" : "; the first tensor that is not finite is " + place) +
                               "; lower the learning rate or set clip.norm"};
}

Status Run::tellStep(const Step::Result &result, double multiplier, double seconds) {
  StepReport report;
  report.step = state.step;
  report.loss = result.loss;
  report.gradientNorm = result.norm;
  report.multiplier = multiplier;
  report.seconds = seconds;
  report.tokens = state.tokens;
  report.phase = stepper->phases()[size_t(state.phase)];
  report.scalars = &stepper->scalars();
  // The position before the step: elapsed has moved on already.
  Position before{state.step - 1, state.tokens - shape.stepTokens(), elapsed};
  report.elapsed = elapsed;
  report.fraction = schedule.fraction(before);
  auto next = clock->before(state.step);
  if (!next)
    return next.status();
  isOver = !*next;
  if (!isOver)
    elapsed = **next;
  isOver = isOver || schedule.budget.isSpent(position());
  report.isLast = isOver || SignalGuard::pending();
  for (TrainObserver *observer : observers)
    if (Status status = observer->onStep(report); !status)
      return status;
  return Status::ok();
}

Status Run::step() {
  double start = monotonicSeconds();
  // A phase that has begun does not end, also when a budget was made larger.
  int phase = std::max({0, state.phase, phaseAt(executor.package().phases, schedule.fraction(position()))});
  if (phase != state.phase) {
    state.phase = phase;
    if (Status status = announce("phase", {{"phase", stepper->phases()[size_t(phase)]}, {"elapsed", elapsed}}); !status)
      return status;
  }
  double multiplier = schedule.multiplier(position());
  auto tokens = data->next();
  if (!tokens)
    return tokens.status();
  auto result = stepper->accumulate(phase, **tokens, {state.step, schedule.fraction(position()), multiplier});
  if (!result)
    return result.status();
  if (!std::isfinite(result->loss) || !std::isfinite(result->norm))
    return numericalProblem(*result, phase, **tokens);
  if (Status status = stepper->apply(state.step, multiplier); !status)
    return status;
  ++state.step;
  state.tokens += shape.stepTokens();
  state.loader = (*tokens)->after;
  state.lastLoss = result->loss;
  return tellStep(*result, multiplier, monotonicSeconds() - start);
}

Status Run::validate() {
  StageScope stage(ledger, Stage::Validate);
  auto result = evaluate(executor, options.dataFolder,
                         validationFrom(recipe, stepper->phases()[size_t(std::max(0, state.phase))]), nullptr);
  if (!result)
    return result.status();
  state.validatedStep = state.step;
  bool isBest = state.bestStep < 0 || result->loss() < state.bestLoss;
  if (isBest) {
    state.bestStep = state.step;
    state.bestLoss = result->loss();
  }
  for (TrainObserver *observer : observers)
    if (Status status = observer->onValidate(state.step, *result); !status)
      return status;
  return isBest && keepBest ? save() : Status::ok();
}

Status Run::save() {
  if (savedStep == state.step)
    return Status::ok();
  StageScope stage(ledger, Stage::Checkpoint);
  for (size_t i = 0; i < kStages; ++i)
    state.seconds[i] = ledger.seconds(Stage(i));
  // What the metrics say of these steps must not be younger than the state.
  if (Status status = folder.metrics.sync(); !status)
    return status;
  if (Status status = checkpoints->write(state); !status)
    return status;
  savedStep = state.step;
  savedSeconds = ledger.seconds(Stage::Train);
  return announce("checkpoint");
}

Status Run::afterStep() {
  if (evalEvery > 0 && state.step > 0 && state.step % evalEvery == 0 && state.validatedStep != state.step)
    if (Status status = validate(); !status)
      return status;
  bool isDue = (saveEvery > 0 && state.step > 0 && state.step % saveEvery == 0) ||
               (saveEverySeconds > 0 && ledger.seconds(Stage::Train) - savedSeconds >= saveEverySeconds);
  return isDue && !isOver ? save() : Status::ok();
}

Status Run::loop() {
  StageScope stage(ledger, Stage::Train);
  savedSeconds = ledger.seconds(Stage::Train);
  auto first = clock->before(state.step);
  if (!first)
    return first.status();
  isOver = !*first;
  elapsed = first->value_or(0);
  isOver = isOver || schedule.budget.isSpent(position());
  if (resumedFrom >= 0)
    if (Status status = afterStep(); !status)
      return status;
  while (!isOver) {
    if (SignalGuard::pending())
      return {Code::Interrupted, "interrupted"};
    if (Status status = step(); !status)
      return status;
    if (Status status = afterStep(); !status)
      return status;
  }
  if (evalEvery > 0 && state.validatedStep != state.step)
    return validate();
  return Status::ok();
}

/// Saves what there is and tells how the run ended.
Status Run::finish(Status status) {
  ledger.enter(Stage::Checkpoint);
  executor.setAbortFlag(nullptr);
  bool isSignal = status.code() == Code::Interrupted;
  if (Status saved = save(); !saved) {
    // The reason the run ended matters more than that it could not be saved.
    if (status || isSignal)
      status = saved;
    else
      warn(saved.message() + (checkpoints->steps().empty() ? "" : "; the last checkpoint is that of step " +
                                                                     std::to_string(checkpoints->steps().back())));
  } else {
    std::map<std::string, std::string> about = {{"model", executor.package().model},
                                                {"program", executor.package().programHash},
                                                {"step", std::to_string(state.step)}};
    saved = saveWeights(executor, folder.weightsPath(), about);
    if (saved && hasAverages(executor.package()))
      saved = saveAverages(executor, folder.averagesPath(), about);
    if (!saved && (status || isSignal))
      status = saved;
  }
  isSignal = status.code() == Code::Interrupted;
  Json fields = {{"seconds", ledger.toJson()}, {"wall", ledger.wall()}};
  if (!status && !isSignal)
    fields["message"] = status.message();
  if (isSignal)
    fields["signal"] = SignalGuard::pending();
  Status told = announce(isSignal ? "interrupted" : status ? "end" : "failed", std::move(fields));
  return status ? told : status;
}

StatusOr<TrainResult> Run::run() {
  if (Status status = prepare(); !status)
    return status;
  if (Status status = restoreOrInitialise(); !status)
    return status;
  SignalGuard guard;
  if (Status status = begin(); !status)
    return status;
  executor.setAbortFlag(&SignalGuard::flag());
  TrainResult result;
  if (Status status = rehearse(); !status) {
    executor.setAbortFlag(nullptr);
    // Nothing has happened yet that a checkpoint could hold.
    result.signal = SignalGuard::pending();
    if (status.code() != Code::Interrupted)
      return status;
    return result;
  }
  Status status = finish(loop());
  if (!status && status.code() != Code::Interrupted)
    return status;
  result.steps = state.step;
  result.resumedFrom = resumedFrom;
  result.lastLoss = state.lastLoss;
  result.seconds = ledger.seconds(Stage::Train);
  result.tokens = state.tokens;
  result.weights = folder.weightsPath();
  result.averages = hasAverages(executor.package()) ? folder.averagesPath() : "";
  result.bestStep = state.bestStep;
  result.bestLoss = state.bestLoss;
  result.signal = status.code() == Code::Interrupted ? SignalGuard::pending() : 0;
  return result;
}

} // namespace

StatusOr<TrainResult> train(Executor &executor, const Recipe &recipe, const TrainOptions &options) {
  Run run(executor, recipe, options);
  return run.run();
}

} // namespace pg::rt
