//===- Train.cpp - pgrun train --------------------------------------------------===//
#include "runtime/support/Log.h"
#include "runtime/train/Trainer.h"
#include "tools/pgrun/Verbs.h"

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  TrainOptions train;
  int64_t steps = 0;
  int64_t seed = -1;
  std::vector<std::string> overrides;
  bool quiet = false, json = false;
};

Status run(const Options &options, int &exitCode) {
  setQuiet(options.quiet);
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  Recipe recipe(executor.package());
  for (const std::string &assignment : options.overrides)
    if (Status status = recipe.set(assignment, "--set"); !status)
      return status;
  if (options.steps > 0)
    if (Status status = recipe.set("schedule.steps=" + std::to_string(options.steps), "--steps"); !status)
      return status;
  if (options.seed >= 0)
    if (Status status = recipe.set("seed=" + std::to_string(options.seed), "--seed"); !status)
      return status;
  note("model " + executor.package().model + ", " + std::to_string(executor.pool().size()) + " threads, " +
       std::to_string(executor.plannedBytes() >> 20) + " MiB planned");
  auto result = train(executor, recipe, options.train);
  if (!result)
    return result.status();
  showProfile(executor, options.common.profile);
  if (result->signal) {
    warn("ended by signal " + std::to_string(result->signal) + " after " + std::to_string(result->steps) + " steps");
    exitCode = 128 + result->signal;
  }
  double rate = result->seconds > 0 ? double(result->tokens) / result->seconds : 0;
  if (options.json)
    return print(Json{{"steps", result->steps}, {"loss", numberToJson(result->lastLoss)}, {"tokens", result->tokens},
                      {"seconds", result->seconds}, {"tokens_per_second", rate}, {"weights", result->weights}}
                     .dump());
  return print("steps " + std::to_string(result->steps) + "  loss " + formatFixed(result->lastLoss, 4) + "  " +
               formatFixed(rate, 0) + " tokens/s  " + formatFixed(result->seconds, 1) + " s  weights " + result->weights);
}

} // namespace

VerbFn addTrain(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--data", options->train.dataFolder, "folder with the training shards")->required();
  app.add_option("--run", options->train.runFolder, "folder for weights, metrics.jsonl and config.json")->required();
  app.add_option("--steps", options->steps, "steps; default schedule.steps of the recipe")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40));
  app.add_option("--weights", options->train.initialWeights, "start from these instead of the initialisers");
  app.add_option("--seed", options->seed, "seed of the initialisers")->check(CLI::Range(int64_t(0), int64_t(1) << 62));
  app.add_option("--set", options->overrides, "recipe value, path=value (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("-q,--quiet", options->quiet, "no progress");
  app.add_flag("--json", options->json, "result as JSON");
  return [options](int &exitCode) { return run(*options, exitCode); };
}

} // namespace pg::rt
