//===- GradientTest.cpp - every vjp against central differences
//------------===//
//
// The program is the op alone, its operands are inputs. The gradient program is
// what the op's own `vjp` builds; both are evaluated by the reference in
// double.
//
//===----------------------------------------------------------------------===//
#include "test/numerics/OpCases.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <cmath>
#include <set>

using namespace pg;
using namespace pg::numerics;
using reference::Tensor;

namespace {
/// The relative error of a gradient that is right: the stencil below is exact
/// to h^4, so what is left is cancellation, about 1e-16 / h.
constexpr double kBound = 1e-6;
constexpr double kStep = 1e-3;

std::string replaceAll(std::string text, const std::string &from,
                       const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;
       at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// func @f: inputs, the op, output "y".
std::string programText(const OpCase &c) {
  std::string text = "func.func @f() {\n";
  for (const Operand &operand : c.operands)
    text += "  %" + operand.name + " = pg.input \"" + operand.name +
            "\" : " + operand.type("f64") + "\n";
  Operand y{"y", c.shape, c.perToken};
  text += "  " + replaceAll(c.text, "$F", "f64") + "\n";
  return text + "  pg.output \"y\", %y : " + y.type("f64") + "\n  return\n}\n";
}

class GradientTest : public testing::TestWithParam<OpCase> {
protected:
  GradientTest() { context.loadDialect<PgDialect, mlir::func::FuncDialect>(); }
  mlir::MLIRContext context;
};
} // namespace

/// Appends the op's gradient program: input "cotangent", outputs "grad.<i>".
static void appendGradient(mlir::func::FuncOp function) {
  mlir::Block &block = function.getBody().front();
  auto output = *block.getOps<OutputOp>().begin();
  mlir::Value y = output.getValue();
  mlir::Operation *op = y.getDefiningOp();
  mlir::OpBuilder builder(block.getTerminator());
  std::vector<mlir::Value> cotangents;
  for (mlir::Value result : op->getResults())
    cotangents.push_back(result == y ? InputOp::create(builder, op->getLoc(),
                                                       y.getType(), "cotangent")
                                     : mlir::Value());
  auto differentiable = mlir::dyn_cast<DifferentiableOpInterface>(op);
  ASSERT_TRUE(differentiable) << "the op has no gradient";
  llvm::SmallVector<mlir::Value> gradients;
  ASSERT_TRUE(
      mlir::succeeded(differentiable.vjp(builder, cotangents, gradients)));
  ASSERT_EQ(gradients.size(), op->getNumOperands());
  for (auto [i, gradient] : llvm::enumerate(gradients))
    if (gradient) {
      EXPECT_EQ(gradient.getType(), op->getOperand(i).getType());
      OutputOp::create(builder, op->getLoc(), "grad." + std::to_string(i),
                       gradient);
    }
}

/// sum(y * cotangent) for the operands in `memory`.
static double weighted(mlir::ModuleOp module,
                       const reference::PackedBatch &batch,
                       reference::Memory &memory) {
  EXPECT_TRUE(mlir::succeeded(reference::run(module, "f", batch, memory)));
  const Tensor &y = memory.outputs["y"], &weight = memory.inputs["cotangent"];
  double sum = 0;
  for (int64_t i = 0; i < y.size(); ++i)
    sum += y[i] * weight[i];
  return sum;
}

TEST_P(GradientTest, MatchesCentralDifferences) {
  const OpCase &c = GetParam();
  auto parse = [&] {
    return mlir::parseSourceString<mlir::ModuleOp>(programText(c), &context);
  };
  mlir::OwningOpRef<mlir::ModuleOp> forward = parse(), backward = parse();
  ASSERT_TRUE(forward && backward);
  appendGradient(backward->lookupSymbol<mlir::func::FuncOp>("f"));
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(mlir::succeeded(mlir::verify(*backward)));

  reference::PackedBatch batch = oddBatch();
  reference::Memory memory;
  uint64_t seed = 1;
  for (const Operand &operand : c.operands)
    memory.inputs[operand.name] = draw(operand, batch.tokens(), seed++);
  memory.inputs["cotangent"] =
      draw({"cotangent", c.shape, c.perToken}, batch.tokens(), seed);
  ASSERT_TRUE(mlir::succeeded(reference::run(*backward, "f", batch, memory)));
  std::map<std::string, Tensor> gradients = memory.outputs;

  for (size_t i = 0; i < c.operands.size(); ++i) {
    const Operand &operand = c.operands[i];
    std::string name = "grad." + std::to_string(i);
    if (!operand.isChecked) {
      EXPECT_FALSE(gradients.count(name)) << operand.name;
      continue;
    }
    // Rotation tables are functions of positions alone; no gradient is defined.
    if (!gradients.count(name)) {
      EXPECT_EQ(c.name.rfind("rotate", 0), 0u) << operand.name;
      continue;
    }
    const Tensor &gradient = gradients[name];
    double error = 0, norm = 0;
    Tensor original = memory.inputs[operand.name];
    for (int64_t j = 0; j < original.size(); ++j) {
      auto at = [&](double delta) {
        memory.inputs[operand.name][j] = original[j] + delta;
        double value = weighted(*forward, batch, memory);
        memory.inputs[operand.name][j] = original[j];
        return value;
      };
      double slope =
          (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) /
          (12 * kStep);
      error += (gradient[j] - slope) * (gradient[j] - slope);
      norm += slope * slope;
    }
    EXPECT_GT(norm, 0) << operand.name << ": the check cannot fail";
    EXPECT_LE(std::sqrt(error), kBound * std::sqrt(norm)) << operand.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, GradientTest, testing::ValuesIn(opCases()),
                         [](const auto &info) { return info.param.name; });

/// Completeness: an op that claims a gradient has a case above.
TEST(GradientCoverage, EveryDifferentiableOpHasACase) {
  mlir::MLIRContext context;
  context.loadDialect<PgDialect>();
  std::set<std::string> covered;
  for (const OpCase &c : opCases()) {
    size_t at = c.text.find("pg."), end = c.text.find_first_of(" ", at);
    covered.insert(c.text.substr(at, end - at));
  }
  // Rounding passes its gradient straight through by definition.
  covered.insert("pg.round");
  for (mlir::RegisteredOperationName name :
       context.getRegisteredOperationsByDialect("pg"))
    if (name.hasInterface<DifferentiableOpInterface>())
      EXPECT_TRUE(covered.count(name.getStringRef().str()))
          << name.getStringRef().str();
}
