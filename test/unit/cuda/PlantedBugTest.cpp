//===- PlantedBugTest.cpp - what the tests of structured kernels must notice --===//
//
// Bugs of the kinds that pipelines over shared memory have, planted into the
// text of a product, an attention and a grouped product. Each names the check
// that has to show it: comparison with the CPU under the orders and moments of
// completion that it says. The text as emitted passes all of them.
//
//===----------------------------------------------------------------------===//
#include "CudaRunner.h"
#include "test/unit/cpu/KernelRunner.h"

#include <gtest/gtest.h>

using namespace pg;
using namespace pg::test;
using emulator::Order;

namespace {

/// Who has to notice.
enum class Seen {
  Always,      ///< every order, whenever copies land
  WhenLate,    ///< every order when copies land as late as they may
  WhenGreedy,  ///< an order that keeps to one warp
};

struct Planted {
  CudaRunner::Bug bug;
  Seen seen;
};

/// The kernel passes under every schedule and every planted one fails where it must.
void expectCaught(const std::string &text, const std::string &kernel,
                  const PackedBatch &batch, double bound,
                  const std::vector<Planted> &bugs) {
  CudaRunner runner(text);
  ASSERT_EQ(runner.error(), "");
  std::vector<std::string> planted;
  for (const Planted &each : bugs) {
    planted.push_back(runner.plant(kernel, each.bug));
    ASSERT_NE(planted.back(), "") << "no place for " << each.bug.name << " in\n"
                                  << runner.source();
  }
  std::vector<bool> greedy(bugs.size());
  for (const emulator::Schedule &schedule : emulator::everySchedule()) {
    std::string name = emulator::scheduleName(schedule);
    EXPECT_EQ(runner.compare(kernel, batch.view, schedule, bound), "") << name;
    for (size_t k = 0; k < bugs.size(); ++k) {
      bool isGreedy =
          schedule.order == Order::GreedyLow || schedule.order == Order::GreedyHigh;
      if (bugs[k].seen == Seen::WhenGreedy ? !isGreedy || greedy[k]
          : bugs[k].seen == Seen::WhenLate ? !schedule.lateCopies
                                           : false)
        continue;
      bool isCaught =
          !runner.compare(planted[k], batch.view, schedule, bound).empty();
      if (bugs[k].seen == Seen::WhenGreedy)
        greedy[k] = isCaught;
      else
        EXPECT_TRUE(isCaught) << bugs[k].bug.name << " passes under " << name;
    }
  }
  for (size_t k = 0; k < bugs.size(); ++k)
    if (bugs[k].seen == Seen::WhenGreedy)
      EXPECT_TRUE(greedy[k]) << bugs[k].bug.name << " passes under greedy orders";
}

// Four steps of a pipeline of three stages, the last one not full; two blocks.
const char *kProduct = R"mlir(
pg.kernel_def @product attributes {modes = array<i64: 0>} {
  ^bb0(%a: tensor<?x200xbf16>, %b: tensor<56x200xbf16>):
    %c = pg.matmul %a, %b {transpose_b} : tensor<?x200xbf16>, tensor<56x200xbf16> -> tensor<?x56xf32>
    pg.yield %c : tensor<?x56xf32>
}
)mlir";

TEST(CudaPlantedBug, PipelineOfAProduct) {
  PackedBatch batch(70, {}, {});
  expectCaught(
      kProduct, "product", batch, 0,
      {{{"no_barrier", "cp_async_wait<kStages - 2>", "pg_barrier();", "", true}, Seen::WhenGreedy},
       {{"early_read", "", "pg_cp_async_wait<kStages - 2>", "pg_cp_async_wait<kStages - 1>"}, Seen::WhenLate},
       {{"stage_in_use", "", "fetch % kStages", "(fetch + 1) % kStages"}, Seen::Always},
       {{"wrong_swizzle", "", "2 * k + lane / 16,", "2 * k + lane / 8 % 2,"}, Seen::Always},
       {{"wrong_row", "", "warp_row + 16 * m + lane % 16", "warp_row + 8 * m + lane % 16"}, Seen::Always},
       {{"sums_over_operands", "pg_cp_async_wait<0>", "pg_barrier();", "", true}, Seen::WhenGreedy},
       {{"sums_read_early", "pg_store<2>(tile", "pg_barrier();", "", true}, Seen::WhenGreedy},
       {{"rows_outside", "", " < tokens &&", " <= tokens &&"}, Seen::Always}});
}

const char *kCodes = R"mlir(
pg.kernel_def @codes attributes {modes = array<i64: 0>} {
  ^bb0(%a: tensor<?x200xbf16>, %b: tensor<56x200xi8>):
    %c = pg.matmul %a, %b {transpose_b} : tensor<?x200xbf16>, tensor<56x200xi8> -> tensor<?x56xf32>
    pg.yield %c : tensor<?x56xf32>
}
)mlir";

TEST(CudaPlantedBug, CodesWidenedInAPipeline) {
  PackedBatch batch(70, {}, {});
  expectCaught(
      kCodes, "codes", batch, 0,
      {{{"not_widened", "", "pg_widen_codes(to);", ";"}, Seen::Always},
       {{"widened_before_it_landed", "", "pg_cp_async_wait<kStages - 2>", "pg_cp_async_wait<kStages - 1>"}, Seen::WhenLate},
       {{"read_before_widened", "pg_widen_codes", "pg_barrier();", "", true}, Seen::WhenGreedy}});
}

const char *kAttention = R"mlir(
pg.kernel_def @attention attributes {modes = array<i64: 0, 0>} {
  ^bb0(%q: tensor<?x2x16xbf16>, %k: tensor<?x1x16xbf16>, %v: tensor<?x1x16xbf16>):
    %o, %l = pg.attention %q, %k, %v {scale = 0.37 : f64, window = 0 : i64, within = 1 : i32}
      : (tensor<?x2x16xbf16>, tensor<?x1x16xbf16>, tensor<?x1x16xbf16>) -> (tensor<?x2x16xf32>, tensor<?x2xf32>)
    pg.yield %o, %l : tensor<?x2x16xf32>, tensor<?x2xf32>
}
)mlir";

// Three tiles of keys for the second block of queries.
TEST(CudaPlantedBug, PipelineOfAttention) {
  PackedBatch batch(180, {}, {150});
  expectCaught(
      kAttention, "attention", batch, 1e-2,
      {{{"no_barrier", "for (int step = 0", "pg_barrier();", "", true}, Seen::WhenGreedy},
       {{"early_read", "for (int step = 0", "pg_cp_async_wait<0>", "pg_cp_async_wait<1>", true}, Seen::WhenLate},
       {{"stage_in_use", "", "(step + 1) % 2", "step % 2"}, Seen::Always},
       {{"wrong_swizzle", "pg_ldmatrix_x4(k", "2 * f + lane / 8 % 2", "2 * f + lane / 16", true}, Seen::Always},
       {{"wrong_column", "pg_ldmatrix_x4_trans(v", "2 * n + lane / 16", "2 * n", true}, Seen::Always},
       {{"mask_off_by_one", "", "key > token ||", "key > token + 1 ||"}, Seen::Always}});
}

const char *kAttentionGrad = R"mlir(
pg.kernel_def @gradient attributes {modes = array<i64: 0, 0, 0>} {
  ^bb0(%q: tensor<?x2x16xbf16>, %k: tensor<?x1x16xbf16>, %v: tensor<?x1x16xbf16>, %d: tensor<?x2x16xbf16>,
       %l: tensor<?x2xf32>, %t: tensor<?x2xf32>):
    %0, %1, %2 = pg.attention_grad %q, %k, %v, %d, %l, %t {scale = 0.37 : f64, window = 0 : i64, within = 1 : i32}
      : (tensor<?x2x16xbf16>, tensor<?x1x16xbf16>, tensor<?x1x16xbf16>, tensor<?x2x16xbf16>, tensor<?x2xf32>, tensor<?x2xf32>)
      -> (tensor<?x2x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32>)
    pg.yield %0, %1, %2 : tensor<?x2x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32>
}
)mlir";

TEST(CudaPlantedBug, PipelinesOfTheAttentionGradient) {
  PackedBatch batch(180, {}, {150});
  expectCaught(
      kAttentionGrad, "gradient", batch, 2e-2,
      {{{"dq_no_barrier", "for (int step = 0", "pg_barrier();", "", true}, Seen::WhenGreedy},
       {{"dq_early_read", "for (int step = 0", "pg_cp_async_wait<0>", "pg_cp_async_wait<1>", true}, Seen::WhenLate},
       {{"dk_no_barrier", "kMembers * tiles; ++step", "pg_barrier();", "", true}, Seen::WhenGreedy},
       {{"dk_early_read", "kMembers * tiles; ++step", "pg_cp_async_wait<0>", "pg_cp_async_wait<1>", true}, Seen::WhenLate},
       {{"dk_stage_in_use", "", "fetch(step + 1)", "fetch(step + 2)"}, Seen::Always},
       {{"dk_wrong_statistics", "", "rows + kOthers + i", "rows + kOthers + 1 + i"}, Seen::Always}});
}

const char *kGrouped = R"mlir(
pg.kernel_def @grouped attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<?x40xbf16>, %w: tensor<4x24x40xbf16>):
    %y = pg.grouped_matmul %x, %w {transpose_w} : tensor<?x40xbf16>, tensor<4x24x40xbf16> -> tensor<?x24xf32>
    pg.yield %y : tensor<?x24xf32>
}
pg.kernel_def @outer attributes {modes = array<i64: 0>} {
  ^bb0(%a: tensor<?x24xbf16>, %b: tensor<?x40xbf16>):
    %r = pg.grouped_outer %a, %b : tensor<?x24xbf16>, tensor<?x40xbf16> -> tensor<4x24x40xf32>
    pg.yield %r : tensor<4x24x40xf32>
}
)mlir";

PackedBatch threeRows() {
  PackedBatch batch(150, {30, 61}, {});
  for (int64_t t = 0; t < 150; ++t)
    batch.slot[t] = t < 30 ? 2 : t < 61 ? 0 : 2;
  return batch;
}

TEST(CudaPlantedBug, RunsOfAGroupedProduct) {
  PackedBatch batch = threeRows();
  expectCaught(kGrouped, "grouped", batch, 0,
               {{{"no_barrier_between_runs", "const matrix", "pg_barrier();", "", true}, Seen::WhenGreedy},
                {{"slot_of_the_tile", "", "batch.slot[row0]", "batch.slot[first_row]"}, Seen::Always}});
}

TEST(CudaPlantedBug, RunsOfAGroupedSum) {
  PackedBatch batch = threeRows();
  expectCaught(kGrouped, "outer", batch, 0,
               {{{"no_barrier_between_runs", "!= slot", "pg_barrier();", "", true}, Seen::WhenGreedy},
                {{"tokens_of_the_next_run", "", " < depth_end", " < tokens"}, Seen::Always}});
}

// What orders of execution find by meeting it, ThreadSanitizer sees in any order.
TEST(CudaPlantedBug, ThreadSanitizerSeesRacesOfPipelines) {
  CudaRunner runner(std::string(kProduct) + kAttention);
  ASSERT_EQ(runner.error(), "");
  std::vector<std::string> kernels = {
      "product", "attention",
      runner.plant("product", {"race", "cp_async_wait<kStages - 2>", "pg_barrier();", "", true}),
      runner.plant("attention", {"race", "for (int step = 0", "pg_barrier();", "", true})};
  std::vector<emulator::RaceLaunch> launches;
  for (const std::string &kernel : kernels)
    launches.push_back(runner.raceLaunches(kernel, 130)[0]);
  std::vector<emulator::RaceCheck> checks =
      emulator::checkRaces(runner.source(), launches);
  if (checks[0].isMissing)
    GTEST_SKIP() << "not run: " << checks[0].message;
  for (size_t k = 0; k < checks.size(); ++k)
    EXPECT_EQ(checks[k].races > 0, k >= 2)
        << kernels[k] << "\n" << checks[k].message;
}

} // namespace
