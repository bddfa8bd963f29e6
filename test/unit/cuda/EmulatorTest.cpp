//===- EmulatorTest.cpp - what the emulator must catch ------------------------===//
#include "test/emulator/Emulator.h"
#include "test/emulator/RaceCheck.h"

#include <gtest/gtest.h>

using namespace pg::emulator;

namespace {

/// Sum of 64 numbers over two warps through shared memory; `{0}` is the
/// barrier between writing and reading.
std::string twoWarpSum(const std::string &barrier) {
  return R"(#include <pg_prelude.cuh>
extern "C" __global__ void __launch_bounds__(64) sum(const float *x, float *y) {
    float *const scratch = (float *)pg_shared();
    const float part = pg_lanes_sum<32>(x[pg_thread()]);
    if (pg_thread() % 32 == 0)
        scratch[pg_thread() / 32] = part;
    )" + barrier + R"(
    y[pg_thread()] = scratch[0] + scratch[1];
}
)";
}

/// Runs it under a schedule; true when every thread has the right sum.
struct Outcome {
  std::string error;
  bool right = true;
};
Outcome runSum(const Kernels &kernels, const Schedule &schedule,
               int64_t sharedBytes = 8) {
  std::vector<float> x(64), y(64);
  for (int k = 0; k < 64; ++k)
    x[k] = float(k);
  float *in = x.data(), *out = y.data();
  void *params[] = {&in, &out};
  Launch launch;
  launch.threads = 64;
  launch.sharedBytes = sharedBytes;
  launch.params = params;
  Outcome outcome;
  outcome.error = kernels.run("sum", launch, schedule);
  for (float value : y)
    outcome.right &= value == 2016.0f;
  return outcome;
}

TEST(Emulator, CorrectKernelPassesEverySchedule) {
  Kernels kernels(twoWarpSum("pg_barrier();"), {"sum"});
  ASSERT_EQ(kernels.error(), "");
  for (const Schedule &schedule : everySchedule()) {
    Outcome outcome = runSum(kernels, schedule);
    EXPECT_EQ(outcome.error, "") << scheduleName(schedule);
    EXPECT_TRUE(outcome.right) << scheduleName(schedule);
  }
}

TEST(Emulator, MissingBarrierIsCaughtByGreedyOrders) {
  Kernels kernels(twoWarpSum(""), {"sum"});
  ASSERT_EQ(kernels.error(), "");
  EXPECT_FALSE(runSum(kernels, {Order::GreedyLow}).right);
  EXPECT_FALSE(runSum(kernels, {Order::GreedyHigh}).right);
}

TEST(Emulator, BarrierInOneBranchIsADeadlockThatNamesItsThreads) {
  Kernels kernels(
      twoWarpSum("if (pg_thread() == 40) pg_warp_barrier(); pg_barrier();"),
      {"sum"});
  ASSERT_EQ(kernels.error(), "");
  std::string error = runSum(kernels, {}).error;
  EXPECT_NE(error.find("block 0: deadlock"), std::string::npos) << error;
  EXPECT_NE(error.find("thread 40 waits for its warp in 'warp barrier'"),
            std::string::npos)
      << error;
}

TEST(Emulator, DivergedCollectivesAreNamed) {
  Kernels kernels(twoWarpSum("if (pg_thread() == 3) pg_warp_barrier(); else "
                             "pg_shuffle(1.0f, 0);"),
                  {"sum"});
  ASSERT_EQ(kernels.error(), "");
  std::string error = runSum(kernels, {}).error;
  EXPECT_NE(error.find("diverged"), std::string::npos) << error;
}

TEST(Emulator, WriteBehindSharedMemoryIsCaught) {
  Kernels kernels(twoWarpSum("pg_barrier();"), {"sum"});
  ASSERT_EQ(kernels.error(), "");
  // The second warp's sum lies behind an arena of four bytes.
  EXPECT_NE(runSum(kernels, {}, 4).error.find("shared memory"),
            std::string::npos);
}

TEST(Emulator, AccessBehindABufferIsCaughtWithBlockAndThread) {
  Kernels kernels(R"(#include <pg_prelude.cuh>
extern "C" __global__ void sum(float *y) { y[pg_thread() + 32 * (int)pg_block()] = 1.0f; }
)",
                  {"sum"});
  ASSERT_EQ(kernels.error(), "");
  GuardedMemory memory(40 * sizeof(float));
  void *data = memory.data();
  void *params[] = {&data};
  Launch launch;
  launch.blocks = 2;
  launch.params = params;
  std::string error = kernels.run("sum", launch, {});
  EXPECT_NE(error.find("block 1 thread 8: an access outside"),
            std::string::npos)
      << error;
}

TEST(Emulator, MisalignedVectorIsCaught) {
  Kernels kernels(R"(#include <pg_prelude.cuh>
extern "C" __global__ void sum(float *y) { pg_store<4>(y + 1, pg_load<4>(y)); }
)",
                  {"sum"});
  ASSERT_EQ(kernels.error(), "");
  GuardedMemory memory(64);
  void *data = memory.data();
  void *params[] = {&data};
  Launch launch;
  launch.params = params;
  std::string error = kernels.run("sum", launch, {});
  EXPECT_NE(error.find("misaligned"), std::string::npos) << error;
}

/// Two stages of asynchronous copies; `wait` groups may be open when the first
/// is read.
std::string pipeline(int wait) {
  return R"(#include <pg_prelude.cuh>
extern "C" __global__ void sum(const float *x, float *y) {
    float *const stage = (float *)pg_shared();
    for (int s = 0; s < 2; ++s) {
        pg_emulator->asyncCopy(stage + s * 32 + pg_thread(), x + s * 32 + pg_thread(), 4, 4);
        pg_emulator->asyncCommit();
    }
    pg_emulator->asyncWait()" +
         std::to_string(wait) + R"();
    pg_warp_barrier();
    y[pg_thread()] = stage[31 - pg_thread()];
}
)";
}

TEST(Emulator, EarlyReadOfAnAsynchronousCopyIsCaughtWhenCopiesAreLate) {
  std::vector<float> x(64, 1.0f);
  for (int wait : {1, 2}) {
    Kernels kernels(pipeline(wait), {"sum"});
    ASSERT_EQ(kernels.error(), "");
    for (const Schedule &schedule : everySchedule()) {
      std::vector<float> y(32);
      float *in = x.data(), *out = y.data();
      void *params[] = {&in, &out};
      Launch launch;
      launch.sharedBytes = 256;
      launch.params = params;
      EXPECT_EQ(kernels.run("sum", launch, schedule), "");
      bool right = y == std::vector<float>(32, 1.0f);
      // One group may stay open: the second. Two: nothing was waited for.
      EXPECT_EQ(right, wait == 1 || !schedule.lateCopies)
          << wait << ", " << scheduleName(schedule);
    }
  }
}

TEST(Emulator, ThreadSanitizerSeesAPlantedRaceAndNoOther) {
  std::string planted = twoWarpSum("");
  planted.erase(0, planted.find("extern"));
  planted.replace(planted.find(" sum("), 5, " planted(");
  RaceLaunch launch;
  launch.symbol = "sum";
  launch.setup = "std::vector<float> x(64, 1.0f), y(64);\n"
                 "float *in = x.data(), *out = y.data();\n"
                 "void *params[] = {&in, &out};";
  launch.threads = 64;
  launch.sharedBytes = 8;
  RaceLaunch second = launch;
  second.symbol = "planted";
  std::vector<RaceCheck> checks =
      checkRaces(twoWarpSum("pg_barrier();") + planted, {launch, second});
  if (checks[0].isMissing)
    GTEST_SKIP() << "not run: " << checks[0].message;
  EXPECT_EQ(checks[0].races, 0) << checks[0].message;
  EXPECT_GT(checks[1].races, 0) << checks[1].message;
}

} // namespace
