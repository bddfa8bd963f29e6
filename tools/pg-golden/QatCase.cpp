//===- QatCase.cpp - fake quantisation against recorded numbers -------------===//
//
// The map (qat.map.yaml) names a model with one linear map y = x W' whose
// gradients show y, dx and dW, the recipe with the quantisation group, and the
// quantiser module of each trace. For every trace:
//
//   1. pgc compiles the model with that module and the arguments of the case.
//   2. `accumulate` runs with the quantisation on; its gradients are compared.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/ApplyProgram.h"
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/MapFile.h"
#include "tools/pg-golden/Process.h"

#include "runtime/eval/Score.h"
#include "runtime/package/PackageJson.h"

#include <algorithm>
#include <filesystem>
#include <set>

using namespace pg;
using namespace pg::golden;
using frontend::SpecNode;

namespace {

class QatRun {
public:
  QatRun(const Case &golden, const Environment &environment, const MapFile &map)
      : golden(golden), environment(environment), map(map) {}

  rt::Status run(std::vector<Check> &checks);

private:
  rt::StatusOr<std::vector<std::string>> arguments() const;
  rt::Status trace(const std::string &name, const SpecNode &spec,
                   const std::vector<std::string> &arguments,
                   std::vector<Check> &checks);

  const Case &golden;
  const Environment &environment;
  const MapFile &map;
  rt::SafetensorsFile weights, io;
};

} // namespace

/// The case's arguments of the quantiser, as "name=value".
rt::StatusOr<std::vector<std::string>> QatRun::arguments() const {
  rt::StatusOr<std::vector<MapRule>> rules = map.rules("map");
  if (!rules)
    return rules.status();
  std::string problems;
  for (auto it = golden.spec.begin(); it != golden.spec.end(); ++it)
    if (std::none_of(rules->begin(), rules->end(), [&](const MapRule &rule) {
          return rule.from == it.key();
        }))
      problems += "; no rule for " + it.key();
  std::vector<std::string> found;
  for (const MapRule &rule : *rules)
    if (!rule.to.empty())
      if (auto value = translate(rule, lookUp(golden.spec, rule.from), problems))
        found.push_back(rule.to + "=" + *value);
  if (!problems.empty())
    return rt::Status(rt::Code::Invalid, "the map is incomplete" + problems);
  return found;
}

rt::Status QatRun::trace(const std::string &name, const SpecNode &spec,
                         const std::vector<std::string> &arguments,
                         std::vector<Check> &checks) {
  const rt::TensorView *weight = weights.find("weight"), *x = weights.find("x");
  if (!weight || !x || weight->shape.size() != 2 || x->shape.size() != 2)
    return {rt::Code::Invalid, "the case has no matrices 'weight' and 'x'"};
  int64_t tokens = x->shape[0];
  const std::string &folder = environment.scratch;
  std::string package = folder + "/" + name + ".pgx";
  if (rt::Status linked =
          linkModules(map.beside(MapFile::text(map.root(), "modules")), folder);
      !linked)
    return linked;
  for (const char *file : {"model", "recipe"})
    std::filesystem::copy_file(
        map.beside(MapFile::text(map.root(), file)),
        folder + "/" + file + ".yaml",
        std::filesystem::copy_options::overwrite_existing);
  std::string group = "qat.groups." + MapFile::text(map.root(), "group");
  std::vector<std::string> command = {
      environment.tools + "/pgc", "compile",  folder + "/model.yaml", "--recipe",
      folder + "/recipe.yaml",    "-o",       package};
  std::vector<std::string> sets = {
      "dims.N=" + std::to_string(tokens),
      "dims.I=" + std::to_string(weight->shape[1]),
      "dims.O=" + std::to_string(weight->shape[0]),
      "batch.micro_tokens=" + std::to_string(tokens),
      "batch.row_length=" + std::to_string(tokens),
      "eval.row_length=" + std::to_string(tokens),
      group + ".module=" + MapFile::text(spec, "module")};
  for (const std::string &argument : arguments)
    sets.push_back(group + ".args." + argument);
  if (std::string number = MapFile::text(spec, "number"); !number.empty())
    sets.push_back(group + ".args." + number + "=" +
                   name.substr(MapFile::text(spec, "prefix").size()));
  for (const std::string &set : sets)
    command.insert(command.end(), {"--set", set});
  if (rt::Status ran = runProcess(command, environment.scratch + "/pgc.log"); !ran)
    return ran;

  rt::StatusOr<rt::Package> read = rt::readPackage(package);
  if (!read)
    return read.status();
  auto executor = rt::Executor::create(std::move(*read), {});
  if (!executor)
    return executor.status();
  rt::Executor &loaded = **executor;
  const auto &parameters = loaded.package().parameters;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!weights.find(parameters[i].name)) {
      std::fill_n(static_cast<float *>(loaded.parameter(i)),
                  rt::elementCount(parameters[i].shape), 0.0f);
      continue;
    }
    auto values = tensorOf(weights, parameters[i].name);
    if (!values)
      return values.status();
    std::copy(values->begin(), values->end(),
              static_cast<float *>(loaded.parameter(i)));
  }
  auto entry = rt::findRole(loaded, "accumulate", "");
  if (!entry)
    return entry.status();
  loaded.zeroGradients();
  loaded.setScalar(*entry, "loss_scale", 2.0);
  if (!loaded.setScalar(*entry, "qat.on", 1.0))
    return {rt::Code::Invalid, "the program does not fake-quantise"};
  const auto &scalars = loaded.package().entries[size_t(*entry)].scalars;
  for (const std::string &scalar : scalars) {
    // "qat.<group>.<argument>": its value as compiled.
    std::string path = "qat.groups." + scalar.substr(scalar.find('.') + 1);
    size_t dot = path.rfind('.');
    path.insert(dot, ".args");
    auto value = loaded.package().recipe.find(path);
    if (value != loaded.package().recipe.end())
      loaded.setScalar(*entry, scalar, value->second.f);
  }
  rt::TokenRow row;
  row.tokens.assign(static_cast<size_t>(tokens), 0);
  row.targets.assign(static_cast<size_t>(tokens), 1);
  rt::BatchTables batch;
  batch.add(row);
  if (rt::Status ran = rt::runBatch(loaded, *entry, batch); !ran)
    return ran;

  const std::pair<const char *, const char *> kResults[] = {
      {"y", "grad.y_copy"}, {"dx", "grad.x"}, {"dweight", "grad.weight"}};
  const rt::Json *limit = lookUp(golden.spec, "tolerance.abs");
  double tolerance = limit && limit->is_number() ? limit->get<double>() : 0;
  for (const auto &[result, state] : kResults) {
    auto wanted = tensorOf(io, name + "." + result);
    if (!wanted)
      return wanted.status();
    const auto &states = loaded.package().states;
    for (size_t i = 0; i < states.size(); ++i)
      if (states[i].name == state) {
        const float *values = static_cast<const float *>(loaded.state(i));
        checks.push_back(
            {name + "." + result,
             maxAbsDifference(
                 {values, values + rt::elementCount(states[i].shape)}, *wanted),
             tolerance});
      }
  }
  return rt::Status::ok();
}

rt::Status QatRun::run(std::vector<Check> &checks) {
  auto weightFile = rt::SafetensorsFile::read(golden.file("weights.safetensors"));
  auto ioFile = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  for (auto *file : {&weightFile, &ioFile})
    if (!*file)
      return file->status();
  weights = std::move(*weightFile);
  io = std::move(*ioFile);
  auto values = arguments();
  if (!values)
    return values.status();
  std::set<std::string> names;
  for (const auto &[tensor, view] : io.tensors())
    names.insert(tensor.substr(0, tensor.rfind('.')));
  for (const std::string &name : names) {
    const SpecNode *best = nullptr; // the longest beginning that fits
    for (const SpecNode &spec : frontend::itemsOf(map.root().find("traces"))) {
      std::string prefix = MapFile::text(spec, "prefix");
      if (name.rfind(prefix, 0) == 0 &&
          (!best || prefix.size() > MapFile::text(*best, "prefix").size()))
        best = &spec;
    }
    if (!best)
      return {rt::Code::Invalid, "no trace of the map begins '" + name + "'"};
    if (rt::Status status = trace(name, *best, *values, checks); !status)
      return status.with("trace '" + name + "'");
  }
  return rt::Status::ok();
}

Outcome golden::runQatCase(const Case &golden, const Environment &environment) {
  Outcome outcome;
  rt::StatusOr<MapFile> map = MapFile::read(environment.maps + "/qat.map.yaml");
  rt::Status status =
      map ? QatRun(golden, environment, *map).run(outcome.checks) : map.status();
  return outcome.judged(status);
}
