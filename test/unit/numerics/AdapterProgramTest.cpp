//===- AdapterProgramTest.cpp - a program with adapters --------------------===//
//
// One forward function with a block that runs twice. Its programs come from the
// passes; the reference runs them in double.
//
//===----------------------------------------------------------------------===//
#include "test/numerics/OpCases.h"
#include "test/numerics/Program.h"

#include "passes/derive/Passes.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace pg;
using namespace pg::numerics;
using reference::Memory;
using reference::Shape;
using reference::Tensor;

namespace {

constexpr char kModel[] = R"(
module attributes {pg.logit_rows = 1 : i64, pg.programs = ["score", "adapt"]} {
  pg.parameter @e : tensor<7x4xf64> {init = {kind = "zeros"}, group = "g"}
  pg.parameter @w : tensor<4x4xf64> {init = {kind = "zeros"}, group = "g"}
  pg.state @adapter.up.0.a : tensor<3x2x4xf64> {role = "adapter"}
  pg.state @adapter.up.0.b : tensor<3x4x2xf64> {role = "adapter"}
  pg.state @adapter.up.1.a : tensor<3x2x4xf64> {role = "adapter"}
  pg.state @adapter.up.1.b : tensor<3x4x2xf64> {role = "adapter"}
  func.func private @block(%x: tensor<?x4xf64>, %w: tensor<4x4xf64>) -> tensor<?x4xf64> {
    %h = pg.tanh %x : tensor<?x4xf64>
    %y = pg.matmul %h, %w {transpose_b} : tensor<?x4xf64>, tensor<4x4xf64> -> tensor<?x4xf64>
    %z = pg.site "up" %x to %y : tensor<?x4xf64>, tensor<?x4xf64>
    %r = pg.add %x, %z : tensor<?x4xf64>
    return %r : tensor<?x4xf64>
  }
  func.func @"forward@main"() {
    %tokens = pg.input "tokens" : tensor<?xi32>
    %targets = pg.input "targets" : tensor<?xi32>
    %e = pg.param @e : tensor<7x4xf64>
    %w = pg.param @w : tensor<4x4xf64>
    %x = pg.gather %e, %tokens : tensor<7x4xf64>, tensor<?xi32> -> tensor<?x4xf64>
    %a = func.call @block(%x, %w) : (tensor<?x4xf64>, tensor<4x4xf64>) -> tensor<?x4xf64>
    %b = func.call @block(%a, %w) : (tensor<?x4xf64>, tensor<4x4xf64>) -> tensor<?x4xf64>
    %z = pg.matmul %b, %e {transpose_b} : tensor<?x4xf64>, tensor<7x4xf64> -> tensor<?x7xf64>
    %nll = pg.cross_entropy %z, %targets : tensor<?x7xf64>, tensor<?xi32> -> tensor<?xf64>
    pg.output "logits", %z : tensor<?x7xf64>
    pg.output "nll", %nll : tensor<?xf64>
    return
  }
}
)";

class AdapterProgramTest : public testing::Test {
protected:
  AdapterProgramTest() : batch(oddBatch()) {
    loadDialects(context);
    static const bool registered = (registerDerivePasses(), true);
    (void)registered;
    module = mlir::parseSourceString<mlir::ModuleOp>(kModel, &context);
    auto manager = mlir::PassManager::on<mlir::ModuleOp>(&context);
    if (!module ||
        mlir::failed(mlir::parsePassPipeline(
            "pg-inline,pg-attach,pg-fuse-head,pg-derive", manager)) ||
        mlir::failed(manager.run(*module))) {
      module = nullptr;
      return;
    }
    uint64_t seed = 5;
    auto put = [&](const char *name, Shape shape) {
      memory.symbols[name] = draw(weight(name, shape), 0, ++seed);
    };
    put("e", {7, 4});
    put("w", {4, 4});
    for (const char *name : {"adapter.up.0.a", "adapter.up.1.a"})
      put(name, {3, 2, 4});
    for (const char *name : {"adapter.up.0.b", "adapter.up.1.b"})
      put(name, {3, 4, 2});
    memory.inputs["tokens"] = draw(tokenInt("tokens", 7), batch.tokens(), 1);
    memory.inputs["targets"] = draw(tokenInt("targets", 7), batch.tokens(), 2);
    memory.inputs["loss_weight"] = draw(token("w", {}), batch.tokens(), 3);
    memory.scalars = {{"loss_scale", 0.5}, {"adapter_scale", 1.5}};
  }

  Tensor nllOf(const char *entry, Memory &m) {
    EXPECT_TRUE(mlir::succeeded(reference::run(*module, entry, batch, m)));
    return m.outputs["nll"];
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  reference::PackedBatch batch;
  Memory memory;
};

TEST_F(AdapterProgramTest, ZeroAdaptersChangeNothing) {
  ASSERT_TRUE(module);
  for (const char *name : {"adapter.up.0.b", "adapter.up.1.b"})
    memory.symbols[name] = Tensor(Shape{3, 4, 2});
  Memory plain = memory, adapted = memory;
  EXPECT_EQ(nllOf("score@main", plain).data,
            nllOf("adapt_score@main", adapted).data);
}

TEST_F(AdapterProgramTest, TokensMeetTheAdaptersOfTheirSlotAlone) {
  ASSERT_TRUE(module);
  Memory before = memory;
  Tensor nll = nllOf("adapt_score@main", before);
  // Slot 0 belongs to the second row, token 10.
  Memory after = memory;
  for (int64_t i = 0; i < 8; ++i)
    after.symbols["adapter.up.0.b"][i] += 0.5;
  Tensor moved = nllOf("adapt_score@main", after);
  for (int64_t t = 0; t < nll.size(); ++t)
    EXPECT_EQ(moved[t] != nll[t], t == 10) << t;
}

TEST_F(AdapterProgramTest, GradientIsThatOfTheWeightedLoss) {
  ASSERT_TRUE(module);
  Memory gradients = memory;
  nllOf("adapt@main", gradients);
  EXPECT_FALSE(gradients.symbols.count("grad.w"));
  auto loss = [&](Memory &m) {
    Tensor nll = nllOf("adapt_score@main", m);
    double sum = 0;
    for (int64_t t = 0; t < nll.size(); ++t)
      sum += 0.5 * m.inputs["loss_weight"][t] * nll[t];
    return sum;
  };
  constexpr double kStep = 1e-3;
  for (const auto &[name, value] : memory.symbols) {
    if (name.rfind("adapter.", 0) != 0)
      continue;
    const Tensor &gradient = gradients.symbols["grad." + name];
    ASSERT_EQ(gradient.shape, value.shape) << name;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < value.size(); ++i) {
      auto at = [&](double delta) {
        Memory m = memory;
        m.symbols[name][i] += delta;
        return loss(m);
      };
      double slope =
          (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) /
          (12 * kStep);
      error += (gradient[i] - slope) * (gradient[i] - slope);
      norm += slope * slope;
    }
    EXPECT_GT(norm, 0) << name << ": the check cannot fail";
    EXPECT_LE(std::sqrt(error), 1e-6 * std::sqrt(norm)) << name;
  }
}

} // namespace
