//===- TrainerTest.cpp - the training protocol ----------------------------------===//
#include "FakePackage.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/Json.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Trainer.h"
#include "runtime/weights/Weights.h"

#include <cmath>
#include <csignal>
#include <sstream>
#include <unistd.h>

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
    if (!options.resume) // every call is a run of its own
      (void)!std::system(("rm -rf '" + options.runFolder + "'").c_str());
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
  EXPECT_EQ(events, (std::vector<std::string>{"start", "phaseplain", "checkpoint", "phaselate", "checkpoint", "end"}));
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
  EXPECT_NE(result.status().message().find(
                "at step 1; the first tensor that is not finite is parameter 'table' (fake.yaml:1:1)"),
            std::string::npos)
      << result.status().message();
  EXPECT_EQ(metrics().back()["event"], "failed");
  // Nothing that holds a NaN is written.
  EXPECT_EQ(listFolder(options.runFolder + "/checkpoints")->size(), 0u);
  EXPECT_EQ(slurp(options.runFolder + "/weights.safetensors"), "");
}

TEST_F(TrainerTest, RunFolderIsHeldByOneProcess) {
  auto held = RunFolder::open(options.runFolder, false);
  ASSERT_TRUE(held.isOk());
  options.resume = true; // keeps trainWith from removing the folder
  auto result = trainWith({});
  EXPECT_EQ(result.status().code(), Code::Io);
  std::string start = "run folder '" + options.runFolder + "' is in use by another process (process " +
                      std::to_string(::getpid()) + " on ";
  EXPECT_EQ(result.status().message().substr(0, start.size()), start);
}

TEST_F(TrainerTest, AFolderWithARunIsNotOverwritten) {
  ASSERT_TRUE(trainWith({"schedule.steps=2"}).isOk());
  std::string weights = slurp(options.runFolder + "/weights.safetensors");
  auto again = RunFolder::open(options.runFolder, false);
  EXPECT_EQ(again.status().code(), Code::Usage);
  EXPECT_NE(again.status().message().find("--resume"), std::string::npos);
  EXPECT_EQ(slurp(options.runFolder + "/weights.safetensors"), weights);
}

TEST_F(TrainerTest, ImpossibleRecipesSayWhatToChange) {
  EXPECT_EQ(trainWith({"batch.step_tokens=33"}).status().message(),
            "batch.step_tokens 33 is not a multiple of batch.micro_tokens 16");
  EXPECT_EQ(trainWith({"batch.micro_tokens=64", "batch.step_tokens=64"}).status().message(),
            "batch.micro_tokens is 64, the package was compiled for at most 32 tokens; recompile with --max-tokens 64");
  EXPECT_EQ(trainWith({"batch.row_length=5"}).status().message(),
            "batch.micro_tokens 16 is not a multiple of batch.row_length 5");
  EXPECT_EQ(trainWith({"batch.rank_tokens=24"}).status().message(),
            "batch.rank_tokens 24 is not a multiple of batch.micro_tokens 16");
  EXPECT_EQ(trainWith({"batch.logical_ranks=4"}).status().message(),
            "batch.step_tokens 32 is not a multiple of batch.logical_ranks * batch.rank_tokens 64");
  EXPECT_EQ(trainWith({"clip.mode=local"}).status().message(), "clip.mode is 'local', expected joint or per_logical_rank");
  EXPECT_EQ(trainWith({"schedule.measure=seconds"}).status().message(),
            "schedule.measure is seconds, but there is no limit of seconds to measure by");
  EXPECT_EQ(trainWith({"schedule.warmdown_fraction=0.5", "schedule.warmdown_steps=5"}).status().code(), Code::Invalid);
  EXPECT_EQ(trainWith({"schedule.steps=0"}).status().code(), Code::Usage);
}

TEST_F(TrainerTest, ClockEndsTheRun) {
  auto result = trainWith({"schedule.steps=0", "schedule.max_seconds=0.05"});
  ASSERT_TRUE(result.isOk()) << result.status().message();
  EXPECT_GT(result->steps, 0);
  EXPECT_LT(result->seconds, 5);
}

TEST_F(TrainerTest, TokenBudgetEndsTheRun) {
  auto result = trainWith({"schedule.steps=0", "schedule.max_tokens=100"}); // 32 a step
  ASSERT_TRUE(result.isOk()) << result.status().message();
  EXPECT_EQ(result->steps, 4);
}

TEST_F(TrainerTest, LogicalRanksAreSharesOfTheSameTokens) {
  // Two ranks of 16 tokens or two micro-steps of 16: the same spans, the same mean; the sums are formed in another
  // order, so the weights agree to rounding.
  ASSERT_TRUE(trainWith({"batch.packing=stream", "schedule.steps=10"}).isOk());
  auto plain = *toDoubles(*SafetensorsFile::read(options.runFolder + "/weights.safetensors")->find("table"), "table");
  ASSERT_TRUE(trainWith({"batch.packing=stream", "schedule.steps=10", "batch.logical_ranks=2"}).isOk());
  auto ranks = *toDoubles(*SafetensorsFile::read(options.runFolder + "/weights.safetensors")->find("table"), "table");
  double largest = 0;
  for (size_t i = 0; i < plain.size(); ++i)
    largest = std::max(largest, std::fabs(plain[i] - ranks[i]));
  EXPECT_LT(largest, 1e-6);
}

TEST_F(TrainerTest, ClippingPerRankIsNotJointClipping) {
  std::vector<std::string> weights;
  for (const char *mode : {"clip.mode=joint", "clip.mode=per_logical_rank"}) {
    ASSERT_TRUE(trainWith({"clip.norm=0.02", "batch.logical_ranks=2", "schedule.steps=6", mode}).isOk());
    weights.push_back(slurp(options.runFolder + "/weights.safetensors"));
  }
  EXPECT_NE(weights[0], weights[1]);
  // With one rank there is no difference.
  weights.clear();
  for (const char *mode : {"clip.mode=joint", "clip.mode=per_logical_rank"}) {
    ASSERT_TRUE(trainWith({"clip.norm=0.02", "schedule.steps=6", mode}).isOk());
    weights.push_back(slurp(options.runFolder + "/weights.safetensors"));
  }
  EXPECT_EQ(weights[0], weights[1]);
}

TEST_F(TrainerTest, WarmUpIsUndoneExceptWhatTheRecipeKeeps) {
  auto weightsAfter = [&](std::vector<std::string> settings) {
    settings.push_back("schedule.steps=5");
    EXPECT_TRUE(trainWith(settings).isOk());
    return slurp(options.runFolder + "/weights.safetensors");
  };
  // The fake optimizer starts its momentum at step 1: only from decay on does a kept one show, so the check sum is of
  // the checkpoint that the run starts from.
  std::string plain = weightsAfter({});
  EXPECT_EQ(weightsAfter({"schedule.restored_warmup.steps=3"}), plain);
  bool isAnnounced = false;
  for (const Json &line : metrics())
    if (line["stage"] == "event" && line["event"] == "warm_up") {
      isAnnounced = true;
      EXPECT_EQ(line["steps"], 6); // three of each phase
      EXPECT_EQ(line["kept_states"], 0);
    }
  EXPECT_TRUE(isAnnounced);
  weightsAfter({"schedule.restored_warmup.steps=3", "schedule.restored_warmup.keep_states=other, moment*"});
  for (const Json &line : metrics())
    if (line["stage"] == "event" && line["event"] == "warm_up")
      EXPECT_EQ(line["kept_states"], 1);
}

/// Tells what a run did, and how often memory was taken between two steps.
class Recorder : public TrainObserver {
public:
  Status onStep(const StepReport &step) override {
    multipliers.push_back(step.multiplier);
    elapsed.push_back(step.elapsed);
    phases.emplace_back(step.phase);
    return Status::ok();
  }
  std::vector<double> multipliers, elapsed;
  std::vector<std::string> phases;
};

TEST_F(TrainerTest, ReplayRepeatsEveryDecisionOfTheClock) {
  Recorder first, second;
  options.observers = {&first};
  std::vector<std::string> clocked = {"schedule.steps=0", "schedule.max_seconds=0.05", "schedule.warmdown_steps=1000"};
  auto recorded = trainWith(clocked);
  ASSERT_TRUE(recorded.isOk()) << recorded.status().message();
  std::string weights = slurp(options.runFolder + "/weights.safetensors");
  EXPECT_EQ(first.phases.back(), "late");
  EXPECT_LT(first.multipliers.back(), 0.9);

  options.replayFolder = options.runFolder;
  options.runFolder = folder + "/again";
  options.observers = {&second};
  auto repeated = trainWith(clocked);
  ASSERT_TRUE(repeated.isOk()) << repeated.status().message();
  EXPECT_EQ(repeated->steps, recorded->steps);
  EXPECT_EQ(second.multipliers, first.multipliers);
  EXPECT_EQ(second.elapsed, first.elapsed);
  EXPECT_EQ(second.phases, first.phases);
  EXPECT_EQ(slurp(options.runFolder + "/weights.safetensors"), weights);
  EXPECT_EQ(slurp(options.runFolder + "/clock.jsonl"), slurp(options.replayFolder + "/clock.jsonl"));
}

TEST_F(TrainerTest, SecondsOfTheLedgerAddUpToTheWallTime) {
  TimeLedger ledger;
  options.ledger = &ledger;
  ASSERT_TRUE(trainWith({"eval.every=5", "schedule.restored_warmup.steps=1"}).isOk());
  EXPECT_NEAR(ledger.total(), ledger.wall(), 1e-3);
  for (Stage stage : {Stage::Load, Stage::WarmUp, Stage::Train, Stage::Validate, Stage::Checkpoint})
    EXPECT_GT(ledger.seconds(stage), 0) << stageName(stage);
}

} // namespace
} // namespace pg::rt
