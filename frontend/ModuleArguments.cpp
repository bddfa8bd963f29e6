//===- ModuleArguments.cpp - a module's arguments, static and per step ------===//
#include "frontend/ModuleArguments.h"

#include "frontend/Scalar.h"

#include "llvm/ADT/STLExtras.h"

#include <set>

using namespace pg::frontend;
using pg::rt::RecipeValue;

bool pg::frontend::findModule(ModuleUse &use, const std::string &shelf,
                              const std::string &what, const SpecNode &name,
                              const MergedFile &recipe, const Schema &schema,
                              Project &project, Reporter &reporter) {
  use.module =
      project.findLibrary(shelf, name.text, recipe, schema, name.pos);
  if (!use.module)
    return false;
  std::vector<std::string> names;
  for (const SpecEntry &arg : entriesOf(use.module->find("args")))
    names.push_back(arg.key);
  for (const SpecEntry &arg : entriesOf(use.args))
    if (!llvm::is_contained(names, arg.key))
      reporter.error(arg.keyPos, what + " '" + name.text +
                                     "' has no argument '" + arg.key + "'" +
                                     suggest(arg.key, names));
  return true;
}

/// A static value as one of the recipe's. The program takes real numbers, so 1
/// and 1.0 are the same kind.
static RecipeValue recorded(const Value &value, const SpecNode &node) {
  using Kind = RecipeValue::Kind;
  RecipeValue result;
  result.location = toString(node.pos);
  if (value.isNumber()) {
    result.kind = Kind::Float;
    result.f = value.number();
  } else if (value.kind == Value::Kind::Bool) {
    result.kind = Kind::Bool;
    result.b = value.flag;
  } else {
    result.kind = Kind::String;
    result.s = value.isString() ? value.text : value.str();
  }
  return result;
}

/// The parts of a line over the steps.
static void recordLine(const SpecNode &line, const std::string &path,
                       RecipeValues &values) {
  for (const SpecEntry &entry : line.entries) {
    RecipeValue value;
    value.location = toString(entry.value.pos);
    value.f = *parseFloat(entry.value.text);
    value.kind = RecipeValue::Kind::Float;
    if (entry.key == "over_steps") {
      value.kind = RecipeValue::Kind::Int;
      value.i = *parseInt(entry.value.text);
    }
    values[path + "." + entry.key] = value;
  }
}

void pg::frontend::bindArguments(const ModuleUse &use,
                                 const std::string &scalarPrefix,
                                 const std::string &path,
                                 const ScalarMaker &scalar,
                                 ModuleScopes &scopes, RecipeValues &values,
                                 Reporter &reporter) {
  std::set<std::string> statics;
  for (const SpecNode &item : itemsOf(use.module->find("static"))) {
    statics.insert(item.text);
    if (const SpecNode *args = use.module->find("args");
        !args || !args->find(item.text))
      reporter.error(item.pos, "no argument '" + item.text + "'");
  }
  for (const SpecEntry &entry : entriesOf(use.module->find("args"))) {
    const SpecNode *given = use.args ? use.args->find(entry.key) : nullptr;
    bool isLine = given && given->isMap();
    const SpecNode &node = given && !isLine ? *given : entry.value;
    bool isText = node.isScalar() && node.isQuoted;
    Value value = isText ? Value::of(node.text)
                         : evaluateNode(node, scopes.statics, reporter);
    scopes.statics.names[entry.key] = value;
    bool changes = value.isNumber() && !statics.count(entry.key);
    if (isLine && !changes && !value.isPoison()) {
      reporter.error(given->pos, "argument '" + entry.key + "' is " +
                                     (value.isNumber() ? "static"
                                                       : value.kindName()) +
                                     ", which cannot change over the steps");
      continue;
    }
    if (isLine)
      recordLine(*given, path + "." + entry.key, values);
    else
      values[path + "." + entry.key] = recorded(value, node);
    scopes.body.names[entry.key] =
        changes ? scalar(scalarPrefix + "." + entry.key, entry.keyPos)
                         : value;
  }
}
