//===- CompiledTest.cpp - compiled kernels against the reference
//-----------===//
//
// Every op case as a compiled program in f32 and f64, then one layer of full
// width. The reference interprets the derived module in double; the compiled
// program starts from the same numbers. Bounds: docs/numerics.md.
//
//===----------------------------------------------------------------------===//
#include "test/numerics/Compiled.h"
#include "frontend/Frontend.h"
#include "passes/pipeline/Pipelines.h"
#include "test/numerics/Program.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace pg;
using namespace pg::numerics;
using reference::Shape;
using reference::Tensor;

namespace {
class CompiledTest : public testing::TestWithParam<OpCase> {
protected:
  CompiledTest() { loadDialects(context); }

  void check(const std::string &precision, double bound) {
    reference::PackedBatch batch = oddBatch();
    auto module =
        derive(context, modelText(GetParam(), batch.tokens()), precision);
    ASSERT_TRUE(module);
    std::map<std::string, std::map<std::string, Tensor>> expected;
    for (const char *entry : {"score@main", "accumulate@main"}) {
      reference::Memory memory = drawMemory(GetParam(), batch);
      ASSERT_TRUE(
          mlir::succeeded(reference::run(*module, entry, batch, memory)));
      expected[entry] = resultsOf(memory);
    }
    auto executor = compile(*module, precision);
    ASSERT_TRUE(executor.isOk()) << executor.status().message();
    for (const auto &[entry, results] : expected) {
      reference::Memory memory = drawMemory(GetParam(), batch);
      rt::Status ran = run(**executor, entry, batch, memory);
      ASSERT_TRUE(ran.isOk()) << ran.message();
      Difference worst = compare(resultsOf(memory), results);
      EXPECT_LE(worst.error, bound) << entry << " " << worst.name;
    }
  }

  mlir::MLIRContext context;
};
} // namespace

TEST_P(CompiledTest, F32) { check("f32", GetParam().boundF32); }
TEST_P(CompiledTest, F64) { check("f64", GetParam().boundF64); }

INSTANTIATE_TEST_SUITE_P(Ops, CompiledTest, testing::ValuesIn(opCases()),
                         [](const auto &info) { return info.param.name; });

//===----------------------------------------------------------------------===//
// One layer of full width
//===----------------------------------------------------------------------===//

/// Segments of odd lengths 1, 3, 5, ... times 7, cut at `tokens`.
static std::vector<int32_t> oddSegments(int32_t tokens) {
  std::vector<int32_t> offsets = {0};
  for (int32_t length = 1; offsets.back() < tokens; length += 14)
    offsets.push_back(std::min(tokens, offsets.back() + length));
  return offsets;
}

TEST(FullWidth, OneLayerMatchesTheReference) {
  constexpr double kForwardBound = 1e-5, kGradientBound = 1e-4;
  mlir::MLIRContext context;
  loadDialects(context);
  frontend::Sources sources;
  sources.modelPath = PG_MODELS "/pr1693.model.yaml";
  sources.sets = {"dims.L=1"};
  sources.maxTokens = 1024;
  mlir::FailureOr<frontend::Built> built = frontend::build(context, sources);
  ASSERT_TRUE(mlir::succeeded(built));
  PipelineOptions options;
  ASSERT_TRUE(mlir::succeeded(runPipeline(*built->module, "spec", "derived",
                                          options, [](llvm::StringRef) {})));
  mlir::OwningOpRef<mlir::ModuleOp> derived = built->module->clone();
  auto executor = compile(*built->module, "f32");
  ASSERT_TRUE(executor.isOk()) << executor.status().message();

  for (int32_t tokens : {257, 1023}) {
    reference::PackedBatch batch({0, tokens}, oddSegments(tokens));
    reference::Memory memory;
    uint64_t seed = 100;
    for (const char *name : {"tokens", "targets"}) {
      Operand ids = tokenInt(name, 8192);
      memory.inputs[name] = draw(ids, tokens, ++seed);
    }
    memory.inputs["position"] = batch.position();
    memory.scalars["loss_scale"] = 1.0 / tokens;
    for (auto parameter : derived->getOps<ParameterOp>()) {
      auto type = mlir::cast<mlir::RankedTensorType>(parameter.getType());
      Operand operand =
          weight("w", Shape(type.getShape().begin(), type.getShape().end()));
      // Matrices keep the size of what they multiply; gates and scales are all
      // active.
      bool isMatrix = type.getNumElements() > 8192;
      operand.high = isMatrix ? std::sqrt(3.0 / operand.shape.back()) : 1.3;
      operand.low = isMatrix ? -operand.high : 0.3;
      memory.symbols[parameter.getSymName().str()] = draw(operand, 0, ++seed);
    }
    reference::Memory truth = memory;
    ASSERT_TRUE(mlir::succeeded(
        reference::run(*derived, "accumulate@plain", batch, truth)));
    rt::Status ran = run(**executor, "accumulate@plain", batch, memory);
    ASSERT_TRUE(ran.isOk()) << ran.message();
    Difference forward = compare(memory.outputs, truth.outputs);
    EXPECT_LE(forward.error, kForwardBound) << tokens << " " << forward.name;
    std::map<std::string, Tensor> own, expected;
    for (const auto &[name, value] : resultsOf(truth))
      if (name != "nll")
        expected[name] = value;
    own = resultsOf(memory);
    EXPECT_GT(expected.size(), 10u);
    Difference gradient = compare(own, expected);
    EXPECT_LE(gradient.error, kGradientBound) << tokens << " " << gradient.name;
  }
}
