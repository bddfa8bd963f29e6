//===- ModelKernelsTest.cpp - every kind of kernel of whole models ------------===//
//
// Small and odd sizes of the models, training step, optimizer and adapters
// included: each kernel, emitted for both targets, gives the same numbers in the
// emulator as on the CPU. Kernels that differ in sizes alone are one kind, and one
// of them is taken where text is long: products, attention, head.
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

#include <set>

using namespace mlir;
using namespace pg;
using namespace pg::test;

namespace {

/// A model, the recipe it is trained with, and what is derived from it.
struct Choice {
  std::string model, recipe, precision;
  std::vector<std::string> sets, programs;
  bool onePerKind = false; ///< of row kernels too
  std::string having;      ///< only kernels whose text has this
};

/// The outlined module, as text, and the kernels to take from it.
struct Outlined {
  std::string text;
  std::vector<std::string> kernels;
};

std::string textOf(KernelDefOp def) {
  std::string text;
  llvm::raw_string_ostream out(text);
  def.getBody().front().print(out);
  return text;
}

/// A kernel without its name and sizes.
std::string kindOf(KernelDefOp def) {
  std::string kind;
  for (char c : textOf(def))
    if (!llvm::isDigit(c))
      kind += c;
  return kind;
}

Outlined outline(const Choice &choice) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<PgDialect, func::FuncDialect>();
  frontend::Sources sources;
  sources.modelPath = std::string(PG_MODELS) + "/" + choice.model + ".model.yaml";
  sources.recipePath =
      std::string(PG_MODELS) + "/recipes/" + choice.recipe + ".recipe.yaml";
  sources.sets = choice.sets;
  sources.precision = choice.precision;
  sources.programs = choice.programs;
  FailureOr<frontend::Built> built = frontend::build(context, sources);
  if (failed(built))
    return {};
  PipelineOptions options;
  options.precision = choice.precision;
  options.storesRounded = true; // as pgc does for this target
  options.prepareTarget = [](ModuleOp module) {
    PassManager manager(module.getContext());
    manager.addPass(createCpuPreparePass());
    return manager.run(module);
  };
  if (failed(runPipeline(*built->module, "spec", "outlined", options,
                         [](llvm::StringRef) {})))
    return {};
  Outlined result;
  std::set<std::string> kinds;
  for (auto def : built->module->getOps<KernelDefOp>())
    if (llvm::StringRef(textOf(def)).contains(choice.having) &&
        ((!cuda::hasStructuredOp(def) && !choice.onePerKind) ||
         kinds.insert(kindOf(def)).second))
      result.kernels.push_back(def.getSymName().str());
  llvm::raw_string_ostream out(result.text);
  built->module->print(out);
  return result;
}

/// Relative L2 that two right kernels may differ by; 0: the runner's own.
double boundOf(const cuda::EmittedKernel &kernel, const std::string &precision) {
  if (precision == "f32")
    return kernel.category == "row" ? 0 : 5e-5;
  // Tensor cores take P, dS and dz rounded, each 2^-9 of a term.
  return kernel.category == "attention" ? 2e-2
         : kernel.category == "head"    ? 1e-2
         // A sum at a tie of the program's own rounding goes either way, also on its way to f32.
         : kernel.category == "matmul" && llvm::StringRef(kernel.source).contains("pg_round_bf16") ? 1.0 / 256
                                        : 0;
}

/// Every kernel under two orders; at least one of each `category` must be there.
void compareModel(const Choice &choice,
                  const std::vector<std::string> &categories) {
  Outlined outlined = outline(choice);
  ASSERT_GT(outlined.kernels.size(), choice.having.empty() ? 10u : 5u);
  CudaRunner runner(outlined.text, outlined.kernels);
  ASSERT_EQ(runner.error(), "");
  for (const std::string &category : categories)
    EXPECT_TRUE(llvm::any_of(runner.kernels(), [&](const auto &kernel) {
      return kernel.category == category;
    })) << category;
  // Two chunks of partial sums, the second not full; rows, segments and slots.
  PackedBatch batch(77, {30, 31}, {12, 50});
  for (int64_t t = 0; t < 77; ++t)
    batch.slot[t] = t < 30 ? 2 : t < 31 ? 0 : 1;
  for (const cuda::EmittedKernel &kernel : runner.kernels())
    for (const emulator::Schedule &schedule :
         {emulator::Schedule{emulator::Order::Random, false},
          emulator::Schedule{emulator::Order::GreedyHigh, true}}) {
      EXPECT_EQ(runner.compare(kernel.symbol, batch.view, schedule,
                               boundOf(kernel, choice.precision)),
                "")
          << kernel.symbol << ", " << emulator::scheduleName(schedule) << "\n"
          << kernel.source;
      if (testing::Test::HasFailure())
        return;
    }
}

const std::vector<std::string> kOddSizes = {
    "dims.D=150", "dims.H=6",  "dims.G=3", "dims.V=67", "dims.L=6",
    "options.rope_features=6", "options.gate_width=7", "options.mlp_mult=2.5"};

// Muon and AdamW; the iteration in f32, where sums in another order stay small.
TEST(CudaModelKernels, Pr1693OddSizes) {
  std::vector<std::string> sets = kOddSizes;
  for (const char *rounding : {"buffers", "iteration"})
    sets.push_back(std::string("recipe.optimizer.groups.matrix.args.") + rounding + "=None");
  compareModel({"pr1693", "pr1693", "f32", sets, {}, /*onePerKind=*/true}, {"row", "matmul", "attention", "head"});
}

// The update as its recipe states it: gradient, momentum and iteration in bf16, stored as bf16 between kernels. Sizes of
// whole pieces and odd ones.
TEST(CudaModelKernels, UpdateOfPr1693ThatIteratesInHalfPrecision) {
  for (const char *size : {"dims.D=96", "dims.D=150"}) {
    std::vector<std::string> sets = kOddSizes;
    sets.front() = size;
    compareModel({"pr1693", "pr1693", "bf16", sets, {"apply"}, /*onePerKind=*/true, "xbf16>"}, {"row", "matmul"});
  }
}

TEST(CudaModelKernels, BaselineWithWholeWarpsInHalfPrecision) {
  compareModel({"baseline", "baseline-adamw", "bf16",
                {"dims.D=128", "dims.H=4", "dims.G=2", "dims.V=64", "dims.L=4"}, {},
                /*onePerKind=*/true},
               {"row", "matmul", "attention", "head"});
}

// Every matrix as codes, the table with a correction: products, look-ups, head.
TEST(CudaModelKernels, Pr1934ThatReadsCodes) {
  compareModel({"pr1934", "pr1934", "bf16",
                {"dims.D=48", "dims.H=3", "dims.G=1", "dims.V=67", "dims.L=4",
                 "options.rope_features=4", "options.gate_width=7",
                 "options.loop_start=1", "options.loop_end=2",
                 "recipe.quantise.weights=fused"},
                {}, true, "xi8>"},
               {"row", "matmul", "head"});
}

TEST(CudaModelKernels, AdaptersOfPr1693) {
  compareModel({"pr1693", "pr1693-adapt", "bf16",
                {"dims.D=48", "dims.H=3", "dims.G=1", "dims.V=67", "dims.L=4",
                 "options.rope_features=4", "options.gate_width=7",
                 "options.loop_start=1", "options.loop_end=2",
                 "recipe.adapt.rank=5", "recipe.adapt.slots=3"},
                {"adapt"}, true},
               {"row", "matmul", "attention"});
}

} // namespace
