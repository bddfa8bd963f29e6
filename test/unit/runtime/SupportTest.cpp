//===- SupportTest.cpp - hash, random numbers, JSON, files, number formats ------===//
#include "FakePackage.h"
#include "runtime/exec/ThreadPool.h"
#include "runtime/support/BFloat16.h"
#include "runtime/support/File.h"
#include "runtime/support/Json.h"
#include "runtime/support/Log.h"
#include "runtime/support/Random.h"
#include "runtime/support/Sha256.h"
#include "runtime/train/Recipe.h"
#include "runtime/train/Schedule.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

namespace pg::rt {
namespace {

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256Hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Random, PhiloxKnownAnswer) { // Random123 kat_vectors, philox4x32-10, counter 0
  std::array<uint32_t, 4> zero = Random(std::array<uint32_t, 2>{0, 0}).block(0);
  EXPECT_EQ(zero, (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(Random, NormalHasUnitVarianceAndNamesDiffer) {
  Random random(7, "a");
  double sum = 0, squares = 0;
  constexpr int kCount = 20000;
  for (int i = 0; i < kCount; ++i) {
    double x = random.normal(uint64_t(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.03);
  EXPECT_NEAR(squares / kCount, 1, 0.05);
  EXPECT_NE(random.uniform(0), Random(7, "b").uniform(0));
  EXPECT_NE(random.uniform(0), Random(8, "a").uniform(0));
}

TEST(Json, RefusesDuplicateKeysDepthAndTrailingText) {
  EXPECT_EQ(parseJson("{\"a\":1,\"a\":2}").status().message(), "duplicate key 'a'");
  EXPECT_EQ(parseJson(std::string(100, '[')).status().message(), "nested deeper than 64");
  EXPECT_FALSE(parseJson("{} x").isOk());
  EXPECT_FALSE(parseJson("{\"a\":\"\xff\"}").isOk());
  EXPECT_TRUE(parseJson("{\"a\":[1,2.5,\"x\",null,true]}  ").isOk());
}

TEST(Json, NumbersKeepEveryBitAndInfinities) {
  for (double value : {0.1, 1e-300, 3.0, -0.0, double(0.1f), std::numeric_limits<double>::infinity()}) {
    double back = 0;
    ASSERT_TRUE(readNumber(*parseJson(numberToJson(value).dump()), back));
    EXPECT_EQ(std::signbit(back), std::signbit(value));
    EXPECT_EQ(back, value);
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(floatToBf16(1.0f), 0x3f80);
  EXPECT_EQ(floatToBf16(1.00390625f), 0x3f80);        // halfway to the next: even wins
  EXPECT_EQ(floatToBf16(1.01171875f), 0x3f82);        // halfway above an odd one
  EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(NAN))));
  EXPECT_EQ(halfToFloat(0x3c00), 1.0f);
  EXPECT_EQ(halfToFloat(0x0001), 0x1p-24f);
  EXPECT_EQ(halfToFloat(0xc000), -2.0f);
}

TEST(File, AtomicWriteKeepsTheTargetOnFailure) {
  std::string folder = testFolder();
  spill(folder + "/a", "one");
  EXPECT_EQ(slurp(folder + "/a"), "one");
  EXPECT_EQ(writeFileAtomic(folder + "/missing/a", "x").code(), Code::Io);
  EXPECT_EQ(readFile(folder + "/b").status().code(), Code::Io);
  EXPECT_EQ(readFile(folder).status().code(), Code::Io);
  EXPECT_EQ(readFile(folder + "/a", 2).status().code(), Code::Corrupt);
  EXPECT_EQ((*listFolder(folder)), std::vector<std::string>{"a"}); // no temporary left
}

TEST(Format, NumbersDoNotDependOnTheLocale) {
  EXPECT_EQ(formatFixed(1234.5, 2), "1234.50");
  EXPECT_EQ(formatDouble(0.1), "0.1");
  EXPECT_EQ(formatFloat(0.1f), "0.1");
  EXPECT_EQ(formatDuration(3725), "1h02m");
  EXPECT_EQ(formatDuration(65), "1m05s");
}

TEST(ThreadPool, EveryItemOnceForAllShapes) {
  for (int threads : {1, 2, 5})
    for (int64_t count : {0, 1, 7, 64, 1000})
      for (int64_t grain : {1, 3, 64}) {
        ThreadPool pool(threads);
        std::vector<std::atomic<int>> seen(size_t(count) + 1);
        auto work = [&](int64_t begin, int64_t end, int thread) {
          ASSERT_EQ(begin % grain, 0);
          ASSERT_LT(thread, threads);
          for (int64_t i = begin; i < end; ++i)
            ++seen[size_t(i)];
        };
        for (int repeat = 0; repeat < 20; ++repeat)
          pool.parallelFor(count, grain, repeat % 2 ? ThreadPool::Cut::Runs : ThreadPool::Cut::Pieces, work);
        for (int64_t i = 0; i < count; ++i)
          ASSERT_EQ(seen[size_t(i)], 20) << threads << " " << count << " " << grain;
      }
}

TEST(ThreadPool, WhatAThreadCannotDoOthersTake) {
  // The first piece waits for all others, most of which were dealt to the same thread.
  ThreadPool pool(2);
  constexpr int64_t kCount = 100;
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::atomic<int64_t> done{0};
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    pool.parallelFor(kCount, 1, [&](int64_t begin, int64_t end, int) {
      while (begin == 0 && done < kCount - end && std::chrono::steady_clock::now() < deadline)
        std::this_thread::yield();
      done += end - begin;
    });
    EXPECT_EQ(done, kCount);
    EXPECT_LT(std::chrono::steady_clock::now(), deadline);
  }
}

TEST(Schedule, PhaseIsTheLastThatHasBegun) {
  std::vector<Phase> phases = {{"a", 0.0}, {"b", 0.35}};
  EXPECT_EQ(phaseAt(phases, 0.3499), 0);
  EXPECT_EQ(phaseAt(phases, 0.35), 1);
  EXPECT_EQ(phaseAt({}, 0.5), -1);
}

TEST(Recipe, OverridesAreTypedAndNamesSuggested) {
  Recipe recipe(fakePackage());
  EXPECT_TRUE(recipe.set("schedule.steps=7", "--set").isOk());
  EXPECT_EQ(recipe.integer("schedule.steps"), 7);
  EXPECT_TRUE(recipe.set("clip.norm=0.3", "--set").isOk());
  EXPECT_EQ(recipe.number("clip.norm"), 0.3);
  EXPECT_EQ(recipe.set("schedule.stepz=7", "--set").message(),
            "--set: the recipe has no value 'schedule.stepz'; did you mean 'schedule.steps'?");
  EXPECT_EQ(recipe.set("schedule.steps=1e3", "--set").message(),
            "--set schedule.steps: expected an integer, got '1e3'");
  EXPECT_EQ(recipe.set("clip.norm=nan", "--set").code(), Code::Usage);
  EXPECT_EQ(recipe.scalar("embed.decay")->at(100), 0.5);
  EXPECT_EQ(recipe.scalar("embed.other").status().code(), Code::Invalid);
  // A stored run's values with their origins; what differs is told.
  Json stored = recipe.toJson();
  stored["schedule.steps"]["value"] = 9;
  stored["schedule.min_lr"] = {{"value", 0.25}, {"origin", "--set"}};
  stored["from.another.version"] = {{"value", 1}, {"origin", "x"}};
  Recipe later(fakePackage());
  auto differences = later.adopt(stored);
  ASSERT_TRUE(differences.isOk());
  EXPECT_EQ(*differences, (std::vector<std::string>{"clip.norm: 0.3 (package: 0)", "schedule.min_lr: 0.25 (package: 0)",
                                                    "schedule.steps: 9 (package: 20)"}));
  EXPECT_EQ(later.toJson()["schedule.min_lr"]["origin"], "--set");
  stored["schedule.steps"]["value"] = "many";
  EXPECT_EQ(later.adopt(stored).status().code(), Code::Corrupt);
}

} // namespace
} // namespace pg::rt
