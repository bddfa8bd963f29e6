//===- CaseMap.cpp - hyper-parameters of a stack to model overrides
//--------===//
#include "tools/pg-golden/CaseMap.h"

#include <algorithm>

using namespace pg;
using namespace pg::golden;
using frontend::SpecEntry;
using frontend::SpecNode;

static rt::StatusOr<TrainingMap> readTraining(const MapFile &file,
                                              const SpecNode &node) {
  TrainingMap map;
  map.recipePath = file.beside(MapFile::text(node, "recipe"));
  for (const SpecNode &item : frontend::itemsOf(node.find("set")))
    map.settings.push_back(item.text);
  for (const SpecEntry &entry : frontend::entriesOf(node.find("groups")))
    map.groups[entry.key] = entry.value.text;
  map.momentum = MapFile::text(node, "momentum");
  for (const SpecNode &item : frontend::itemsOf(node.find("map"))) {
    rt::StatusOr<MapRule> rule = readRule(item);
    if (!rule)
      return rule.status();
    map.rules.push_back(*rule);
  }
  return map;
}

rt::StatusOr<CaseMap> CaseMap::read(const std::string &path) {
  rt::StatusOr<MapFile> file = MapFile::read(path);
  if (!file)
    return file.status();
  CaseMap map;
  map.model = file->beside(MapFile::text(file->root(), "model"));
  if (file->root().find("recipe"))
    map.recipe = file->beside(MapFile::text(file->root(), "recipe"));
  for (const frontend::SpecEntry &entry :
       frontend::entriesOf(file->root().find("adapters")))
    map.adapters[entry.key] = entry.value.text;
  for (const SpecNode &section : frontend::itemsOf(file->root().find("complete")))
    map.complete.push_back(section.text);
  rt::StatusOr<std::vector<MapRule>> rules = file->rules("map");
  if (!rules)
    return rules.status();
  map.rules = *rules;
  if (const SpecNode *phase = file->root().find("phase")) {
    rt::StatusOr<MapRule> rule = readRule(*phase, "phase");
    if (!rule)
      return rule.status();
    map.phase = *rule;
  }
  if (const SpecNode *node = file->root().find("training")) {
    rt::StatusOr<TrainingMap> training = readTraining(*file, *node);
    if (!training)
      return training.status();
    map.training = *training;
  }
  return map;
}

std::string ModelChoice::valueOf(const std::string &path) const {
  std::string value;
  for (const std::string &item : overrides)
    if (item.rfind(path + "=", 0) == 0)
      value = item.substr(path.size() + 1);
  return value;
}

rt::StatusOr<ModelChoice> CaseMap::apply(const rt::Json &spec) const {
  return applyRules(spec, rules);
}

rt::StatusOr<ModelChoice>
CaseMap::applyForTraining(const rt::Json &spec) const {
  std::vector<MapRule> all = training->rules;
  for (const MapRule &rule : rules)
    if (std::none_of(training->rules.begin(), training->rules.end(),
                     [&](const MapRule &own) { return own.from == rule.from; }))
      all.push_back(rule);
  rt::StatusOr<ModelChoice> choice = applyRules(spec, all);
  if (choice)
    choice->overrides.insert(choice->overrides.end(),
                             training->settings.begin(),
                             training->settings.end());
  return choice;
}

std::string CaseMap::phaseOf(const std::string &value) const {
  if (!phase)
    return "";
  auto found = phase->values.find(value);
  return found == phase->values.end() ? "" : found->second;
}

/// The recorded value, divided when the rule says so; null when there is none.
static std::optional<rt::Json> valueOf(const MapRule &rule,
                                       const rt::Json &spec,
                                       std::string &problems) {
  const rt::Json *value = lookUp(spec, rule.from);
  if (!value)
    return std::nullopt;
  if (rule.over.empty())
    return *value;
  const rt::Json *divisor = lookUp(spec, rule.over);
  bool isWhole = divisor && divisor->is_number_integer() &&
                 value->is_number_integer() && divisor->get<int64_t>() > 0 &&
                 value->get<int64_t>() % divisor->get<int64_t>() == 0;
  if (isWhole)
    return rt::Json(value->get<int64_t>() / divisor->get<int64_t>());
  problems += "; " + rule.from + " = " + value->dump() +
              " is no multiple of " + rule.over;
  return std::nullopt;
}

rt::StatusOr<ModelChoice>
CaseMap::applyRules(const rt::Json &spec,
                    const std::vector<MapRule> &all) const {
  ModelChoice choice{model, {}, ""};
  std::string problems;
  for (const std::string &section : complete) {
    const rt::Json *keys = lookUp(spec, section);
    if (!keys || !keys->is_object())
      continue;
    for (auto it = keys->begin(); it != keys->end(); ++it) {
      std::string path = section + "." + it.key();
      bool isMapped =
          std::any_of(all.begin(), all.end(),
                      [&](const MapRule &rule) { return rule.from == path; });
      if (!isMapped)
        problems += "; no rule for " + path + " = " + it.value().dump();
    }
  }
  for (const MapRule &rule : all) {
    if (rule.to.empty())
      continue;
    std::optional<rt::Json> value = valueOf(rule, spec, problems);
    if (auto text = translate(rule, value ? &*value : nullptr, problems))
      choice.overrides.push_back(rule.to + "=" + *text);
  }
  if (phase) {
    const rt::Json *value = lookUp(spec, phase->from);
    if (!value && !phase->also.empty())
      value = lookUp(spec, phase->also);
    choice.phase = translate(*phase, value, problems).value_or("");
  }
  if (!problems.empty())
    return rt::Status(rt::Code::Invalid,
                      "the map of this stack is incomplete" + problems);
  return choice;
}
