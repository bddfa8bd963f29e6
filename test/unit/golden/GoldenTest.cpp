//===- GoldenTest.cpp - the golden runner notices what it must
//--------------===//
#include "runtime/support/File.h"
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/CaseMap.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/Process.h"

#include "gtest/gtest.h"

#include <cmath>
#include <filesystem>

using namespace pg;
using namespace pg::golden;
namespace fs = std::filesystem;

static rt::Json parse(const char *text) {
  auto parsed = rt::parseJson(text);
  EXPECT_TRUE(parsed.isOk());
  return *parsed;
}

static CaseMap readMap(const std::string &stack) {
  auto map =
      CaseMap::read(std::string(PG_GOLDEN_MAPS) + "/" + stack + ".map.yaml");
  EXPECT_TRUE(map.isOk()) << map.status().message();
  return *map;
}

TEST(CaseMap, TurnsHyperparametersIntoOverridesAndPhase) {
  auto choice = readMap("pr1693").apply(parse(R"({
    "hyperparameters": {"num_layers": 7, "mlp_mult": 1.5, "smear_gate": true},
    "rope": {"inv_freq": "rounded to bfloat16, then float32"},
    "case": {"loops_on": true}})"));
  ASSERT_TRUE(choice.isOk()) << choice.status().message();
  auto has = [&](const char *text) {
    return std::find(choice->overrides.begin(), choice->overrides.end(),
                     text) != choice->overrides.end();
  };
  EXPECT_EQ(choice->phase, "looped");
  EXPECT_TRUE(has("dims.L=7"));
  EXPECT_TRUE(has("options.mlp_mult=1.5"));
  EXPECT_TRUE(has("options.rope_bf16=true"));
  // Off in the script unless the case says otherwise.
  EXPECT_TRUE(has("options.head_gate=none"));
}

TEST(CaseMap, ListsEveryHyperparameterWithoutARule) {
  auto choice =
      readMap("baseline")
          .apply(parse(
              R"({"hyperparameters": {"num_layers": 2, "wobble": 3, "waggle": "x"}})"));
  ASSERT_FALSE(choice.isOk());
  EXPECT_NE(choice.status().message().find("hyperparameters.wobble = 3"),
            std::string::npos);
  EXPECT_NE(choice.status().message().find("hyperparameters.waggle"),
            std::string::npos);
}

TEST(CaseMap, RefusesAValueWithoutTranslation) {
  auto choice =
      readMap("baseline").apply(parse(R"({"rope": {"inv_freq": "float8"}})"));
  ASSERT_FALSE(choice.isOk());
  EXPECT_NE(choice.status().message().find("rope.inv_freq = float8"),
            std::string::npos);
}

TEST(MapFile, TranslatesTextsPatternsAndListItems) {
  rt::Json spec = parse(R"({"betas": [0.8, 0.9], "rule": "scale max(m/15, 1/7); codes -8..7",
                            "table": "the usual one", "list": [[1, 2]]})");
  std::string problems;
  EXPECT_EQ(*lookUp(spec, "betas.1"), 0.9);
  EXPECT_EQ(lookUp(spec, "betas.2"), nullptr);
  EXPECT_EQ(lookUp(spec, "betas.x"), nullptr);
  MapRule low{"rule", "", "low", "codes (-?[0-9]+)\\.\\.", {}, {}, "", false};
  EXPECT_EQ(translate(low, lookUp(spec, "rule"), problems), "-8");
  MapRule table{"table", "", "table", "", {{"the usual one", "[[3]]"}}, {}, "", false};
  EXPECT_EQ(translate(table, lookUp(spec, "table"), problems), "[[3]]");
  // A table in full needs no translation.
  EXPECT_EQ(translate(table, lookUp(spec, "list"), problems), "[[1,2]]");
  EXPECT_EQ(problems, "");
  EXPECT_FALSE(translate(table, lookUp(spec, "rule"), problems));
  EXPECT_NE(problems.find("no translation of table = scale"), std::string::npos);
}

/// Copies the case, changes one value of case.json, expects the message.
static void expectRefused(const std::string &caseName, const char *from,
                          const char *to, const char *message) {
  fs::path folder = fs::path(testing::TempDir()) / "pg-golden-refused" / caseName;
  fs::remove_all(folder.parent_path());
  fs::create_directories(folder.parent_path());
  fs::copy(fs::path(PG_GOLDEN_MAPS) / "cases" / caseName, folder);
  auto text = rt::readFile((folder / "case.json").string());
  ASSERT_TRUE(text.isOk());
  size_t at = text->find(from);
  ASSERT_NE(at, std::string::npos);
  text->replace(at, std::string(from).size(), to);
  ASSERT_TRUE(rt::writeFileAtomic((folder / "case.json").string(), *text).isOk());
  std::string log = (folder.parent_path() / "log").string();
  EXPECT_FALSE(runProcess({PG_GOLDEN_TOOL, folder.parent_path().string()}, log).isOk());
  auto said = rt::readFile(log);
  ASSERT_TRUE(said.isOk());
  EXPECT_NE(said->find(message), std::string::npos) << *said;
}

TEST(Runner, RefusesOptimizerSettingsItDoesNotKnow) {
  expectRefused("opt-adamw-1232", "\"eps\": 1e-08", "\"amsgrad\": true",
                "no rule for amsgrad = true");
  expectRefused("qat", "codes -32..31", "code book", "no translation of rule");
}

TEST(Runner, SettingsOfOptimizerCasesReachTheProgram) {
  expectRefused("opt-adam-baseline", "\"eps\": 1e-08", "\"eps\": 1e-02",
                "FAIL  opt-adam-baseline");
  expectRefused("qat", "rowmax/31, 1/31", "rowmax/15, 1/15", "FAIL  qat");
}

TEST(Compare, SeesNaNSizesAndZeroNorms) {
  EXPECT_TRUE(std::isnan(maxAbsDifference({1, NAN, 3}, {1, 2, 3})));
  EXPECT_TRUE(std::isinf(maxAbsDifference({1}, {1, 2})));
  EXPECT_EQ(maxAbsDifference({1, 2.5}, {1, 2}), 0.5);
  EXPECT_EQ(relativeL2({3, 4}, {0, 0}), INFINITY);
  EXPECT_EQ(relativeL2({0, 0}, {0, 0}), 0);
  EXPECT_DOUBLE_EQ(relativeL2({3, 5}, {3, 4}), 0.2);
  EXPECT_FALSE((Check{"nll", NAN, 1}.isPass()));
}

/// Copies a case with one expected number moved and expects a failure.
TEST(Runner, FailsACaseWithOneWrongNumber) {
  fs::path folder =
      fs::path(testing::TempDir()) / "pg-golden-tampered" / "tampered";
  fs::remove_all(folder.parent_path());
  fs::create_directories(folder);
  fs::path source = fs::path(PG_GOLDEN_MAPS) / "cases" / "model-baseline-b";
  for (const char *name :
       {"weights.safetensors", "grads.safetensors", "case.json"})
    fs::copy_file(source / name, folder / name);
  auto bytes = rt::readFile((source / "io.safetensors").string());
  ASSERT_TRUE(bytes.isOk());
  auto file = rt::SafetensorsFile::parse(*bytes);
  ASSERT_TRUE(file.isOk());
  std::string nll(file->find("nll")->bytes);
  float first;
  std::copy_n(nll.data(), sizeof first, reinterpret_cast<char *>(&first));
  first += 1e-3f;
  std::copy_n(reinterpret_cast<char *>(&first), sizeof first, nll.data());
  std::vector<rt::TensorToWrite> tensors;
  for (const auto &[name, view] : file->tensors())
    tensors.push_back({name, view.dtype, view.shape,
                       name == "nll" ? std::string_view(nll) : view.bytes});
  ASSERT_TRUE(
      rt::writeSafetensors((folder / "io.safetensors").string(), tensors)
          .isOk());
  std::string log = (folder.parent_path() / "log").string();
  rt::Status status =
      runProcess({PG_GOLDEN_TOOL, folder.parent_path().string()}, log);
  EXPECT_FALSE(status.isOk());
  auto said = rt::readFile(log);
  ASSERT_TRUE(said.isOk());
  EXPECT_NE(said->find("FAIL  tampered"), std::string::npos) << *said;
  EXPECT_NE(said->find("worst nll: 1.00e-03"), std::string::npos) << *said;
}
