//===- GroupedKernelTest.cpp - one matrix per slot, against double loops ---===//
#include "KernelRunner.h"

#include <gtest/gtest.h>

using namespace pg::test;

namespace {

constexpr int64_t kSlots = 4;

/// Rows that begin in the middle of tiles, one slot used twice and one unused.
PackedBatch slottedBatch(int64_t tokens) {
  std::vector<int64_t> bounds;
  for (int64_t bound : {3, 70, 71, 200})
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

template <typename T>
std::vector<double> grouped(const std::vector<T> &x, const std::vector<T> &w,
                            const PackedBatch &batch, int64_t in, int64_t out,
                            bool transposed) {
  std::vector<double> y(batch.slot.size() * out, 0.0);
  for (size_t t = 0; t < batch.slot.size(); ++t)
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        y[t * out + o] +=
            double(x[t * in + i]) *
            w[batch.slot[t] * in * out + (transposed ? o * in + i : i * out + o)];
  return y;
}

std::string text(const std::string &element, int64_t in, int64_t out,
                 bool transposed) {
  auto sized = [&](const std::string &dims) {
    return "tensor<" + dims + "x" + element + ">";
  };
  std::string a = std::to_string(in), b = std::to_string(out);
  std::string x = sized("?x" + a), y = sized("?x" + b);
  std::string w = sized("4x" + (transposed ? b + "x" + a : a + "x" + b));
  return "pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " + x +
         ", %w: " + w + "):\n  %y = pg.grouped_matmul %x, %w " +
         (transposed ? "{transpose_w} " : "") + ": " + x + ", " + w + " -> " + y +
         "\n  pg.yield %y : " + y + "\n}\n";
}

/// Ranks below a vector, depths beyond a block, widths beyond a tile.
struct Sizes {
  int64_t in, out;
};
constexpr int64_t kTokens[] = {1, 2, 64, 65, 257};

template <typename T>
void checkMatmul(const char *element, int64_t bytes,
                 std::initializer_list<Sizes> sizes) {
  for (bool transposed : {true, false})
    for (auto [in, out] : sizes) {
      KernelRunner kernel(text(element, in, out, transposed), bytes);
      ASSERT_TRUE(kernel.isReady());
      EXPECT_EQ(kernel.category(), "matmul");
      for (int64_t n : kTokens) {
        auto x = noise<T>(n * in, 1), w = noise<T>(kSlots * in * out, 2);
        PackedBatch batch = slottedBatch(n);
        for (int64_t cut : {0, 1}) {
          std::vector<T> y(n * out, NAN);
          kernel.run({x.data(), w.data(), y.data()}, batch.view, cut);
          EXPECT_LT(worstError(y, grouped(x, w, batch, in, out, transposed)),
                    sizeof(T) == 4 ? 1e-5 : 1e-13)
              << n << " " << in << " " << out << " " << transposed;
        }
      }
    }
}

TEST(GroupedMatmulKernel, EveryTokenMeetsTheMatrixOfItsSlot) {
  checkMatmul<float>("f32", 64, {{33, 2}, {300, 16}, {16, 300}});
}
TEST(GroupedMatmulKernel, NarrowVectorsAndDoublePrecision) {
  checkMatmul<double>("f64", 16, {{33, 5}});
  checkMatmul<float>("f32", 32, {{2, 33}});
}

TEST(GroupedOuterKernel, AddsEverySlotsTokensAndLeavesUnusedSlots) {
  for (int64_t bytes : {64, 32})
    for (auto [height, width] : {Sizes{33, 2}, Sizes{16, 300}}) {
      std::string h = std::to_string(height), w = std::to_string(width);
      std::string a = "tensor<?x" + h + "xf32>", b = "tensor<?x" + w + "xf32>";
      std::string r = "tensor<4x" + h + "x" + w + "xf32>";
      KernelRunner kernel("pg.kernel_def @k attributes {modes = array<i64: 2>} "
                          "{\n^bb0(%a: " + a + ", %b: " + b +
                              "):\n  %r = pg.grouped_outer %a, %b : " + a + ", " +
                              b + " -> " + r + "\n  pg.yield %r : " + r + "\n}\n",
                          bytes);
      ASSERT_TRUE(kernel.isReady());
      for (int64_t n : {1, 65, 257}) {
        auto x = noise<float>(n * height, 1), y = noise<float>(n * width, 2);
        auto before = noise<float>(kSlots * height * width, 3);
        PackedBatch batch = slottedBatch(n);
        std::vector<double> want(before.begin(), before.end());
        for (int64_t t = 0; t < n; ++t)
          for (int64_t i = 0; i < height; ++i)
            for (int64_t j = 0; j < width; ++j)
              want[(batch.slot[t] * height + i) * width + j] +=
                  double(x[t * height + i]) * y[t * width + j];
        std::vector<float> whole = before, cut = before;
        kernel.run({x.data(), y.data(), whole.data()}, batch.view);
        EXPECT_LT(worstError(whole, want), 2e-5) << n << " " << height << " " << width;
        kernel.run({x.data(), y.data(), cut.data()}, batch.view, 1);
        EXPECT_EQ(whole, cut); // work may be cut anywhere
      }
    }
}

} // namespace
