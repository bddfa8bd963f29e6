//===- BuildOptimizer.cpp - optimizer modules as programs ------------------===//
//
// For every parameter or adapter: read p, its gradient and its states, run the module's
// body, store what the body assigned, then move its average. Numbers that may
// change between steps are run-time scalars named <group>.<argument>.
//
//===----------------------------------------------------------------------===//
#include "frontend/BuildRecipe.h"

#include "frontend/Interpreter.h"
#include "frontend/Parser.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/STLExtras.h"

using namespace pg::frontend;
using mlir::RankedTensorType;

namespace {

/// One group: its module's body and what all its parameters share.
struct Group {
  const OptimizerUse *use = nullptr;
  Block body;
  bool isSound = true;
  ModuleScopes shared;
};

class UpdateBuilder {
public:
  UpdateBuilder(const UpdateProgram &program, mlir::ModuleOp module,
                RecipeValues &values, Reporter &reporter)
      : program(program), module(module), values(values), reporter(reporter),
        builder(module.getContext()) {
    for (const char *word : {"bf16", "f32", "i32"})
      globals.names[word] = Value::of(std::string(word));
  }

  void run() {
    mlir::Location loc = reporter.location(program.pos);
    func = mlir::func::FuncOp::create(loc, program.name,
                                      builder.getFunctionType({}, {}));
    module.push_back(func);
    builder.setInsertionPointToEnd(func.addEntryBlock());
    groups.resize(program.optimizers.size());
    for (auto [use, group] : llvm::zip(program.optimizers, groups))
      prepare(use, group);
    // In the order of the module, whatever the order of the groups.
    for (const Trainable &target : program.targets)
      update(target, groups[target.optimizer]);
    builder.setInsertionPointToEnd(&func.getBody().front());
    mlir::func::ReturnOp::create(builder, loc);
  }

private:
  Value scalar(const std::string &name, SpecPos pos) {
    mlir::Value &value = scalars[name];
    if (!value)
      value = pg::ScalarOp::create(builder, reporter.location(pos),
                                   RankedTensorType::get({}, builder.getF32Type()),
                                   builder.getStringAttr(name));
    return Value::of(value);
  }

  void prepare(const OptimizerUse &use, Group &group) {
    // Its scalar `ema.decay` is that of the averages.
    if (use.name == "ema")
      reporter.error(use.pos, "'ema' is the name of the averaged weights, not of "
                              "an optimizer group");
    group.use = &use;
    group.shared.statics.parent = &globals;
    group.shared.body.parent = &globals;
    Scope &scope = group.shared.body;
    scope.names["lr"] = scalar(use.name + ".lr", use.pos);
    scope.names["step"] = scalar("step", use.pos);
    bindArguments(
        use, use.name, argsPath(use),
        [&](const std::string &name, SpecPos pos) { return scalar(name, pos); },
        group.shared, values, reporter);
    group.body = parseBody(*use.module->find("body"), reporter, group.isSound);
  }

  std::string argsPath(const OptimizerUse &use) const {
    std::string path = program.argsPath;
    if (size_t at = path.find("{}"); at != std::string::npos)
      path.replace(at, 2, use.name);
    return path;
  }

  mlir::Value declareState(const std::string &name, const std::string &role,
                           const Trainable &target, double init,
                           bool fromParameter, SpecPos pos) {
    mlir::OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(func);
    mlir::MLIRContext *context = builder.getContext();
    if (!module.lookupSymbol(name))
      pg::StateOp::create(
          builder, reporter.location(pos), builder.getStringAttr(name),
          mlir::TypeAttr::get(target.type),
          builder.getStringAttr((target.isAdapter ? "adapter_" : "") + role),
          target.isAdapter ? mlir::FlatSymbolRefAttr()
                           : mlir::FlatSymbolRefAttr::get(context, target.symbol),
          builder.getF64FloatAttr(init),
          fromParameter ? builder.getUnitAttr() : mlir::UnitAttr());
    builder.setInsertionPointToEnd(&func.getBody().front());
    return pg::ReadStateOp::create(builder, reporter.location(pos), target.type,
                                   mlir::FlatSymbolRefAttr::get(context, name));
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

  /// The module's `let` values for a parameter of this shape.
  bool bindLets(const Group &group, const Value &shape, Scope &scope) {
    Scope statics;
    statics.parent = &group.shared.statics;
    statics.names["shape"] = shape;
    scope.names["shape"] = shape;
    int before = reporter.errorCount();
    for (const SpecEntry &entry : entriesOf(group.use->module->find("let"))) {
      Value value = evaluateNode(entry.value, statics, reporter);
      statics.names[entry.key] = value;
      scope.names[entry.key] = value;
    }
    return reporter.errorCount() == before;
  }

  void update(const Trainable &target, Group &group) {
    if (!group.isSound)
      return;
    const OptimizerUse &use = *group.use;
    const std::string &name = target.symbol;
    RankedTensorType type = target.type;
    const char *kind = target.isAdapter ? "adapter" : "parameter";
    builder.setInsertionPointToEnd(&func.getBody().front());
    SpecPos bodyPos = use.module->find("body")->pos;
    mlir::Location bodyLoc = reporter.location(bodyPos);

    Scope scope;
    scope.parent = &group.shared.body;
    Value::List sizes;
    for (int64_t size : type.getShape())
      sizes.push_back(Value::of(size));
    int errorsBefore = reporter.errorCount();
    bool isSound = bindLets(group, Value::of(std::move(sizes)), scope);
    std::vector<std::pair<std::string, std::string>> results; // local, symbol
    auto symbol = mlir::FlatSymbolRefAttr::get(builder.getContext(), name);
    mlir::Value p =
        target.isAdapter
            ? pg::ReadStateOp::create(builder, bodyLoc, type, symbol).getResult()
            : pg::ParamOp::create(builder, bodyLoc, type, symbol).getResult();
    scope.names["p"] = Value::of(p);
    scope.names["g"] = Value::of(declareState("grad." + name, "gradient",
                                              target, 0.0, false, bodyPos));
    const SpecNode *states = use.module->find("state");
    std::string prefix = use.module->find("optimizer")->text + "_";
    for (const SpecEntry &entry : entriesOf(states)) {
      std::string state = prefix + entry.key + "." + name;
      bool isCopy = entry.value.isScalar() && entry.value.text == "parameter";
      if (isCopy && target.isAdapter)
        reporter.error(entry.value.pos, "an adapter's state cannot start as a "
                                        "copy of a parameter");
      scope.names[entry.key] = Value::of(declareState(
          state, "optimizer", target,
          isCopy ? 0.0 : initialValue(entry.value),
          isCopy && !target.isAdapter, entry.keyPos));
      results.emplace_back(entry.key, state);
    }
    results.emplace_back("p", name);
    std::map<std::string, Value> before = scope.names;

    TensorBuilder tensors(builder, reporter);
    tensors.readParameter = [](const Value &, SpecPos) { return mlir::Value(); };
    if (isSound && Interpreter(scope, reporter, &tensors).run(group.body)) {
      reporter.error(bodyPos, "an optimizer returns nothing; assign p and the "
                              "states");
      return;
    }
    if (reporter.errorCount() > errorsBefore) {
      // A module that cannot handle this shape is the recipe's mistake.
      reporter.error(use.pos, "group '" + use.name + "' cannot update " + kind +
                                  " '" + name + "' of shape " + tensors.describe(type));
      return;
    }
    for (const auto &[local, stored] : results) {
      const Value &value = scope.names[local];
      if (value.isPoison() || value.equals(before[local]))
        continue;
      if (!value.isTensor() || value.type != type) {
        reporter.error(bodyPos,
                       "'" + local + "' must keep the shape " +
                           tensors.describe(type) + " of " + kind + " '" + name +
                           "', got " +
                           (value.isTensor() ? tensors.describe(value.type)
                                             : value.kindName()));
        return;
      }
      pg::StoreOp::create(builder, bodyLoc, pg::StoreMode::store,
                          llvm::StringRef(stored), value.tensor);
    }
    // After an error in an argument there is no new p to average.
    if (program.average && scope.names["p"].isTensor())
      average(target, *program.average, scope.names["p"], tensors);
  }

  /// e = decay e + (1 - decay) p, with p as it is after the step.
  void average(const Trainable &target, SpecPos pos, const Value &p,
               TensorBuilder &tensors) {
    std::string symbol = "ema." + target.symbol;
    Value decay = scalar("ema.decay", pos);
    Value e = Value::of(declareState(symbol, "ema", target, 0.0, true, pos));
    Value rest = tensors.binary(pos, "-", Value::of(1.0), decay);
    Value moved = tensors.binary(pos, "+", tensors.binary(pos, "*", decay, e),
                                 tensors.binary(pos, "*", rest, p));
    pg::StoreOp::create(builder, reporter.location(pos), pg::StoreMode::store,
                        llvm::StringRef(symbol), moved.tensor);
  }

  const UpdateProgram &program;
  mlir::ModuleOp module;
  RecipeValues &values;
  Reporter &reporter;
  mlir::OpBuilder builder;
  mlir::func::FuncOp func;
  Scope globals;
  std::vector<Group> groups;
  std::map<std::string, mlir::Value> scalars;
};

} // namespace

void pg::frontend::buildUpdates(const UpdateProgram &program,
                                mlir::ModuleOp module, RecipeValues &values,
                                Reporter &reporter) {
  UpdateBuilder(program, module, values, reporter).run();
}

void pg::frontend::buildOptimizer(const std::vector<OptimizerUse> &optimizers,
                                  const SpecNode &recipe, mlir::ModuleOp module,
                                  RecipeValues &values, Reporter &reporter) {
  const SpecNode &section = *recipe.find("optimizer");
  std::vector<pg::ParameterOp> parameters(
      module.getOps<pg::ParameterOp>().begin(),
      module.getOps<pg::ParameterOp>().end());
  std::vector<GroupSelector> selectors;
  for (const OptimizerUse &use : optimizers)
    selectors.push_back(use.selector);
  std::vector<size_t> groupOf = assignGroups(
      selectors, parameters, section.find("groups")->pos, reporter);
  if (reporter.hasFailed())
    return;
  UpdateProgram program{"apply", "optimizer.groups.{}.args", section.pos,
                        optimizers, {}, std::nullopt};
  for (auto [parameter, index] : llvm::zip(parameters, groupOf))
    program.targets.push_back(
        {parameter.getSymName().str(),
         mlir::cast<RankedTensorType>(parameter.getType()), index, false});
  if (values["ema.decay"].f != 0) {
    const SpecNode *ema = recipe.find("ema");
    program.average = ema ? ema->pos : recipe.pos;
  }
  buildUpdates(program, module, values, reporter);
}
