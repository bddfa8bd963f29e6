//===- ModelCase.cpp - a whole model against recorded numbers
//--------------===//
//
// 1. The map of the stack turns hyper-parameters into overrides; pgc compiles.
// 2. pgrun scores the recorded tokens with the recorded weights: negative
//    log-likelihood per token, the recorded rows of logits, the mean loss.
// 3. pgrun writes the gradient of the mean loss for every parameter.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/CaseMap.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/Process.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>

using namespace pg;
using namespace pg::golden;

namespace {
/// One recorded row of logits.
struct LogitRow {
  std::string name;
  std::string place; ///< "row:token"
};

/// Unit roundoff of bf16 over that of f32.
constexpr double kRoundoffRatio = 32768;

/// Tolerances under a policy that rounds more than the case's own program.
struct NarrowTolerance {
  double nllMean, gradientMean;
  std::map<std::string, double> byKey;
};

class ModelRun {
public:
  ModelRun(const Case &golden, const Environment &environment)
      : golden(golden), environment(environment),
        package(environment.scratch + "/model.pgx"),
        scores(environment.scratch + "/scores.safetensors"),
        gradients(environment.scratch + "/gradients.safetensors") {}

  rt::Status run(const CaseMap &map, std::vector<Check> &checks);

private:
  rt::Status compile(const CaseMap &map);
  rt::Status score(std::vector<Check> &checks);
  rt::Status differentiate(std::vector<Check> &checks);
  rt::StatusOr<std::vector<LogitRow>> logitRows() const;
  /// pgrun VERB with what both verbs share.
  std::vector<std::string> pgrun(const char *verb,
                                 const std::string &output) const;
  double tolerance(const char *key) const;
  rt::StatusOr<NarrowTolerance> narrowTolerance() const;

  const Case &golden;
  const Environment &environment;
  std::string package, scores, gradients, phase;
  std::optional<NarrowTolerance> narrow; ///< under bf16
};
} // namespace

/// For each number twice what roundings of that size did to the recorded
/// programs: the bf16 program differs from the f32 one in nll; for gradients,
/// which are on record in f32 alone, the worst tensor's f32 error times the ratio
/// of the roundoffs. Means average roundings out.
rt::StatusOr<NarrowTolerance> ModelRun::narrowTolerance() const {
  auto measured = golden.spec.find("measured");
  const rt::Json *guide = nullptr;
  if (measured != golden.spec.end() && measured->is_object())
    if (auto found = measured->find("bfloat16_model"); found != measured->end())
      guide = &*found;
  auto number = [](const rt::Json &from, const char *key) {
    auto found = from.find(key);
    return found != from.end() && found->is_number() ? found->get<double>() : 0;
  };
  if (!guide || !guide->is_object())
    return rt::Status(rt::Code::Invalid,
                      "the case has no measured.bfloat16_model to judge bf16 by");
  double mean = number(*guide, "mean_abs_nll_difference");
  double largest = number(*guide, "max_abs_nll_difference");
  double gradient = kRoundoffRatio *
                    number(*measured, "worst_grad_rel_l2_float32_vs_float64");
  return NarrowTolerance{2 * mean,
                         gradient / 2,
                         {{"nll_abs", 2 * largest},
                          {"logits_abs", 2 * largest},
                          {"loss_abs", mean},
                          {"grad_rel_l2_per_tensor", 2 * gradient}}};
}

/// A missing tolerance compares as exact, so that nothing passes unseen.
double ModelRun::tolerance(const char *key) const {
  if (narrow)
    return narrow->byKey.at(key);
  return golden.tolerance(key);
}

rt::Status ModelRun::compile(const CaseMap &map) {
  rt::StatusOr<ModelChoice> choice = map.apply(golden.spec);
  if (!choice)
    return choice.status();
  phase = choice->phase;
  std::vector<std::string> command = {environment.tools + "/pgc", "compile",
                                      choice->modelPath};
  for (const std::string &item : choice->overrides) {
    command.push_back("--set");
    command.push_back(item);
  }
  command.insert(command.end(), environment.compileFlags.begin(),
                 environment.compileFlags.end());
  command.insert(command.end(), {"--precision", environment.precision, "-o", package});
  return runProcess(command, environment.scratch + "/pgc.log");
}

std::vector<std::string> ModelRun::pgrun(const char *verb,
                                         const std::string &output) const {
  std::vector<std::string> command = {environment.tools + "/pgrun",
                                      verb,
                                      package,
                                      "--weights",
                                      golden.file("weights.safetensors"),
                                      "--tokens",
                                      golden.file("io.safetensors"),
                                      "-o",
                                      output};
  if (!phase.empty())
    command.insert(command.end(), {"--phase", phase});
  command.insert(command.end(), environment.runFlags.begin(),
                 environment.runFlags.end());
  return command;
}

/// Recorded as [row of the batch, token of the row] under the tensor's name.
rt::StatusOr<std::vector<LogitRow>> ModelRun::logitRows() const {
  std::vector<LogitRow> rows;
  auto recorded = golden.spec.find("logit_rows");
  if (recorded == golden.spec.end())
    return rows;
  for (auto it = recorded->begin(); it != recorded->end(); ++it) {
    const rt::Json &place = it.value();
    if (!place.is_array() || place.size() != 2 ||
        !place[0].is_number_integer() || !place[1].is_number_integer())
      return rt::Status(rt::Code::Invalid,
                        "logit_rows." + it.key() + " is not [row, token]");
    rows.push_back({it.key(), place[0].dump() + ":" + place[1].dump()});
  }
  return rows;
}

rt::Status ModelRun::score(std::vector<Check> &checks) {
  rt::StatusOr<std::vector<LogitRow>> rows = logitRows();
  if (!rows)
    return rows.status();
  std::vector<std::string> command = pgrun("score", scores);
  std::string wanted;
  for (const LogitRow &row : *rows)
    wanted += (wanted.empty() ? "" : ",") + row.place;
  if (!wanted.empty())
    command.insert(command.end(), {"--logits-rows", wanted});
  rt::Status ran = runProcess(command, environment.scratch + "/score.log");
  if (!ran)
    return ran;

  auto expected = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  auto computed = rt::SafetensorsFile::read(scores);
  if (!expected || !computed)
    return expected ? computed.status() : expected.status();
  auto wantedNll = tensorOf(*expected, "nll");
  auto nll = tensorOf(*computed, "nll");
  if (!wantedNll || !nll)
    return wantedNll ? nll.status().with("scores") : wantedNll.status();
  checks.push_back(
      {"nll", maxAbsDifference(*nll, *wantedNll), tolerance("nll_abs")});
  if (narrow)
    checks.push_back({"nll on average", meanAbsDifference(*nll, *wantedNll),
                      narrow->nllMean});
  double mean = std::accumulate(nll->begin(), nll->end(), 0.0) /
                static_cast<double>(nll->size());
  auto loss = golden.spec.find("loss_mean");
  if (loss != golden.spec.end() && loss->is_number())
    checks.push_back(
        {"loss", std::fabs(mean - loss->get<double>()), tolerance("loss_abs")});

  if (rows->empty())
    return rt::Status::ok();
  auto logits = tensorOf(*computed, "logits");
  if (!logits)
    return logits.status().with("scores");
  size_t width = logits->size() / rows->size();
  for (size_t i = 0; i < rows->size(); ++i) {
    auto row = tensorOf(*expected, (*rows)[i].name);
    if (!row)
      return row.status();
    std::vector<double> own(logits->begin() + i * width,
                            logits->begin() + (i + 1) * width);
    checks.push_back({"logits " + (*rows)[i].name, maxAbsDifference(own, *row),
                      tolerance("logits_abs")});
  }
  return rt::Status::ok();
}

rt::Status ModelRun::differentiate(std::vector<Check> &checks) {
  rt::Status ran =
      runProcess(pgrun("grad", gradients), environment.scratch + "/grad.log");
  if (!ran)
    return ran;
  auto expected = rt::SafetensorsFile::read(golden.file("grads.safetensors"));
  auto computed = rt::SafetensorsFile::read(gradients);
  if (!expected || !computed)
    return expected ? computed.status() : expected.status();

  double parameters = 0;
  for (const auto &[name, view] : computed->tensors()) {
    parameters += static_cast<double>(view.count());
    if (!expected->find(name))
      return {rt::Code::Invalid,
              "a gradient of '" + name + "' is not expected"};
  }
  auto count = golden.spec.find("parameters");
  if (count != golden.spec.end() && count->is_number())
    checks.push_back(
        {"parameters", std::fabs(parameters - count->get<double>()), 0});

  double gradientErrors = 0;
  int compared = 0;
  std::vector<std::string> zeros;
  auto listed = golden.spec.find("zero_grad_tensors");
  if (listed != golden.spec.end() && listed->is_array())
    for (const rt::Json &name : *listed)
      if (name.is_string())
        zeros.push_back(name.get<std::string>());
  for (const auto &[name, view] : expected->tensors()) {
    auto own = tensorOf(*computed, name), wanted = tensorOf(*expected, name);
    if (!own || !wanted)
      return own ? wanted.status() : own.status().with("gradients");
    bool isZero = std::find(zeros.begin(), zeros.end(), name) != zeros.end();
    if (isZero)
      checks.push_back(
          {"zero gradient " + name,
           maxAbsDifference(*own, std::vector<double>(own->size(), 0.0)), 0});
    else
      checks.push_back({"gradient " + name, relativeL2(*own, *wanted),
                        tolerance("grad_rel_l2_per_tensor")});
    if (!isZero) {
      gradientErrors += checks.back().error;
      ++compared;
    }
  }
  if (narrow && compared > 0)
    checks.push_back({"gradients on average", gradientErrors / compared,
                      narrow->gradientMean});
  return rt::Status::ok();
}

rt::Status ModelRun::run(const CaseMap &map, std::vector<Check> &checks) {
  if (environment.precision == "bf16") {
    rt::StatusOr<NarrowTolerance> known = narrowTolerance();
    if (!known)
      return known.status();
    narrow = *known;
  }
  if (rt::Status status = compile(map); !status)
    return status;
  if (rt::Status status = score(checks); !status)
    return status;
  return differentiate(checks);
}

static rt::Status runModel(const Case &golden, const Environment &environment,
                           const CaseMap &map, std::vector<Check> &checks) {
  return ModelRun(golden, environment).run(map, checks);
}

Outcome golden::runModelCase(const Case &golden,
                             const Environment &environment) {
  return runWithMap(golden, environment, runModel);
}
