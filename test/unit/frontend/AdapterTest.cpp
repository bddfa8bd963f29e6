//===- AdapterTest.cpp - sites of a model, adapters of a recipe ------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class AdapterTest : public SpecFixture {
protected:
  void SetUp() override {
    SpecFixture::SetUp();
    write("model.yaml", model("x = f(x)\n  x = f(x)"));
    write("optim/sgd.yaml", "optimizer: sgd\nargs: {wd: 0.0}\nstate: {v: "
                            "zeros}\nbody: |\n  v = v + g\n  p = p - lr * v\n");
  }
  /// Looks a table up, runs `steps`, and ends with a head; the block's keys
  /// begin at line 5.
  static std::string model(const std::string &steps,
                           const std::string &sites =
                               "[{adapter: up, from: x, to: y}]",
                           const std::string &body = "y = linear(x, w)\n"
                                                     "      return y") {
    return "model: m\ndims: {V: 16, D: 8}\nblocks:\n  b:\n"
           "    inputs: {x: [T, D]}\n    params: {w: {shape: [D, D]}}\n"
           "    sites: " + sites + "\n    body: |\n      " + body +
           "\nparams: {e: {shape: [V, D]}}\nuses: {f: {block: b}}\n"
           "sites: [{adapter: head, from: x, to: z}]\n"
           "forward: |\n  x = gather(e, tokens)\n  " + steps +
           "\n  z = linear(x, e)\n  return z\n";
  }
  static std::string recipe(const std::string &adapt) {
    return "recipe: r\noptimizer: {groups: {default: {module: sgd, lr: "
           "0.1}}}\nadapt: " + adapt + "\n";
  }
  const std::string settings = "rank: 2, slots: 3, optimizer: {module: sgd, lr: "
                               "0.5, args: {wd: 0.25}}";
};

TEST_F(AdapterTest, ASiteStandsWhereItsTargetIsAssigned) {
  std::string ir = build();
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_EQ(occurrences(ir, "pg.site \"up\""), 1) << ir; // one shared block
  EXPECT_HAS(ir, "pg.site \"head\"");
  EXPECT_LACKS(ir, "pg.programs");
}

TEST_F(AdapterTest, OneAdapterForEveryExecutedSite) {
  write("recipe.yaml", recipe("{" + settings + "}"));
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_HAS(ir, "pg.state @adapter.up.0.a : tensor<3x2x8xf32>");
  EXPECT_HAS(ir, "pg.state @adapter.up.1.b : tensor<3x8x2xf32>");
  EXPECT_LACKS(ir, "adapter.up.2");
  EXPECT_HAS(ir, "pg.state @adapter.head.0.b : tensor<3x16x2xf32>");
  // +-1 / sqrt(8)
  EXPECT_HAS(ir, "draw = {high = 0.35355339059327373 : f64, kind = \"uniform\"");
  EXPECT_HAS(ir, "pg.state @grad.adapter.up.0.a : tensor<3x2x8xf32> {role = "
                 "\"adapter_gradient\"}");
  EXPECT_HAS(ir, "pg.state @sgd_v.adapter.up.0.a : tensor<3x2x8xf32> {role = "
                 "\"adapter_optimizer\"}");
  EXPECT_HAS(ir, "func.func @adapt_apply()");
  EXPECT_HAS(ir, "pg.store store @adapter.head.0.a,");
  EXPECT_HAS(ir, "pg.scalar \"adapt.lr\"");
  EXPECT_HAS(ir, "pg.programs = [\"score\", \"logits\", \"accumulate\", "
                 "\"apply\", \"adapt\"]");
  EXPECT_EQ(built.recipe.at("adapt.optimizer.args.wd").f, 0.25);
  EXPECT_EQ(built.recipe.at("adapt.chunk").i, 48);
}

TEST_F(AdapterTest, PhasesShareAdapters) {
  std::string text = model("for i in range(options.passes):\n    x = f(x)");
  write("model.yaml", text + "options: {passes: 1}\nphases:\n  a: {start: 0.0}\n"
                             "  b: {start: 0.5, set: {passes: 3}}\n");
  write("recipe.yaml", recipe("{" + settings + "}"));
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_HAS(ir, "@adapter.up.2.a");
  EXPECT_EQ(occurrences(ir, "pg.state @adapter.up.0.a "), 1);
}

TEST_F(AdapterTest, ARecipeWithoutTheSectionHasNoneOfItsValues) {
  write("recipe.yaml", "recipe: r\noptimizer: {groups: {default: {module: sgd, "
                       "lr: 0.1}}}\n");
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_EQ(built.recipe.count("adapt.chunk"), 0u);
  EXPECT_LACKS(ir, "adapter.");
}

TEST_F(AdapterTest, ChosenSitesOnly) {
  write("recipe.yaml", recipe("{sites: [head], " + settings + "}"));
  std::string ir = build({}, true);
  ASSERT_NE(ir, "") << diagnostics;
  EXPECT_LACKS(ir, "adapter.up");
  EXPECT_HAS(ir, "@adapter.head.0.a");
}

TEST_F(AdapterTest, UnknownSiteOfARecipe) {
  write("recipe.yaml", recipe("{sites: [haed], " + settings + "}"));
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:17: the model has no site 'haed'; did "
                          "you mean 'head'?");
}

TEST_F(AdapterTest, AModelWithoutSites) {
  write("model.yaml", "model: m\nparams: {w: {shape: [16, 8]}}\nforward: |\n"
                      "  return linear(gather(w, tokens), w)\n");
  write("recipe.yaml", recipe("{" + settings + "}"));
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:8: the model declares no site for "
                          "adapters");
}

TEST_F(AdapterTest, ATargetThatNothingAssigns) {
  write("model.yaml", model("x = f(x)", "[{adapter: up, from: x, to: yy}]"));
  EXPECT_EQ(build(), "");
  EXPECT_HAS(diagnostics, "model.yaml:7:40: no statement of the body assigns "
                          "'yy', to which adapter 'up' adds");
}

TEST_F(AdapterTest, ATargetAssignedTwice) {
  write("model.yaml", model("x = f(x)", "[{adapter: up, from: x, to: y}]",
                            "y = linear(x, w)\n      y = 2 * y\n"
                            "      return y"));
  EXPECT_EQ(build(), "");
  EXPECT_HAS(diagnostics, "model.yaml:7:40: 'y' is assigned more than once");
}

TEST_F(AdapterTest, ASourceWithoutValue) {
  write("model.yaml", model("x = f(x)", "[{adapter: up, from: u, to: y}]"));
  EXPECT_EQ(build(), "");
  EXPECT_HAS(diagnostics, "model.yaml:7:33: adapter 'up' reads 'u', which has "
                          "no value where 'y' is assigned");
}

TEST_F(AdapterTest, ATargetOfAnotherRank) {
  write("model.yaml", model("x = f(x)", "[{adapter: up, from: x, to: y}]",
                            "y = reshape(linear(x, w), [T, 2, 4])\n"
                            "      return reshape(y, [T, 8])"));
  EXPECT_EQ(build(), "");
  EXPECT_HAS(diagnostics, "model.yaml:7:40: 'to' of adapter 'up' expects a "
                          "tensor [T, size], got [T, 2, 4]");
}

TEST_F(AdapterTest, AMissingRank) {
  write("recipe.yaml",
        recipe("{slots: 3, optimizer: {module: sgd, lr: 0.5}}"));
  EXPECT_EQ(build({}, true), "");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:8: ");
  EXPECT_HAS(diagnostics, "'rank'");
}

} // namespace
