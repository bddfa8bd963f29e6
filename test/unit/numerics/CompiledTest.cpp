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

  void check(const std::string &precision, double bound,
             LogitsRule logits = LogitsRule::Automatic) {
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
    auto executor = compile(*module, precision, logits);
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

/// The compiled program against the same plan in double, which rounds where it
/// says; and that plan against the unrounded program: what the policy costs.
TEST_P(CompiledTest, Bf16) {
  constexpr double kCodeBound = 5e-3, kPolicyBound = 4e-2;
  reference::PackedBatch batch = oddBatch();
  auto module = derive(context, modelText(GetParam(), batch.tokens()), "bf16");
  ASSERT_TRUE(module);
  mlir::OwningOpRef<mlir::ModuleOp> planned = module->clone();
  auto executor = compile(*planned, "bf16");
  ASSERT_TRUE(executor.isOk()) << executor.status().message();
  for (const char *entry : {"score@main", "accumulate@main"}) {
    auto interpreted = [&](mlir::ModuleOp program) {
      reference::Memory memory = drawMemory(GetParam(), batch);
      EXPECT_TRUE(mlir::succeeded(reference::run(program, entry, batch, memory)));
      return resultsOf(memory);
    };
    auto unrounded = interpreted(*module), rounded = interpreted(*planned);
    reference::Memory memory = drawMemory(GetParam(), batch);
    rt::Status ran = run(**executor, entry, batch, memory);
    ASSERT_TRUE(ran.isOk()) << ran.message();
    Difference code = compare(resultsOf(memory), rounded);
    EXPECT_LE(code.error, kCodeBound) << entry << " " << code.name;
    Difference policy = compare(rounded, unrounded);
    EXPECT_LE(policy.error, kPolicyBound) << entry << " " << policy.name;
  }
}

TEST_P(CompiledTest, F32) { check("f32", GetParam().boundF32); }
TEST_P(CompiledTest, F64) { check("f64", GetParam().boundF64); }

INSTANTIATE_TEST_SUITE_P(Ops, CompiledTest, testing::ValuesIn(opCases()),
                         [](const auto &info) { return info.param.name; });

/// Losses whose logits are kept for the gradients: three products and the rows
/// between them instead of the kernels above.
class KeptLogitsTest : public CompiledTest {};

TEST_P(KeptLogitsTest, F32) {
  check("f32", GetParam().boundF32, LogitsRule::Keep);
}
TEST_P(KeptLogitsTest, F64) {
  check("f64", GetParam().boundF64, LogitsRule::Keep);
}

INSTANTIATE_TEST_SUITE_P(Heads, KeptLogitsTest, testing::ValuesIn(headCases()),
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

namespace {
/// One layer of pr1693 at its full width.
class FullWidth : public testing::Test {
protected:
  FullWidth() { loadDialects(context); }

  /// The derived module.
  mlir::OwningOpRef<mlir::ModuleOp> derived(int64_t vocabulary,
                                            const std::string &precision) {
    frontend::Sources sources;
    sources.modelPath = PG_MODELS "/pr1693.model.yaml";
    sources.sets = {"dims.L=1", "dims.V=" + std::to_string(vocabulary)};
    sources.maxTokens = 1024;
    sources.precision = precision;
    mlir::FailureOr<frontend::Built> built = frontend::build(context, sources);
    PipelineOptions options;
    options.precision = precision;
    if (mlir::failed(built) ||
        mlir::failed(runPipeline(*built->module, "spec", "derived", options,
                                 [](llvm::StringRef) {})))
      return {};
    return std::move(built->module);
  }

  static reference::Memory drawInputs(mlir::ModuleOp module, int64_t vocabulary,
                                      const reference::PackedBatch &batch) {
    reference::Memory memory;
    uint64_t seed = 100;
    for (const char *name : {"tokens", "targets"})
      memory.inputs[name] =
          draw(tokenInt(name, vocabulary), batch.tokens(), ++seed);
    memory.inputs["position"] = batch.position();
    memory.scalars["loss_scale"] = 1.0 / static_cast<double>(batch.tokens());
    for (auto parameter : module.getOps<ParameterOp>()) {
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
    return memory;
  }

  static void expectNear(const reference::Memory &memory,
                         const reference::Memory &truth, double forwardBound,
                         double gradientBound) {
    Difference forward = compare(memory.outputs, truth.outputs);
    EXPECT_LE(forward.error, forwardBound) << forward.name;
    std::map<std::string, Tensor> expected = resultsOf(truth);
    expected.erase("nll");
    EXPECT_GT(expected.size(), 10u);
    Difference gradient = compare(resultsOf(memory), expected);
    EXPECT_LE(gradient.error, gradientBound) << gradient.name;
  }

  mlir::MLIRContext context;
};
} // namespace

TEST_F(FullWidth, OneLayerMatchesTheReference) {
  constexpr int64_t kVocabulary = 8192;
  constexpr double kForwardBound = 1e-5, kGradientBound = 1e-4;
  auto module = derived(kVocabulary, "f32");
  ASSERT_TRUE(module);
  mlir::OwningOpRef<mlir::ModuleOp> planned = module->clone();
  auto executor = compile(*planned, "f32");
  ASSERT_TRUE(executor.isOk()) << executor.status().message();
  for (int32_t tokens : {257, 1023}) {
    SCOPED_TRACE(tokens);
    reference::PackedBatch batch({0, tokens}, oddSegments(tokens));
    reference::Memory memory = drawInputs(*module, kVocabulary, batch);
    reference::Memory truth = memory;
    ASSERT_TRUE(mlir::succeeded(
        reference::run(*module, "accumulate@plain", batch, truth)));
    rt::Status ran = run(**executor, "accumulate@plain", batch, memory);
    ASSERT_TRUE(ran.isOk()) << ran.message();
    expectNear(memory, truth, kForwardBound, kGradientBound);
  }
}

TEST_F(FullWidth, OneLayerUnderBf16MatchesItsPlanAndStaysNearTheTruth) {
  constexpr int64_t kVocabulary = 1000;
  constexpr int32_t kTokens = 257;
  constexpr double kCodeForward = 2e-3, kCodeGradient = 1e-2, kPolicyBound = 3e-2;
  auto module = derived(kVocabulary, "bf16");
  ASSERT_TRUE(module);
  mlir::OwningOpRef<mlir::ModuleOp> planned = module->clone();
  auto executor = compile(*planned, "bf16");
  ASSERT_TRUE(executor.isOk()) << executor.status().message();
  reference::PackedBatch batch({0, kTokens}, oddSegments(kTokens));
  reference::Memory memory = drawInputs(*module, kVocabulary, batch);
  reference::Memory truth = memory, rounded = memory;
  for (auto [program, result] :
       {std::pair(*module, &truth), std::pair(*planned, &rounded)})
    ASSERT_TRUE(mlir::succeeded(
        reference::run(program, "accumulate@plain", batch, *result)));
  rt::Status ran = run(**executor, "accumulate@plain", batch, memory);
  ASSERT_TRUE(ran.isOk()) << ran.message();
  {
    SCOPED_TRACE("code");
    expectNear(memory, rounded, kCodeForward, kCodeGradient);
  }
  SCOPED_TRACE("policy");
  expectNear(rounded, truth, kPolicyBound, kPolicyBound);
}
