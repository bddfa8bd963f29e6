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

/// A model of parameters w, g, a.scale, b.scale in two labels.
static const char *const kFourParameters =
    "model: m\nforward: |\n  return linear(gather(w, tokens) * g, w)\n"
    "params:\n  w: {shape: [16, 8], group: embed}\n"
    "  g: {shape: [8], group: scalar}\n"
    "  a.scale: {shape: [8], group: scalar}\n"
    "  b.scale: {shape: [8], group: embed}\n";

TEST_F(OptimizerTest, PatternsAndLabelsChooseTheGroup) {
  write("model.yaml", kFourParameters);
  write("recipe.yaml",
        "recipe: r\noptimizer:\n  groups:\n"
        "    embed: {module: momentum, lr: 1, except: [\"*.scale\"]}\n"
        "    scales: {module: momentum, lr: 2, names: [\"?.scale\"]}\n"
        "    rest: {module: momentum, lr: 3, labels: [scalar], names: [g]}\n");
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  ir = ir.substr(ir.find("func.func @apply"));
  // The rate of each update: two of scales, one each of the others.
  for (const auto &[scalar, uses] :
       {std::pair("scales.lr", 2), {"embed.lr", 1}, {"rest.lr", 1}}) {
    size_t at = ir.find("pg.scalar \"" + std::string(scalar));
    ASSERT_NE(at, std::string::npos) << scalar;
    size_t begin = ir.rfind('%', at);
    std::string value = ir.substr(begin, ir.find(' ', begin) - begin);
    EXPECT_EQ(occurrences(ir, "pg.broadcast " + value + " "), uses) << scalar;
  }
}

TEST_F(OptimizerTest, ParametersInTwoGroupsOrNone) {
  write("model.yaml", kFourParameters);
  write("recipe.yaml",
        "recipe: r\noptimizer:\n  groups:\n"
        "    embed: {module: momentum, lr: 1}\n"
        "    scales: {module: momentum, lr: 2, names: [\"*.scale\"]}\n"
        "    scalar: {module: momentum, lr: 3, except: [g, a.*]}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:4:5: no optimizer group takes the "
                          "parameters of label 'scalar' named g");
  EXPECT_HAS(diagnostics, "recipe.yaml:5:5: optimizer groups 'embed' and "
                          "'scales' both take b.scale; leave them out of one "
                          "with 'except'");
  EXPECT_HAS(diagnostics, "recipe.yaml:4:5: note: the other group");
}

TEST_F(OptimizerTest, ArgumentsThatChangeOverTheSteps) {
  write("recipe.yaml",
        "recipe: r\noptimizer:\n  groups:\n"
        "    embed: {module: momentum, lr: 1, args: {beta: {from: 0.8, to: 0.95, "
        "over_steps: 500}}}\n"
        "    scalar: {module: momentum, lr: 1, args: {beta: 0.5}}\n");
  std::string ir = build({"optimizer.groups.embed.args.beta.to=0.97"}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_HAS(ir, "pg.scalar \"embed.beta\" : tensor<f32>");
  std::string path = "optimizer.groups.embed.args.beta";
  EXPECT_EQ(built.recipe.count(path), 0u);
  EXPECT_EQ(built.recipe.at(path + ".from").f, 0.8);
  EXPECT_EQ(built.recipe.at(path + ".to").f, 0.97);
  EXPECT_EQ(built.recipe.at(path + ".over_steps").i, 500);
  EXPECT_EQ(built.recipe.at("optimizer.groups.scalar.args.beta").f, 0.5);
}

TEST_F(OptimizerTest, WrongLinesOverTheSteps) {
  std::string start = "recipe: r\noptimizer:\n  groups:\n    embed: {module: "
                      "momentum, lr: 1}\n    scalar: {module: momentum, lr: 1, ";
  write("recipe.yaml", start + "args: {beta: {from: 1, to: 0}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:5:52: 'beta' needs the key 'over_steps'");
  write("recipe.yaml",
        start + "args: {nesterov: {from: 1, to: 0, over_steps: 5}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:5:56: argument 'nesterov' is true or "
                          "false, which cannot change over the steps");
}

TEST_F(OptimizerTest, StaticArgumentsDecideStructure) {
  write("optim/momentum.yaml",
        "optimizer: momentum\nargs: {count: 2, factors: [1, 2, 3]}\n"
        "static: [count]\nlet: {rank: len(shape)}\nbody: |\n"
        "  for f in factors[:count]:\n    p = p - f * lr * g\n"
        "  p = p if rank == 2 else -p\n");
  write("recipe.yaml", "recipe: r\noptimizer: {groups: {embed: {module: "
                       "momentum, lr: 1}, scalar: {module: momentum, lr: 1, "
                       "args: {count: 0}}}}\n");
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_EQ(occurrences(ir, "pg.sub"), 2);
  EXPECT_EQ(occurrences(ir, "pg.neg"), 1);
  EXPECT_EQ(occurrences(ir, "embed.count"), 0);
}

TEST_F(OptimizerTest, AModuleThatCannotTakeTheShapeNamesTheParameter) {
  write("optim/momentum.yaml", "optimizer: momentum\nlet:\n  rows: shape[-2]\n"
                               "body: |\n  p = p - rows * lr * g\n");
  write("recipe.yaml", "recipe: r\noptimizer: {groups: {embed: {module: "
                       "momentum, lr: 1}, scalar: {module: momentum, lr: 1}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "optim/momentum.yaml:3:15: index -2 is out of range");
  EXPECT_HAS(diagnostics, "recipe.yaml:2:56: group 'scalar' cannot update "
                          "parameter 'g' of shape [8]");
}

TEST_F(OptimizerTest, AveragesAndCopiesStartFromTheParameter) {
  write("optim/momentum.yaml",
        "optimizer: momentum\nstate: {slow: parameter}\nbody: |\n"
        "  p = p - lr * g\n  slow = 0.5 * slow + 0.5 * p\n");
  write("recipe.yaml", "recipe: r\nema: {decay: 0.99}\noptimizer: {groups: "
                       "{embed: {module: momentum, lr: 1}, scalar: {module: "
                       "momentum, lr: 1}}}\n");
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_HAS(ir, "pg.state @momentum_slow.g : tensor<8xf32> {from_parameter, of "
                 "= @g, role = \"optimizer\"");
  EXPECT_HAS(ir, "pg.state @ema.w : tensor<16x8xf32> {from_parameter, of = @w, "
                 "role = \"ema\"");
  EXPECT_HAS(ir, "pg.scalar \"ema.decay\" : tensor<f32>");
  // The average follows the parameter's own update.
  EXPECT_LT(ir.find("pg.store store @w,"), ir.find("pg.store store @ema.w,"));
}

TEST_F(OptimizerTest, AWrongArgumentLeavesNothingToAverage) {
  write("optim/momentum.yaml",
        "optimizer: momentum\nargs: {scale: wide}\nstatic: [scale]\nbody: |\n"
        "  p = p - lr * g * scale\n");
  write("recipe.yaml", "recipe: r\nema: {decay: 0.99}\noptimizer: {groups: "
                       "{embed: {module: momentum, lr: 1}, scalar: {module: "
                       "momentum, lr: 1}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "optim/momentum.yaml:2:15: unknown name 'wide'");
}

TEST_F(OptimizerTest, WithoutAnAverageThereIsNoState) {
  write("recipe.yaml", recipe);
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_EQ(occurrences(ir, "ema"), 0);
}

class QatTest : public OptimizerTest {
protected:
  void SetUp() override {
    OptimizerTest::SetUp();
    write("model.yaml",
          "model: m\nforward: |\n  return linear(linear(gather(w, tokens), a), w)\n"
          "params: {w: {shape: [16, 8], group: embed}, a: {shape: [8, 8], group: "
          "embed, quant: attn}}\n");
    write("quant/grid.yaml",
          "quantiser: grid\nargs: {step: 0.25}\nbody: |\n"
          "  return w + on * stop_gradient(round(w / step, i32) * step - w)\n");
  }
  /// A recipe with the section `qat`.
  void writeRecipe(const std::string &qat) {
    write("recipe.yaml", "recipe: r\noptimizer: {groups: {embed: {module: "
                         "momentum, lr: 1}}}\nqat:\n" + qat);
  }
};

TEST_F(QatTest, ParametersNameTheFunctionOfTheirGroup) {
  writeRecipe("  groups: {attn: {module: grid, args: {step: 0.5}}}\n");
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_HAS(ir, "pg.fake_quant = @quantise.attn.8.8");
  EXPECT_EQ(occurrences(ir, "pg.fake_quant"), 1);
  EXPECT_HAS(ir, "func.func private @quantise.attn.8.8(");
  EXPECT_HAS(ir, "pg.scalar \"qat.on\" : tensor<f32>");
  EXPECT_HAS(ir, "pg.scalar \"qat.attn.step\" : tensor<f32>");
  EXPECT_EQ(built.recipe.at("qat.groups.attn.args.step").f, 0.5);
  EXPECT_EQ(built.recipe.at("qat.start_fraction").f, 0.0);
}

TEST_F(QatTest, WrongGroupsModulesAndBodies) {
  writeRecipe("  groups: {atn: {module: grid}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:4:12: no parameter has the quantisation "
                          "group 'atn'; did you mean 'attn'?");
  writeRecipe("  groups: {attn: {module: grid, args: {stp: 1}}}\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:4:40: quantiser 'grid' has no argument "
                          "'stp'; did you mean 'step'?");
  writeRecipe("  groups: {attn: {module: grid}}\n");
  write("quant/grid.yaml", "quantiser: grid\nbody: |\n  return round(w, i32)\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "quant/grid.yaml:2:7: a quantiser must return w while "
                          "'on' is 0; it does not use 'on'");
  write("quant/grid.yaml", "quantiser: grid\nbody: |\n  return on * sum(w)\n");
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "quant/grid.yaml:2:7: a quantiser returns one tensor "
                          "of the shape [8, 8] of w");
}

} // namespace
