//===- Train.cpp - pgrun train --------------------------------------------------===//
#include "runtime/report/SeedSummary.h"
#include "runtime/support/File.h"
#include "runtime/support/Log.h"
#include "tools/pgrun/TrainRun.h"

#include <filesystem>

namespace pg::rt {
namespace {

struct Options : TrainRunOptions {
  std::string seeds, baseline;
  double margin = 0;
  bool json = false;
};

/// Says how a run that a signal ended goes on, and gives the exit code.
void tellSignal(const TrainResult &result, int &exitCode) {
  if (!result.signal)
    return;
  warn("ended by signal " + std::to_string(result.signal) + " after " + std::to_string(result.steps) +
       " steps; --resume continues");
  exitCode = 128 + result.signal;
}

Status runOne(const Options &options, int &exitCode) {
  auto run = trainRun(options);
  if (!run)
    return run.status();
  const TrainResult &result = run->train;
  tellSignal(result, exitCode);
  double rate = result.seconds > 0 ? double(result.tokens) / result.seconds : 0;
  const auto &evaluation = run->evaluation;
  if (options.json) {
    Json json = {{"steps", result.steps}, {"loss", numberToJson(result.lastLoss)}, {"tokens", result.tokens},
                 {"seconds", result.seconds}, {"tokens_per_second", rate}, {"weights", result.weights},
                 {"artifact_bytes", run->artifactBytes}, {"ledger", run->ledger}, {"wall_seconds", run->wall}};
    if (result.resumedFrom >= 0)
      json["resumed_from"] = result.resumedFrom;
    if (!result.averages.empty())
      json["averages"] = result.averages;
    if (result.bestStep >= 0)
      json.update({{"best_step", result.bestStep}, {"best_loss", result.bestLoss}});
    if (evaluation)
      json["val_loss"] = evaluation->loss();
    if (evaluation && evaluation->bytes > 0)
      json["bpb"] = evaluation->bitsPerByte();
    return print(json.dump());
  }
  std::string text = "steps " + std::to_string(result.steps) + "  loss " + formatFixed(result.lastLoss, 4) + "  " +
                     formatFixed(rate, 0) + " tokens/s  " + formatFixed(result.seconds, 1) + " s  weights " + result.weights;
  if (evaluation)
    text += "\nvalidation loss " + formatFixed(evaluation->loss(), 6) + "  tokens " + std::to_string(evaluation->tokens) +
            (evaluation->bytes > 0 ? "  bpb " + formatFixed(evaluation->bitsPerByte(), 6) : "");
  return print(text);
}

/// One run after the other, each in a folder of its own; seeds.json at the end.
Status runSeeds(const Options &options, int &exitCode) {
  auto first = seedOf(options);
  if (!first)
    return first.status();
  auto seeds = parseSeeds(options.seeds, *first);
  if (!seeds)
    return seeds.status();
  std::optional<Baseline> baseline;
  if (!options.baseline.empty()) {
    // Before the hours are spent: a baseline that cannot serve is an error now.
    auto read = readBaseline(options.baseline);
    if (!read)
      return read.status();
    if (seeds->size() < 2)
      return {Code::Usage, "--baseline needs at least two --seeds"};
    baseline = std::move(*read);
  }
  std::error_code ignored;
  if (std::filesystem::exists(options.train.runFolder + "/metrics.jsonl", ignored))
    return {Code::Usage, "'" + options.train.runFolder + "' holds a single run; --seeds needs another folder"};
  std::vector<SeedResult> results;
  for (int64_t seed : *seeds) {
    TrainRunOptions one = options;
    one.seed = seed;
    one.evaluates = true;
    SeedResult result;
    result.seed = seed;
    result.folder = "seed-" + std::to_string(seed);
    one.train.runFolder += "/" + result.folder;
    note("seed " + std::to_string(seed) + ", " + std::to_string(results.size() + 1) + " of " + std::to_string(seeds->size()));
    auto run = trainRun(one);
    if (!run)
      return run.status().with("seed " + std::to_string(seed));
    if (run->train.signal) {
      tellSignal(run->train, exitCode);
      return Status::ok();
    }
    result.steps = run->train.steps;
    result.seconds = run->train.seconds;
    result.trainLoss = run->train.lastLoss;
    result.artifactBytes = run->artifactBytes;
    if (run->evaluation) {
      result.valLoss = run->evaluation->loss();
      if (run->evaluation->bytes > 0)
        result.bpb = run->evaluation->bitsPerByte();
    }
    results.push_back(std::move(result));
  }
  auto summary = summarise(results, baseline, options.margin);
  Status problem = summary.isOk() ? Status::ok() : summary.status();
  if (!summary) // the runs are worth their summary without the baseline
    summary = summarise(results, std::nullopt, 0);
  if (!summary)
    return summary.status();
  std::string text = summary->toJson().dump(2, ' ', false, Json::error_handler_t::replace);
  if (Status status = writeFileAtomic(options.train.runFolder + "/seeds.json", text + "\n"); !status)
    return status;
  if (Status status = print(options.json ? summary->toJson().dump(-1, ' ', false, Json::error_handler_t::replace)
                                         : summary->toText());
      !status)
    return status;
  return problem;
}

} // namespace

VerbFn addTrain(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--data", options->train.dataFolder, "folder with the training shards")->required();
  app.add_option("--run", options->train.runFolder, "folder for checkpoints, weights, metrics.jsonl and config.json")
      ->required();
  app.add_option("--steps", options->steps, "steps; default schedule.steps of the recipe")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40));
  app.add_option("--weights", options->train.initialWeights, "start from these instead of the initialisers");
  app.add_option("--seed", options->seed, "seed of the initialisers")->check(CLI::Range(int64_t(0), int64_t(1) << 62));
  auto *seeds = app.add_option("--seeds", options->seeds,
                               "several runs, in RUN/seed-N: how many, or the seeds as A,B,C; each is scored on the validation shards");
  app.add_option("--baseline", options->baseline,
                 "with --seeds: values A,B,C or the folder of other seeds; one-sided Welch test that these are lower")
      ->needs(seeds);
  app.add_option("--margin", options->margin, "with --baseline: lower by more than this")
      ->needs(seeds)
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--tokenizer", options->tokenizer,
                 "SentencePiece model of the shards: score the final weights in bits per byte of the validation shards");
  app.add_flag("--tensorboard", options->tensorBoard, "also write a TensorBoard event file into the run folder");
  app.add_option("--peak-tflops", options->peakTflops, "peak of this machine for the share shown as MFU")
      ->check(CLI::Range(1e-3, 1e9));
  app.add_flag("--resume", options->train.resume, "continue the run in the folder from its newest checkpoint");
  app.add_option("--replay", options->train.replayFolder,
                 "run folder whose recipe and clock decisions (phases, learning rates, end) are repeated");
  app.add_option("--set", options->overrides, "recipe value, path=value (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("-q,--quiet", options->quiet, "no progress");
  app.add_flag("--json", options->json, "result as JSON");
  return [options](int &exitCode) {
    setQuiet(options->quiet);
    return options->seeds.empty() ? runOne(*options, exitCode) : runSeeds(*options, exitCode);
  };
}

} // namespace pg::rt
