//===- CaseMap.cpp - hyper-parameters of a stack to model overrides
//--------===//
#include "tools/pg-golden/CaseMap.h"

#include "frontend/YamlReader.h"
#include "runtime/support/File.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"

#include <filesystem>

using namespace pg;
using namespace pg::golden;
using frontend::SpecEntry;
using frontend::SpecNode;

static std::string textOf(const SpecNode &node, const char *key) {
  const SpecNode *value = node.find(key);
  return value && value->isScalar() ? value->text : "";
}

/// One rule, or the reason why it is none.
static rt::StatusOr<MapRule> readRule(const SpecNode &node, bool isPhase) {
  std::string where = frontend::toString(node.pos);
  auto invalid = [&](const std::string &text) {
    return rt::Status(rt::Code::Invalid, where + ": " + text);
  };
  if (!node.isMap())
    return invalid("expected a map, got " + node.describe());
  MapRule rule;
  rule.from = textOf(node, "from");
  rule.to = isPhase ? "phase" : textOf(node, "to");
  if (rule.from.empty())
    return invalid("a rule needs 'from'");
  if (rule.to.empty() == textOf(node, "ignore").empty())
    return invalid("a rule needs either 'to' or 'ignore' with the reason");
  if (const SpecNode *values = node.find("values"))
    for (const SpecEntry &entry : values->entries)
      rule.values[entry.key] = entry.value.text;
  if (node.find("default"))
    rule.fallback = textOf(node, "default");
  return rule;
}

/// A SpecNode tree keeps pointers into `file`, so both live to the end of this
/// function and only strings leave it.
rt::StatusOr<CaseMap> CaseMap::read(const std::string &path) {
  rt::StatusOr<std::string> text = rt::readFile(path);
  if (!text)
    return text.status();
  frontend::SourceFile file{path, *text};
  mlir::MLIRContext context;
  std::string errors;
  mlir::ScopedDiagnosticHandler handler(
      &context, [&](mlir::Diagnostic &diagnostic) {
        llvm::raw_string_ostream(errors)
            << diagnostic.getLocation() << ": " << diagnostic.str() << "\n";
      });
  frontend::Reporter reporter(&context);
  std::optional<SpecNode> root = frontend::readYaml(file, reporter);
  if (!root || reporter.hasFailed())
    return rt::Status(rt::Code::Invalid, "map " + path + ": " + errors);

  CaseMap map;
  map.model =
      (std::filesystem::path(path).parent_path() / textOf(*root, "model"))
          .lexically_normal()
          .string();
  if (const SpecNode *complete = root->find("complete"))
    for (const SpecNode &section : complete->items)
      map.complete.push_back(section.text);
  if (const SpecNode *rules = root->find("map"))
    for (const SpecNode &item : rules->items) {
      rt::StatusOr<MapRule> rule = readRule(item, false);
      if (!rule)
        return rule.status();
      map.rules.push_back(*rule);
    }
  if (const SpecNode *phase = root->find("phase")) {
    rt::StatusOr<MapRule> rule = readRule(*phase, true);
    if (!rule)
      return rule.status();
    map.phase = *rule;
  }
  return map;
}

/// The value at a dotted path, or null.
static const rt::Json *lookUp(const rt::Json &spec, const std::string &path) {
  const rt::Json *at = &spec;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('.', begin), path.size());
    auto found =
        at->is_object() ? at->find(path.substr(begin, end - begin)) : at->end();
    if (!at->is_object() || found == at->end())
      return nullptr;
    at = &*found;
    begin = end + 1;
  }
  return at;
}

/// The override's value for one rule; nothing when the case has no such key.
/// Problems are appended to `problems`.
static std::optional<std::string>
translate(const MapRule &rule, const rt::Json &spec, std::string &problems) {
  const rt::Json *value = lookUp(spec, rule.from);
  if (!value)
    return rule.fallback;
  std::string text =
      value->is_string() ? value->get<std::string>() : value->dump();
  if (rule.values.empty())
    return text;
  auto found = rule.values.find(text);
  if (found != rule.values.end())
    return found->second;
  problems += "; no translation of " + rule.from + " = " + text;
  return std::nullopt;
}

rt::StatusOr<ModelChoice> CaseMap::apply(const rt::Json &spec) const {
  ModelChoice choice{model, {}, ""};
  std::string problems;
  for (const std::string &section : complete) {
    const rt::Json *keys = lookUp(spec, section);
    if (!keys || !keys->is_object())
      continue;
    for (auto it = keys->begin(); it != keys->end(); ++it) {
      std::string path = section + "." + it.key();
      bool isMapped =
          std::any_of(rules.begin(), rules.end(),
                      [&](const MapRule &rule) { return rule.from == path; });
      if (!isMapped)
        problems += "; no rule for " + path + " = " + it.value().dump();
    }
  }
  for (const MapRule &rule : rules)
    if (!rule.to.empty())
      if (auto value = translate(rule, spec, problems))
        choice.overrides.push_back(rule.to + "=" + *value);
  if (phase)
    choice.phase = translate(*phase, spec, problems).value_or("");
  if (!problems.empty())
    return rt::Status(rt::Code::Invalid,
                      "the map of this stack is incomplete" + problems);
  return choice;
}
