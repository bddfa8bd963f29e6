//===- MapFile.cpp - a map of the golden runner as it was read --------------===//
#include "tools/pg-golden/MapFile.h"

#include "frontend/YamlReader.h"
#include "runtime/support/File.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"

#include <filesystem>
#include <regex>

using namespace pg;
using namespace pg::golden;
using frontend::SpecEntry;
using frontend::SpecNode;

rt::StatusOr<MapFile> MapFile::read(const std::string &path) {
  rt::StatusOr<std::string> text = rt::readFile(path);
  if (!text)
    return text.status();
  MapFile map;
  map.file = std::make_shared<frontend::SourceFile>(
      frontend::SourceFile{path, *text});
  mlir::MLIRContext context;
  std::string errors;
  mlir::ScopedDiagnosticHandler handler(
      &context, [&](mlir::Diagnostic &diagnostic) {
        llvm::raw_string_ostream(errors)
            << diagnostic.getLocation() << ": " << diagnostic.str() << "\n";
      });
  frontend::Reporter reporter(&context);
  std::optional<SpecNode> root = frontend::readYaml(*map.file, reporter);
  if (!root || reporter.hasFailed())
    return rt::Status(rt::Code::Invalid, "map " + path + ": " + errors);
  map.node = std::make_shared<SpecNode>(std::move(*root));
  return map;
}

std::string MapFile::text(const SpecNode &node, const char *key) {
  const SpecNode *value = node.find(key);
  return value && value->isScalar() ? value->text : "";
}

std::string MapFile::beside(const std::string &relative) const {
  return (std::filesystem::path(file->path).parent_path() / relative)
      .lexically_normal()
      .string();
}

rt::StatusOr<std::vector<MapRule>> MapFile::rules(const char *key) const {
  std::vector<MapRule> rules;
  for (const SpecNode &item : frontend::itemsOf(node->find(key))) {
    rt::StatusOr<MapRule> rule = readRule(item);
    if (!rule)
      return rule.status();
    rules.push_back(*rule);
  }
  return rules;
}

rt::StatusOr<MapRule> golden::readRule(const SpecNode &node,
                                       const std::string &target) {
  std::string where = frontend::toString(node.pos);
  auto invalid = [&](const std::string &text) {
    return rt::Status(rt::Code::Invalid, where + ": " + text);
  };
  if (!node.isMap())
    return invalid("expected a map, got " + node.describe());
  MapRule rule;
  rule.from = MapFile::text(node, "from");
  rule.also = MapFile::text(node, "also");
  rule.to = target.empty() ? MapFile::text(node, "to") : target;
  rule.match = MapFile::text(node, "match");
  rule.only = MapFile::text(node, "only");
  rule.over = MapFile::text(node, "over");
  rule.perStep = MapFile::text(node, "per_step") == "true";
  if (rule.from.empty())
    return invalid("a rule needs 'from'");
  if (rule.to.empty() == MapFile::text(node, "ignore").empty())
    return invalid("a rule needs either 'to' or 'ignore' with the reason");
  if (const SpecNode *values = node.find("values"))
    for (const SpecEntry &entry : values->entries)
      rule.values[entry.key] = entry.value.text;
  if (node.find("default"))
    rule.fallback = MapFile::text(node, "default");
  return rule;
}

const rt::Json *golden::lookUp(const rt::Json &spec, const std::string &path) {
  const rt::Json *at = &spec;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('.', begin), path.size());
    std::string key = path.substr(begin, end - begin);
    begin = end + 1;
    if (at->is_array()) { // the key is an index
      size_t index = static_cast<size_t>(std::atoll(key.c_str()));
      if (key.find_first_not_of("0123456789") != std::string::npos ||
          index >= at->size())
        return nullptr;
      at = &(*at)[index];
      continue;
    }
    if (!at->is_object())
      return nullptr;
    auto found = at->find(key);
    if (found == at->end())
      return nullptr;
    at = &*found;
  }
  return at;
}

std::optional<std::string> golden::translate(const MapRule &rule,
                                             const rt::Json *value,
                                             std::string &problems) {
  if (!value)
    return rule.fallback;
  std::string text =
      value->is_string() ? value->get<std::string>() : value->dump();
  auto found = rule.values.find(text);
  if (found != rule.values.end())
    return found->second;
  std::smatch groups;
  if (!rule.match.empty() &&
      std::regex_search(text, groups, std::regex(rule.match)) &&
      groups.size() > 1)
    return groups[1].str();
  if (rule.values.empty() && rule.match.empty())
    return text;
  if (!value->is_string() && !value->is_boolean() && rule.match.empty() &&
      value->is_structured())
    return text; // a table given in full where texts are translated
  problems += "; no translation of " + rule.from + " = " + text;
  return std::nullopt;
}
