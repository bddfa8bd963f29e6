//===- ModelKernelsTest.cpp - every row kernel of whole models ----------------===//
//
// Small and odd sizes of the models, training step and optimizer included: each
// kernel without a product, emitted for both targets, gives the same numbers in
// the emulator as on the CPU.
//
//===----------------------------------------------------------------------===//
#include "CudaRunner.h"
#include "test/unit/cpu/KernelRunner.h"

#include "dialect/Pg.h"
#include "frontend/Frontend.h"
#include "passes/cpu/StructuredKernels.h"
#include "passes/cuda/Emitters.h"
#include "passes/pipeline/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace pg;
using namespace pg::test;

namespace {

/// The outlined module of a model, and the names of its row kernels.
struct Outlined {
  std::string text;
  std::vector<std::string> rowKernels;
};

Outlined outline(const std::string &model, const std::string &recipe,
                 const std::vector<std::string> &sets,
                 const std::string &precision) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<PgDialect, func::FuncDialect>();
  frontend::Sources sources;
  sources.modelPath = std::string(PG_MODELS) + "/" + model + ".model.yaml";
  sources.recipePath =
      std::string(PG_MODELS) + "/recipes/" + recipe + ".recipe.yaml";
  sources.sets = sets;
  sources.precision = precision;
  Outlined result;
  FailureOr<frontend::Built> built = frontend::build(context, sources);
  if (failed(built))
    return result;
  PipelineOptions options;
  options.precision = precision;
  options.prepareTarget = [](ModuleOp module) {
    PassManager manager(module.getContext());
    manager.addPass(createCpuPreparePass());
    return manager.run(module);
  };
  if (failed(runPipeline(*built->module, "spec", "outlined", options,
                         [](llvm::StringRef) {})))
    return result;
  for (auto def : built->module->getOps<KernelDefOp>())
    if (!cuda::hasStructuredOp(def))
      result.rowKernels.push_back(def.getSymName().str());
  llvm::raw_string_ostream out(result.text);
  built->module->print(out);
  return result;
}

void compareModel(const std::string &model, const std::string &recipe,
                  const std::vector<std::string> &sets,
                  const std::string &precision = "f32") {
  Outlined outlined = outline(model, recipe, sets, precision);
  ASSERT_GT(outlined.rowKernels.size(), 30u);
  CudaRunner runner(outlined.text, outlined.rowKernels);
  ASSERT_EQ(runner.error(), "");
  // Two chunks of partial sums, the second not full; rows and segments.
  PackedBatch batch(77, {30, 31}, {12, 50});
  for (const cuda::EmittedKernel &kernel : runner.kernels())
    for (emulator::Order order :
         {emulator::Order::Random, emulator::Order::GreedyHigh}) {
      emulator::Schedule schedule{order};
      EXPECT_EQ(runner.compare(kernel.symbol, batch.view, schedule), "")
          << kernel.symbol << ", " << emulator::scheduleName(schedule) << "\n"
          << kernel.source;
      if (testing::Test::HasFailure())
        return;
    }
}

TEST(CudaModelKernels, Pr1693OddSizes) {
  compareModel("pr1693", "pr1693-adamw",
               {"dims.D=150", "dims.H=6", "dims.G=3", "dims.V=37", "dims.L=6",
                "options.rope_features=6", "options.gate_width=7",
                "options.mlp_mult=2.5"});
}

TEST(CudaModelKernels, BaselineWithWholeWarpsInHalfPrecision) {
  compareModel("baseline", "baseline-adamw",
               {"dims.D=128", "dims.H=4", "dims.G=2", "dims.V=64",
                "dims.L=4"},
               "bf16");
}

} // namespace
