//===- ModelTest.cpp - whole models in the reference, against goldens
//------===//
//
// The YAML models, the derived programs and the reference together reproduce
// the recorded numbers of the golden cases without any compiled code: forward,
// gradients, exact zeros. What the emitters add is tested elsewhere.
//
//===----------------------------------------------------------------------===//
#include "frontend/Frontend.h"
#include "passes/pipeline/Pipelines.h"
#include "runtime/support/File.h"
#include "runtime/weights/Safetensors.h"
#include "test/numerics/Program.h"
#include "tools/pg-golden/CaseMap.h"

#include "gtest/gtest.h"

#include <cmath>
#include <filesystem>

using namespace pg;
using namespace pg::numerics;
using reference::Shape;
using reference::Tensor;

static std::map<std::string, Tensor> readTensors(const std::string &path) {
  std::map<std::string, Tensor> tensors;
  auto file = rt::SafetensorsFile::read(path);
  EXPECT_TRUE(file.isOk()) << path;
  if (!file.isOk())
    return tensors;
  for (const auto &[name, view] : file->tensors()) {
    auto values = rt::toDoubles(view, name);
    EXPECT_TRUE(values.isOk()) << name;
    if (values.isOk())
      tensors[name] = Tensor(view.shape, *values);
  }
  return tensors;
}

/// Rows [B, T+1] of ids as packed inputs and targets with offsets.
struct Tokens {
  std::vector<double> inputs, targets;
  std::vector<int32_t> rows = {0}, segments = {0};
};

static Tokens unpack(std::map<std::string, Tensor> &io) {
  Tokens result;
  const Tensor &ids = io["tokens"];
  int64_t length = ids.shape.back(), count = ids.size() / length;
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t t = 0; t + 1 < length; ++t) {
      result.inputs.push_back(ids[b * length + t]);
      result.targets.push_back(ids[b * length + t + 1]);
    }
    result.rows.push_back(static_cast<int32_t>(result.inputs.size()));
  }
  result.segments = result.rows;
  if (io.count("cu_seqlens")) {
    result.segments.clear();
    for (double offset : io["cu_seqlens"].data)
      result.segments.push_back(static_cast<int32_t>(offset));
  }
  return result;
}

namespace {
class GoldenModelTest : public testing::TestWithParam<const char *> {};
} // namespace

TEST_P(GoldenModelTest, ReferenceReproducesTheRecordedNumbers) {
  std::string folder =
      std::string(PG_GOLDEN_MAPS) + "/cases/" + GetParam() + "/";
  auto text = rt::readFile(folder + "case.json");
  ASSERT_TRUE(text.isOk());
  auto spec = rt::parseJson(*text);
  ASSERT_TRUE(spec.isOk());
  std::string stack = (*spec)["stack"];
  auto map = golden::CaseMap::read(std::string(PG_GOLDEN_MAPS) + "/" + stack +
                                   ".map.yaml");
  ASSERT_TRUE(map.isOk()) << map.status().message();
  auto choice = map->apply(*spec);
  ASSERT_TRUE(choice.isOk()) << choice.status().message();

  mlir::MLIRContext context;
  loadDialects(context);
  frontend::Sources sources;
  sources.modelPath = choice->modelPath;
  sources.sets = choice->overrides;
  sources.precision = "f64";
  mlir::FailureOr<frontend::Built> built = frontend::build(context, sources);
  ASSERT_TRUE(mlir::succeeded(built));
  PipelineOptions options;
  options.precision = "f64";
  ASSERT_TRUE(mlir::succeeded(runPipeline(*built->module, "spec", "derived",
                                          options, [](llvm::StringRef) {})));

  std::map<std::string, Tensor> io = readTensors(folder + "io.safetensors");
  Tokens tokens = unpack(io);
  reference::PackedBatch batch(tokens.rows, tokens.segments);
  reference::Memory memory;
  Shape shape{batch.tokens()};
  memory.inputs["tokens"] = Tensor(shape, tokens.inputs);
  memory.inputs["targets"] = Tensor(shape, tokens.targets);
  memory.inputs["position"] = batch.position();
  memory.scalars["loss_scale"] = 1.0 / static_cast<double>(batch.tokens());
  memory.symbols = readTensors(folder + "weights.safetensors");
  int64_t parameters = 0;
  for (auto parameter : built->module->getOps<ParameterOp>()) {
    std::string name = parameter.getSymName().str();
    auto type = mlir::cast<mlir::RankedTensorType>(parameter.getType());
    ASSERT_TRUE(memory.symbols.count(name)) << name;
    EXPECT_EQ(memory.symbols[name].shape,
              Shape(type.getShape().begin(), type.getShape().end()))
        << name;
    parameters += type.getNumElements();
  }
  EXPECT_EQ(parameters, (*spec)["parameters"].get<int64_t>());

  std::string phase = choice->phase.empty() ? "main" : choice->phase;
  ASSERT_TRUE(mlir::succeeded(
      reference::run(*built->module, "accumulate@" + phase, batch, memory)));
  const Tensor &nll = memory.outputs["nll"];
  double worst = 0;
  ASSERT_EQ(nll.size(), io["nll"].size());
  for (int64_t i = 0; i < nll.size(); ++i)
    worst = std::max(worst, std::fabs(nll[i] - io["nll"][i]));
  // The recorded numbers are those of 32-bit programs: case.json, `measured`.
  EXPECT_LE(worst, 2e-5);

  std::map<std::string, Tensor> expected =
                                    readTensors(folder + "grads.safetensors"),
                                own;
  for (const auto &[name, value] : expected) {
    Tensor &gradient = memory.symbols["grad." + name];
    own[name] = gradient.size() ? gradient : Tensor(value.shape);
  }
  Difference difference = compare(own, expected);
  EXPECT_LE(difference.error, 5e-5) << difference.name;
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenModelTest,
                         testing::Values("model-baseline-b", "model-1232-b",
                                         "model-1693-c", "model-1693-d",
                                         "model-1855-a", "model-1934-b"),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

/// Number of scalars of all parameters of a model file.
static int64_t countParameters(const std::string &file,
                               const std::vector<std::string> &sets) {
  mlir::MLIRContext context;
  loadDialects(context);
  frontend::Sources sources;
  sources.modelPath = std::string(PG_GOLDEN_MAPS) + "/../../models/" + file;
  sources.sets = sets;
  mlir::FailureOr<frontend::Built> built = frontend::build(context, sources);
  EXPECT_TRUE(mlir::succeeded(built)) << file;
  if (mlir::failed(built))
    return 0;
  int64_t count = 0;
  for (auto parameter : built->module->getOps<ParameterOp>())
    count += mlir::cast<mlir::RankedTensorType>(parameter.getType())
                 .getNumElements();
  return count;
}

TEST(Models, HaveTheParametersOfTheOriginals) {
  EXPECT_EQ(countParameters("pr1693.model.yaml", {}), 35945671);
  EXPECT_EQ(countParameters("pr1934.model.yaml", {}), 35945671);
  EXPECT_EQ(countParameters("pr1855.model.yaml", {}), 35945671);
  EXPECT_EQ(countParameters("pr0761.model.yaml", {}), 27137223);
  EXPECT_EQ(countParameters("pr1232.model.yaml", {}), 27137223);
  EXPECT_EQ(countParameters("pr1232.model.yaml", {"options.flow_refiner=true"}),
            27235848);
  EXPECT_EQ(countParameters("baseline.model.yaml", {}), 17059912);
  // The head of its own is one more table.
  EXPECT_EQ(countParameters("baseline.model.yaml", {"options.tied=false"}),
            17059912 + 1024 * 512);
}

TEST(Models, BuildAtAnyDepth) {
  for (const char *depth : {"dims.L=1", "dims.L=4", "dims.L=12"}) {
    EXPECT_GT(countParameters("pr1693.model.yaml", {depth}), 0) << depth;
    EXPECT_GT(countParameters("baseline.model.yaml", {depth}), 0) << depth;
    EXPECT_GT(countParameters("pr0761.model.yaml", {depth}), 0) << depth;
  }
  EXPECT_GT(countParameters("tiny/quickstart.model.yaml", {}), 0);
}
