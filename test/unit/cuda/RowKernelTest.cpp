//===- RowKernelTest.cpp - row kernels: emulator against CPU ------------------===//
//
// The forms that whole models (ModelKernelsTest.cpp) do not have, and bugs
// planted into emitted text.
//
//===----------------------------------------------------------------------===//
#include "CudaRunner.h"
#include "test/unit/cpu/KernelRunner.h"
#include "test/emulator/RaceCheck.h"

#include <gtest/gtest.h>

using namespace pg;
using namespace pg::test;

namespace {

const char *kKernels = R"mlir(
// A row of a whole block: maximum, exponentials, sum.
pg.kernel_def @wide_softmax attributes {modes = array<i64: 0, 0>} {
  ^bb0(%x: tensor<?x2048xf32>):
    %m = pg.reduce_max %x {axes = array<i64: 1>} : tensor<?x2048xf32> -> tensor<?xf32>
    %mb = pg.broadcast %m {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x2048xf32>
    %d = pg.sub %x, %mb : tensor<?x2048xf32>
    %e = pg.exp %d : tensor<?x2048xf32>
    %s = pg.reduce_sum %e {axes = array<i64: 1>} : tensor<?x2048xf32> -> tensor<?xf32>
    %sb = pg.broadcast %s {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x2048xf32>
    %y = pg.div %e, %sb : tensor<?x2048xf32>
    pg.yield %y, %m : tensor<?x2048xf32>, tensor<?xf32>
}
// bf16 in memory, f32 in registers; per-head sums read by other threads.
pg.kernel_def @half_heads attributes {modes = array<i64: 0, 0, 0>} {
  ^bb0(%x: tensor<?x512xbf16>, %g: tensor<?x512xbf16>):
    %xf = pg.cast %x : tensor<?x512xbf16> -> tensor<?x512xf32>
    %gf = pg.cast %g : tensor<?x512xbf16> -> tensor<?x512xf32>
    %h = pg.reshape %xf : tensor<?x512xf32> -> tensor<?x8x64xf32>
    %q = pg.mul %h, %h : tensor<?x8x64xf32>
    %s = pg.reduce_sum %q {axes = array<i64: 2>} : tensor<?x8x64xf32> -> tensor<?x8xf32>
    %r = pg.sqrt %s : tensor<?x8xf32>
    %rb = pg.broadcast %r {dims = array<i64: 0, 1>} : tensor<?x8xf32> -> tensor<?x8x64xf32>
    %n = pg.div %h, %rb : tensor<?x8x64xf32>
    %f = pg.reshape %n : tensor<?x8x64xf32> -> tensor<?x512xf32>
    %y = pg.mul %f, %gf : tensor<?x512xf32>
    %yb = pg.cast %y : tensor<?x512xf32> -> tensor<?x512xbf16>
    %t = pg.transpose %n {permutation = array<i64: 0, 2, 1>} : tensor<?x8x64xf32> -> tensor<?x64x8xf32>
    %tb = pg.cast %t : tensor<?x64x8xf32> -> tensor<?x64x8xbf16>
    %a = pg.add %x, %g : tensor<?x512xbf16>
    pg.yield %yb, %tb, %a : tensor<?x512xbf16>, tensor<?x64x8xbf16>, tensor<?x512xbf16>
}
// Pieces at odd places, neighbours in the segment, integer hashing, a pick.
pg.kernel_def @pieces attributes {modes = array<i64: 0, 0, 0>} {
  ^bb0(%x: tensor<?x6xf32>, %y: tensor<?x3xf32>, %t: tensor<?xi32>, %z: tensor<?x64xf32>):
    %c = pg.concat %x, %y {axis = 1 : i64} : (tensor<?x6xf32>, tensor<?x3xf32>) -> tensor<?x9xf32>
    %p = pg.pad %c {axis = 1 : i64, low = 2 : i64} : tensor<?x9xf32> -> tensor<?x13xf32>
    %s = pg.token_shift %t within segment {distance = 1 : i64} : tensor<?xi32>
    %k = pg.fill 40503.0 : tensor<?xi32>
    %v = pg.fill 27191.0 : tensor<?xi32>
    %m = pg.fill 64.0 : tensor<?xi32>
    %a = pg.mul %k, %t : tensor<?xi32>
    %b = pg.mul %v, %s : tensor<?xi32>
    %h = pg.xor %a, %b : tensor<?xi32>
    %ones = pg.fill 2147483647.0 : tensor<?xi32>
    %n = pg.and %h, %ones : tensor<?xi32>
    %r = pg.rem %n, %m : tensor<?xi32>
    %q = pg.pick %z, %r : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.yield %p, %r, %q : tensor<?x13xf32>, tensor<?xi32>, tensor<?xf32>
}
pg.kernel_def @neighbours_ahead attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<?x20xf64>):
    %s = pg.token_shift %x within row {distance = -2 : i64} : tensor<?x20xf64>
    %t = pg.tanh %s : tensor<?x20xf64>
    %y = pg.sub %x, %t : tensor<?x20xf64>
    pg.yield %y : tensor<?x20xf64>
}
pg.kernel_def @taken attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<?x96xf32>, %rows: tensor<5xi32>):
    %q = pg.mul %x, %x : tensor<?x96xf32>
    %t = pg.take_rows %q, %rows : tensor<?x96xf32>, tensor<5xi32> -> tensor<5x96xf32>
    %s = pg.reduce_sum %t {axes = array<i64: 1>} : tensor<5x96xf32> -> tensor<5xf32>
    %b = pg.broadcast %s {dims = array<i64: 0>} : tensor<5xf32> -> tensor<5x96xf32>
    %y = pg.div %t, %b : tensor<5x96xf32>
    pg.yield %y : tensor<5x96xf32>
}
// Leading rows, one result added to.
pg.kernel_def @leading attributes {modes = array<i64: 2, 0>} {
  ^bb0(%x: tensor<6x96xf32>):
    %q = pg.mul %x, %x : tensor<6x96xf32>
    %s = pg.reduce_sum %q {axes = array<i64: 1>} : tensor<6x96xf32> -> tensor<6xf32>
    %b = pg.broadcast %s {dims = array<i64: 0>} : tensor<6xf32> -> tensor<6x96xf32>
    %y = pg.div %x, %b : tensor<6x96xf32>
    pg.yield %y, %s : tensor<6x96xf32>, tensor<6xf32>
}
// Norm of a whole tensor, in parts; and by columns.
pg.kernel_def @whole_norm attributes {modes = array<i64: 1, 0>} {
  ^bb0(%x: tensor<300x100xf32>, %e: f64):
    %q = pg.mul %x, %x : tensor<300x100xf32>
    %s = pg.reduce_sum %q {axes = array<i64: 0, 1>} : tensor<300x100xf32> -> tensor<f32>
    %c = pg.splat %e : tensor<f32>
    %a = pg.add %s, %c : tensor<f32>
    %r = pg.rsqrt %a : tensor<f32>
    %b = pg.broadcast %r {dims = array<i64>} : tensor<f32> -> tensor<300x100xf32>
    %y = pg.mul %x, %b : tensor<300x100xf32>
    pg.yield %y, %r : tensor<300x100xf32>, tensor<f32>
}
pg.kernel_def @column_sums attributes {modes = array<i64: 0, 2>} {
  ^bb0(%x: tensor<300x70xf32>):
    %s = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<300x70xf32> -> tensor<70xf32>
    %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<70xf32> -> tensor<300x70xf32>
    %y = pg.sub %x, %b : tensor<300x70xf32>
    pg.yield %s, %y : tensor<70xf32>, tensor<300x70xf32>
}
pg.kernel_def @small_whole attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<33x7xf64>):
    %m = pg.reduce_max %x {axes = array<i64: 0, 1>} : tensor<33x7xf64> -> tensor<f64>
    %b = pg.broadcast %m {dims = array<i64>} : tensor<f64> -> tensor<33x7xf64>
    %d = pg.sub %x, %b : tensor<33x7xf64>
    %e = pg.exp %d : tensor<33x7xf64>
    %s = pg.reduce_sum %e {axes = array<i64: 0>} : tensor<33x7xf64> -> tensor<7xf64>
    %c = pg.broadcast %s {dims = array<i64: 1>} : tensor<7xf64> -> tensor<33x7xf64>
    %y = pg.div %e, %c : tensor<33x7xf64>
    pg.yield %y : tensor<33x7xf64>
}
// A long leading row: the norm of each matrix of a stack.
pg.kernel_def @stack_norms attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<3x150x128xf32>):
    %q = pg.mul %x, %x : tensor<3x150x128xf32>
    %s = pg.reduce_sum %q {axes = array<i64: 1, 2>} : tensor<3x150x128xf32> -> tensor<3xf32>
    %r = pg.sqrt %s : tensor<3xf32>
    %b = pg.broadcast %r {dims = array<i64: 0>} : tensor<3xf32> -> tensor<3x150x128xf32>
    %y = pg.div %x, %b : tensor<3x150x128xf32>
    pg.yield %y : tensor<3x150x128xf32>
}
pg.kernel_def @scatter attributes {modes = array<i64: 2>} {
  ^bb0(%dy: tensor<?x12xf32>, %t: tensor<?xi32>):
    %w = pg.gather_grad %dy, %t : tensor<?x12xf32>, tensor<?xi32> -> tensor<50x12xf32>
    pg.yield %w : tensor<50x12xf32>
}
pg.kernel_def @scatter_static attributes {modes = array<i64: 0>} {
  ^bb0(%dy: tensor<9x1x5xf32>, %t: tensor<9xi32>, %c: f64):
    %w = pg.gather_grad %dy, %t : tensor<9x1x5xf32>, tensor<9xi32> -> tensor<70x1x5xf32>
    %s = pg.splat %c : tensor<70x1x5xf32>
    %y = pg.mul %w, %s : tensor<70x1x5xf32>
    pg.yield %y : tensor<70x1x5xf32>
}
pg.kernel_def @transposed attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<70x45xf32>):
    %y = pg.transpose %x {permutation = array<i64: 1, 0>} : tensor<70x45xf32> -> tensor<45x70xf32>
    pg.yield %y : tensor<45x70xf32>
}
)mlir";

/// All kernels on both targets under every order, at an odd number of tokens.
TEST(CudaRowKernel, FormsAgreeWithTheCpuUnderEveryOrder) {
  CudaRunner runner(kKernels);
  ASSERT_EQ(runner.error(), "");
  PackedBatch batch(67, {30, 31}, {12, 50});
  for (const cuda::EmittedKernel &kernel : runner.kernels())
    for (const emulator::Schedule &schedule : emulator::everySchedule())
      if (!schedule.lateCopies)
        EXPECT_EQ(runner.compare(kernel.symbol, batch.view, schedule), "")
            << kernel.symbol << ", " << emulator::scheduleName(schedule) << "\n"
            << kernel.source;
}

TEST(CudaRowKernel, ScatterSortsTokensOfSeveralChunks) {
  CudaRunner runner(kKernels, {"scatter"});
  ASSERT_EQ(runner.error(), "");
  PackedBatch batch(2100, {}, {});
  EXPECT_EQ(runner.compare("scatter", batch.view, {}), "");
}

TEST(CudaRowKernel, OneTokenIsEnough) {
  CudaRunner runner(kKernels, {"wide_softmax", "half_heads", "scatter"});
  ASSERT_EQ(runner.error(), "");
  PackedBatch batch(1, {}, {});
  for (const cuda::EmittedKernel &kernel : runner.kernels())
    EXPECT_EQ(runner.compare(kernel.symbol, batch.view, {}), "")
        << kernel.symbol;
}

//===----------------------------------------------------------------------===//
// Planted bugs
//===----------------------------------------------------------------------===//

/// True when some order of execution shows that the text with every `what`
/// replaced is wrong.
bool isCaught(const std::string &kernel, const std::string &what,
              const std::string &by) {
  CudaRunner runner(kKernels, {kernel});
  EXPECT_EQ(runner.error(), "");
  std::string planted = runner.plant(kernel, {"planted", "", what, by});
  EXPECT_NE(planted, "") << what << " in\n" << runner.source();
  PackedBatch batch(67, {30, 31}, {12, 50});
  bool isCaught = false;
  for (const emulator::Schedule &schedule : emulator::everySchedule()) {
    if (schedule.lateCopies)
      continue;
    EXPECT_EQ(runner.compare(kernel, batch.view, schedule), "");
    isCaught |= !runner.compare(planted, batch.view, schedule).empty();
  }
  return isCaught;
}

TEST(CudaPlantedBug, MissingBarrierOfATransposeIsCaught) {
  EXPECT_TRUE(isCaught("transposed", "pg_barrier();", ""));
}

TEST(CudaPlantedBug, WrongOffsetInATileIsCaught) {
  EXPECT_TRUE(isCaught("transposed", "x * 33 + k", "x * 32 + k"));
}

TEST(CudaPlantedBug, MissingBarrierBeforeRanksIsCaught) {
  EXPECT_TRUE(isCaught("scatter", "pg_barrier();", ""));
}

TEST(CudaPlantedBug, ResultsReadBeforeTheirWarpHasWrittenThemAreCaught) {
  EXPECT_TRUE(isCaught("half_heads", "pg_warp_barrier();", ""));
}

TEST(CudaPlantedBug, StoreOfAThreadWithoutARowIsCaught) {
  EXPECT_TRUE(isCaught("neighbours_ahead", "? row + 2", "? row + 3"));
  EXPECT_TRUE(isCaught("wide_softmax", "pg_store<4>(out0_row", "pg_store<4>(out0_row + 4"));
}

TEST(CudaPlantedBug, ThreadSanitizerSeesMissingBarriersAndNothingElse) {
  const std::vector<std::string> correct = {"transposed", "wide_softmax", "half_heads"};
  CudaRunner runner(kKernels, correct);
  ASSERT_EQ(runner.error(), "");
  std::vector<std::string> kernels = correct;
  kernels.push_back(runner.plant("transposed", {"planted", "", "pg_barrier();", ""}));
  kernels.push_back(runner.plant("half_heads", {"planted", "", "pg_warp_barrier();", ""}));
  std::vector<emulator::RaceLaunch> launches;
  for (const std::string &kernel : kernels)
    launches.push_back(runner.raceLaunches(kernel, 9)[0]);
  std::vector<emulator::RaceCheck> checks =
      emulator::checkRaces(runner.source(), launches);
  if (checks[0].isMissing)
    GTEST_SKIP() << "not run: " << checks[0].message;
  for (size_t k = 0; k < checks.size(); ++k)
    EXPECT_EQ(checks[k].races > 0, k >= correct.size())
        << kernels[k] << "\n" << checks[k].message;
}

} // namespace
