//===- GradientTest.cpp - gradient rules against central differences ------===//
//
// On constant operands both an op and its vector-Jacobian product fold to
// numbers, so the rules of the maps and movements are checked here without any
// target: sum(weights * op(x)) is differentiated by the rule and by (f(x + h) -
// f(x - h)) / 2h in double. With h = 1e-5 the truncation error is of order h^2
// and the rounding error of order 1e-16 / h: both below 1e-9.
//
//===----------------------------------------------------------------------===//
#include "dialect/Pg.h"
#include "dialect/ops/Constants.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/Support/Format.h"
#include <gtest/gtest.h>

using namespace mlir;

namespace pg {
namespace {

struct Case {
  const char *name;
  /// Ops over %x, %y : tensor<6xf64>; the last one, %r, is under test.
  const char *text;
  /// Elements of the result.
  int64_t size;
};

class GradientTest : public testing::TestWithParam<Case> {
protected:
  GradientTest() { context.loadDialect<PgDialect, func::FuncDialect>(); }

  /// A module whose one function returns %r on the given operands.
  OwningOpRef<ModuleOp> build(ArrayRef<double> x, ArrayRef<double> y) {
    auto list = [](ArrayRef<double> values) {
      std::string text;
      llvm::raw_string_ostream stream(text);
      llvm::interleaveComma(values, stream, [&](double value) {
        stream << llvm::format("%.17e", value);
      });
      return text;
    };
    std::string source =
        "func.func @f() {\n%x = pg.constant dense<[" + list(x) +
        "]> : tensor<6xf64>\n%y = pg.constant dense<[" + list(y) +
        "]> : tensor<6xf64>\n" + GetParam().text + "\nreturn\n}";
    return parseSourceString<ModuleOp>(source, &context);
  }

  static Operation *lastOp(ModuleOp module) {
    auto function = *module.getOps<func::FuncOp>().begin();
    return function.getBody().front().getTerminator()->getPrevNode();
  }

  /// The numbers `value` folds to.
  std::vector<double> evaluate(ModuleOp module, Value value, int64_t size) {
    OpBuilder builder(value.getContext());
    builder.setInsertionPointAfterValue(value);
    auto output = OutputOp::create(builder, value.getLoc(), "value", value);
    EXPECT_TRUE(
        succeeded(applyPatternsGreedily(module, RewritePatternSet(&context))));
    Attribute attr;
    if (!matchPattern(output.getValue(), m_Constant(&attr))) {
      ADD_FAILURE() << "does not fold";
      return std::vector<double>(size, 0.0);
    }
    std::optional<ConstantOperand> constant = ConstantOperand::read(attr);
    std::vector<double> values;
    for (int64_t i = 0; i < size; ++i)
      values.push_back((*constant)[i]);
    return values;
  }

  static double weight(int64_t i) { return 0.7 + 0.3 * i; }

  double objective(ArrayRef<double> x, ArrayRef<double> y) {
    OwningOpRef<ModuleOp> module = build(x, y);
    double sum = 0.0;
    std::vector<double> values =
        evaluate(*module, lastOp(*module)->getResult(0), GetParam().size);
    for (auto [i, value] : llvm::enumerate(values))
      sum += weight(i) * value;
    return sum;
  }

  MLIRContext context;
};

TEST_P(GradientTest, agreesWithCentralDifferences) {
  std::vector<double> x = {0.3, 1.7, 0.9, 2.2, 0.6, 1.1};
  std::vector<double> y = {1.4, 0.5, 1.9, 0.8, 2.6, 0.7};
  OwningOpRef<ModuleOp> module = build(x, y);
  ASSERT_TRUE(module);
  Operation *op = lastOp(*module);
  OpBuilder builder(op->getBlock()->getTerminator());
  std::vector<double> weights;
  for (int64_t i = 0; i < GetParam().size; ++i)
    weights.push_back(weight(i));
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  Value seed =
      ConstantOp::create(builder, op->getLoc(), type,
                         cast<ElementsAttr>(denseConstant(type, weights)));
  SmallVector<Value> grads;
  ASSERT_TRUE(succeeded(
      cast<DifferentiableOpInterface>(op).vjp(builder, {seed}, grads)));
  ASSERT_EQ(grads.size(), op->getNumOperands());
  // Which of %x and %y each operand is, before folding replaces them.
  std::vector<std::pair<bool, Value>> wanted;
  Value xValue = op->getBlock()->front().getResult(0);
  for (auto [operand, grad] : llvm::zip(op->getOperands(), grads))
    if (grad)
      wanted.emplace_back(operand == xValue, grad);
  // Both operands may be one value: its gradient is the sum.
  std::vector<double> gradient[2] = {std::vector<double>(6, 0.0),
                                     std::vector<double>(6, 0.0)};
  std::vector<OutputOp> outputs;
  builder.setInsertionPoint(op->getBlock()->getTerminator());
  for (auto &[isX, grad] : wanted)
    outputs.push_back(OutputOp::create(builder, op->getLoc(), "grad", grad));
  ASSERT_TRUE(
      succeeded(applyPatternsGreedily(*module, RewritePatternSet(&context))));
  for (auto [entry, output] : llvm::zip(wanted, outputs)) {
    Attribute attr;
    ASSERT_TRUE(matchPattern(output.getValue(), m_Constant(&attr)));
    std::optional<ConstantOperand> constant = ConstantOperand::read(attr);
    for (int64_t i = 0; i < 6; ++i)
      gradient[entry.first ? 0 : 1][i] += (*constant)[i];
  }
  const double h = 1e-5;
  for (int which = 0; which < 2; ++which)
    for (int i = 0; i < 6; ++i) {
      std::vector<double> &values = which == 0 ? x : y;
      double at = values[i];
      values[i] = at + h;
      double above = objective(x, y);
      values[i] = at - h;
      double below = objective(x, y);
      values[i] = at;
      EXPECT_NEAR(gradient[which][i], (above - below) / (2 * h), 1e-8)
          << (which == 0 ? "x" : "y") << "[" << i << "]";
    }
}

const Case kCases[] = {
    {"add", "%r = pg.add %x, %y : tensor<6xf64>", 6},
    {"sub", "%r = pg.sub %x, %y : tensor<6xf64>", 6},
    {"mul", "%r = pg.mul %x, %y : tensor<6xf64>", 6},
    {"square", "%r = pg.mul %x, %x : tensor<6xf64>", 6},
    {"div", "%r = pg.div %x, %y : tensor<6xf64>", 6},
    {"max", "%r = pg.max %x, %y : tensor<6xf64>", 6},
    {"min", "%r = pg.min %x, %y : tensor<6xf64>", 6},
    {"neg", "%r = pg.neg %x : tensor<6xf64>", 6},
    {"exp", "%r = pg.exp %x : tensor<6xf64>", 6},
    {"log", "%r = pg.log %x : tensor<6xf64>", 6},
    {"tanh", "%r = pg.tanh %x : tensor<6xf64>", 6},
    {"sigmoid", "%r = pg.sigmoid %x : tensor<6xf64>", 6},
    {"sqrt", "%r = pg.sqrt %x : tensor<6xf64>", 6},
    {"rsqrt", "%r = pg.rsqrt %x : tensor<6xf64>", 6},
    {"abs", "%r = pg.abs %x : tensor<6xf64>", 6},
    {"sin", "%r = pg.sin %x : tensor<6xf64>", 6},
    {"cos", "%r = pg.cos %x : tensor<6xf64>", 6},
    {"erf", "%r = pg.erf %x : tensor<6xf64>", 6},
    {"select",
     "%c = pg.constant dense<[true, false, true, true, false, false]> : "
     "tensor<6xi1>\n"
     "%r = pg.select %c, %x, %y : tensor<6xi1>, tensor<6xf64>",
     6},
    {"reshape", "%r = pg.reshape %x : tensor<6xf64> -> tensor<2x3xf64>", 6},
    {"slice",
     "%r = pg.slice %x {axis = 0 : i64, start = 2 : i64} : tensor<6xf64> -> "
     "tensor<3xf64>",
     3},
    {"pad",
     "%r = pg.pad %x {axis = 0 : i64, low = 2 : i64} : tensor<6xf64> -> "
     "tensor<9xf64>",
     9},
    {"concat",
     "%r = pg.concat %x, %y, %x {axis = 0 : i64} : (tensor<6xf64>, "
     "tensor<6xf64>, tensor<6xf64>) -> tensor<18xf64>",
     18},
    {"unit_dimension",
     "%r = pg.broadcast %x {dims = array<i64: 1>} : tensor<6xf64> -> "
     "tensor<1x6xf64>",
     6},
};

INSTANTIATE_TEST_SUITE_P(Rules, GradientTest, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case> &info) {
                           return std::string(info.param.name);
                         });

} // namespace
} // namespace pg
