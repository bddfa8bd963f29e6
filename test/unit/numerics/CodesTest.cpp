//===- CodesTest.cpp - a whole model that reads its weights from codes ------===//
//
// Small #1693, plain and looped: every matrix as codes of 6 bits, the tied table of
// 7, some with a correction of rank 3. The program that reads codes is held against
// the one that reads the dequantised weights: in double, where both must agree to
// rounding, and compiled.
//
//===----------------------------------------------------------------------===//
#include "frontend/Frontend.h"
#include "passes/pipeline/Pipelines.h"
#include "runtime/device/cpu/CpuCode.h"
#include "test/numerics/Compiled.h"
#include "test/numerics/Program.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace pg;
using namespace pg::numerics;
using reference::Shape;
using reference::Tensor;

namespace {

constexpr int64_t kVocabulary = 67;

/// Bits and rank of a quantisation label; 0 bits: not as codes.
std::pair<int64_t, int64_t> howOf(llvm::StringRef label) {
  if (label == "embed")
    return {7, 3};
  if (label == "mlp")
    return {6, 3};
  return {label.empty() ? 0 : 6, 0};
}

class Codes : public testing::Test {
protected:
  Codes() { loadDialects(context); }

  mlir::OwningOpRef<mlir::ModuleOp> derived(const std::string &precision,
                                            bool fused) {
    frontend::Sources sources;
    sources.modelPath = PG_MODELS "/pr1693.model.yaml";
    sources.sets = {"dims.L=4", "dims.D=96", "dims.H=4", "dims.G=2",
                    "dims.V=" + std::to_string(kVocabulary),
                    "options.rope_features=6", "options.gate_width=7",
                    "options.loop_start=1", "options.loop_end=2"};
    sources.maxTokens = 64;
    sources.precision = precision;
    sources.programs = {"score", "logits"};
    mlir::FailureOr<frontend::Built> built = frontend::build(context, sources);
    if (mlir::failed(built))
      return {};
    mlir::Builder builder(&context);
    for (auto parameter : built->module->getOps<ParameterOp>())
      if (auto [bits, rank] = howOf(parameter.getQuant()); fused && bits)
        parameter->setAttr(
            kCodesAttr,
            builder.getDictionaryAttr(
                {builder.getNamedAttr("bits", builder.getI64IntegerAttr(bits)),
                 builder.getNamedAttr("rank", builder.getI64IntegerAttr(rank))}));
    PipelineOptions options;
    options.precision = precision;
    if (mlir::failed(runPipeline(*built->module, "spec", "derived", options,
                                 [](llvm::StringRef) {})))
      return {};
    return std::move(built->module);
  }

  /// Values of all parameters and, beside a weight that has codes, of its parts.
  reference::Memory drawInputs(mlir::ModuleOp materialised,
                               const reference::PackedBatch &batch) {
    reference::Memory memory;
    uint64_t seed = 7;
    for (const char *name : {"tokens", "targets"})
      memory.inputs[name] = draw(tokenInt(name, kVocabulary), batch.tokens(), ++seed);
    memory.inputs["position"] = batch.position();
    memory.inputs["rows"] = Tensor(Shape{8}, std::vector<double>{0, 1, 9, 10, 11, 12, 21, 22});
    for (auto parameter : materialised.getOps<ParameterOp>()) {
      auto type = mlir::cast<mlir::RankedTensorType>(parameter.getType());
      std::string name = parameter.getSymName().str();
      Operand operand = weight("w", Shape(type.getShape().begin(), type.getShape().end()));
      auto [bits, rank] = howOf(parameter.getQuant());
      bool isMatrix = bits != 0;
      operand.high = isMatrix ? std::sqrt(3.0 / operand.shape.back()) : 1.3;
      operand.low = isMatrix ? -operand.high : 0.3;
      Tensor w = draw(operand, 0, ++seed);
      if (isMatrix)
        w = quantise(memory, name, w, bits, rank, seed);
      memory.symbols[name] = w;
    }
    return memory;
  }

  /// Per-row rounding of `w`; leaves the parts in memory and returns their value.
  static Tensor quantise(reference::Memory &memory, const std::string &name,
                         const Tensor &w, int64_t bits, int64_t rank, uint64_t seed) {
    int64_t rows = w.shape[0], columns = w.shape[1];
    double limit = double((int64_t(1) << (bits - 1)) - 1);
    Tensor codes(w.shape), scale(Shape{rows});
    for (int64_t i = 0; i < rows; ++i) {
      double most = 0;
      for (int64_t j = 0; j < columns; ++j)
        most = std::max(most, std::fabs(w[i * columns + j]));
      scale[i] = double(float(most / limit));
      for (int64_t j = 0; j < columns; ++j)
        codes[i * columns + j] = std::nearbyint(w[i * columns + j] / scale[i]);
    }
    Tensor correction(w.shape);
    if (rank) {
      Tensor left = draw(weight("l", {rows, rank}, -0.1, 0.1), 0, seed * 31);
      Tensor right = draw(weight("r", {rank, columns}, -0.1, 0.1), 0, seed * 37);
      correction = matmul(left, right, false, false);
      memory.symbols[name + ".left"] = left;
      memory.symbols[name + ".right"] = right;
    }
    memory.symbols[name + ".codes"] = codes;
    memory.symbols[name + ".scale"] = scale;
    return dequantise(codes, scale, correction);
  }

  std::map<std::string, Tensor> interpreted(mlir::ModuleOp module, const char *entry,
                                            const reference::PackedBatch &batch,
                                            reference::Memory memory) {
    EXPECT_TRUE(mlir::succeeded(reference::run(module, entry, batch, memory)));
    return memory.outputs;
  }

  const reference::PackedBatch batch = oddBatch();
  const std::vector<const char *> entries = {"score@plain", "score@looped", "logits@looped"};
  mlir::MLIRContext context;
};

TEST_F(Codes, ProgramsThatReadThemAgreeWithTheValuesInDouble) {
  auto materialised = derived("f32", false), fused = derived("f32", true);
  ASSERT_TRUE(materialised && fused);
  reference::Memory memory = drawInputs(*materialised, batch);
  mlir::OwningOpRef<mlir::ModuleOp> decomposed = fused->clone();
  ASSERT_TRUE(mlir::succeeded(runPipeline(*decomposed, "derived", "decomposed", {},
                                          [](llvm::StringRef) {})));
  for (const char *entry : entries) {
    auto expected = interpreted(*materialised, entry, batch, memory);
    for (mlir::ModuleOp program : {*fused, *decomposed}) {
      Difference worst = compare(interpreted(program, entry, batch, memory), expected);
      EXPECT_LE(worst.error, 1e-12) << entry << " " << worst.name;
    }
  }
}

TEST_F(Codes, CompiledProgramsReadNoWeightButItsCodes) {
  constexpr double kF32 = 1e-5, kBf16Code = 2e-3, kBf16CodeOfPairs = 5e-3, kBf16Policy = 3e-2;
  auto materialised = derived("f32", false);
  ASSERT_TRUE(materialised);
  reference::Memory drawn = drawInputs(*materialised, batch);
  for (const char *precision : {"f32", "bf16"}) {
    SCOPED_TRACE(precision);
    auto planned = derived(precision, true);
    ASSERT_TRUE(planned);
    auto executor = compile(*planned, precision);
    ASSERT_TRUE(executor.isOk()) << executor.status().message();
    for (const rt::Parameter &parameter : (*executor)->package().parameters) {
      EXPECT_EQ(parameter.name.find(".weight") == parameter.name.size() - 7, false)
          << parameter.name << " is held beside its codes";
      EXPECT_EQ(parameter.dtype == rt::DType::I8, parameter.bits > 0) << parameter.name;
    }
    for (const char *entry : entries) {
      auto truth = interpreted(*materialised, entry, batch, drawn);
      reference::Memory memory = drawn;
      rt::Status ran = run(**executor, entry, batch, memory);
      ASSERT_TRUE(ran.isOk()) << ran.message();
      bool isNarrow = std::string(precision) == "bf16";
      Difference policy = compare(memory.outputs, truth);
      EXPECT_LE(policy.error, isNarrow ? kBf16Policy : kF32) << entry << " " << policy.name;
      if (isNarrow) {
        Difference code = compare(memory.outputs, interpreted(*planned, entry, batch, drawn));
        bool multipliesPairs = rt::multipliesPairs((*executor)->package(), rt::cpuFlags());
        EXPECT_LE(code.error, multipliesPairs ? kBf16CodeOfPairs : kBf16Code) << entry << " " << code.name;
      }
    }
  }
}

} // namespace
