//===- CodesTest.cpp - weights that programs read from codes ----------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class CodesTest : public SpecFixture {
protected:
  /// Builds a tied model with a vector in the same group; the module or "".
  std::string with(const std::string &quantise,
                   const std::vector<std::string> &sets = {}) {
    write("optim/plain.yaml", "optimizer: plain\nbody: |\n  p = p - lr * g\n");
    write("model.yaml",
          "model: m\nparams:\n  w: {shape: [16, 8], quant: embed}\n"
          "  gain: {shape: [8], init: ones, quant: embed}\n"
          "forward: |\n  return linear(gather(w, tokens) * gain, w)\n");
    write("recipe.yaml",
          "recipe: r\noptimizer: {groups: {default: {module: plain, lr: 0.1}}}\n" + quantise);
    return build(sets, /*withRecipe=*/true);
  }
};

TEST_F(CodesTest, FusedMarksTheMatricesAndTrainsNothing) {
  std::string module = with("quantise: {weights: fused, groups: {embed: {bits: 7, rank: 4}}}\n");
  EXPECT_HAS(module, "pg.programs = [\"score\", \"logits\"]");
  EXPECT_HAS(module, "pg.codes = {bits = 7 : i64, rank = 4 : i64}");
  EXPECT_EQ(occurrences(module, "pg.codes"), 1); // a vector keeps its values
  EXPECT_LACKS(module, "@apply");
  EXPECT_EQ(built.recipe.at("quantise.groups.embed.bits").i, 7);
  EXPECT_EQ(built.recipe.count("quantise.weights"), 0u); // structure
}

TEST_F(CodesTest, MaterialiseIsTheDefaultAndChangesNoProgram) {
  std::string module = with("quantise: {groups: {embed: {bits: 7}, other: {bits: 8}}}\n");
  EXPECT_LACKS(module, "pg.codes");
  EXPECT_HAS(module, "@apply");
  EXPECT_EQ(with("quantise: {weights: fused, groups: {embed: {bits: 7}}}\n",
                 {"quantise.weights=materialise"}),
            with("quantise: {groups: {embed: {bits: 7}}}\n"));
}

TEST_F(CodesTest, ErrorsNameGroupsProgramsAndRanges) {
  with("quantise: {weights: fused, groups: {embde: {bits: 7}}}\n");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:37: no parameter has the quantisation group 'embde'; did you mean 'embed'?");
  with("quantise: {weights: fused}\n");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:11: 'weights: fused' needs 'groups'");
  EXPECT_HAS(diagnostics, "groups of the model: embed");
  with("quantise: {groups: {embed: {bits: 9}}}\n");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:35:");
  with("quantise: {groups: {embed: {rank: 4}}}\n");
  EXPECT_HAS(diagnostics, "bits");
  with("quantise: {weights: both, groups: {embed: {bits: 7}}}\n");
  EXPECT_HAS(diagnostics, "recipe.yaml:3:21:");
}

} // namespace
