//===- TrainSupportTest.cpp - schedules, clocks, ledgers, sums of gradients -------===//
#include "FakePackage.h"
#include "runtime/exec/Gradients.h"
#include "runtime/support/Hash64.h"
#include "runtime/support/JsonLine.h"
#include "runtime/support/TimeLedger.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Schedule.h"
#include "runtime/train/TrainClock.h"

#include <cmath>
#include <unistd.h>

namespace pg::rt {
namespace {

TEST(Schedule, FractionIsOfTheLimitThatIsNearest) {
  Schedule schedule;
  schedule.budget = {100, 1000, 60};
  EXPECT_DOUBLE_EQ(schedule.fraction({50, 100, 6}), 0.5);
  EXPECT_DOUBLE_EQ(schedule.fraction({10, 700, 6}), 0.7);
  EXPECT_DOUBLE_EQ(schedule.fraction({10, 100, 54}), 0.9);
  schedule.measure = Schedule::Measure::Seconds;
  EXPECT_DOUBLE_EQ(schedule.fraction({90, 900, 6}), 0.1);
  EXPECT_DOUBLE_EQ(schedule.fraction({90, 900, 66}), 1);
  EXPECT_FALSE(schedule.budget.isSpent({99, 999, 59.9}));
  EXPECT_TRUE(schedule.budget.isSpent({100, 0, 0}));
  EXPECT_TRUE(schedule.budget.isSpent({0, 1000, 0}));
  EXPECT_TRUE(schedule.budget.isSpent({0, 0, 60}));
}

TEST(Schedule, WarmDownByFraction) {
  Schedule schedule;
  schedule.budget.steps = 100;
  schedule.warmdownFraction = 0.4;
  schedule.minLr = 0.1;
  EXPECT_EQ(schedule.multiplier({59, 0, 0}), 1);
  EXPECT_DOUBLE_EQ(schedule.multiplier({80, 0, 0}), 0.5);
  EXPECT_DOUBLE_EQ(schedule.multiplier({98, 0, 0}), 0.1); // 0.05 is below the floor
  schedule.shape = Schedule::Shape::Cosine;
  EXPECT_EQ(schedule.multiplier({59, 0, 0}), 1);
  EXPECT_DOUBLE_EQ(schedule.multiplier({80, 0, 0}), 0.1 + 0.9 * 0.5);
  EXPECT_NEAR(schedule.multiplier({100, 0, 0}), 0.1, 1e-15);
  schedule.warmupSteps = 4;
  EXPECT_DOUBLE_EQ(schedule.multiplier({0, 0, 0}), 0.25);
  EXPECT_DOUBLE_EQ(schedule.multiplier({4, 0, 0}), 1);
}

TEST(Schedule, WarmDownStepsByTokensFollowTheMeanPace) {
  Schedule schedule;
  schedule.budget.tokens = 1000; // 10 tokens a step: 100 steps
  schedule.warmdownSteps = 20;
  EXPECT_EQ(schedule.multiplier({79, 790, 0}), 1);
  EXPECT_DOUBLE_EQ(schedule.multiplier({90, 900, 0}), 0.5);
}

TEST(Ramp, LinearThenConstant) {
  Ramp ramp{0.85, 0.95, 10};
  EXPECT_DOUBLE_EQ(ramp.at(0), 0.85);
  EXPECT_DOUBLE_EQ(ramp.at(5), 0.9);
  EXPECT_DOUBLE_EQ(ramp.at(10), 0.95);
  EXPECT_DOUBLE_EQ(ramp.at(1000), 0.95);
  EXPECT_EQ((Ramp{3, 3, 0}.at(0)), 3);
}

TEST(TrainClock, ReadsBackWhatItWrote) {
  std::string path = testFolder() + "/clock.jsonl";
  TimeLedger ledger;
  ledger.enter(Stage::Train);
  std::vector<double> given;
  {
    auto log = AppendFile::open(path, true);
    ASSERT_TRUE(log.isOk());
    TrainClock clock(ledger, &*log);
    for (int64_t step = 0; step < 5; ++step)
      given.push_back(**clock.before(step));
  }
  EXPECT_LT(given[0], given[4]);
  EXPECT_EQ(*parseClock(slurp(path)), given);
  EXPECT_EQ(parseClock(slurp(path) + "{\"step\":5,\"el")->size(), 5u); // torn
  EXPECT_EQ(parseClock("{\"step\":1,\"elapsed\":0}\n").status().code(), Code::Corrupt);
  EXPECT_EQ(parseClock("nonsense\n").status().code(), Code::Corrupt);
  TrainClock replay(ledger, nullptr, {0.5, 1.5});
  EXPECT_EQ(**replay.before(1), 1.5);
  EXPECT_FALSE((*replay.before(2)).has_value());
}

TEST(TimeLedger, EverySecondOnce) {
  TimeLedger ledger;
  ledger.carry(Stage::Train, 100);
  {
    StageScope train(ledger, Stage::Train);
    StageScope validate(ledger, Stage::Validate);
    ::usleep(2000);
    EXPECT_EQ(ledger.current(), Stage::Validate);
  }
  EXPECT_EQ(ledger.current(), Stage::Load);
  EXPECT_GE(ledger.seconds(Stage::Validate), 0.002);
  EXPECT_LT(ledger.seconds(Stage::Train), 100 + ledger.seconds(Stage::Validate));
  EXPECT_NEAR(ledger.total(), 100 + ledger.wall(), 1e-3);
  EXPECT_TRUE(ledger.toJson().contains("validate"));
  EXPECT_FALSE(ledger.toJson().contains("adapt"));
}

TEST(JsonLine, IsJsonAndTakesNoMoreMemory) {
  JsonLine line(16);
  for (int round = 0; round < 2; ++round) {
    std::string_view text = line.begin()
                                .add("a \"b\"\n", 0.1)
                                .add("nan", std::nan(""))
                                .add("inf", -INFINITY)
                                .add("n", int64_t(-7))
                                .add("yes", true)
                                .add("bad", "\xff\xc3\xa9")
                                .beginObject("in")
                                .add("x", 1e-300)
                                .endObject()
                                .addRaw("raw", "[1]")
                                .end();
    EXPECT_EQ(text, "{\"a \\\"b\\\"\\u000a\":0.1,\"nan\":\"nan\",\"inf\":\"-inf\",\"n\":-7,\"yes\":true,"
                    "\"bad\":\"\xef\xbf\xbd\xc3\xa9\",\"in\":{\"x\":1e-300},\"raw\":[1]}\n");
    auto object = parseJson(text.substr(0, text.size() - 1));
    ASSERT_TRUE(object.isOk()) << object.status().message();
    EXPECT_EQ((*object)["a \"b\"\n"], 0.1);
  }
}

TEST(RunFolder, LinesOfStepsThatCountOnly) {
  EXPECT_EQ(keepLines("{\"step\":1}\n{\"step\":3}\nnoise\n{\"step\":2,\"x\":[]}\n{\"step\":2", 2),
            "{\"step\":1}\n{\"step\":2,\"x\":[]}\n");
}

TEST(Hash64, PiecesDoNotMatterBytesDo) {
  std::string bytes(1000, 'x');
  auto hashOf = [](const std::vector<std::string> &pieces) {
    Hash64 hash;
    for (const std::string &piece : pieces)
      hash.add(piece);
    return hash.hex();
  };
  std::string whole = hashOf({bytes});
  EXPECT_EQ(hashOf({bytes.substr(0, 1), bytes.substr(1, 40), bytes.substr(41)}), whole);
  for (size_t i = 0; i < bytes.size(); i += 37) {
    std::string changed = bytes;
    changed[i] ^= 4;
    EXPECT_NE(hashOf({changed}), whole);
  }
  EXPECT_NE(hashOf({bytes, std::string(1, '\0')}), whole); // length counts
}

class GradientsTest : public ::testing::Test {
protected:
  std::unique_ptr<Executor> executor = fakeExecutor(2);
  float *values = static_cast<float *>(executor->state(0));
};

TEST_F(GradientsTest, JointNormAndClip) { // 3-4-5
  values[0] = 3;
  values[63] = -4;
  Gradients gradients(*executor);
  EXPECT_DOUBLE_EQ(*gradients.norm(), 5.0);
  EXPECT_EQ(Gradients::clipFactor(5, 10), 1);
  EXPECT_EQ(Gradients::clipFactor(5, 0), 1);
  gradients.scale(Gradients::clipFactor(5, 1)); // 1 / (5 + 1e-6)
  EXPECT_NEAR(values[0], 0.6, 1e-6);
  EXPECT_NEAR(*gradients.norm(), 1.0, 1e-6);
}

TEST_F(GradientsTest, RanksAreSummedPairwise) {
  for (int64_t ranks : {1, 2, 3, 5, 6, 8, 13}) {
    Gradients gradients(*executor);
    ASSERT_TRUE(gradients.reserveRanks(ranks).isOk());
    for (int round = 0; round < 2; ++round) {
      // Powers of four: every sum is exact, so any rank left out or added twice shows.
      double expected = 0;
      for (int64_t r = 0; r < ranks; ++r) {
        gradients.zero();
        values[5] = float(std::pow(2.0, double(r)));
        expected += std::pow(2.0, double(r));
        gradients.addRank();
      }
      gradients.total();
      EXPECT_EQ(values[5], float(expected)) << ranks;
      EXPECT_EQ(values[4], 0);
    }
  }
  // ((a + b) + (c + d)), not (((a + b) + c) + d): 1 is lost in 2^24 unless the pair (1, 1) is formed first.
  Gradients gradients(*executor);
  ASSERT_TRUE(gradients.reserveRanks(4).isOk());
  for (float value : {16777216.0f, 0.0f, 1.0f, 1.0f}) {
    gradients.zero();
    values[0] = value;
    gradients.addRank();
  }
  gradients.total();
  EXPECT_EQ(values[0], 16777218.0f);
}

} // namespace
} // namespace pg::rt
