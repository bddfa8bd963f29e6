//===- SeedSummaryTest.cpp - several seeds and their baseline ------------------------===//
#include "FakePackage.h"
#include "runtime/report/SeedSummary.h"

#include <cmath>

namespace pg::rt {
namespace {

SeedResult result(int64_t seed, double valLoss, std::optional<double> bpb) {
  SeedResult run;
  run.seed = seed;
  run.folder = "seed-" + std::to_string(seed);
  run.trainLoss = 2;
  run.valLoss = valLoss;
  run.bpb = bpb;
  return run;
}

TEST(SeedSummary, SeedsAreCountedOrListed) {
  EXPECT_EQ(*parseSeeds("3", 1337), (std::vector<int64_t>{1337, 1338, 1339}));
  EXPECT_EQ(*parseSeeds("42, 0,1234", 1), (std::vector<int64_t>{42, 0, 1234}));
  EXPECT_EQ(parseSeeds("7,", 1).status().message(), "--seeds 7,: expected how many (1 to 64) or different seeds separated by commas");
  for (const char *bad : {"0", "", "x", "1,1", "-2", "3.5", "100000000000", "65", "1,,2"})
    EXPECT_EQ(parseSeeds(bad, 0).status().code(), Code::Usage) << bad;
}

TEST(SeedSummary, ComparesByTheBestMeasureThatEverySeedHas) {
  auto all = summarise({result(1, 3.0, 1.25), result(2, 3.5, 1.75)}, std::nullopt, 0);
  ASSERT_TRUE(all.isOk());
  EXPECT_EQ(all->metric, "bpb");
  EXPECT_EQ(all->mean, 1.5);
  EXPECT_DOUBLE_EQ(all->deviation, std::sqrt(0.125));
  EXPECT_FALSE(all->welch.has_value());
  auto some = summarise({result(1, 3.0, 1.25), result(2, 3.5, std::nullopt)}, std::nullopt, 0);
  EXPECT_EQ(some->metric, "val_loss");
  EXPECT_EQ(some->mean, 3.25);
  auto one = summarise({result(1, 3.0, 1.25)}, std::nullopt, 0);
  EXPECT_TRUE(std::isnan(one->deviation));
  EXPECT_EQ(one->toJson()["standard_deviation"], "nan");
}

TEST(SeedSummary, BaselineFromValuesAndFromItsOwnFile) {
  std::vector<SeedResult> runs = {result(1, 3, 1.05693), result(2, 3, 1.05730), result(3, 3, 1.05777)};
  auto values = readBaseline("1.0597,1.0601, 1.0592,1.0599");
  ASSERT_TRUE(values.isOk());
  auto summary = summarise(runs, *values, 0);
  ASSERT_TRUE(summary.isOk()) << summary.status().message();
  EXPECT_NEAR(summary->welch->p, 0.000621956387879436, 1e-12); // scipy, see ReportTest
  EXPECT_NE(summary->toText().find("p 6.2e-4"), std::string::npos) << summary->toText();
  // A folder of seeds is a baseline by the values its summary holds.
  std::string folder = testFolder();
  spill(folder + "/seeds.json", summary->toJson().dump());
  auto stored = readBaseline(folder);
  ASSERT_TRUE(stored.isOk()) << stored.status().message();
  EXPECT_EQ(stored->metric, "bpb");
  EXPECT_EQ(stored->values, (std::vector<double>{1.05693, 1.05730, 1.05777}));
  auto same = summarise(runs, *stored, 0);
  ASSERT_TRUE(same.isOk());
  EXPECT_NEAR(same->welch->p, 0.5, 1e-12);
}

TEST(SeedSummary, BaselinesThatCannotServeSayWhy) {
  EXPECT_EQ(readBaseline("1.5").status().message(),
            "--baseline 1.5: a test needs at least two values, separated by commas");
  EXPECT_EQ(readBaseline("/absent/run").status().code(), Code::Io);
  std::string folder = testFolder();
  spill(folder + "/seeds.json", "{\"metric\":\"bpb\",\"runs\":[{\"value\":\"x\"}]}");
  EXPECT_EQ(readBaseline(folder).status().code(), Code::Corrupt);
  Baseline other{"there", "val_loss", {3, 4}};
  EXPECT_EQ(summarise({result(1, 3, 1.2), result(2, 3, 1.3)}, other, 0).status().message(),
            "the baseline 'there' was measured by val_loss, these seeds by bpb");
  other.metric = "bpb";
  EXPECT_EQ(summarise({result(1, 3, 1.2)}, other, 0).status().code(), Code::Invalid);
}

} // namespace
} // namespace pg::rt
