//===- LaunchOrderTest.cpp - launches and jobs wait for what they need ------===//
#include "runtime/exec/LaunchOrder.h"
#include "runtime/exec/ThreadPool.h"
#include "runtime/support/Random.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>

namespace pg::rt {
namespace {

constexpr uint64_t kBytes = 64; ///< of every value below

struct Touch {
  BufferRef buffer;
  bool writes;
};

BufferRef inArena(uint64_t offset) { return {BufferRef::Kind::Arena, 0, offset}; }
Touch reads(uint64_t value) { return {inArena(value * kBytes), false}; }
Touch writes(uint64_t value) { return {inArena(value * kBytes), true}; }

Launch launchOf(const std::vector<Touch> &touches) {
  Launch launch;
  for (const Touch &touch : touches) {
    if (touch.writes)
      launch.writes.push_back({uint32_t(launch.buffers.size()), DType::F32, 0, int64_t(kBytes / 4)});
    launch.buffers.push_back(touch.buffer);
  }
  return launch;
}

Entry entryOf(const std::vector<std::vector<Touch>> &launches) {
  Entry entry;
  entry.maxTokens = 16;
  for (const std::vector<Touch> &touches : launches)
    entry.launches.push_back(launchOf(touches));
  return entry;
}

/// Launches that have surely ended when the one at a place begins.
std::vector<std::set<size_t>> endedBefore(const std::vector<OrderedLaunch> &order) {
  std::vector<std::set<size_t>> ended(order.size());
  for (size_t place = 0; place < order.size(); ++place)
    for (uint32_t before : order[place].after) {
      EXPECT_LT(before, place);
      ended[place].insert(order[before].launch);
      ended[place].insert(ended[before].begin(), ended[before].end());
    }
  return ended;
}

TEST(LaunchOrder, WhatConflictsWaitsInTheOrderOfTheListAndOthersDoNot) {
  Random random(5, "launch order");
  uint64_t next = 0;
  auto draw = [&](uint64_t limit) { return uint64_t(random.uniform(next++) * double(limit)); };
  size_t conflicts = 0, free = 0;
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<Touch>> launches;
    for (int i = 0; i < 60; ++i) {
      launches.emplace_back();
      for (uint64_t count = 1 + draw(3); count > 0; --count) {
        Touch touch{inArena(draw(20) * kBytes), draw(3) == 0};
        if (draw(4) == 0)
          touch.buffer = {draw(2) ? BufferRef::Kind::Parameter : BufferRef::Kind::State, uint32_t(draw(4)), 0};
        launches.back().push_back(touch);
      }
    }
    // A value has a size once it has been made.
    std::vector<Touch> all;
    for (uint64_t value = 0; value < 20; ++value)
      all.push_back(writes(value));
    launches.insert(launches.begin(), all);
    std::vector<OrderedLaunch> order = orderLaunches(entryOf(launches));
    ASSERT_EQ(order.size(), launches.size());
    std::vector<std::set<size_t>> ended = endedBefore(order);
    std::vector<size_t> placeOf(order.size(), order.size());
    for (size_t place = 0; place < order.size(); ++place) {
      ASSERT_EQ(placeOf[order[place].launch], order.size());
      placeOf[order[place].launch] = place;
    }
    for (size_t j = 0; j < launches.size(); ++j)
      for (size_t i = 0; i < j; ++i) {
        bool mustWait = false;
        for (const Touch &a : launches[i])
          for (const Touch &b : launches[j])
            mustWait |= (a.writes || b.writes) && a.buffer.kind == b.buffer.kind && a.buffer.index == b.buffer.index &&
                        a.buffer.offset == b.buffer.offset;
        bool waits = ended[placeOf[j]].contains(i);
        conflicts += mustWait;
        free += !waits;
        ASSERT_TRUE(waits || !mustWait) << round << ": " << i << " before " << j;
      }
  }
  EXPECT_GT(conflicts, 1000u);
  EXPECT_GT(free, 1000u);
}

TEST(LaunchOrder, ChainsTakeTurns) {
  // Each launch reads what the one before it in its chain wrote.
  std::vector<OrderedLaunch> order = orderLaunches(entryOf({{writes(0)},
                                                            {reads(0), writes(1)},
                                                            {reads(1), writes(2)},
                                                            {writes(3)},
                                                            {reads(3), writes(4)},
                                                            {reads(4), writes(5)}}));
  std::vector<size_t> launches;
  for (const OrderedLaunch &one : order)
    launches.push_back(one.launch);
  EXPECT_EQ(launches, (std::vector<size_t>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(order[2].after, std::vector<uint32_t>{0});
  EXPECT_EQ(order[5].after, std::vector<uint32_t>{3});
}

TEST(LaunchOrder, AValueOfUnknownSizeIsAllThatFollows) {
  // The second launch reads from within what the first makes.
  std::vector<OrderedLaunch> order =
      orderLaunches(entryOf({{writes(0)}, {{inArena(kBytes / 2), false}, writes(9)}, {writes(4)}}));
  ASSERT_EQ(order.size(), 3u);
  EXPECT_EQ(order[1].after, std::vector<uint32_t>{0});
  EXPECT_EQ(order[2].after, std::vector<uint32_t>{1});
}

TEST(ThreadPool, JobsBeginWhenThoseTheyComeAfterHaveEnded) {
  constexpr size_t kJobs = 40;
  Random random(6, "jobs");
  uint64_t next = 0;
  auto draw = [&](uint64_t limit) { return uint64_t(random.uniform(next++) * double(limit)); };
  struct Context {
    std::vector<std::atomic<int64_t>> *done;
    std::span<const uint32_t> after;
    const std::vector<ThreadPool::Job> *jobs;
    size_t number;
    std::atomic<bool> *failed;
  };
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 20; ++round) {
      std::vector<std::atomic<int64_t>> done(kJobs);
      std::atomic<bool> failed{false};
      std::vector<std::vector<uint32_t>> after(kJobs);
      std::vector<Context> contexts(kJobs);
      std::vector<ThreadPool::Job> jobs;
      for (size_t j = 0; j < kJobs; ++j) {
        for (uint64_t count = draw(4); j > 0 && count > 0; --count)
          after[j].push_back(uint32_t(draw(j)));
        contexts[j] = {&done, after[j], &jobs, j, &failed};
        auto work = [](void *context, int64_t begin, int64_t end, int) {
          auto &c = *static_cast<Context *>(context);
          for (uint32_t before : c.after)
            if ((*c.done)[before] != (*c.jobs)[before].count)
              *c.failed = true;
          (*c.done)[c.number] += end - begin;
        };
        jobs.push_back({int64_t(draw(50)), int64_t(1 + draw(4)), draw(2) ? ThreadPool::Cut::Runs : ThreadPool::Cut::Pieces,
                        work, &contexts[j], after[j]});
      }
      pool.run(jobs);
      EXPECT_FALSE(failed) << threads;
      for (size_t j = 0; j < kJobs; ++j)
        ASSERT_EQ(done[j], jobs[j].count) << threads << " " << j;
    }
  }
}

TEST(ThreadPool, AThreadGoesOnWithAJobThatNeedNotWait) {
  // The only item of the first job ends when the second job has run.
  ThreadPool pool(2);
  struct Context {
    std::atomic<bool> second{false};
    bool isLate = false;
  } context;
  auto first = [](void *at, int64_t, int64_t, int) {
    auto &c = *static_cast<Context *>(at);
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!c.second && !c.isLate) {
      std::this_thread::yield();
      c.isLate = std::chrono::steady_clock::now() > deadline;
    }
  };
  auto second = [](void *at, int64_t, int64_t, int) { static_cast<Context *>(at)->second = true; };
  std::vector<ThreadPool::Job> jobs = {{1, 1, ThreadPool::Cut::Pieces, first, &context, {}},
                                       {1, 1, ThreadPool::Cut::Pieces, second, &context, {}}};
  pool.run(jobs);
  EXPECT_FALSE(context.isLate);
}

} // namespace
} // namespace pg::rt
