//===- BuildOptimizer.cpp - optimizer modules as @apply --------------------===//
//
// For every parameter: read p, its gradient and its states, run the module's
// body, store what the body assigned. Numbers that may change between steps
// are run-time scalars named <group>.<argument>.
//
//===----------------------------------------------------------------------===//
#include "frontend/BuildRecipe.h"

#include "frontend/Interpreter.h"
#include "frontend/Parser.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/STLExtras.h"

#include <set>

using namespace pg::frontend;
using mlir::RankedTensorType;

namespace {

/// One group: its module's body and what all its parameters share.
struct Group {
  const OptimizerUse *use = nullptr;
  Block body;
  bool isSound = true;
  Scope shared;
};

class ApplyBuilder {
public:
  ApplyBuilder(const std::vector<OptimizerUse> &optimizers,
               const SpecNode &recipe, mlir::ModuleOp module,
               RecipeValues &values, Reporter &reporter)
      : optimizers(optimizers), recipe(recipe), module(module), values(values),
        reporter(reporter), builder(module.getContext()) {
    for (const char *word : {"bf16", "f32", "i32"})
      globals.names[word] = Value::of(std::string(word));
  }

  void run() {
    if (!coversAllParameters())
      return;
    SpecPos pos = recipe.find("optimizer")->pos;
    loc = reporter.location(pos);
    func = mlir::func::FuncOp::create(*loc, "apply",
                                      builder.getFunctionType({}, {}));
    module.push_back(func);
    builder.setInsertionPointToEnd(func.addEntryBlock());
    for (const OptimizerUse &use : optimizers) {
      Group &group = groups[use.group];
      prepare(use, group);
    }
    // In the order of the module, whatever the order of the groups.
    for (pg::ParameterOp parameter : parameters)
      update(parameter, groups[parameter.getGroup().str()]);
    builder.setInsertionPointToEnd(&func.getBody().front());
    mlir::func::ReturnOp::create(builder, *loc);
  }

private:
  bool coversAllParameters() {
    std::set<std::string> known;
    for (const OptimizerUse &use : optimizers)
      known.insert(use.group);
    std::map<std::string, std::vector<std::string>> missing;
    for (auto parameter : module.getOps<pg::ParameterOp>()) {
      parameters.push_back(parameter);
      std::string group = parameter.getGroup().str();
      if (!known.count(group))
        missing[group].push_back(parameter.getSymName().str());
    }
    for (const auto &[group, names] : missing) {
      std::string list;
      for (size_t i = 0; i < names.size() && i < 8; ++i)
        list += (i ? ", " : "") + names[i];
      if (names.size() > 8)
        list += " and " + std::to_string(names.size() - 8) + " more";
      std::vector<std::string> candidates(known.begin(), known.end());
      reporter.error(recipe.find("optimizer")->find("groups")->pos,
                     "no optimizer group '" + group + "' for parameters " +
                         list + suggest(group, candidates));
    }
    return missing.empty();
  }

  Value scalar(const std::string &name, SpecPos pos) {
    mlir::Value &value = scalars[name];
    if (!value)
      value = pg::ScalarOp::create(builder, reporter.location(pos),
                                   RankedTensorType::get({}, builder.getF32Type()),
                                   builder.getStringAttr(name));
    return Value::of(value);
  }

  void prepare(const OptimizerUse &use, Group &group) {
    group.use = &use;
    group.shared.parent = &globals;
    Scope &scope = group.shared;
    scope.names["lr"] = scalar(use.group + ".lr", use.pos);
    scope.names["step"] = scalar("step", use.pos);
    Scope staticScope; // arguments are static while they are evaluated
    staticScope.parent = &globals;
    const SpecNode *args = use.module->find("args");
    for (const SpecEntry &entry : entriesOf(args)) {
      const SpecNode *given = use.args ? use.args->find(entry.key) : nullptr;
      const SpecNode &node = given ? *given : entry.value;
      bool isText = node.isScalar() && node.isQuoted;
      Value value = isText ? Value::of(node.text)
                           : evaluateNode(node, staticScope, reporter);
      staticScope.names[entry.key] = value;
      record(use, entry.key, value, node);
      scope.names[entry.key] =
          value.isNumber() ? scalar(use.group + "." + entry.key, entry.keyPos)
                           : value;
    }
    const SpecNode *lets = use.module->find("let");
    for (const SpecEntry &entry : entriesOf(lets)) {
      Value value = evaluateNode(entry.value, staticScope, reporter);
      staticScope.names[entry.key] = value;
      scope.names[entry.key] = value;
    }
    group.body = parseBody(*use.module->find("body"), reporter, group.isSound);
  }

  /// Arguments are values of the recipe, defaults of the module included.
  void record(const OptimizerUse &use, const std::string &name,
              const Value &value, const SpecNode &node) {
    pg::rt::RecipeValue result;
    using Kind = pg::rt::RecipeValue::Kind;
    result.location = toString(node.pos);
    if (value.isNumber()) {
      // The program takes a real number, so 1 and 1.0 are the same kind.
      result.kind = Kind::Float;
      result.f = value.number();
    } else if (value.kind == Value::Kind::Bool) {
      result.kind = Kind::Bool;
      result.b = value.flag;
    } else {
      result.kind = Kind::String;
      result.s = value.isString() ? value.text : value.str();
    }
    values["optimizer.groups." + use.group + ".args." + name] = result;
  }

  mlir::Value declareState(const std::string &name, const std::string &role,
                           pg::ParameterOp parameter, double init,
                           SpecPos pos) {
    RankedTensorType type = mlir::cast<RankedTensorType>(parameter.getType());
    mlir::OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(func);
    auto symbol = mlir::FlatSymbolRefAttr::get(builder.getContext(), name);
    if (!module.lookupSymbol(name))
      pg::StateOp::create(
          builder, reporter.location(pos), builder.getStringAttr(name),
          mlir::TypeAttr::get(type), builder.getStringAttr(role),
          mlir::FlatSymbolRefAttr::get(builder.getContext(),
                                       parameter.getSymName()),
          builder.getF64FloatAttr(init));
    builder.setInsertionPointToEnd(&func.getBody().front());
    return pg::ReadStateOp::create(builder, reporter.location(pos), type,
                                   symbol);
  }

  double initialValue(const SpecNode &node) {
    if (node.isScalar())
      return node.text == "ones" ? 1.0 : 0.0;
    const SpecNode &number = *node.entries.front().value.find("value");
    Value value = evaluateNode(number, globals, reporter);
    if (!value.isPoison() && !value.isNumber())
      reporter.error(number.pos, "expected a number, got " + value.kindName());
    return value.isNumber() ? value.number() : 0.0;
  }

  void update(pg::ParameterOp parameter, Group &group) {
    if (!group.isSound)
      return;
    const OptimizerUse &use = *group.use;
    std::string name = parameter.getSymName().str();
    auto type = mlir::cast<RankedTensorType>(parameter.getType());
    builder.setInsertionPointToEnd(&func.getBody().front());
    SpecPos bodyPos = use.module->find("body")->pos;
    mlir::Location bodyLoc = reporter.location(bodyPos);

    Scope scope;
    scope.parent = &group.shared;
    Value::List sizes;
    for (int64_t size : type.getShape())
      sizes.push_back(Value::of(size));
    scope.names["shape"] = Value::of(std::move(sizes));
    std::vector<std::pair<std::string, std::string>> targets; // local, symbol
    scope.names["p"] = Value::of(
        pg::ParamOp::create(builder, bodyLoc, type,
                            mlir::FlatSymbolRefAttr::get(
                                builder.getContext(), name))
            .getResult());
    scope.names["g"] = Value::of(
        declareState("grad." + name, "gradient", parameter, 0.0, bodyPos));
    const SpecNode *states = use.module->find("state");
    std::string prefix = use.module->find("optimizer")->text + "_";
    for (const SpecEntry &entry :
         entriesOf(states)) {
      std::string symbol = prefix + entry.key + "." + name;
      scope.names[entry.key] =
          Value::of(declareState(symbol, "optimizer", parameter,
                                 initialValue(entry.value), entry.keyPos));
      targets.emplace_back(entry.key, symbol);
    }
    targets.emplace_back("p", name);
    std::map<std::string, Value> before = scope.names;

    TensorBuilder tensors(builder, reporter);
    tensors.readParameter = [](const Value &, SpecPos) { return mlir::Value(); };
    if (Interpreter(scope, reporter, &tensors).run(group.body)) {
      reporter.error(bodyPos, "an optimizer returns nothing; assign p and the "
                              "states");
      return;
    }
    for (const auto &[local, symbol] : targets) {
      const Value &value = scope.names[local];
      if (value.isPoison() || value.equals(before[local]))
        continue;
      if (!value.isTensor() || value.type != type) {
        reporter.error(bodyPos,
                       "'" + local + "' must keep the shape " +
                           tensors.describe(type) + " of parameter '" + name +
                           "', got " +
                           (value.isTensor() ? tensors.describe(value.type)
                                             : value.kindName()));
        continue;
      }
      pg::StoreOp::create(builder, bodyLoc, pg::StoreMode::store,
                          llvm::StringRef(symbol), value.tensor);
    }
  }

  const std::vector<OptimizerUse> &optimizers;
  const SpecNode &recipe;
  mlir::ModuleOp module;
  RecipeValues &values;
  Reporter &reporter;
  mlir::OpBuilder builder;
  mlir::func::FuncOp func;
  std::optional<mlir::Location> loc;
  Scope globals;
  std::vector<pg::ParameterOp> parameters;
  std::map<std::string, Group> groups;
  std::map<std::string, mlir::Value> scalars;
};

} // namespace

void pg::frontend::buildOptimizer(const std::vector<OptimizerUse> &optimizers,
                                  const SpecNode &recipe, mlir::ModuleOp module,
                                  RecipeValues &values, Reporter &reporter) {
  ApplyBuilder(optimizers, recipe, module, values, reporter).run();
}
