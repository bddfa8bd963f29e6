//===- TrainerTest.cpp - the training protocol ----------------------------------===//
#include "FakePackage.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/Json.h"
#include "runtime/train/GradientNorm.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Trainer.h"
#include "runtime/weights/Weights.h"

#include <cmath>
#include <csignal>
#include <sstream>

namespace pg::rt {
namespace {

class TrainerTest : public ::testing::Test {
protected:
  std::string folder = testFolder();
  TrainOptions options;

  void SetUp() override {
    spill(folder + "/fineweb_train_0.bin", serialiseShard(patternTokens(400)));
    spill(folder + "/fineweb_val_0.bin", serialiseShard(patternTokens(60)));
    options.dataFolder = folder;
    options.runFolder = folder + "/run";
  }
  StatusOr<TrainResult> trainWith(std::vector<std::string> settings, int threads = 1) {
    auto executor = fakeExecutor(threads);
    Recipe recipe(executor->package());
    for (const std::string &setting : settings)
      EXPECT_TRUE(recipe.set(setting, "test").isOk());
    return train(*executor, recipe, options);
  }
  std::vector<Json> metrics() {
    std::vector<Json> lines;
    std::istringstream text(slurp(options.runFolder + "/metrics.jsonl"));
    for (std::string line; std::getline(text, line);)
      lines.push_back(*parseJson(line));
    return lines;
  }
};

TEST_F(TrainerTest, LearnsThePatternAndLogs) {
  auto result = trainWith({"schedule.steps=40", "eval.every=20", "schedule.warmdown_fraction=0.5"});
  ASSERT_TRUE(result.isOk()) << result.status().message();
  EXPECT_EQ(result->steps, 40);
  EXPECT_EQ(result->tokens, 40 * 32);
  double first = 0;
  std::vector<std::string> events;
  int validations = 0;
  for (const Json &line : metrics()) {
    if (line["stage"] == "train" && line["step"] == 1)
      first = line["loss"].get<double>();
    if (line["stage"] == "event")
      events.push_back(line["event"].get<std::string>() + line.value("phase", ""));
    validations += line["stage"] == "validate";
  }
  EXPECT_NEAR(first, std::log(8.0), 0.1);
  EXPECT_LT(result->lastLoss, 0.7 * first);
  EXPECT_EQ(events, (std::vector<std::string>{"phaseplain", "phaselate", "end"}));
  EXPECT_EQ(validations, 2);
  auto config = parseJson(slurp(options.runFolder + "/config.json"));
  ASSERT_TRUE(config.isOk());
  EXPECT_EQ((*config)["recipe"]["schedule.steps"]["origin"], "test");
  EXPECT_EQ((*config)["recipe"]["optimizer.groups.embed.lr"]["origin"], "fake.recipe.yaml:1:1");
}

TEST_F(TrainerTest, SameBitsForOneAndTwoThreads) {
  std::vector<std::string> weights;
  for (int threads : {1, 2, 1}) {
    ASSERT_TRUE(trainWith({"clip.norm=0.2", "batch.packing=documents"}, threads).isOk());
    weights.push_back(slurp(options.runFolder + "/weights.safetensors"));
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(weights[0], weights[2]);
  EXPECT_FALSE(weights[0].empty());
}

TEST_F(TrainerTest, ContinuesFromGivenWeights) {
  ASSERT_TRUE(trainWith({"schedule.steps=40"}).isOk());
  double before = metrics().back()["t"].is_number() ? 0 : 1;
  std::string kept = folder + "/init.safetensors";
  spill(kept, slurp(options.runFolder + "/weights.safetensors"));
  options.initialWeights = kept;
  auto result = trainWith({"schedule.steps=1"});
  ASSERT_TRUE(result.isOk()) << result.status().message();
  EXPECT_LT(result->lastLoss + before, 1.5);
}

TEST_F(TrainerTest, DivergenceStopsWithTheLastGoodWeights) {
  std::vector<float> values(64, 0.0f);
  values[2 * 8] = NAN; // token 2 occurs in the data
  options.initialWeights = folder + "/nan.safetensors";
  ASSERT_TRUE(writeSafetensors(options.initialWeights,
                               {{"table", "F32", {8, 8}, {reinterpret_cast<const char *>(values.data()), 256}}})
                  .isOk());
  auto result = trainWith({});
  EXPECT_EQ(result.status().code(), Code::Numerical);
  EXPECT_NE(result.status().message().find("the loss is nan"), std::string::npos);
  EXPECT_NE(result.status().message().find("at step 1;"), std::string::npos);
  auto weights = SafetensorsFile::read(options.runFolder + "/weights.safetensors");
  EXPECT_TRUE(weights.isOk());
  EXPECT_EQ(metrics().back()["event"], "failed");
}

TEST_F(TrainerTest, RunFolderIsHeldByOneProcess) {
  auto held = RunFolder::open(options.runFolder);
  ASSERT_TRUE(held.isOk());
  auto result = trainWith({});
  EXPECT_EQ(result.status().code(), Code::Io);
  EXPECT_EQ(result.status().message(), "run folder '" + options.runFolder + "' is in use by another process");
}

TEST_F(TrainerTest, ImpossibleRecipesSayWhatToChange) {
  EXPECT_EQ(trainWith({"batch.step_tokens=33"}).status().message(),
            "batch.step_tokens 33 is not a multiple of batch.micro_tokens 16");
  EXPECT_EQ(trainWith({"batch.micro_tokens=64", "batch.step_tokens=64"}).status().message(),
            "batch.micro_tokens is 64, the package was compiled for at most 32 tokens; recompile with --max-tokens 64");
  EXPECT_EQ(trainWith({"batch.row_length=5"}).status().message(),
            "batch.micro_tokens 16 is not a multiple of batch.row_length 5");
  EXPECT_EQ(trainWith({"ema.decay=0.9"}).status().code(), Code::Invalid);
  EXPECT_EQ(trainWith({"schedule.steps=0"}).status().code(), Code::Usage);
}

TEST_F(TrainerTest, ClockEndsTheRun) {
  auto result = trainWith({"schedule.steps=0", "schedule.max_seconds=0.05"});
  ASSERT_TRUE(result.isOk()) << result.status().message();
  EXPECT_GT(result->steps, 0);
  EXPECT_LT(result->seconds, 5);
}

TEST(GradientNorm, JointNormAndClip) { // 3-4-5
  auto executor = fakeExecutor(2);
  auto *gradient = static_cast<float *>(executor->state(0));
  gradient[0] = 3;
  gradient[63] = -4;
  GradientNorm norm(*executor);
  EXPECT_DOUBLE_EQ(norm.norm(), 5.0);
  norm.clip(5.0, 10.0);
  EXPECT_EQ(gradient[0], 3.0f);
  norm.clip(5.0, 1.0); // factor 1 / (5 + 1e-6)
  EXPECT_NEAR(gradient[0], 0.6, 1e-6);
  EXPECT_NEAR(norm.norm(), 1.0, 1e-6);
}

} // namespace
} // namespace pg::rt
