//===- AdaptCase.cpp - adapters learning document by document --------------===//
//
// 1. pgc compiles the program `adapt` with the recipe of the stack's map.
// 2. pgrun scores the recorded stream from the recorded initial A of every
//    batch of documents, and leaves the adapters each batch ended with.
// 3. Compared: the score of every target, the mean loss, every recorded final
//    adapter; and once more with a learning rate of zero, the scores of the model
//    alone.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/CaseMap.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/Process.h"

#include <cmath>
#include <numeric>

using namespace pg;
using namespace pg::golden;

namespace {
class AdaptRun {
public:
  AdaptRun(const Case &golden, const Environment &environment,
           const CaseMap &map, std::vector<Check> &checks)
      : golden(golden), environment(environment), map(map), checks(checks),
        package(environment.scratch + "/model.pgx"),
        initial(environment.scratch + "/initial.safetensors") {}

  rt::Status run();

private:
  rt::Status compile();
  rt::Status writeInitial();
  rt::StatusOr<rt::SafetensorsFile> adapt(const std::string &name,
                                          std::vector<std::string> extra);
  rt::Status compareScores(const rt::SafetensorsFile &scores,
                           const std::string &suffix, const char *result);
  rt::Status compareAdapters();
  /// The recorded "<batch>.<stage>.<adapter>.<A|B>" as our state, "" when it is
  /// none of `stage`.
  std::string stateName(const std::string &recorded, const std::string &stage);

  const Case &golden;
  const Environment &environment;
  const CaseMap &map;
  std::vector<Check> &checks;
  std::string package, initial;
  ModelChoice choice;
};
} // namespace

rt::Status AdaptRun::compile() {
  rt::StatusOr<ModelChoice> applied = map.apply(golden.spec);
  if (!applied)
    return applied.status();
  choice = *applied;
  if (map.recipePath().empty())
    return {rt::Code::Invalid, "the map of this stack names no recipe"};
  // Two windows at a time, so that a group takes several runs.
  std::string window = choice.valueOf("recipe.adapt.window");
  if (window.empty())
    return {rt::Code::Invalid, "the map of this stack gives no window"};
  std::vector<std::string> command = {
      environment.tools + "/pgc", "compile", choice.modelPath, "--recipe",
      map.recipePath(), "--programs", "adapt", "--max-tokens",
      std::to_string(2 * std::stoll(window))};
  for (const std::string &item : choice.overrides)
    command.insert(command.end(), {"--set", item});
  command.insert(command.end(), {"-o", package});
  return runProcess(command, environment.scratch + "/pgc.log");
}

std::string AdaptRun::stateName(const std::string &recorded,
                                const std::string &stage) {
  // batchN.<stage>.<adapter>.<A|B>
  size_t dot = recorded.find('.');
  if (recorded.rfind("batch", 0) != 0 || dot == std::string::npos ||
      recorded.compare(dot + 1, stage.size() + 1, stage + ".") != 0 ||
      recorded.size() < dot + stage.size() + 4)
    return "";
  std::string batch = recorded.substr(5, dot - 5);
  std::string rest = recorded.substr(dot + stage.size() + 2);
  std::string part = rest.substr(rest.size() - 2);
  std::string adapter = rest.substr(0, rest.size() - 2);
  if (part != ".A" && part != ".B")
    return "";
  for (const auto &[site, pattern] : map.adapterNames()) {
    size_t hole = pattern.find("{}");
    std::string number = "0";
    if (hole == std::string::npos ? adapter != pattern
                                  : adapter.rfind(pattern.substr(0, hole), 0))
      continue;
    if (hole != std::string::npos)
      number = adapter.substr(hole);
    return "group" + batch + ".adapter." + site + "." + number +
           (part == ".A" ? ".a" : ".b");
  }
  return "";
}

rt::Status AdaptRun::writeInitial() {
  auto recorded = rt::SafetensorsFile::read(golden.file("lora.safetensors"));
  if (!recorded)
    return recorded.status();
  std::vector<rt::TensorToWrite> tensors;
  for (const auto &[name, view] : recorded->tensors())
    if (std::string state = stateName(name, "init"); !state.empty())
      tensors.push_back({state, view.dtype, view.shape, view.bytes});
  if (tensors.empty())
    return {rt::Code::Invalid, "lora.safetensors holds no initial adapter"};
  return rt::writeSafetensors(initial, std::move(tensors));
}

rt::StatusOr<rt::SafetensorsFile>
AdaptRun::adapt(const std::string &name, std::vector<std::string> extra) {
  std::string output = environment.scratch + "/" + name + ".safetensors";
  std::vector<std::string> command = {environment.tools + "/pgrun",
                                      "adapt",
                                      package,
                                      "--weights",
                                      golden.file("weights.safetensors"),
                                      "--tokens",
                                      golden.file("io.safetensors"),
                                      "--initial-adapters",
                                      initial,
                                      "-o",
                                      output};
  if (!choice.phase.empty())
    command.insert(command.end(), {"--phase", choice.phase});
  command.insert(command.end(), extra.begin(), extra.end());
  if (rt::Status ran =
          runProcess(command, environment.scratch + "/" + name + ".log");
      !ran)
    return ran;
  return rt::SafetensorsFile::read(output);
}

rt::Status AdaptRun::compareScores(const rt::SafetensorsFile &scores,
                                   const std::string &suffix,
                                   const char *result) {
  auto recorded = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  if (!recorded)
    return recorded.status();
  auto nll = tensorOf(scores, "nll");
  auto lengths = tensorOf(scores, "document_targets");
  if (!nll || !lengths)
    return nll ? lengths.status() : nll.status();
  size_t first = 0;
  for (size_t d = 0; d < lengths->size(); ++d) {
    std::string name = "doc" + std::to_string(d) + "." + suffix;
    auto wanted = tensorOf(*recorded, name);
    if (!wanted)
      return wanted.status();
    auto count = static_cast<size_t>((*lengths)[d]);
    std::vector<double> own(nll->begin() + static_cast<int64_t>(first),
                            nll->begin() + static_cast<int64_t>(first + count));
    first += count;
    checks.push_back({name, maxAbsDifference(own, *wanted),
                      golden.tolerance("nll_abs")});
  }
  if (recorded->find("doc" + std::to_string(lengths->size()) + "." + suffix))
    return {rt::Code::Invalid, "the case has more than the " +
                                   std::to_string(lengths->size()) +
                                   " documents that were found"};
  double mean = std::accumulate(nll->begin(), nll->end(), 0.0) /
                static_cast<double>(nll->size());
  auto total = golden.spec.find(result);
  if (total != golden.spec.end() && total->is_object() &&
      total->contains("val_loss"))
    checks.push_back(
        {std::string(result) + " loss",
         std::fabs(mean - (*total)["val_loss"].get<double>()),
         golden.tolerance("val_loss_abs")});
  return rt::Status::ok();
}

rt::Status AdaptRun::compareAdapters() {
  auto recorded = rt::SafetensorsFile::read(golden.file("lora.safetensors"));
  auto computed =
      rt::SafetensorsFile::read(environment.scratch + "/final.safetensors");
  if (!recorded || !computed)
    return recorded ? computed.status() : recorded.status();
  for (const auto &[name, view] : recorded->tensors()) {
    std::string state = stateName(name, "final");
    if (state.empty())
      continue;
    auto wanted = tensorOf(*recorded, name);
    auto own = tensorOf(*computed, state);
    if (!wanted || !own)
      return wanted ? own.status() : wanted.status();
    checks.push_back({name, relativeL2(*own, *wanted),
                      golden.tolerance("adapter_rel_l2")});
  }
  return rt::Status::ok();
}

rt::Status AdaptRun::run() {
  if (rt::Status status = compile(); !status)
    return status;
  if (rt::Status status = writeInitial(); !status)
    return status;
  auto scores =
      adapt("scores", {"--save-adapters",
                       environment.scratch + "/final.safetensors"});
  if (!scores)
    return scores.status();
  if (rt::Status status = compareScores(*scores, "nll_scored", "result");
      !status)
    return status;
  if (rt::Status status = compareAdapters(); !status)
    return status;
  auto alone = adapt("alone", {"--set", "adapt.optimizer.lr=0"});
  if (!alone)
    return alone.status();
  return compareScores(*alone, "nll_without_adaptation",
                       "result_without_adaptation");
}

static rt::Status runAdapt(const Case &golden, const Environment &environment,
                           const CaseMap &map, std::vector<Check> &checks) {
  return AdaptRun(golden, environment, map, checks).run();
}

Outcome golden::runAdaptCase(const Case &golden,
                             const Environment &environment) {
  auto phases = golden.spec.find("phases");
  if (phases != golden.spec.end() && !phases->empty()) {
    Outcome outcome;
    outcome.message = "updates of the model between batches not supported yet";
    return outcome;
  }
  return runWithMap(golden, environment, runAdapt);
}
