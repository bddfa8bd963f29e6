//===- TrainRun.cpp - one training run of pgrun train ------------------------===//
#include "tools/pgrun/TrainRun.h"
#include "runtime/data/TokenShards.h"
#include "runtime/package/PackageJson.h"
#include "runtime/report/ByteLedger.h"
#include "runtime/report/Environment.h"
#include "runtime/support/File.h"
#include "runtime/support/Log.h"
#include "runtime/train/ProgressDisplay.h"
#include "runtime/train/Setup.h"
#include "runtime/train/TensorBoardObserver.h"
#include "runtime/weights/Weights.h"

#include <filesystem>

namespace pg::rt {
namespace {

/// config.json of another process of the run, or of the run to repeat.
StatusOr<Json> readConfig(const std::string &folder) {
  std::string path = folder + "/config.json";
  auto text = readFile(path, uint64_t(1) << 26);
  if (!text)
    return text.status();
  auto config = parseJson(*text);
  if (!config)
    return config.status().with("'" + path + "'");
  if (!config->is_object() || !config->contains("recipe"))
    return Status(Code::Corrupt, "'" + path + "' is not the config.json of a run");
  return config;
}

/// Precedence: flag > the run that goes on or is repeated > package > default.
Status resolve(const TrainRunOptions &options, const Package &package, Recipe &recipe, TrainOptions &train) {
  std::error_code ignored;
  bool goesOn = train.resume && std::filesystem::exists(train.runFolder + "/config.json", ignored);
  if (goesOn || !train.replayFolder.empty()) {
    std::string folder = goesOn ? train.runFolder : train.replayFolder;
    auto config = readConfig(folder);
    if (!config)
      return config.status();
    if (!train.replayFolder.empty() && (*config)["program"] != package.programHash)
      return {Code::Invalid, "'" + folder + "' is a run of another program than this package: its steps cannot be repeated"};
    auto differences = recipe.adopt((*config)["recipe"]);
    if (!differences)
      return differences.status().with("'" + folder + "/config.json'");
    if (!differences->empty()) {
      std::string text = "values of the run are kept (--set changes them):";
      for (const std::string &difference : *differences)
        text += "\n  " + difference;
      note(text);
    }
    if (train.initialWeights.empty() && config->contains("initial_weights") && (*config)["initial_weights"].is_string())
      train.initialWeights = (*config)["initial_weights"];
  }
  for (const std::string &assignment : options.overrides)
    if (Status status = recipe.set(assignment, "--set"); !status)
      return status;
  if (options.steps > 0)
    if (Status status = recipe.set("schedule.steps=" + std::to_string(options.steps), "--steps"); !status)
      return status;
  if (options.seed >= 0)
    if (Status status = recipe.set("seed=" + std::to_string(options.seed), "--seed"); !status)
      return status;
  return Status::ok();
}

/// What a reader of the run folder must know besides the recipe: the machine,
/// the exact package, data and tokenizer.
StatusOr<Json> describe(const TrainRunOptions &options, const Executor &executor, const Recipe &recipe) {
  const Package &package = executor.package();
  int64_t parameters = 0;
  for (const Parameter &parameter : package.parameters)
    parameters += elementCount(parameter.shape);
  Json about = {{"machine", describeMachine()}, {"parameters", parameters}, {"runtime", std::string("pgrun ") + kRunVersion}};
  for (const CodeTarget &target : package.targets)
    about["target"] = target.target + " " + target.cpu + " " + target.level;
  auto file = describeFile(options.common.package);
  if (!file)
    return file.status();
  about["package"] = *file;
  if (!options.tokenizer.empty()) {
    auto tokenizer = describeFile(options.tokenizer);
    if (!tokenizer)
      return tokenizer.status();
    about["tokenizer"] = *tokenizer;
  }
  for (auto [split, key] : {std::pair{"train", "data.train"}, {"validation", "data.validation"}}) {
    auto paths = findShards(options.train.dataFolder, recipe.text(key));
    if (!paths)
      continue; // the trainer says what is missing
    auto shards = describeShards(*paths);
    if (!shards)
      return shards.status();
    about["shards"][split] = *shards;
  }
  return about;
}

StatusOr<EvalResult> evaluateFinal(const TrainRunOptions &options, Executor &executor, const Recipe &recipe,
                                   const TrainResult &trained) {
  std::optional<ByteCounts> counts;
  if (!options.tokenizer.empty()) {
    auto table = readPieceTable(options.tokenizer, executor.package().vocabulary);
    if (!table)
      return table.status();
    counts.emplace(*table);
  }
  const std::string &weights = trained.averages.empty() ? trained.weights : trained.averages;
  if (Status status = loadWeights(executor, weights); !status)
    return status;
  auto result = evaluate(executor, options.train.dataFolder, validationFrom(recipe, ""), counts ? &*counts : nullptr);
  if (!result)
    return result.status();
  Json json = {{"loss", result->loss()}, {"tokens", result->tokens}, {"seconds", result->seconds}, {"weights", weights}};
  if (result->bytes > 0)
    json.update({{"bpb", result->bitsPerByte()}, {"bytes", result->bytes},
                 {"bytes_from", result->fromSidecar ? "sidecar" : "pieces"}});
  if (Status status = writeFileAtomic(options.train.runFolder + "/evaluation.json", json.dump(2) + "\n"); !status)
    return status;
  return result;
}

} // namespace

StatusOr<TrainRunResult> trainRun(const TrainRunOptions &options) {
  TimeLedger ledger;
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  Recipe recipe(executor.package());
  TrainOptions train = options.train;
  if (Status status = resolve(options, executor.package(), recipe, train); !status)
    return status;
  note("model " + executor.package().model + ", " + executor.device().describe() + ", " +
       std::to_string(executor.plannedBytes() >> 20) + " MiB planned");
  auto about = describe(options, executor, recipe);
  if (!about)
    return about.status();
  train.about.update(*about);
  ProgressDisplay display(&executor, 1e12 * options.peakTflops);
  TensorBoardObserver events;
  train.ledger = &ledger;
  train.observers.push_back(&display);
  if (options.tensorBoard)
    train.observers.push_back(&events);
  auto result = pg::rt::train(executor, recipe, train);
  if (!result)
    return result.status();
  showProfile(executor, options.common.profile);

  TrainRunResult run;
  run.train = *result;
  run.seed = recipe.integer("seed");
  if (!result->weights.empty()) {
    std::string held;
    ByteLedger bytes = estimateBytes(executor.package(), [&](size_t i) { return executor.hostParameter(i, held); });
    run.artifactBytes = bytes.artifactBytes();
    Json json = bytes.toJson();
    if (Status status = writeFileAtomic(train.runFolder + "/bytes.json", json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
        !status)
      return status;
    if (!result->signal && (options.evaluates || !options.tokenizer.empty())) {
      StageScope stage(ledger, Stage::Evaluate);
      auto evaluation = evaluateFinal(options, executor, recipe, *result);
      if (!evaluation)
        return evaluation.status();
      run.evaluation = *evaluation;
    }
  }
  run.ledger = ledger.toJson();
  run.wall = ledger.wall();
  return run;
}

StatusOr<int64_t> seedOf(const TrainRunOptions &options) {
  if (options.seed >= 0)
    return options.seed;
  auto package = readPackage(options.common.package);
  if (!package)
    return package.status();
  Recipe recipe(*package);
  for (const std::string &assignment : options.overrides)
    if (Status status = recipe.set(assignment, "--set"); !status)
      return status;
  return recipe.integer("seed");
}

} // namespace pg::rt
