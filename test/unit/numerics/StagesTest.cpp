//===- StagesTest.cpp - every stage of a program means the same
//------------===//
//
// Each op case becomes a model. Its derived gradient entry is compared with
// central differences of its score entry; every later stage of both entries is
// evaluated too and must agree with the first to rounding of doubles.
//
//===----------------------------------------------------------------------===//
#include "passes/pipeline/Pipelines.h"
#include "test/numerics/Program.h"

#include "gtest/gtest.h"

#include <cmath>
#include <numeric>

using namespace pg;
using namespace pg::numerics;
using reference::Tensor;

namespace {
constexpr double kGradientBound = 1e-6;
constexpr double kStageBound = 1e-12;
constexpr double kStep = 1e-3;

class StagesTest : public testing::TestWithParam<OpCase> {
protected:
  StagesTest() { loadDialects(context); }

  /// Results of an entry of the module as it stands.
  std::map<std::string, Tensor> evaluate(const std::string &entry,
                                         mlir::ModuleOp module) {
    reference::Memory memory = drawMemory(GetParam(), batch);
    EXPECT_TRUE(mlir::succeeded(reference::run(module, entry, batch, memory)));
    return resultsOf(memory);
  }

  /// `rule` is for what has a loss with gradients.
  void expectSameNumbers(LogitsRule rule);

  mlir::MLIRContext context;
  reference::PackedBatch batch = oddBatch();
};
class KeptLogitsStagesTest : public StagesTest {};
} // namespace

TEST_P(StagesTest, DerivedGradientMatchesCentralDifferences) {
  auto module = derive(context, modelText(GetParam(), batch.tokens()), "f64");
  ASSERT_TRUE(module);
  reference::Memory memory = drawMemory(GetParam(), batch);
  ASSERT_TRUE(mlir::succeeded(
      reference::run(*module, "accumulate@main", batch, memory)));
  std::map<std::string, Tensor> gradients = resultsOf(memory);
  double scale = memory.scalars["loss_scale"];
  for (const Operand &operand : GetParam().operands) {
    if (operand.kind != Operand::Kind::Float)
      continue;
    // Rotation tables have no gradient (the op's record).
    if (!gradients.count("grad." + operand.name)) {
      EXPECT_EQ(GetParam().name.rfind("rotate", 0), 0u) << operand.name;
      continue;
    }
    const Tensor &gradient = gradients["grad." + operand.name];
    double error = 0, norm = 0;
    for (int64_t i = 0; i < gradient.size(); ++i) {
      auto at = [&](double delta) {
        reference::Memory moved = drawMemory(GetParam(), batch);
        moved.symbols[operand.name][i] += delta;
        EXPECT_TRUE(mlir::succeeded(
            reference::run(*module, "score@main", batch, moved)));
        const Tensor &nll = moved.outputs["nll"];
        return scale * std::accumulate(nll.data.begin(), nll.data.end(), 0.0);
      };
      double slope =
          (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) /
          (12 * kStep);
      error += (gradient[i] - slope) * (gradient[i] - slope);
      norm += slope * slope;
    }
    EXPECT_GT(norm, 0) << operand.name;
    EXPECT_LE(std::sqrt(error), kGradientBound * std::sqrt(norm))
        << operand.name;
  }
}

void StagesTest::expectSameNumbers(LogitsRule rule) {
  auto module = derive(context, modelText(GetParam(), batch.tokens()), "f64");
  ASSERT_TRUE(module);
  std::map<std::string, std::map<std::string, Tensor>> expected;
  for (const char *entry : {"score@main", "accumulate@main"})
    expected[entry] = evaluate(entry, *module);
  PipelineOptions options;
  options.precision = "f64";
  options.logits.rule = rule;
  std::string at = "derived";
  for (const char *next : {"decomposed", "fused", "outlined", "planned"}) {
    ASSERT_TRUE(mlir::succeeded(
        runPipeline(*module, at, next, options, [](llvm::StringRef) {})))
        << next;
    at = next;
    for (const auto &[entry, results] : expected) {
      Difference worst = compare(evaluate(entry, *module), results);
      EXPECT_LE(worst.error, kStageBound)
          << next << " " << entry << " " << worst.name;
    }
  }
}

TEST_P(StagesTest, EveryStageGivesTheSameNumbers) {
  expectSameNumbers(LogitsRule::Automatic);
}
TEST_P(KeptLogitsStagesTest, EveryStageGivesTheSameNumbers) {
  expectSameNumbers(LogitsRule::Keep);
}

INSTANTIATE_TEST_SUITE_P(Ops, StagesTest, testing::ValuesIn(opCases()),
                         [](const auto &info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Heads, KeptLogitsStagesTest,
                         testing::ValuesIn(headCases()),
                         [](const auto &info) { return info.param.name; });
