//===- AttentionKernelTest.cpp - attention: emulator against CPU --------------===//
#include "test/unit/cpu/KernelRunner.h"
#include "TargetPair.h"

#include <gtest/gtest.h>

using namespace pg;
using namespace pg::test;

namespace {

struct Attention {
  int64_t heads, groups, keyWidth, valueWidth, window;
  bool bySegment = true;
  double scale = 0.37;
};

std::string heads(int64_t count, int64_t width, const std::string &element) {
  return "tensor<?x" + std::to_string(count) + "x" + std::to_string(width) +
         "x" + element + ">";
}

std::string nameOf(const Attention &a) {
  return "heads" + std::to_string(a.heads) + "_" + std::to_string(a.groups) +
         "_widths" + std::to_string(a.keyWidth) + "_" +
         std::to_string(a.valueWidth) + "_window" + std::to_string(a.window) + (a.scale < 0 ? "_negative" : a.scale > 0 ? "" : "_none");
}

/// Forward and backward; the output is rounded to the operands' type.
std::string attentionText(const Attention &a) {
  std::string q = heads(a.heads, a.keyWidth, "$E"),
              k = heads(a.groups, a.keyWidth, "$E"),
              v = heads(a.groups, a.valueWidth, "$E"),
              o = heads(a.heads, a.valueWidth, "$E");
  std::string result = heads(a.heads, a.valueWidth, "$R");
  std::string rows = "tensor<?x" + std::to_string(a.heads) + "x$R>";
  std::string attributes = " {scale = " + std::to_string(a.scale) + " : f64, window = " +
                           std::to_string(a.window) + " : i64, within = " +
                           (a.bySegment ? "1" : "0") + " : i32} : ";
  std::string gradients = heads(a.heads, a.keyWidth, "$R") + ", " +
                          heads(a.groups, a.keyWidth, "$R") + ", " +
                          heads(a.groups, a.valueWidth, "$R");
  return "pg.kernel_def @forward_" + nameOf(a) +
         " attributes {modes = array<i64: 0, 0>} {\n^bb0(%q: " + q + ", %k: " +
         k + ", %v: " + v + "):\n  %o, %l = pg.attention %q, %k, %v" +
         attributes + "(" + q + ", " + k + ", " + v + ") -> (" + result + ", " +
         rows + ")\n  %r = pg.cast %o : " + result + " -> " + o +
         "\n  pg.yield %r, %l : " + o + ", " + rows + "\n}\n" +
         "pg.kernel_def @backward_" + nameOf(a) +
         " attributes {modes = array<i64: 0, 0, 0>} {\n^bb0(%q: " + q +
         ", %k: " + k + ", %v: " + v + ", %d: " + o + ", %l: " + rows +
         ", %t: " + rows +
         "):\n  %0, %1, %2 = pg.attention_grad %q, %k, %v, %d, %l, %t" +
         attributes + "(" + q + ", " + k + ", " + v + ", " + o + ", " + rows +
         ", " + rows + ") -> (" + gradients + ")\n  pg.yield %0, %1, %2 : " +
         gradients + "\n}\n";
}

struct Tokens {
  int64_t count;
  std::vector<int64_t> rows, segments;
};

void expectEqual(const std::vector<std::pair<Attention, Tokens>> &cases,
                 const std::string &element, bool all = false) {
  std::string text;
  for (const auto &[attention, tokens] : cases)
    text += attentionText(attention);
  TargetPair pair(text, element);
  ASSERT_EQ(pair.error(), "");
  // With a noisy lse P is not normalised: small numbers keep exp(s - lse), and what
  // rounding it to bf16 loses, near 1.
  pair.amplitude = 0.5;
  using emulator::Order;
  std::vector<emulator::Schedule> schedules = {{Order::GreedyHigh, true, 1},
                                               {Order::Random, false, 7}};
  if (all)
    schedules = emulator::everySchedule();
  for (const auto &[attention, tokens] : cases) {
    PackedBatch batch(tokens.count, tokens.rows, tokens.segments);
    for (const char *direction : {"forward_", "backward_"})
      for (const emulator::Schedule &schedule : schedules)
        EXPECT_EQ(pair.compare(direction + nameOf(attention), batch.view,
                               schedule,
                               // P and dS are rounded to bf16 before they are summed.
                               element == "bf16"  ? 3e-2
                               : element == "f32" ? 3e-5
                                                  : 1e-12),
                  "")
            << direction << nameOf(attention) << " in " << element << ", "
            << tokens.count << " tokens, " << emulator::scheduleName(schedule);
  }
}

const char *kElements[] = {"bf16", "f32"};

TEST(CudaAttention, GroupedHeadsOverOddSegments) {
  for (const char *element : kElements)
    expectEqual({{{4, 2, 64, 64, 0}, {203, {130}, {5, 70, 71}}}}, element);
}

TEST(CudaAttention, WindowsAndRows) {
  for (const char *element : kElements)
    expectEqual({{{2, 2, 16, 16, 40}, {203, {100}, {150}}},
                 {{2, 1, 16, 16, 1}, {70, {}, {}}},
                 {{2, 1, 16, 16, 150, false}, {203, {180}, {9}}}},
                element);
}

TEST(CudaAttention, OddWidths) {
  for (const char *element : kElements)
    expectEqual({{{2, 1, 4, 6, 0}, {67, {}, {30}}},
                 {{1, 1, 3, 5, 0}, {1, {}, {}}},
                 {{1, 1, 24, 40, 0}, {65, {}, {}}}},
                element);
}

// What is not seen stays hidden whatever the products are multiplied by.
TEST(CudaAttention, NegativeScaleAndNone) {
  for (const char *element : kElements)
    expectEqual({{{4, 2, 16, 24, 0, true, -0.75}, {130, {}, {50}}}, {{4, 2, 16, 24, 0, true, 0}, {70, {}, {9}}}}, element);
}

TEST(CudaAttention, WideHeads) {
  expectEqual({{{2, 1, 96, 72, 0}, {130, {}, {50}}},
               {{1, 1, 136, 16, 0}, {70, {}, {}}}},
              "bf16");
}

TEST(CudaAttention, EverySchedule) {
  expectEqual({{{2, 1, 64, 64, 0}, {140, {}, {90}}}}, "bf16", true);
}

TEST(CudaAttention, DoublePrecision) {
  expectEqual({{{2, 1, 64, 64, 0}, {70, {}, {20}}}}, "f64");
}

} // namespace
