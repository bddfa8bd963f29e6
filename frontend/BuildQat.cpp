//===- BuildQat.cpp - quantiser modules as functions of a weight -----------===//
//
// One private function per quantisation group and shape; the parameters name it
// and pg-derive puts it behind their reads in the training programs alone.
//
//===----------------------------------------------------------------------===//
#include "frontend/BuildRecipe.h"

#include "frontend/Parser.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/STLExtras.h"

#include <set>

using namespace pg::frontend;
using mlir::RankedTensorType;

namespace {

class QatBuilder {
public:
  QatBuilder(mlir::ModuleOp module, RecipeValues &values, Reporter &reporter)
      : module(module), values(values), reporter(reporter),
        builder(module.getContext()) {
    for (const char *word : {"bf16", "f32", "i32"})
      globals.names[word] = Value::of(std::string(word));
  }

  void build(const QuantiserUse &use) {
    bool isSound = true;
    Block body = parseBody(*use.module->find("body"), reporter, isSound);
    if (!isSound)
      return;
    std::set<std::string> labels;
    bool isUsed = false;
    for (auto parameter :
         llvm::make_early_inc_range(module.getOps<pg::ParameterOp>())) {
      labels.insert(parameter.getQuant().str());
      if (parameter.getQuant() != use.name)
        continue;
      isUsed = true;
      auto type = mlir::cast<RankedTensorType>(parameter.getType());
      mlir::func::FuncOp function = functionFor(use, body, type);
      if (!function)
        return;
      parameter->setAttr(pg::kFakeQuantAttr,
                         mlir::FlatSymbolRefAttr::get(function));
    }
    labels.erase("");
    if (!isUsed)
      reporter.error(use.pos, "no parameter has the quantisation group '" +
                                  use.name + "'" +
                                  suggest(use.name, {labels.begin(), labels.end()}));
  }

private:
  Value scalar(const std::string &name, SpecPos pos) {
    mlir::Value value = pg::ScalarOp::create(
        builder, reporter.location(pos),
        RankedTensorType::get({}, builder.getF32Type()),
        builder.getStringAttr(name));
    return Value::of(value);
  }

  /// The function of a group for weights of one type; null after an error.
  mlir::func::FuncOp functionFor(const QuantiserUse &use, const Block &body,
                                 RankedTensorType type) {
    std::string name = "quantise." + use.name;
    for (int64_t size : type.getShape())
      name += "." + std::to_string(size);
    if (auto known = module.lookupSymbol<mlir::func::FuncOp>(name))
      return known;
    int errorsBefore = reporter.errorCount();
    SpecPos pos = use.module->find("body")->pos;
    mlir::Location loc = reporter.location(pos);
    auto function = mlir::func::FuncOp::create(
        loc, name, builder.getFunctionType({type}, {type}));
    function.setPrivate();
    module.push_back(function);
    builder.setInsertionPointToEnd(function.addEntryBlock());

    ModuleScopes scopes;
    scopes.statics.parent = &globals;
    scopes.body.parent = &globals;
    Value::List sizes;
    for (int64_t size : type.getShape())
      sizes.push_back(Value::of(size));
    scopes.statics.names["shape"] = Value::of(std::move(sizes));
    bindArguments(
        use, "qat." + use.name, "qat.groups." + use.name + ".args",
        [&](const std::string &name, SpecPos pos) { return scalar(name, pos); },
        scopes, values, reporter);
    for (const SpecEntry &entry : entriesOf(use.module->find("let"))) {
      Value value = evaluateNode(entry.value, scopes.statics, reporter);
      scopes.statics.names[entry.key] = value;
      scopes.body.names[entry.key] = value;
    }
    scopes.body.names["shape"] = scopes.statics.names["shape"];
    scopes.body.names["w"] = Value::of(function.getArgument(0));
    Value on = scalar("qat.on", use.pos);
    scopes.body.names["on"] = on;

    TensorBuilder tensors(builder, reporter);
    tensors.readParameter = [](const Value &, SpecPos) { return mlir::Value(); };
    std::optional<std::vector<Value>> results =
        Interpreter(scopes.body, reporter, &tensors).run(body);
    if (reporter.errorCount() > errorsBefore)
      return {};
    if (!results || results->size() != 1 || !results->front().isTensor() ||
        results->front().type != type) {
      reporter.error(pos, "a quantiser returns one tensor of the shape " +
                              tensors.describe(type) + " of w");
      return {};
    }
    if (on.tensor.use_empty()) {
      reporter.error(pos, "a quantiser must return w while 'on' is 0; it does "
                          "not use 'on'");
      return {};
    }
    mlir::func::ReturnOp::create(builder, loc, results->front().tensor);
    return function;
  }

  mlir::ModuleOp module;
  RecipeValues &values;
  Reporter &reporter;
  mlir::OpBuilder builder;
  Scope globals;
};

} // namespace

void pg::frontend::buildQat(const std::vector<QuantiserUse> &quantisers,
                            mlir::ModuleOp module, RecipeValues &values,
                            Reporter &reporter) {
  QatBuilder builder(module, values, reporter);
  for (const QuantiserUse &use : quantisers)
    builder.build(use);
}
