//===- SchemaTest.cpp - keys, types and ranges of the files ----------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class SchemaTest : public SpecFixture {
protected:
  const std::string forward = "forward: |\n  return linear(gather(w, tokens), w)\n"
                              "params: {w: {shape: [16, 8]}}\n";
  std::string recipeErrors(const std::string &recipe,
                           const std::vector<std::string> &sets = {}) {
    write("model.yaml", "model: m\n" + forward);
    write("recipe.yaml", recipe);
    write("optim/sgd.yaml", "optimizer: sgd\nbody: |\n  p = p - lr * g\n");
    EXPECT_EQ(build(sets, true), "");
    return diagnostics;
  }
  const std::string groups =
      "optimizer: {groups: {default: {module: sgd, lr: 0.1}}}\n";
};

TEST_F(SchemaTest, UnknownKeySuggestsTheNearest) {
  EXPECT_HAS(errorsOf("model: m\nparms: {}\n" + forward),
             "model.yaml:2:1: unknown key 'parms' in the model; did you mean "
             "'params'?");
}

TEST_F(SchemaTest, MissingKeys) {
  std::string got = errorsOf("dims: {D: 8}\n");
  EXPECT_HAS(got, "model.yaml:1:1: the model needs the key 'model'");
  EXPECT_HAS(got, "the model needs the key 'forward'");
}

TEST_F(SchemaTest, AllErrorsOfAFileInOneRun) {
  std::string got = errorsOf("model: [m]\ndim: {}\nlayers: 3\n" + forward);
  EXPECT_HAS(got, "model.yaml:1:8: 'model' expects a string, got a list");
  EXPECT_HAS(got, "model.yaml:2:1: unknown key 'dim'");
  EXPECT_HAS(got, "model.yaml:3:9: 'layers' expects a map, got '3'");
}

TEST_F(SchemaTest, AmbiguousScalarsAreNoOptions) {
  for (const char *text : {"010", "08", "yes", "no", "on", "off", "1_000",
                           "nan", ".inf", "0x10", "0o17", "True", "1.", "+1"}) {
    std::string got = errorsOf("model: m\noptions: {a: " + std::string(text) +
                               "}\n" + forward);
    EXPECT_HAS(got, "model.yaml:2:14: 'a' expects a number, true, false or a "
                    "string, got '" + std::string(text) + "'; numbers are "
                    "decimal");
  }
}

TEST_F(SchemaTest, NullIsNoValue) {
  EXPECT_HAS(errorsOf("model: m\noptions: {a: ~}\n" + forward),
             "model.yaml:2:14: 'a' expects a number, true, false or a string, "
             "got nothing");
}

TEST_F(SchemaTest, InitIsOneOfTheListed) {
  EXPECT_HAS(errorsOf("model: m\nforward: x\n"
                      "params: {w: {shape: [2], init: zero}}\n"),
             "model.yaml:3:32: 'init' expects 'zeros' or 'ones', or a map with "
             "one of the keys 'constant', 'normal', 'uniform', 'orthogonal' or "
             "'rows', got 'zero'; did you mean 'zeros'?");
}

TEST_F(SchemaTest, UnknownKeyOfAnInit) {
  EXPECT_HAS(errorsOf("model: m\nforward: x\n"
                      "params: {w: {shape: [2], init: {normal: {sdt: 1}}}}\n"),
             "model.yaml:3:42: unknown key 'sdt' in 'normal'; did you mean "
             "'std'?");
}

TEST_F(SchemaTest, RecipeRange) {
  EXPECT_HAS(recipeErrors("recipe: r\nschedule: {min_lr: 1.5}\n" + groups),
             "recipe.yaml:2:20: 'min_lr' expects a number from 0 to 1, got "
             "'1.5'");
}

TEST_F(SchemaTest, RecipeIntegerRefusesFractions) {
  EXPECT_HAS(recipeErrors("recipe: r\nseed: 1.5\n" + groups),
             "recipe.yaml:2:7: 'seed' expects an integer of at least 0, got "
             "'1.5'");
}

TEST_F(SchemaTest, RecipeQuotedNumberIsAString) {
  EXPECT_HAS(recipeErrors("recipe: r\nseed: \"1\"\n" + groups),
             "recipe.yaml:2:7: 'seed' expects an integer of at least 0, got "
             "the string '1'");
}

TEST_F(SchemaTest, RecipeChoice) {
  EXPECT_HAS(recipeErrors("recipe: r\nbatch: {packing: document}\n" + groups),
             "recipe.yaml:2:18: 'packing' expects 'documents' or 'stream', got "
             "'document'; did you mean 'documents'?");
}

TEST_F(SchemaTest, RecipeMultiples) {
  std::string got = recipeErrors(
      "recipe: r\nbatch: {step_tokens: 5000, micro_tokens: 4096, "
      "row_length: 1000}\n" + groups);
  EXPECT_HAS(got, "recipe.yaml:2:22: 'step_tokens' must be a multiple of "
                  "micro_tokens = 4096, got 5000");
  EXPECT_HAS(got, "recipe.yaml:2:42: 'micro_tokens' must be a multiple of "
                  "row_length = 1000, got 4096");
}

TEST_F(SchemaTest, SetOfAnUnknownKey) {
  EXPECT_HAS(errorsOf("model: m\noptions: {lane: mean}\n" + forward,
                      {"options.lan=attn"}),
             "--set:1:1: unknown name 'lan'; did you mean 'lane'?");
}

TEST_F(SchemaTest, SetOfAWrongType) {
  write("optim/sgd.yaml", "");
  EXPECT_HAS(recipeErrors("recipe: r\n" + groups, {"seed=7", "log.every=often"}),
             "--set:2:11: 'every' expects an integer of at least 1, got "
             "'often'");
}

TEST_F(SchemaTest, SetOfARecipeKeyWithoutRecipe) {
  EXPECT_HAS(errorsOf("model: m\n" + forward, {"schedule.steps=3"}),
             "--set:1:1: 'schedule.steps' belongs to a recipe, but none is "
             "given");
}

TEST_F(SchemaTest, SetWithoutValue) {
  EXPECT_HAS(errorsOf("model: m\n" + forward, {"dims.D"}),
             "--set:1:1: expected path=value, got 'dims.D'");
}

TEST_F(SchemaTest, JsonSchemaComesFromTheSameTable) {
  std::string json = pg::frontend::schemaJson("recipe");
  EXPECT_HAS(json, "\"warmdown_fraction\"");
  EXPECT_HAS(json, "\"maximum\": 1");
  EXPECT_HAS(json, "\"additionalProperties\": false");
  for (const char *which : {"model", "block", "optimizer"})
    EXPECT_HAS(pg::frontend::schemaJson(which), "\"$schema\"");
  EXPECT_HAS(pg::frontend::schemaJson("functions"), "\"rms_norm\"");
  EXPECT_EQ(pg::frontend::schemaJson("nothing"), "");
}

} // namespace
