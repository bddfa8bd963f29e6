//===- CudaBranchesTest.cpp - launches side by side, in an order where they need one ---===//
#include "FakeCuda.h"
#include "runtime/device/cuda/Branches.h"
#include "runtime/support/Random.h"

namespace pg::rt {
namespace {

constexpr size_t kBranches = 4;

/// Bytes [begin, begin + bytes) of an imagined memory.
Access access(uint64_t begin, uint64_t bytes, bool writes) {
  return {uintptr_t(4096 + begin), bytes, writes};
}
Access reads(uint64_t begin, uint64_t bytes) { return access(begin, bytes, false); }
Access writes(uint64_t begin, uint64_t bytes) { return access(begin, bytes, true); }

/// Whether launch i is sure to have ended when j begins: along its branch, and
/// through what the launches there wait for.
std::vector<std::vector<bool>> endedBefore(const std::vector<BranchedLaunch> &plan) {
  std::vector<std::vector<bool>> ended(plan.size(), std::vector<bool>(plan.size(), false));
  std::vector<size_t> last(kBranches, size_t(-1));
  for (size_t j = 0; j < plan.size(); ++j) {
    auto follow = [&](size_t i) {
      ended[j][i] = true;
      for (size_t k = 0; k < i; ++k)
        if (ended[i][k])
          ended[j][k] = true;
    };
    if (last[plan[j].branch] != size_t(-1))
      follow(last[plan[j].branch]);
    for (size_t i : plan[j].after) {
      EXPECT_TRUE(plan[i].isAwaited);
      follow(i);
    }
    last[plan[j].branch] = j;
  }
  return ended;
}

bool conflict(const std::vector<Access> &a, const std::vector<Access> &b) {
  for (const Access &x : a)
    for (const Access &y : b) {
      uintptr_t xBegin = x.begin, yBegin = y.begin;
      if ((x.writes || y.writes) && xBegin < yBegin + y.bytes && yBegin < xBegin + x.bytes)
        return true;
    }
  return false;
}

TEST(CudaBranches, ChainsThatShareNothingRunSideBySide) {
  // Three chains of two, the second launch of each reading what the first wrote; all read one number.
  std::vector<std::vector<Access>> launches;
  for (uint64_t chain = 0; chain < 3; ++chain) {
    launches.push_back({reads(1000, 4), writes(chain * 100, 100)});
    launches.push_back({reads(1000, 4), reads(chain * 100, 100), writes(500 + chain * 100, 100)});
  }
  std::vector<BranchedLaunch> plan = planBranches(launches, kBranches);
  for (uint64_t chain = 0; chain < 3; ++chain) {
    EXPECT_EQ(plan[2 * chain].branch, chain);
    EXPECT_EQ(plan[2 * chain + 1].branch, chain);
    EXPECT_TRUE(plan[2 * chain + 1].after.empty());
  }
}

TEST(CudaBranches, EveryKindOfHazardIsAWait) {
  // 0 and 1 write; 2 reads half of each; 3 overwrites what 2 read of 0; 4 overwrites what nobody read of 1.
  std::vector<BranchedLaunch> plan = planBranches(
      {{writes(0, 100)}, {writes(100, 100)}, {reads(50, 100), writes(300, 1)}, {writes(99, 1)}, {writes(199, 1)}}, kBranches);
  auto ended = endedBefore(plan);
  EXPECT_TRUE(ended[2][0] && ended[2][1]);
  EXPECT_TRUE(ended[3][2]);
  EXPECT_TRUE(ended[4][1]);
  EXPECT_FALSE(ended[4][2]);
}

TEST(CudaBranches, WhatConflictsKeepsItsOrderAndNothingIsWaitedForTwice) {
  Random random(3, "branches");
  uint64_t next = 0;
  auto draw = [&](uint64_t limit) { return uint64_t(random.uniform(next++) * double(limit)); };
  size_t unordered = 0, conflicts = 0;
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<Access>> launches;
    for (int i = 0; i < 40; ++i) {
      launches.emplace_back();
      for (uint64_t count = 1 + draw(3); count > 0; --count)
        launches.back().push_back(access(draw(200), 1 + draw(11), draw(3) == 0));
    }
    std::vector<BranchedLaunch> plan = planBranches(launches, kBranches);
    auto ended = endedBefore(plan);
    for (size_t j = 0; j < launches.size(); ++j)
      for (size_t i = 0; i < j; ++i) {
        bool mustWait = conflict(launches[i], launches[j]);
        conflicts += mustWait;
        unordered += !ended[j][i];
        ASSERT_TRUE(ended[j][i] || !mustWait) << round << ": " << i << " before " << j;
      }
    for (const BranchedLaunch &launch : plan) {
      std::vector<bool> seen(kBranches, false);
      for (size_t i : launch.after) {
        EXPECT_NE(plan[i].branch, launch.branch);
        EXPECT_FALSE(seen[plan[i].branch]);
        seen[plan[i].branch] = true;
      }
    }
  }
  EXPECT_GT(conflicts, 1000u);
  EXPECT_GT(unordered, 1000u);
}

/// The fake package with more tables, each updated from the gradient and the momentum of its own; then one more update
/// of the first that reads the momentum of the second.
Package manyTables(size_t tables) {
  Package package = fakeCudaPackage();
  package.cuda.kernels[3].bufferBytes = {256, 256, 256, 4, 4, 4};
  Entry &apply = *std::find_if(package.entries.begin(), package.entries.end(),
                               [](const Entry &entry) { return entry.role == "apply"; });
  apply.launches[0].writes = {{1, DType::F32, 0, 64}, {2, DType::F32, 0, 64}};
  Launch first = apply.launches[0];
  for (size_t t = 1; t < tables; ++t) {
    std::string name = "table" + std::to_string(t);
    package.parameters.push_back(package.parameters[0]);
    package.parameters.back().name = name;
    for (size_t s : {0, 1}) {
      package.states.push_back(package.states[s]);
      package.states.back().name = package.states[s].role + "." + name;
      package.states.back().parameter = name;
    }
    Launch launch = first;
    launch.buffers[0].index = uint32_t(2 * t);
    launch.buffers[1].index = uint32_t(2 * t + 1);
    launch.buffers[2].index = uint32_t(t);
    apply.launches.push_back(launch);
  }
  Launch last = first;
  last.buffers[0].index = 3;
  apply.launches.push_back(last);
  return package;
}

/// All parameters and states after three updates.
std::string afterUpdates(Executor &executor, const char *skip = "") {
  for (size_t s = 0; s < executor.package().states.size(); ++s) {
    std::vector<float> values(64);
    for (size_t i = 0; i < 64; ++i)
      values[i] = float(i + 1) * float(s + 1) / 64;
    EXPECT_TRUE(executor.writeState(s, values.data()).isOk());
  }
  int apply = executor.findEntry("apply");
  Environment planted("FAKE_CUDA_SKIP", skip);
  for (int step = 1; step <= 3; ++step) {
    executor.setScalar(apply, "step", step);
    executor.setScalar(apply, "embed.lr", 0.25);
    executor.setScalar(apply, "embed.decay", 0.5);
    EXPECT_TRUE(executor.run(apply, nullptr).isOk());
  }
  std::string bytes;
  auto add = [&](auto read, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      std::string part(256, '\0');
      EXPECT_TRUE(read(i, part.data()).isOk());
      bytes += part;
    }
  };
  add([&](size_t i, char *to) { return executor.readParameter(i, to); }, executor.package().parameters.size());
  add([&](size_t i, char *to) { return executor.readState(i, to); }, executor.package().states.size());
  return bytes;
}

std::unique_ptr<Executor> open(const Package &package, DeviceChoice::Kind kind) {
  ::setenv("PG_CUDA_DRIVER", FAKE_CUDA_DRIVER, 1);
  ExecutorOptions options;
  options.threads = 1;
  options.device = {kind, 0};
  auto executor = Executor::create(package, options);
  EXPECT_TRUE(executor.isOk()) << executor.status().message();
  return executor ? std::move(*executor) : nullptr;
}

// The fake driver runs what has no order from the back.
TEST(CudaBranches, TheGraphOfAnUpdateHasTheNumbersOfTheList) {
  Package package = manyTables(5);
  std::string expected = afterUpdates(*open(package, DeviceChoice::Kind::Cpu));
  auto executor = open(package, DeviceChoice::Kind::Cuda);
  journal();
  EXPECT_EQ(afterUpdates(*executor), expected);
  std::vector<std::string> lines = journal();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "end capture 6 of 5 streams"), 1);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "graph launch 6"), 2);
}

TEST(CudaBranches, AMissingWaitBetweenBranchesShows) {
  Package package = manyTables(2);
  std::string expected = afterUpdates(*open(package, DeviceChoice::Kind::Cpu));
  // Streams: launches, copies, then the branches; the last update follows the second and waits for the first.
  auto executor = open(package, DeviceChoice::Kind::Cuda);
  EXPECT_NE(afterUpdates(*executor, "a wait in a capture:2"), expected);
}

} // namespace
} // namespace pg::rt
