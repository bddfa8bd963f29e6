//===- Program.cpp - a small case as a whole program, at every stage
//-------===//
#include "test/numerics/Program.h"

#include "passes/derive/Passes.h"

#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

#include <cmath>
#include <limits>
#include <mutex>

using namespace pg;
using namespace pg::numerics;
using reference::Shape;
using reference::Tensor;

/// The parameter behind an operand: a table of all tokens, or the tensor.
static Operand parameterOf(const Operand &operand, int64_t tokens) {
  Operand parameter = operand;
  if (operand.perToken)
    parameter.shape.insert(parameter.shape.begin(), tokens);
  parameter.perToken = false;
  parameter.kind = Operand::Kind::Float;
  if (operand.kind == Operand::Kind::Bool)
    parameter.low = -1;
  return parameter;
}

/// Weights of the result's elements in the loss.
static Operand weightsOf(const OpCase &c) {
  return {"loss_weights", c.shape, c.perToken};
}

static std::string replaceAll(std::string text, const std::string &from,
                              const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;
       at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// Reads an operand into %<name>.
static std::string readText(const Operand &operand, int64_t tokens) {
  std::string name = operand.name;
  if (operand.kind == Operand::Kind::Int)
    return "  %" + name + " = pg.input \"targets\" : tensor<?xi32>\n";
  std::string table = parameterOf(operand, tokens).type("f32");
  if (!operand.perToken)
    return "  %" + name + " = pg.param @" + name + " : " + table + "\n";
  Operand values = operand;
  values.kind = Operand::Kind::Float;
  std::string type = values.type("f32");
  std::string raw =
      operand.kind == Operand::Kind::Bool ? name + "_value" : name;
  std::string text = "  %" + name + "_table = pg.param @" + name + " : " +
                     table + "\n  %" + raw + " = pg.gather %" + name +
                     "_table, %tokens : " + table + ", tensor<?xi32> -> " +
                     type + "\n";
  if (operand.kind == Operand::Kind::Bool)
    text += "  %" + name + "_zero = pg.fill 0.0 : " + type + "\n  %" + name +
            " = pg.compare gt %" + raw + ", %" + name + "_zero : " + type +
            " -> " + operand.type("f32") + "\n";
  return text;
}

/// %y times its weights, summed to one number per token in %nll.
static std::string lossText(const OpCase &c) {
  Operand y = weightsOf(c);
  std::string type = y.type("f32"), text;
  text += "  %product = pg.mul %y, %loss_weights : " + type + "\n";
  std::string axes, value = "%product";
  int64_t first = c.perToken ? 1 : 0;
  for (size_t i = 0; i < c.shape.size(); ++i)
    axes += (i ? ", " : "") + std::to_string(first + i);
  std::string result = c.perToken ? "tensor<?xf32>" : "tensor<f32>";
  if (!axes.empty()) {
    text += "  %sum = pg.reduce_sum %product {axes = array<i64: " + axes +
            ">} : " + type + " -> " + result + "\n";
    value = "%sum";
  }
  if (!c.perToken) {
    text += "  %spread = pg.broadcast " + value +
            " {dims = array<i64>} : tensor<f32> -> tensor<?xf32>\n";
    value = "%spread";
  }
  return text + "  pg.output \"nll\", " + value +
         " : tensor<?xf32>\n  %column = pg.reshape " + value +
         " : tensor<?xf32> -> tensor<?x1xf32>\n"
         "  pg.output \"logits\", %column : tensor<?x1xf32>\n  return\n";
}

std::string numerics::modelText(const OpCase &c, int64_t tokens) {
  std::string text =
      "module attributes {pg.model = \"case\", pg.vocabulary = " +
      std::to_string(tokens) +
      " : i64, pg.precision = \"f32\", pg.max_tokens = 64 : i64, "
      "pg.logit_rows = 2 : i64, pg.phases = [{name = \"main\", start = 0.0}]} "
      "{\n";
  std::vector<Operand> operands = c.operands;
  operands.push_back(weightsOf(c));
  for (const Operand &operand : operands)
    if (operand.kind != Operand::Kind::Int)
      text += "pg.parameter @" + operand.name + " : " +
              parameterOf(operand, tokens).type("f32") +
              " {init = {kind = \"zeros\"}, group = \"all\"}\n";
  text += "func.func @\"forward@main\"() {\n"
          "  %tokens = pg.input \"tokens\" : tensor<?xi32>\n";
  for (const Operand &operand : operands)
    text += readText(operand, tokens);
  return text + "  " + replaceAll(c.text, "$F", "f32") + "\n" + lossText(c) +
         "}\n}\n";
}

reference::Memory numerics::drawMemory(const OpCase &c,
                                       const reference::PackedBatch &batch) {
  reference::Memory memory;
  uint64_t seed = 11;
  Tensor ids(Shape{batch.tokens()});
  for (int64_t t = 0; t < batch.tokens(); ++t)
    ids[t] = static_cast<double>(t);
  memory.inputs["tokens"] = ids;
  memory.inputs["targets"] = Tensor(Shape{batch.tokens()});
  memory.inputs["position"] = batch.position();
  memory.inputs["rows"] = Tensor(Shape{2}, std::vector<double>{0, 5});
  memory.scalars["loss_scale"] = 0.25;
  std::vector<Operand> operands = c.operands;
  operands.push_back(weightsOf(c));
  for (const Operand &operand : operands) {
    ++seed;
    if (operand.kind == Operand::Kind::Int)
      memory.inputs["targets"] = draw(operand, batch.tokens(), seed);
    else
      memory.symbols[operand.name] =
          draw(parameterOf(operand, batch.tokens()), 0, seed);
  }
  return memory;
}

void numerics::loadDialects(mlir::MLIRContext &context) {
  mlir::DialectRegistry registry;
  registry.insert<PgDialect, mlir::func::FuncDialect>();
  mlir::func::registerInlinerExtension(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

mlir::OwningOpRef<mlir::ModuleOp>
numerics::derive(mlir::MLIRContext &context, const std::string &text,
                 const std::string &precision) {
  static std::once_flag once;
  std::call_once(once, [] {
    mlir::registerTransformsPasses();
    registerDerivePasses();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module)
    return module;
  auto manager = mlir::PassManager::on<mlir::ModuleOp>(&context);
  std::string passes = "pg-inline,pg-precision{policy=" + precision +
                       "},canonicalize,cse,pg-fuse-head,pg-derive";
  if (mlir::failed(mlir::parsePassPipeline(passes, manager)) ||
      mlir::failed(manager.run(*module)))
    module = nullptr;
  return module;
}

Difference numerics::compare(const std::map<std::string, Tensor> &a,
                             const std::map<std::string, Tensor> &b) {
  Difference worst;
  for (const auto &[name, expected] : b) {
    auto found = a.find(name);
    double error = std::numeric_limits<double>::infinity();
    if (found != a.end() && found->second.size() == expected.size()) {
      double difference = 0, norm = 0;
      for (int64_t i = 0; i < expected.size(); ++i) {
        double d = found->second[i] - expected[i];
        difference += d * d;
        norm += expected[i] * expected[i];
      }
      error = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
    }
    // NaN counts as worst.
    if (!(error <= worst.error))
      worst = {error, name};
  }
  return worst;
}

std::map<std::string, Tensor>
numerics::resultsOf(const reference::Memory &memory) {
  std::map<std::string, Tensor> results = memory.outputs;
  for (const auto &[name, value] : memory.symbols)
    if (name.rfind("grad.", 0) == 0)
      results[name] = value;
  return results;
}
