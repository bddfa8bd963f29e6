//===- GroupedKernelTest.cpp - one matrix per slot: emulator against CPU ------===//
#include "TargetPair.h"
#include "test/unit/cpu/KernelRunner.h"

#include <gtest/gtest.h>

using namespace pg;
using namespace pg::test;

namespace {

/// Rows that begin in the middle of tiles, one slot used twice and one unused.
PackedBatch slottedBatch(int64_t tokens) {
  std::vector<int64_t> bounds;
  for (int64_t bound : {3, 70, 71, 150})
    if (bound < tokens)
      bounds.push_back(bound);
  PackedBatch batch(tokens, bounds, {});
  const int32_t slots[] = {2, 0, 3, 2, 0};
  for (int64_t t = 0; t < tokens; ++t) {
    int64_t row = 0;
    for (int64_t bound : bounds)
      row += t >= bound;
    batch.slot[t] = slots[row];
  }
  return batch;
}

std::string tensor(const std::string &dims, const std::string &element) {
  return "tensor<" + dims + "x" + element + ">";
}

struct Sizes {
  int64_t in, out;
};

/// y = x op(w[slot]) stored twice: as it is and rounded to the operands' type.
std::string matmulText(Sizes s, bool transposed) {
  std::string a = std::to_string(s.in), b = std::to_string(s.out);
  std::string x = tensor("?x" + a, "$E"), y = tensor("?x" + b, "$R"),
              narrow = tensor("?x" + b, "$E"),
              w = tensor("4x" + (transposed ? b + "x" + a : a + "x" + b), "$E");
  return "pg.kernel_def @matmul_" + a + "_" + b + (transposed ? "_t" : "") +
         " attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " + x + ", %w: " +
         w + "):\n  %y = pg.grouped_matmul %x, %w " +
         (transposed ? "{transpose_w} " : "") + ": " + x + ", " + w + " -> " + y +
         "\n  %n = pg.cast %y : " + y + " -> " + narrow + "\n  pg.yield %y, %n : " +
         y + ", " + narrow + "\n}\n";
}

/// r[slot] = sum of a (outer) b, once added to what is there and once rounded.
std::string outerText(Sizes s) {
  std::string m = std::to_string(s.in), k = std::to_string(s.out);
  std::string a = tensor("?x" + m, "$E"), b = tensor("?x" + k, "$E"),
              r = tensor("4x" + m + "x" + k, "$R"),
              narrow = tensor("4x" + m + "x" + k, "$E");
  return "pg.kernel_def @outer_" + m + "_" + k +
         " attributes {modes = array<i64: 2, 0>} {\n^bb0(%a: " + a + ", %b: " +
         b + "):\n  %r = pg.grouped_outer %a, %b : " + a + ", " + b + " -> " + r +
         "\n  %n = pg.cast %r : " + r + " -> " + narrow + "\n  pg.yield %r, %n : " +
         r + ", " + narrow + "\n}\n";
}

std::vector<emulator::Schedule> someSchedules() {
  using emulator::Order;
  return {{Order::GreedyLow, true, 1}, {Order::Random, false, 7}};
}

void expectEqual(const std::string &text, const std::string &element,
                 const std::vector<int64_t> &tokens,
                 const std::vector<emulator::Schedule> &schedules) {
  TargetPair pair(text, element);
  ASSERT_EQ(pair.error(), "");
  for (const cuda::EmittedKernel &kernel : pair.kernels())
    for (int64_t n : tokens) {
      PackedBatch batch = slottedBatch(n);
      for (const emulator::Schedule &schedule : schedules)
        EXPECT_EQ(pair.compare(kernel.symbol, batch.view, schedule,
                               element == "bf16"  ? 1e-2
                               : element == "f32" ? 2e-5
                                                  : 1e-12),
                  "")
            << kernel.symbol << " in " << element << ", " << n << " tokens, "
            << emulator::scheduleName(schedule);
    }
}

// Ranks below a vector, depths beyond a step of the pipeline, widths beyond a tile.
TEST(CudaGrouped, EveryTokenMeetsTheMatrixOfItsSlot) {
  std::string text;
  for (bool transposed : {false, true}) {
    text += matmulText({33, 2}, transposed);
    text += matmulText(transposed ? Sizes{136, 16} : Sizes{16, 136}, transposed);
  }
  for (const char *element : {"bf16", "f32"})
    expectEqual(text, element, {1, 203}, someSchedules());
}

TEST(CudaGrouped, SumsOfEverySlotAndZeroWithoutTokens) {
  std::string text;
  for (Sizes sizes : {Sizes{33, 2}, {16, 136}, {72, 40}})
    text += outerText(sizes);
  for (const char *element : {"bf16", "f32"})
    expectEqual(text, element, {1, 203}, someSchedules());
}

TEST(CudaGrouped, EverySchedule) {
  expectEqual(matmulText({136, 16}, true) + outerText({16, 72}), "bf16", {160},
              emulator::everySchedule());
}

TEST(CudaGrouped, DoublePrecision) {
  expectEqual(matmulText({33, 5}, false) + outerText({5, 33}), "f64", {72},
              someSchedules());
}

} // namespace
