//===- OptimizerTest.cpp - recipes and @apply ------------------------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class OptimizerTest : public SpecFixture {
protected:
  void SetUp() override {
    SpecFixture::SetUp();
    write("model.yaml",
          "model: m\nforward: |\n  return linear(gather(w, tokens) * g, w)\n"
          "params: {w: {shape: [16, 8], group: embed}, g: {shape: [8], group: "
          "scalar}}\n");
    write("optim/momentum.yaml",
          "optimizer: momentum\nargs: {beta: 0.9, nesterov: false}\n"
          "state: {m: zeros}\nbody: |\n  m = beta * m + g\n"
          "  if nesterov:\n    p = p - lr * (g + beta * m)\n"
          "  else:\n    p = p - lr * m\n");
  }
  const std::string recipe =
      "recipe: r\nbatch: {micro_tokens: 2048, step_tokens: 8192}\n"
      "optimizer:\n  groups:\n    embed: {module: momentum, lr: 0.1}\n"
      "    scalar: {module: momentum, lr: 0.2, args: {beta: 0.5}}\n";
};

TEST_F(OptimizerTest, ApplyUpdatesEveryParameter) {
  write("recipe.yaml", recipe);
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_HAS(ir, "pg.state @momentum_m.w : tensor<16x8xf32> {of = @w, role = "
                 "\"optimizer\"");
  EXPECT_HAS(ir, "pg.state @grad.g : tensor<8xf32>");
  EXPECT_HAS(ir, "func.func @apply()");
  EXPECT_HAS(ir, "pg.scalar \"scalar.beta\" : tensor<f32>");
  EXPECT_HAS(ir, "pg.store store @momentum_m.g,");
  EXPECT_HAS(ir, "pg.store store @w,");
  EXPECT_HAS(ir, "pg.max_tokens = 2048 : i64");
}

TEST_F(OptimizerTest, ValuesCarryDefaultsAndOrigins) {
  write("recipe.yaml", recipe);
  ASSERT_NE(build({"schedule.steps=77"}, true), "") << diagnostics;
  EXPECT_EQ(built.recipe.at("schedule.steps").i, 77);
  EXPECT_EQ(built.recipe.at("schedule.steps").location, "--set:1:16");
  EXPECT_EQ(built.recipe.at("seed").i, 1337);
  EXPECT_EQ(built.recipe.at("data.train").s, "fineweb_train_*.bin");
  EXPECT_EQ(built.recipe.at("optimizer.groups.embed.lr").f, 0.1);
  EXPECT_EQ(built.recipe.at("optimizer.groups.embed.args.beta").f, 0.9);
  EXPECT_EQ(built.recipe.at("optimizer.groups.scalar.args.beta").f, 0.5);
  EXPECT_EQ(built.recipe.at("optimizer.groups.embed.module").s, "momentum");
  EXPECT_EQ(built.recipe.at("batch.micro_tokens").location,
            folder + "/recipe.yaml:2:23");
}

TEST_F(OptimizerTest, ParameterWithoutGroup) {
  write("recipe.yaml", "recipe: r\noptimizer: {groups: {embed: {module: "
                       "momentum, lr: 0.1}, scaler: {module: momentum, lr: 1}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:2:21: no optimizer group 'scalar' for "
                          "parameters g; did you mean 'scaler'?");
}

TEST_F(OptimizerTest, UnknownArgumentOfAModule) {
  write("recipe.yaml", recipe + "    extra: {module: momentum, lr: 1, args: "
                                "{bta: 1}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:7:45: optimizer 'momentum' has no "
                          "argument 'bta'; did you mean 'beta'?");
}

TEST_F(OptimizerTest, UnknownModule) {
  write("recipe.yaml", "recipe: r\noptimizer: {groups: {embed: {module: "
                       "momentun, lr: 0.1}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:2:38: no file 'optim/momentun.yaml'");
  EXPECT_HAS(diagnostics, "did you mean 'momentum'?");
}

TEST_F(OptimizerTest, UpdateMustKeepTheShape) {
  write("optim/momentum.yaml",
        "optimizer: momentum\nargs: {beta: 0}\nbody: |\n  p = sum(p)\n");
  write("recipe.yaml", recipe);
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "optim/momentum.yaml:3:7: 'p' must keep the shape "
                          "[16, 8] of parameter 'w', got [16]");
}

} // namespace
