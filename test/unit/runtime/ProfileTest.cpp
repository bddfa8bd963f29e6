//===- ProfileTest.cpp - what a profile counts, and its bounds ----------------------===//
#include "FakePackage.h"
#include "runtime/exec/Peaks.h"
#include "runtime/report/ProfileReport.h"

namespace pg::rt {
namespace {

TEST(Profile, KeysEndAtTheSegmentAndTheLimit) {
  // Segments of 3 and 2 tokens: 1 + 2 + 3 and 1 + 2 keys.
  std::vector<int32_t> begin = {0, 0, 0, 3, 3};
  Batch batch{5, nullptr, nullptr, begin.data(), nullptr, nullptr};
  EXPECT_EQ(attendedKeys(batch, 0), 9);
  EXPECT_EQ(attendedKeys(batch, 2), 8);
  EXPECT_EQ(attendedKeys(batch, 1), 5);
}

TEST(Profile, FlopsOfAKernelFollowTokensAndKeys) {
  Kernel kernel;
  kernel.flopsFixed = 7;
  kernel.flopsPerToken = 10;
  kernel.flopsPerKey = 100;
  EXPECT_EQ(kernel.flopsAt(5, 9), 7 + 50 + 900);
  EXPECT_EQ(kernel.typicalFlops(2), 7 + 20 + 100 * 2 * kTypicalKeys);
  kernel.keyLimit = 4;
  EXPECT_EQ(kernel.typicalFlops(2), 7 + 20 + 100 * 2 * 4);
}

TEST(Profile, ABoundIsWhatAKernelMeetsFirst) {
  Peaks peaks{100, 0, 10, "made up"};
  Profile::Row row;
  row.seconds = 2;
  row.flops = 100;  // one second at the peak
  row.bytes = 5;    // half a second
  row.threadSeconds = 2.5;
  KernelLimit compute = limitOf(row, peaks, 2);
  EXPECT_STREQ(compute.name, "compute");
  EXPECT_DOUBLE_EQ(compute.share, 0.5);
  // Two threads have four seconds in two; they worked for 2.5 of them.
  EXPECT_DOUBLE_EQ(compute.shareAtWork, 0.8);
  // Half of them in pairs at four times the rate.
  row.pairFlops = 50;
  EXPECT_DOUBLE_EQ(limitOf(row, {100, 400, 10, "made up"}, 2).share, 0.625 / 2);
  EXPECT_DOUBLE_EQ(limitOf(row, peaks, 2).share, 0.5);
  row.bytes = 15;
  EXPECT_STREQ(limitOf(row, peaks, 2).name, "memory");
  EXPECT_DOUBLE_EQ(limitOf(row, peaks, 2).share, 0.75);
  EXPECT_STREQ(limitOf(row, Peaks(), 2).name, "");
}

TEST(Profile, RowsAreApartByProgramAndAddUp) {
  Package package = fakePackage();
  Profile profile(package);
  auto indexOf = [&](const std::string &name) {
    for (size_t i = 0; i < package.entries.size(); ++i)
      if (package.entries[i].name == name)
        return i;
    return size_t(-1);
  };
  profile.keepEvents(true);
  std::vector<Profile::ThreadSpan> spans(2);
  spans[1] = {1.25, 2.0, 0.5};
  profile.startRun(indexOf("score@plain"), nullptr);
  profile.add(0, 1, 2, spans);
  profile.startRun(indexOf("accumulate@plain"), nullptr);
  profile.add(0, 2, 5);
  profile.startRun(indexOf("apply"), nullptr);
  profile.add(3, 5, 7);
  profile.addHostPart("gradient norm", 7, 8);
  ASSERT_EQ(profile.byKernel().size(), 3u);
  EXPECT_EQ(profile.byKernel()[0].program, "accumulate@plain");
  EXPECT_EQ(profile.byProgram().size(), 3u);
  ASSERT_EQ(profile.byCategory().size(), 2u);
  EXPECT_EQ(profile.byCategory()[0].name, "row");
  EXPECT_DOUBLE_EQ(profile.byCategory()[0].seconds, 4);
  EXPECT_DOUBLE_EQ(profile.byCategory()[0].threadSeconds, 0.5);
  EXPECT_EQ(profile.byCategory()[1].name, "optimizer: update");
  EXPECT_DOUBLE_EQ(profile.totalSeconds(), 6);
  // Three launches, one thread's part of the first, one part of the host.
  EXPECT_EQ(profile.events().size(), 5u);

  Json json = profileJson(profile, {2, 4.0, "a machine", {}});
  EXPECT_DOUBLE_EQ(json["kernel_seconds"], 3);
  EXPECT_DOUBLE_EQ(json["host_seconds"], 0.5);
  EXPECT_DOUBLE_EQ(json["between_seconds"], 0.5);
  EXPECT_TRUE(json["peaks"].is_null());
  EXPECT_TRUE(json["kernels"][0]["limit"].is_null());
  EXPECT_NE(profileText(profile, {2, 4.0, "a machine", {}}).find("a machine: peaks are not known"), std::string::npos);
  profile.reset();
  EXPECT_TRUE(profile.byKernel().empty() && profile.byHostPart().empty() && profile.events().empty());
}

TEST(Peaks, AreMeasuredForEveryType) {
  ThreadPool pool(1);
  for (PeakKind kind : {PeakKind::F32, PeakKind::F64, PeakKind::BF16Dot}) {
    PeakMeter meter(pool, kind);
    EXPECT_EQ(meter.peaks().flopsPerSecond, 0);
    EXPECT_EQ(meter.peaks().bytesPerSecond, 0);
    meter.measureArithmetic();
    EXPECT_GT(meter.peaks().flopsPerSecond, 0);
    EXPECT_FALSE(meter.peaks().arithmetic.empty());
  }
  PeakMeter meter(pool, PeakKind::F32, true);
  meter.measureArithmetic();
  EXPECT_GT(meter.peaks().pairFlopsPerSecond, 0);
  meter.measureCopy();
  EXPECT_GT(meter.peaks().bytesPerSecond, 0);
}

} // namespace
} // namespace pg::rt
