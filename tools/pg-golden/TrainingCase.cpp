//===- TrainingCase.cpp - a whole run against a recorded one ---------------===//
//
// 1. The map's rules turn hyper-parameters into overrides of model and recipe;
//    pgc compiles both.
// 2. pgrun trains from the recorded weights on the recorded shards, logging
//    every step.
// 3. Losses, gradient norms, learning rates, momentum and phase of every step;
//    final and averaged weights; the validation loss of the final weights.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/CaseMap.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/Process.h"

#include "runtime/data/ByteCounts.h"
#include "runtime/data/TokenShards.h"
#include "runtime/report/MetricsReader.h"
#include "runtime/support/File.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>

using namespace pg;
using namespace pg::golden;

namespace {
/// Tolerance of numbers that are computed from the step alone.
constexpr double kScheduleTolerance = 1e-9;

class TrainingRun {
public:
  TrainingRun(const Case &golden, const Environment &environment,
              const CaseMap &map)
      : golden(golden), environment(environment), map(map),
        package(environment.scratch + "/training.pgx"),
        folder(environment.scratch + "/run") {}
  rt::Status run(std::vector<Check> &checks);

private:
  rt::Status train();
  rt::Status readSteps();
  rt::Status compareSteps(std::vector<Check> &checks) const;
  rt::Status compareList(const char *key, const std::string &what,
                         const std::function<double(const rt::Json &)> &own,
                         double absolute, double relative,
                         std::vector<Check> &checks) const;
  rt::Status compareWeights(const char *recorded, const std::string &own,
                            const char *tolerance,
                            std::vector<Check> &checks) const;
  rt::Status validate(std::vector<Check> &checks) const;

  const Case &golden;
  const Environment &environment;
  const CaseMap &map;
  std::string package, folder, finalPhase;
  std::vector<rt::Json> steps; ///< metrics lines of stage "train"
};
} // namespace

rt::Status TrainingRun::train() {
  rt::StatusOr<ModelChoice> choice = map.applyForTraining(golden.spec);
  if (!choice)
    return choice.status();
  std::vector<std::string> command = {environment.tools + "/pgc",
                                      "compile",
                                      choice->modelPath,
                                      "--recipe",
                                      map.trainingMap()->recipePath,
                                      "-o",
                                      package};
  for (const std::string &item : choice->overrides)
    command.insert(command.end(), {"--set", item});
  if (rt::Status status =
          runProcess(command, environment.scratch + "/pgc.log");
      !status)
    return status;
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return runProcess({environment.tools + "/pgrun", "train", package, "--data",
                     golden.directory, "--weights",
                     golden.file("weights.safetensors"), "--run", folder,
                     "--set", "log.every=1", "-q"},
                    environment.scratch + "/train.log");
}

rt::Status TrainingRun::readSteps() {
  auto text = rt::readFile(folder + "/metrics.jsonl");
  auto lines = text ? rt::parseMetrics(*text)
                    : rt::StatusOr<std::vector<rt::Json>>(text.status());
  if (!lines)
    return lines.status();
  for (const rt::Json &line : *lines)
    if (line.value("stage", "") == "train")
      steps.push_back(line);
  return rt::Status::ok();
}

/// One check: the worst step of a recorded list. `relative` is in units of the
/// recorded value.
rt::Status TrainingRun::compareList(
    const char *key, const std::string &what,
    const std::function<double(const rt::Json &)> &own, double absolute,
    double relative, std::vector<Check> &checks) const {
  const rt::Json *list = &golden.spec;
  std::string path = key;
  for (size_t at = 0; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    auto found = list->find(path.substr(at, end - at));
    if (found == list->end())
      return rt::Status::ok();
    list = &*found;
    at = end + 1;
  }
  if (!list->is_array() || list->size() != steps.size())
    return {rt::Code::Invalid, path + " has " + std::to_string(list->size()) +
                                   " values, the run logged " +
                                   std::to_string(steps.size()) + " steps"};
  double worst = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    double expected = (*list)[i].is_number() ? (*list)[i].get<double>() : NAN;
    double error = std::fabs(own(steps[i]) - expected);
    if (relative > 0)
      error /= std::fabs(expected);
    if (!(error <= worst))
      worst = error;
  }
  checks.push_back({what, worst, relative > 0 ? relative : absolute});
  return rt::Status::ok();
}

rt::Status TrainingRun::compareSteps(std::vector<Check> &checks) const {
  auto number = [](const char *key) {
    return [key](const rt::Json &line) {
      auto found = line.find(key);
      return found != line.end() && found->is_number() ? found->get<double>()
                                                       : NAN;
    };
  };
  auto scalar = [](const std::string &name) {
    return [name](const rt::Json &line) {
      auto found = line.find("scalars");
      if (found == line.end() || !found->contains(name))
        return double(NAN);
      return (*found)[name].get<double>();
    };
  };
  auto losses = golden.spec.find("train_loss_float32");
  if (losses == golden.spec.end() || losses->size() != steps.size())
    return {rt::Code::Invalid, "the run logged " +
                                   std::to_string(steps.size()) + " steps"};
  double first = 0;
  for (size_t i = 0; i < std::min<size_t>(5, steps.size()); ++i)
    first = std::max(first, std::fabs(number("loss")(steps[i]) -
                                      (*losses)[i].get<double>()));
  checks.push_back({"loss of the first 5 steps", first,
                    golden.tolerance("loss_abs_first_5_steps")});

  struct List {
    std::string key, what;
    std::function<double(const rt::Json &)> own;
    double absolute, relative;
  };
  std::vector<List> lists = {
      {"train_loss_float32", "loss", number("loss"),
       golden.tolerance("loss_abs"), 0},
      // The gradient is a function of the weights: it is as far off as they.
      {"grad_norm_before_clip", "gradient norm", number("grad_norm"), 0,
       golden.tolerance("final_weight_rel_l2")},
      {"lr_multiplier_per_step", "learning rate multiplier",
       number("lr_multiplier"), kScheduleTolerance, 0},
      {"muon_momentum_per_step", "momentum",
       scalar(map.trainingMap()->momentum), kScheduleTolerance, 0}};
  auto rates = golden.spec.find("lr_per_step");
  if (rates != golden.spec.end())
    for (const auto &[name, values] : rates->items()) {
      auto group = map.trainingMap()->groups.find(name);
      if (group == map.trainingMap()->groups.end())
        return {rt::Code::Invalid, "the map names no group for lr_per_step." +
                                       name};
      lists.push_back({"lr_per_step/" + name, "learning rate of " + name,
                       scalar(group->second + ".lr"), kScheduleTolerance, 0});
    }
  for (const List &list : lists)
    if (rt::Status status =
            compareList(list.key.c_str(), list.what, list.own, list.absolute,
                        list.relative, checks);
        !status)
      return status;

  auto phases = golden.spec.find("loops_on_per_step");
  if (phases == golden.spec.end())
    return rt::Status::ok();
  double wrong = phases->size() == steps.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(steps.size(), phases->size()); ++i)
    wrong += steps[i].value("phase", "") != map.phaseOf((*phases)[i].dump());
  checks.push_back({"steps in another phase", wrong, 0});
  return rt::Status::ok();
}

rt::Status TrainingRun::compareWeights(const char *recorded,
                                       const std::string &own,
                                       const char *tolerance,
                                       std::vector<Check> &checks) const {
  if (!std::filesystem::exists(golden.file(recorded)))
    return rt::Status::ok();
  auto expected = rt::SafetensorsFile::read(golden.file(recorded));
  auto computed = rt::SafetensorsFile::read(own);
  if (!expected || !computed)
    return expected ? computed.status() : expected.status();
  for (const auto &[name, view] : expected->tensors()) {
    auto a = tensorOf(*computed, name), b = tensorOf(*expected, name);
    if (!a || !b)
      return a ? b.status() : a.status().with(own);
    checks.push_back({std::string(recorded) + " " + name, relativeL2(*a, *b),
                      golden.tolerance(tolerance)});
  }
  return rt::Status::ok();
}

/// The recorded validation: rows of an eighth of val_batch_tokens, incomplete
/// ones dropped, the byte table as the case describes it.
rt::Status TrainingRun::validate(std::vector<Check> &checks) const {
  auto recorded = golden.spec.find("val");
  auto parameters = golden.spec.find("hyperparameters");
  if (recorded == golden.spec.end() || !recorded->contains("loss"))
    return rt::Status::ok();
  int64_t row = parameters->value("val_batch_tokens", int64_t(0)) /
                golden.spec.value("grad_accumulation", int64_t(8));
  int64_t cap = parameters->value("eval_seq_len", int64_t(0));
  auto tokens = rt::readShard(golden.file("val.bin"), 0);
  if (!tokens)
    return tokens.status();
  if (row < 1 || cap < 1)
    return {rt::Code::Invalid, "val needs val_batch_tokens and eval_seq_len"};
  std::string output = environment.scratch + "/val.safetensors";
  if (rt::Status status = runProcess(
          {environment.tools + "/pgrun", "score", package, "--weights",
           folder + "/weights.safetensors", "--tokens",
           golden.file("val.bin"), "--row-length", std::to_string(row),
           "--bos-id", "1", "--max-segment", std::to_string(cap), "-o", output},
          environment.scratch + "/val.log");
      !status)
    return status;
  auto file = rt::SafetensorsFile::read(output);
  auto nll = file ? tensorOf(*file, "nll")
                  : rt::StatusOr<std::vector<double>>(file.status());
  if (!nll)
    return nll.status();
  size_t targets = (tokens->size() - 1) / size_t(row) * size_t(row);
  if (nll->size() < targets || targets == 0)
    return {rt::Code::Invalid, "val.bin holds no whole row"};

  // "every token 3 bytes, BOS 0; tokens 2,5,8,... carry a leading space".
  bool hasBytes = recorded->contains("bpb") &&
                  recorded->value("byte_table", "").rfind(
                      "every token 3 bytes, BOS 0; tokens 2,5,8,", 0) == 0;
  rt::PieceTable table;
  for (int64_t id = 0; id < golden.spec.value("vocab", int64_t(0)); ++id) {
    rt::Piece piece{id % 3 == 2 ? "\xe2\x96\x81"
                                  "abc"
                                : "abc",
                    id == 1 ? rt::Piece::Control : rt::Piece::Normal};
    table.pieces.push_back(piece);
  }
  rt::ByteCounts counts(table);
  double sum = 0, bytes = 0;
  for (size_t i = 0; i < targets; ++i) {
    sum += (*nll)[i];
    bytes += static_cast<double>(counts.bytes((*tokens)[i], (*tokens)[i + 1]));
  }
  checks.push_back({"validation loss",
                    std::fabs(sum / static_cast<double>(targets) -
                              (*recorded)["loss"].get<double>()),
                    golden.tolerance("loss_abs")});
  if (hasBytes)
    checks.push_back(
        {"validation bits per byte",
         std::fabs(sum / std::log(2.0) / bytes -
                   (*recorded)["bpb"].get<double>()),
         golden.tolerance("loss_abs")});
  return rt::Status::ok();
}

rt::Status TrainingRun::run(std::vector<Check> &checks) {
  if (rt::Status status = train(); !status)
    return status;
  if (rt::Status status = readSteps(); !status)
    return status;
  if (rt::Status status = compareSteps(checks); !status)
    return status;
  if (rt::Status status =
          compareWeights("final.safetensors", folder + "/weights.safetensors",
                         "final_weight_rel_l2", checks);
      !status)
    return status;
  if (rt::Status status =
          compareWeights("ema.safetensors", folder + "/ema.safetensors",
                         "ema_weight_rel_l2", checks);
      !status)
    return status;
  return validate(checks);
}

Outcome golden::runTrainingCase(const Case &golden,
                                const Environment &environment) {
  Outcome outcome;
  std::string path =
      environment.maps + "/" + golden.text("stack") + ".map.yaml";
  outcome.message =
      "runs of stack '" + golden.text("stack") + "' are not supported yet";
  if (!std::filesystem::exists(path))
    return outcome;
  rt::StatusOr<CaseMap> map = CaseMap::read(path);
  if (map && !map->trainingMap())
    return outcome;
  outcome.state = Outcome::State::Fail;
  if (!map) {
    outcome.message = map.status().message();
    return outcome;
  }
  rt::Status status =
      TrainingRun(golden, environment, *map).run(outcome.checks);
  outcome.message.clear();
  return outcome.judged(status);
}
