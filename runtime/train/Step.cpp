//===- Step.cpp - one optimizer step ----------------------------------------===//
#include "runtime/train/Step.h"
#include "runtime/eval/Score.h"
#include "runtime/exec/NotFinite.h"

#include <array>
#include <cmath>
#include <utility>

namespace pg::rt {
namespace {

/// NLL summed over calls, spans and ranks, each in order. The device is one call ahead: it runs the next while the
/// values of the last are added.
class LossSum {
public:
  LossSum(const Executor &executor, int entry, std::vector<double> &nll) : executor(executor), entry(entry), nll(nll) {}

  /// After a call was queued: its values are on their way.
  Status queue(bool endsSpan, bool endsRank) {
    Call &call = calls[(first + waiting++) % calls.size()] = {{}, endsSpan, endsRank};
    return call.values.queue(executor, entry, "nll", int64_t(nll.size()));
  }
  /// Adds the values of all calls but the last one.
  Status takeEarlier() { return take(1); }
  StatusOr<double> total() {
    if (Status status = take(0); !status)
      return status;
    return ranks;
  }

private:
  struct Call {
    OutputRead values;
    bool endsSpan = false, endsRank = false;
  };

  Status take(size_t left) {
    for (; waiting > left; --waiting, first = (first + 1) % calls.size()) {
      const Call &call = calls[first];
      if (Status status = call.values.take(executor, nll.data()); !status)
        return status;
      for (double value : nll)
        span += value;
      if (call.endsSpan)
        rank += std::exchange(span, 0);
      if (call.endsRank)
        ranks += std::exchange(rank, 0);
    }
    return Status::ok();
  }

  const Executor &executor;
  int entry;
  std::vector<double> &nll;
  std::array<Call, 2> calls;        ///< a ring: the one that is taken, the one that runs
  size_t first = 0, waiting = 0;
  double span = 0, rank = 0, ranks = 0;
};

} // namespace

StatusOr<StepShape> StepShape::from(const Recipe &recipe) {
  StepShape shape;
  shape.microTokens = recipe.integer("batch.micro_tokens");
  shape.rankTokens = recipe.integer("batch.rank_tokens");
  shape.rowLength = recipe.integer("batch.row_length");
  shape.ranks = recipe.integer("batch.logical_ranks");
  shape.maxSegment = recipe.integer("batch.max_segment");
  if (recipe.text("batch.packing") == "documents")
    shape.bosId = int32_t(recipe.integer("data.bos_id"));
  if (shape.rankTokens == 0)
    shape.rankTokens = shape.microTokens;
  int64_t stepTokens = recipe.integer("batch.step_tokens");
  if (stepTokens == 0)
    stepTokens = shape.rankTokens * shape.ranks;
  auto divides = [](const std::string &part, int64_t partValue, const std::string &whole, int64_t wholeValue) {
    if (partValue >= 1 && wholeValue >= 1 && wholeValue % partValue == 0)
      return Status::ok();
    return Status(Code::Invalid, whole + " " + std::to_string(wholeValue) + " is not a multiple of " + part + " " +
                                     std::to_string(partValue));
  };
  if (Status status = divides("batch.row_length", shape.rowLength, "batch.micro_tokens", shape.microTokens); !status)
    return status;
  bool isPlain = shape.rankTokens == shape.microTokens && shape.ranks == 1;
  if (Status status = divides("batch.micro_tokens", shape.microTokens, isPlain ? "batch.step_tokens" : "batch.rank_tokens",
                              isPlain ? stepTokens : shape.rankTokens);
      !status)
    return status;
  if (Status status = divides("batch.logical_ranks * batch.rank_tokens", shape.ranks * shape.rankTokens,
                              "batch.step_tokens", stepTokens);
      !status)
    return status;
  shape.accumulation = stepTokens / (shape.ranks * shape.rankTokens);
  return shape;
}

Step::Step(Executor &executor, const Recipe &recipe, const StepShape &shape)
    : executor(executor), recipe(recipe), shape(shape), gradients(executor) {}

const std::vector<std::string> &Step::scalarNames() const {
  return executor.package().entries[size_t(applyEntry)].scalars;
}

StatusOr<std::vector<Step::ScalarRule>> Step::rulesOf(int entry) const {
  std::vector<ScalarRule> found;
  for (const std::string &name : executor.package().entries[size_t(entry)].scalars) {
    ScalarRule rule;
    if (name == "step") {
      rule.kind = ScalarRule::Kind::Step;
    } else if (name == "loss_scale") {
      rule.kind = ScalarRule::Kind::LossScale;
    } else if (name == "qat.on") {
      rule.kind = ScalarRule::Kind::QuantisationOn;
    } else {
      auto value = recipe.scalar(name);
      if (!value)
        return value.status();
      rule.value = *value;
      if (name.size() > 3 && name.compare(name.size() - 3, 3, ".lr") == 0)
        rule.kind = ScalarRule::Kind::LearningRate;
    }
    found.push_back(rule);
  }
  return found;
}

double Step::valueOf(const ScalarRule &rule, const StepMoment &moment) const {
  switch (rule.kind) {
  case ScalarRule::Kind::Step: return double(moment.step + 1);
  case ScalarRule::Kind::LossScale: return lossScale;
  case ScalarRule::Kind::LearningRate: return rule.value.at(moment.step) * moment.multiplier;
  case ScalarRule::Kind::QuantisationOn:
    // The low learning rates of the warm-up are no reason to begin.
    return moment.fraction >= quantiseFrom &&
                   (quantiseBelow <= 0 || (moment.multiplier < quantiseBelow && moment.step >= warmupSteps))
               ? 1
               : 0;
  case ScalarRule::Kind::Plain: return rule.value.at(moment.step);
  }
  return 0;
}

Status Step::prepare() {
  const Package &package = executor.package();
  applyEntry = executor.findEntry("apply");
  if (applyEntry < 0)
    return {Code::Usage, "the package has no optimizer; compile it with --recipe"};
  auto applyRules = rulesOf(applyEntry);
  if (!applyRules)
    return applyRules.status();
  rules = std::move(*applyRules);
  scalarValues.resize(rules.size());
  quantiseFrom = recipe.number("qat.start_fraction");
  quantiseBelow = recipe.number("qat.lr_below");
  warmupSteps = recipe.integer("schedule.warmup_steps");

  // Phases in order of start; a package without phases has one program.
  for (const Phase &phase : package.phases)
    phaseNames.push_back(phase.name);
  if (phaseNames.empty())
    phaseNames.push_back("");
  for (const std::string &name : phaseNames) {
    auto entry = findRole(executor, "accumulate", name);
    if (!entry)
      return entry.status();
    int64_t maxTokens = package.entries[size_t(*entry)].maxTokens;
    if (shape.microTokens > maxTokens)
      return {Code::Usage, "batch.micro_tokens is " + std::to_string(shape.microTokens) +
                               ", the package was compiled for at most " + std::to_string(maxTokens) +
                               " tokens; recompile with --max-tokens " + std::to_string(shape.microTokens)};
    entries.push_back(*entry);
    auto entryRules = rulesOf(*entry);
    if (!entryRules)
      return entryRules.status();
    phaseRules.push_back(std::move(*entryRules));
  }
  clipNorm = recipe.number("clip.norm");
  const std::string &mode = recipe.text("clip.mode");
  if (mode != "joint" && mode != "per_logical_rank")
    return {Code::Invalid, "clip.mode is '" + mode + "', expected joint or per_logical_rank"};
  clipsPerRank = clipNorm > 0 && mode == "per_logical_rank";
  batch.reserve(shape.microTokens);
  nll.resize(size_t(shape.microTokens));
  return gradients.reserveRanks(shape.ranks);
}

void Step::fillBatch(const int32_t *tokens) {
  batch.clear();
  for (int64_t at = 0; at < shape.microTokens; at += shape.rowLength)
    batch.addSpan(tokens + at, shape.rowLength, shape.bosId, shape.maxSegment);
}

StatusOr<Step::Result> Step::accumulate(int phase, const StepTokens &tokens, const StepMoment &moment) {
  int entry = entries[size_t(phase)];
  Result result;
  LossSum loss(executor, entry, nll);
  // Per rank the loss is the rank's own mean, as its process would see it.
  double share = clipsPerRank ? double(shape.ranks) : 1;
  lossScale = share / double(shape.stepTokens());
  for (size_t i = 0; i < phaseRules[size_t(phase)].size(); ++i)
    executor.setScalar(entry, i, valueOf(phaseRules[size_t(phase)][i], moment));
  // One call after the other; the next one's tokens go up before anybody waits.
  int64_t callsOfSpan = shape.rankTokens / shape.microTokens, callsOfRank = callsOfSpan * shape.accumulation;
  int64_t calls = callsOfRank * shape.ranks;
  auto prepareCall = [&](int64_t call) {
    int64_t rank = call / callsOfRank, take = call % callsOfRank / callsOfSpan;
    const int32_t *span = tokens.spans.data() + (take * shape.ranks + rank) * (shape.rankTokens + 1);
    fillBatch(span + call % callsOfSpan * shape.microTokens);
    return prepareBatch(executor, entry, batch);
  };
  if (Status status = prepareCall(0); !status)
    return status;
  for (int64_t call = 0; call < calls; ++call) {
    bool beginsRank = call % callsOfRank == 0, endsRank = (call + 1) % callsOfRank == 0;
    if (beginsRank)
      gradients.zero();
    Batch view = batch.view();
    if (Status status = executor.runPrepared(entry, &view); !status)
      return status;
    Status status = loss.queue((call + 1) % callsOfSpan == 0, endsRank);
    bool clips = endsRank && clipsPerRank;
    if (status && clips)
      status = gradients.queueNorm();
    if (status && call + 1 < calls)
      status = prepareCall(call + 1);
    if (status)
      status = loss.takeEarlier();
    if (!status)
      return status;
    if (clips) {
      auto norm = gradients.takeNorm();
      if (!norm)
        return norm.status();
      result.norm += *norm / double(shape.ranks);
      gradients.scale(Gradients::clipFactor(*norm, clipNorm) / double(shape.ranks));
    }
    if (endsRank)
      gradients.addRank();
  }
  gradients.total();
  if (!clipsPerRank) {
    auto norm = gradients.norm();
    if (!norm)
      return norm.status();
    result.norm = *norm;
    gradients.scale(Gradients::clipFactor(result.norm, clipNorm));
  }
  auto sum = loss.total();
  if (!sum)
    return sum.status();
  result.loss = *sum / double(shape.stepTokens());
  return result;
}

StatusOr<std::string> Step::locateNotFinite(int phase, const StepTokens &tokens) {
  int entry = entries[size_t(phase)];
  gradients.zero();
  for (int64_t span = 0; span < shape.spans(); ++span)
    for (int64_t at = 0; at < shape.rankTokens; at += shape.microTokens) {
      fillBatch(tokens.spans.data() + span * (shape.rankTokens + 1) + at);
      setTokens(executor, entry, batch);
      Batch view = batch.view();
      auto found = launchNotFinite(executor, entry, &view);
      if (!found || !found->empty())
        return found;
    }
  return std::string();
}

Status Step::apply(int64_t step, double multiplier) {
  for (size_t i = 0; i < rules.size(); ++i) {
    scalarValues[i] = valueOf(rules[i], {step, 0, multiplier});
    executor.setScalar(applyEntry, i, scalarValues[i]);
  }
  return executor.run(applyEntry, nullptr);
}

} // namespace pg::rt
