//===- OptimizerCase.cpp - optimizer steps against recorded ones ------------===//
//
// The map of the optimizer (optimizer.<name>.map.yaml) says which module it is,
// what its arguments are called in case.json, and which traces io holds:
//
//   module: adamw
//   modules: ../../models                     # the folder with optim/
//   map:
//     - {from: group.wd, to: wd}              # of the tensor's group
//     - {from: lr_multiplier_per_step, to: lr_multiplier, per_step: true}
//   traces:
//     - {prefix: "", weights: weight_abs, states: moment_rel}
//
// 1. A model whose parameters are the recorded tensors and a recipe that updates
//    them are written and compiled: once per trace, for traces differ in static
//    arguments.
// 2. The recorded gradients go into the gradient states, `apply` runs, step by
//    step, and every recorded tensor is compared.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/ApplyProgram.h"
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/MapFile.h"

#include "runtime/exec/Gradients.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

using namespace pg;
using namespace pg::golden;
using frontend::SpecNode;

namespace {

/// One family of recorded tensors: `<prefix>step<k>.<tensor>`, or with `result`
/// `<prefix><result>.<tensor>`, what one step from zeros leaves.
struct Trace {
  std::string prefix, result;
  std::map<std::string, std::string> args; ///< besides those of the rules
  std::string weights, states, update;     ///< keys of tolerances
};

class OptimizerRun {
public:
  OptimizerRun(const Case &golden, const Environment &environment,
               const MapFile &map)
      : golden(golden), environment(environment), map(map) {}

  rt::Status run(std::vector<Check> &checks);

private:
  rt::Status readCase();
  /// Adds every key without a rule to `problems`.
  void see(const rt::Json &object, const std::string &path,
           std::string &problems) const;
  rt::Status clip(const SpecNode &section, std::vector<Check> &checks);
  rt::StatusOr<std::vector<ApplyGroup>> groupsFor(const Trace &trace) const;
  rt::Status replay(const Trace &trace, std::vector<Check> &checks);
  rt::Status steps(const Trace &trace, ApplyProgram &program,
                   const std::string &prefix, bool comparesStates,
                   std::vector<Check> &checks);
  rt::Status single(const Trace &trace, ApplyProgram &program,
                    std::vector<Check> &checks);
  /// The value of a rule's scalar in a step, from 1; NaN when the case has none.
  double scalarAt(const std::string &to, size_t group, int64_t step,
                  double fallback) const;
  void setScalars(const Trace &trace, ApplyProgram &program, int64_t step) const;
  void compare(const std::string &what, const std::vector<double> &own,
               const std::string &expected, const std::string &tolerance,
               bool isRelative, std::vector<Check> &checks);
  double tolerance(const std::string &key) const;
  const rt::Json *valueOf(const std::string &path, size_t group) const;

  const Case &golden;
  const Environment &environment;
  const MapFile &map;
  std::vector<MapRule> rules;
  rt::SafetensorsFile weights, gradients, io;
  std::vector<std::vector<std::string>> tensorsOf; ///< per group of the case
  std::set<std::string> compared;
  int64_t stepCount = 0;
};

} // namespace

double OptimizerRun::tolerance(const std::string &key) const {
  const rt::Json *value = lookUp(golden.spec, "tolerance." + key);
  return value && value->is_number() ? value->get<double>() : 0;
}

const rt::Json *OptimizerRun::valueOf(const std::string &path,
                                      size_t group) const {
  if (path.rfind("group.", 0) != 0)
    return lookUp(golden.spec, path);
  const rt::Json *groups = lookUp(golden.spec, "groups");
  if (!groups || !groups->is_array() || group >= groups->size())
    return nullptr;
  return lookUp((*groups)[group], path.substr(6));
}

void OptimizerRun::see(const rt::Json &object, const std::string &path,
                       std::string &problems) const {
  for (auto it = object.begin(); it != object.end(); ++it) {
    std::string key = path + it.key();
    bool isWhole = false, isInside = false;
    for (const MapRule &rule : rules) {
      isWhole |= rule.from == key;
      isInside |= rule.from.rfind(key + ".", 0) == 0;
    }
    if (isWhole)
      continue;
    if (isInside && it.value().is_object())
      see(it.value(), key + ".", problems);
    else if (!isInside)
      problems += "; no rule for " + key + " = " + it.value().dump();
  }
}

rt::Status OptimizerRun::readCase() {
  auto weightFile = rt::SafetensorsFile::read(
      golden.file(std::filesystem::exists(golden.file("weights.safetensors"))
                      ? "weights.safetensors"
                      : "grads.safetensors"));
  auto gradientFile =
      rt::SafetensorsFile::read(golden.file("grads.safetensors"));
  auto ioFile = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  for (auto *file : {&weightFile, &gradientFile, &ioFile})
    if (!*file)
      return file->status();
  weights = std::move(*weightFile);
  gradients = std::move(*gradientFile);
  io = std::move(*ioFile);
  rt::StatusOr<std::vector<MapRule>> found = map.rules("map");
  if (!found)
    return found.status();
  rules = *found;

  const rt::Json *groups = lookUp(golden.spec, "groups");
  std::set<std::string> placed;
  if (groups && groups->is_array())
    for (const rt::Json &group : *groups) {
      tensorsOf.emplace_back();
      if (const rt::Json *tensors = lookUp(group, "tensors"))
        for (auto it = tensors->begin(); it != tensors->end(); ++it) {
          tensorsOf.back().push_back(it.key());
          placed.insert(it.key());
        }
    }
  std::vector<std::string> rest;
  for (const auto &[name, view] : weights.tensors())
    if (!placed.count(name))
      rest.push_back(name);
  if (!rest.empty())
    tensorsOf.push_back(rest);
  for (const auto &[name, view] : gradients.tensors())
    if (name.rfind("step", 0) == 0)
      stepCount = std::max<int64_t>(stepCount, std::atoll(name.c_str() + 4));

  // Nothing of the case may go unseen.
  std::string problems;
  see(golden.spec, "", problems);
  if (groups && groups->is_array())
    for (const rt::Json &group : *groups)
      see(group, "group.", problems);
  if (!problems.empty())
    return {rt::Code::Invalid, "the map is incomplete" + problems};
  return rt::Status::ok();
}

rt::StatusOr<std::vector<ApplyGroup>>
OptimizerRun::groupsFor(const Trace &trace) const {
  std::string problems;
  std::vector<ApplyGroup> groups;
  for (size_t g = 0; g < tensorsOf.size(); ++g) {
    ApplyGroup group{"g" + std::to_string(g),
                     MapFile::text(map.root(), "module"),
                     {},
                     {}};
    for (const std::string &name : tensorsOf[g]) {
      const rt::TensorView *view = weights.find(name);
      if (!view)
        return rt::Status(rt::Code::Invalid, "no weights of '" + name + "'");
      group.tensors.push_back({name, view->shape});
    }
    for (const MapRule &rule : rules) {
      bool isRate = rule.to == "lr" || rule.to == "lr_multiplier";
      if (rule.to.empty() || rule.perStep || isRate ||
          (!rule.only.empty() && rule.only != trace.prefix))
        continue;
      if (auto value = translate(rule, valueOf(rule.from, g), problems))
        group.args[rule.to] = *value;
    }
    for (const auto &[name, value] : trace.args)
      group.args[name] = value;
    groups.push_back(std::move(group));
  }
  if (!problems.empty())
    return rt::Status(rt::Code::Invalid, "the map is incomplete" + problems);
  return groups;
}

double OptimizerRun::scalarAt(const std::string &to, size_t group, int64_t step,
                              double fallback) const {
  for (const MapRule &rule : rules) {
    if (rule.to != to)
      continue;
    const rt::Json *value = valueOf(rule.from, group);
    if (value && rule.perStep && value->is_array() &&
        static_cast<size_t>(step) <= value->size())
      value = &(*value)[static_cast<size_t>(step - 1)];
    if (value && value->is_number())
      return value->get<double>();
  }
  return fallback;
}

void OptimizerRun::setScalars(const Trace &trace, ApplyProgram &program,
                              int64_t step) const {
  program.setScalar("step", static_cast<double>(step));
  for (size_t g = 0; g < tensorsOf.size(); ++g) {
    std::string group = "g" + std::to_string(g);
    double rate = scalarAt("lr", g, step, NAN) *
                  scalarAt("lr_multiplier", g, step, 1.0);
    // From zeros with rate -1 a step leaves its bare update.
    program.setScalar(group + ".lr", trace.result.empty() ? rate : -1.0);
    for (const MapRule &rule : rules)
      if (rule.perStep && rule.to != "lr" && rule.to != "lr_multiplier" &&
          !trace.args.count(rule.to))
        program.setScalar(group + "." + rule.to,
                          scalarAt(rule.to, g, step, NAN));
  }
}

void OptimizerRun::compare(const std::string &what,
                           const std::vector<double> &own,
                           const std::string &expected, const std::string &key,
                           bool isRelative, std::vector<Check> &checks) {
  auto wanted = tensorOf(io, expected);
  compared.insert(expected);
  double error = !wanted      ? NAN
                 : isRelative ? relativeL2(own, *wanted)
                              : maxAbsDifference(own, *wanted);
  checks.push_back({what + expected, error, tolerance(key)});
}

rt::Status OptimizerRun::steps(const Trace &trace, ApplyProgram &program,
                               const std::string &prefix, bool comparesStates,
                               std::vector<Check> &checks) {
  bool isAverage = prefix != trace.prefix;
  for (const auto &[name, view] : weights.tensors()) {
    auto values = tensorOf(weights, name);
    if (!values)
      return values.status();
    program.setParameter(name, *values);
  }
  program.reset();
  for (int64_t step = 1; step <= stepCount; ++step) {
    std::string at = "step" + std::to_string(step) + ".";
    std::map<std::string, std::vector<double>> before;
    for (const auto &[name, view] : weights.tensors()) {
      auto gradient = tensorOf(gradients, at + name);
      if (!gradient)
        return gradient.status().with("gradients");
      program.setGradient(name, *gradient);
      before[name] = program.parameter(name);
    }
    setScalars(trace, program, step);
    if (rt::Status status = program.apply(); !status)
      return status;
    for (const auto &[name, view] : weights.tensors()) {
      std::string expected = prefix + at + name;
      if (isAverage || trace.update.empty()) {
        compare("", isAverage ? program.state("ema." + name)
                              : program.parameter(name),
                expected, trace.weights, false, checks);
        continue;
      }
      // Relative to how far the weight has moved since the start.
      auto start = tensorOf(weights, name), wanted = tensorOf(io, expected);
      compared.insert(expected);
      if (!start || !wanted)
        return wanted ? start.status() : wanted.status();
      std::vector<double> moved = program.parameter(name);
      for (size_t i = 0; i < moved.size(); ++i) {
        moved[i] -= (*start)[i];
        (*wanted)[i] -= (*start)[i];
      }
      checks.push_back({"update " + expected, relativeL2(moved, *wanted),
                        tolerance(trace.update)});
    }
  }
  if (comparesStates)
    for (const auto &[name, view] : io.tensors()) {
      const std::string last = "state_after_last.";
      if (name.rfind(last, 0) != 0)
        continue;
      compare("", program.state(MapFile::text(map.root(), "module") + "_" +
                                name.substr(last.size())),
              name, trace.states, true, checks);
    }
  return rt::Status::ok();
}

rt::Status OptimizerRun::single(const Trace &trace, ApplyProgram &program,
                                std::vector<Check> &checks) {
  for (const auto &[name, view] : weights.tensors()) {
    auto gradient = tensorOf(gradients, "step1." + name);
    if (!gradient)
      return gradient.status().with("gradients");
    program.setParameter(name, std::vector<double>(gradient->size(), 0.0));
    program.setGradient(name, *gradient);
  }
  program.reset();
  for (const auto &[name, view] : weights.tensors())
    program.setGradient(name, *tensorOf(gradients, "step1." + name));
  setScalars(trace, program, 1);
  if (rt::Status status = program.apply(); !status)
    return status;
  for (const auto &[name, view] : weights.tensors())
    compare("", program.parameter(name),
            trace.prefix + trace.result + "." + name,
            trace.weights.empty() ? trace.update : trace.weights,
            trace.weights.empty(), checks);
  return rt::Status::ok();
}

rt::Status OptimizerRun::replay(const Trace &trace,
                                std::vector<Check> &checks) {
  // Averages of several decays: one program, the decay a run-time scalar.
  std::set<std::string> averages;
  for (const auto &[name, view] : io.tensors())
    if (trace.result.empty() && name.rfind(trace.prefix + "ema", 0) == 0)
      averages.insert(name.substr(0, name.find(".step") + 1));
  rt::StatusOr<std::vector<ApplyGroup>> groups = groupsFor(trace);
  if (!groups)
    return groups.status();
  rt::StatusOr<ApplyProgram> program = ApplyProgram::compile(
      *groups, !averages.empty(), map.beside(MapFile::text(map.root(), "modules")),
      environment);
  if (!program)
    return program.status();
  if (!trace.result.empty())
    return single(trace, *program, checks);
  if (rt::Status status =
          steps(trace, *program, trace.prefix, !trace.states.empty(), checks);
      !status)
    return status;
  for (const std::string &prefix : averages) {
    program->setScalar("ema.decay",
                       std::atof(prefix.c_str() + trace.prefix.size() + 3));
    if (rt::Status status = steps(trace, *program, prefix, false, checks);
        !status)
      return status;
  }
  return rt::Status::ok();
}

/// Norm and clipping of gradients as the trainer does them.
rt::Status OptimizerRun::clip(const SpecNode &section,
                              std::vector<Check> &checks) {
  ApplyGroup group{"g0", "sgd", {}, {}};
  for (const auto &[name, view] : gradients.tensors())
    group.tensors.push_back({name, view.shape});
  rt::StatusOr<ApplyProgram> program =
      ApplyProgram::compile({group}, false, map.beside(MapFile::text(map.root(), "modules")),
                            environment);
  if (!program)
    return program.status();
  const rt::Json *limit = lookUp(golden.spec, MapFile::text(section, "limit"));
  const rt::Json *inputs = lookUp(golden.spec, MapFile::text(section, "inputs"));
  if (!limit || !limit->is_number() || !inputs || !inputs->is_object())
    return {rt::Code::Invalid, "the case has no limit or no inputs"};
  for (auto it = inputs->begin(); it != inputs->end(); ++it) {
    for (const auto &[name, view] : gradients.tensors()) {
      auto values = tensorOf(gradients, name);
      if (!values)
        return values.status();
      for (double &value : *values)
        value *= it.value().get<double>();
      program->setGradient(name, *values);
    }
    rt::Gradients joint(program->executor());
    auto norm = joint.norm();
    if (!norm)
      return norm.status();
    double total = *norm;
    joint.scale(rt::Gradients::clipFactor(total, limit->get<double>()));
    const rt::Json *wanted =
        lookUp(golden.spec, MapFile::text(section, "norms") + "." + it.key());
    if (wanted && wanted->is_number()) // recorded from single precision
      checks.push_back({"norm " + it.key(),
                        std::fabs(total / wanted->get<double>() - 1), 1e-6});
    for (const auto &[name, view] : gradients.tensors())
      compare("", program->gradient(name), it.key() + "." + name,
              MapFile::text(section, "tolerance"), false, checks);
  }
  return rt::Status::ok();
}

rt::Status OptimizerRun::run(std::vector<Check> &checks) {
  if (rt::Status status = readCase(); !status)
    return status;
  if (const SpecNode *section = map.root().find("clip"))
    if (rt::Status status = clip(*section, checks); !status)
      return status;
  for (const SpecNode &node : frontend::itemsOf(map.root().find("traces"))) {
    Trace trace{MapFile::text(node, "prefix"),  MapFile::text(node, "result"),
                {},                             MapFile::text(node, "weights"),
                MapFile::text(node, "states"),  MapFile::text(node, "update")};
    for (const frontend::SpecEntry &entry :
         frontend::entriesOf(node.find("args")))
      trace.args[entry.key] = entry.value.text;
    std::string first = trace.prefix + (trace.result.empty() ? "step1" : trace.result);
    bool isRecorded = std::any_of(
        io.tensors().begin(), io.tensors().end(), [&](const auto &tensor) {
          return tensor.first.rfind(first + ".", 0) == 0;
        });
    if (!isRecorded)
      continue;
    if (rt::Status status = replay(trace, checks); !status)
      return status;
  }
  for (const auto &[name, view] : io.tensors())
    if (!compared.count(name))
      return {rt::Code::Invalid, "nothing computes '" + name + "' of io"};
  return rt::Status::ok();
}

Outcome golden::runOptimizerCase(const Case &golden,
                                 const Environment &environment) {
  Outcome outcome;
  std::string path = environment.maps + "/optimizer." +
                     golden.text("optimizer") + ".map.yaml";
  if (!std::filesystem::exists(path)) {
    outcome.message =
        "optimizer '" + golden.text("optimizer") + "' not supported yet";
    return outcome;
  }
  rt::StatusOr<MapFile> map = MapFile::read(path);
  rt::Status status = map ? OptimizerRun(golden, environment, *map).run(outcome.checks)
                          : map.status();
  return outcome.judged(status);
}
