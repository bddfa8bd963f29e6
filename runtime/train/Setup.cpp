//===- Setup.cpp - what a recipe says about a run, checked ------------------===//
#include "runtime/train/Setup.h"

namespace pg::rt {

StatusOr<Schedule> scheduleFrom(const Recipe &recipe) {
  Schedule schedule;
  schedule.budget = {recipe.integer("schedule.steps"), recipe.integer("schedule.max_tokens"),
                     recipe.number("schedule.max_seconds")};
  if (!schedule.budget.isLimited())
    return Status(Code::Usage, "the run has no end: give --steps, or schedule.steps, schedule.max_tokens or "
                               "schedule.max_seconds of the recipe");
  schedule.warmupSteps = recipe.integer("schedule.warmup_steps");
  schedule.warmdownFraction = recipe.number("schedule.warmdown_fraction");
  schedule.warmdownSteps = recipe.integer("schedule.warmdown_steps");
  schedule.minLr = recipe.number("schedule.min_lr");
  if (schedule.warmdownFraction > 0 && schedule.warmdownSteps > 0)
    return Status(Code::Invalid, "schedule.warmdown_fraction and schedule.warmdown_steps are both set, expected one");

  const std::string &shape = recipe.text("schedule.warmdown_shape");
  if (shape != "linear" && shape != "cosine")
    return Status(Code::Invalid, "schedule.warmdown_shape is '" + shape + "', expected linear or cosine");
  schedule.shape = shape == "cosine" ? Schedule::Shape::Cosine : Schedule::Shape::Linear;

  const std::string &measure = recipe.text("schedule.measure");
  struct Word {
    const char *name;
    Schedule::Measure measure;
    bool hasLimit;
  };
  const Word words[] = {{"widest", Schedule::Measure::Widest, true},
                        {"steps", Schedule::Measure::Steps, schedule.budget.steps > 0},
                        {"tokens", Schedule::Measure::Tokens, schedule.budget.tokens > 0},
                        {"seconds", Schedule::Measure::Seconds, schedule.budget.seconds > 0}};
  for (const Word &word : words) {
    if (measure != word.name)
      continue;
    if (!word.hasLimit)
      return Status(Code::Invalid, "schedule.measure is " + measure + ", but there is no limit of " + measure +
                                       " to measure by");
    schedule.measure = word.measure;
    return schedule;
  }
  return Status(Code::Invalid, "schedule.measure is '" + measure + "', expected widest, steps, tokens or seconds");
}

StatusOr<Loader> openTrainingData(const std::string &folder, const Recipe &recipe, const StepShape &shape,
                                  int64_t vocabulary, ThreadPool &pool) {
  ShardSetOptions shards;
  shards.vocabulary = vocabulary;
  const std::string &check = recipe.text("data.check");
  if (check != "tokens" && check != "headers")
    return Status(Code::Invalid, "data.check is '" + check + "', expected tokens or headers");
  shards.checkTokens = check == "tokens";
  shards.allowGaps = recipe.number("data.allow_gaps") != 0;
  auto set = ShardSet::open(folder, recipe.text("data.train"), shards, &pool);
  if (!set)
    return set.status();
  LoaderOptions options;
  options.documents = recipe.text("batch.packing") == "documents";
  options.bosId = int32_t(recipe.integer("data.bos_id"));
  options.spanTokens = shape.rankTokens;
  options.spansPerTake = shape.ranks;
  return Loader::open(std::move(*set), options);
}

EvalOptions validationFrom(const Recipe &recipe, const std::string &phase) {
  EvalOptions eval;
  eval.pattern = recipe.text("data.validation");
  eval.phase = phase;
  eval.rowLength = recipe.integer("eval.row_length");
  eval.batchTokens = recipe.integer("eval.batch_tokens");
  eval.documents = recipe.text("batch.packing") == "documents";
  eval.bosId = int32_t(recipe.integer("data.bos_id"));
  eval.maxSegment = recipe.integer("batch.max_segment");
  return eval;
}

} // namespace pg::rt
