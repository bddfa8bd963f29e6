//===- MatmulKernelTest.cpp - products against plain double loops ----------===//
#include "KernelRunner.h"

#include <gtest/gtest.h>

using namespace pg::test;

namespace {

/// C = op(A) op(B) in double; A and B row-major as they lie.
std::vector<double> product(const std::vector<float> &a,
                            const std::vector<float> &b, int64_t m, int64_t n,
                            int64_t k, bool transposeA, bool transposeB) {
  std::vector<double> c(m * n, 0.0);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p) {
      double left = transposeA ? a[p * m + i] : a[i * k + p];
      for (int64_t j = 0; j < n; ++j)
        c[i * n + j] += left * (transposeB ? b[j * k + p] : b[p * n + j]);
    }
  return c;
}

std::string tensor(int64_t rows, int64_t columns) {
  return "tensor<" + (rows < 0 ? std::string("?") : std::to_string(rows)) +
         "x" + std::to_string(columns) + "xf32>";
}

std::string matmulText(const std::string &a, const std::string &b,
                       const std::string &c, const std::string &flags,
                       int mode) {
  return "pg.kernel_def @k attributes {modes = array<i64: " +
         std::to_string(mode) + ">} {\n^bb0(%a: " + a + ", %b: " + b +
         "):\n  %c = pg.matmul %a, %b " + flags + " : " + a + ", " + b +
         " -> " + c + "\n  pg.yield %c : " + c + "\n}\n";
}

constexpr int64_t kTokens[] = {1, 7, 63, 64, 65, 257, 1023};

struct Feature {
  int64_t in, out;
};
constexpr Feature kFeatures[] = {{48, 96}, {96, 100}, {100, 48}, {12, 64},
                                 {512, 33}, {600, 8}};

TEST(MatmulKernel, TokensTimesWeightInBothLayouts) {
  for (bool transposed : {true, false})
    for (auto [in, out] : kFeatures) {
      std::string w = transposed ? tensor(out, in) : tensor(in, out);
      KernelRunner kernel(matmulText(tensor(-1, in), w, tensor(-1, out),
                                     transposed ? "{transpose_b}" : "", 0));
      ASSERT_TRUE(kernel.isReady());
      for (int64_t n : kTokens) {
        auto a = noise<float>(n * in, 1), b = noise<float>(in * out, 2);
        std::vector<float> c(n * out, NAN);
        PackedBatch batch(n, {}, {});
        kernel.run({a.data(), b.data(), c.data()}, batch.view);
        EXPECT_LT(worstError(c, product(a, b, n, out, in, false, transposed)),
                  1e-5)
            << n << " " << in << " " << out << " " << transposed;
      }
    }
}

TEST(MatmulKernel, WeightGradientContractsTokensAndAccumulates) {
  for (auto [in, out] : kFeatures) {
    KernelRunner kernel(matmulText(tensor(-1, out), tensor(-1, in),
                                   tensor(out, in), "{transpose_a}", 2));
    ASSERT_TRUE(kernel.isReady());
    for (int64_t n : kTokens) {
      auto a = noise<float>(n * out, 1), b = noise<float>(n * in, 2);
      auto c = noise<float>(in * out, 3);
      std::vector<double> want = product(a, b, out, in, n, true, false);
      for (size_t k = 0; k < want.size(); ++k)
        want[k] += c[k];
      PackedBatch batch(n, {}, {});
      kernel.run({a.data(), b.data(), c.data()}, batch.view);
      EXPECT_LT(worstError(c, want), 2e-5) << n << " " << in << " " << out;
    }
  }
}

TEST(MatmulKernel, StaticTimesStaticInAllLayouts) {
  int64_t m = 9, k = 300, n = 50;
  for (bool ta : {false, true})
    for (bool tb : {false, true}) {
      std::string flags = "{";
      flags += ta ? "transpose_a" : "";
      flags += ta && tb ? ", " : "";
      flags += tb ? "transpose_b" : "";
      flags += "}";
      KernelRunner kernel(matmulText(ta ? tensor(k, m) : tensor(m, k),
                                     tb ? tensor(n, k) : tensor(k, n),
                                     tensor(m, n), ta || tb ? flags : "", 1));
      ASSERT_TRUE(kernel.isReady());
      auto a = noise<float>(m * k, 1), b = noise<float>(k * n, 2);
      std::vector<float> c(m * n, NAN);
      PackedBatch batch(0, {}, {});
      kernel.run({a.data(), b.data(), c.data()}, batch.view);
      EXPECT_LT(worstError(c, product(a, b, m, n, k, ta, tb)), 1e-5)
          << ta << tb;
    }
}

TEST(MatmulKernel, MatrixTimesItsTransposeWithAnEpilogueThatIsNotSymmetric) {
  // y = x x^T (or x^T x) - r, for one, two and several tiles, one and two blocks of k.
  // 145 leaves one element for the last vector.
  for (auto [n, bytes] : std::vector<std::pair<int64_t, int64_t>>{{9, 64}, {100, 16}, {100, 32}, {145, 64}, {400, 64}})
    for (bool left : {false, true})
      for (int mode : {0, 2}) {
        int64_t k = n == 100 ? 300 : left ? 40 : 600;
        std::string x = left ? tensor(k, n) : tensor(n, k), y = tensor(n, n);
        KernelRunner kernel(
            "pg.kernel_def @k attributes {modes = array<i64: " +
                std::to_string(mode) + ">} {\n^bb0(%x: " + x + ", %r: " + y + "):\n  %c = pg.matmul %x, %x {transpose_" +
                (left ? "a" : "b") + "} : " + x + ", " + x + " -> " + y +
                "\n  %d = pg.sub %c, %r : " + y + "\n  pg.yield %d : " + y +
                "\n}\n",
            bytes);
        ASSERT_TRUE(kernel.isReady());
        auto a = noise<float>(n * k, 1), r = noise<float>(n * n, 2);
        // What is added to must be added to once.
        float before = mode == 2 ? 3.0f : NAN;
        std::vector<float> c(n * n, before), cut(n * n, before);
        std::vector<double> want = product(a, a, n, n, k, left, !left);
        for (int64_t i = 0; i < n * n; ++i)
          want[i] += (mode == 2 ? before : 0.0f) - r[i];
        PackedBatch batch(0, {}, {});
        kernel.run({a.data(), r.data(), c.data()}, batch.view);
        EXPECT_LT(worstError(c, want), 2e-5) << n << " " << bytes << " " << left;
        kernel.run({a.data(), r.data(), cut.data()}, batch.view, kernel.workItems().grain);
        EXPECT_EQ(c, cut) << n << " " << left;
      }
}

/// Numbers of bf16, as they are stored and as f32.
struct Halves {
  std::vector<uint16_t> stored;
  std::vector<float> wide;
  explicit Halves(int64_t count, uint64_t seed) : wide(noise<float>(count, seed)) {
    for (float &value : wide) {
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      stored.push_back(static_cast<uint16_t>(bits >> 16));
      bits &= 0xFFFF0000u;
      std::memcpy(&value, &bits, 4);
    }
  }
};

// Values that bf16 can hold multiply the same however they are stored, also in a matrix times its own transpose.
TEST(MatmulKernel, FactorsStoredNarrowGiveTheBitsOfWideOnes) {
  auto text = [](const std::string &x, const std::string &g, const std::string &y, bool left) {
    std::string gram = "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " + x + ", %g: " + g +
                       "):\n  %c = pg.matmul %x, %x {transpose_" + (left ? "a" : "b") + "} : " + x + ", " + x + " -> " + y;
    bool isNarrow = g != y;
    if (isNarrow)
      gram += "\n  %w = pg.cast %g : " + g + " -> " + y;
    gram += "\n  %s = pg.add %c, " + std::string(isNarrow ? "%w" : "%g") + " : " + y + "\n  %r = pg.round %s to bf16 : " + y;
    if (isNarrow)
      gram += "\n  %n = pg.cast %r : " + y + " -> " + g;
    return gram + "\n  pg.yield %c, " + (isNarrow ? "%n" : "%r") + " : " + y + ", " + g + "\n}\n";
  };
  for (int64_t n : {9, 400})
    for (bool left : {false, true}) {
      int64_t k = 140;
      std::string shapeX = left ? std::to_string(k) + "x" + std::to_string(n) : std::to_string(n) + "x" + std::to_string(k);
      std::string shapeG = std::to_string(n) + "x" + std::to_string(n);
      std::string wideX = "tensor<" + shapeX + "xf32>", wideG = "tensor<" + shapeG + "xf32>";
      KernelRunner wide(text(wideX, wideG, wideG, left));
      KernelRunner narrow(text("tensor<" + shapeX + "xbf16>", "tensor<" + shapeG + "xbf16>", wideG, left));
      ASSERT_TRUE(wide.isReady() && narrow.isReady());
      Halves x(n * k, 1), g(n * n, 2);
      std::vector<float> sums(n * n, NAN), rounded(n * n, NAN), sumsOfNarrow(n * n, NAN);
      std::vector<uint16_t> stored(n * n, 0xFFFF);
      PackedBatch batch(0, {}, {});
      wide.run({x.wide.data(), g.wide.data(), sums.data(), rounded.data()}, batch.view);
      narrow.run({x.stored.data(), g.stored.data(), sumsOfNarrow.data(), stored.data()}, batch.view);
      EXPECT_EQ(sums, sumsOfNarrow) << n << " " << left;
      for (int64_t i = 0; i < n * n; ++i) {
        uint32_t bits = uint32_t(stored[i]) << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        ASSERT_EQ(value, rounded[i]) << n << " " << left << " " << i;
      }
    }
}

TEST(MatmulKernel, NarrowVectorsAndDoublePrecision) {
  for (int64_t bytes : {16, 32, 64}) {
    std::string text = matmulText("tensor<?x100xf64>", "tensor<36x100xf64>",
                                  "tensor<?x36xf64>", "{transpose_b}", 0);
    KernelRunner kernel(text, bytes);
    ASSERT_TRUE(kernel.isReady());
    int64_t n = 65;
    auto a = noise<double>(n * 100, 1), b = noise<double>(3600, 2);
    std::vector<double> c(n * 36, NAN), want(n * 36, 0.0);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < 36; ++j)
        for (int64_t p = 0; p < 100; ++p)
          want[i * 36 + j] += a[i * 100 + p] * b[j * 100 + p];
    PackedBatch batch(n, {}, {});
    kernel.run({a.data(), b.data(), c.data()}, batch.view);
    EXPECT_LT(worstError(c, want), 1e-14) << bytes;
  }
}

TEST(MatmulKernel, WeightGradientsOfEveryWidthAndType) {
  // Strips of A are cut from vectors of another size in each case.
  auto check = [](auto zero, const std::string &type, double bound) {
    using T = decltype(zero);
    for (int64_t bytes : {16, 32, 64})
      for (int64_t in : {33, 64}) {
        int64_t out = 52, n = 275;
        auto shape = [&](int64_t columns) {
          return "tensor<?x" + std::to_string(columns) + "x" + type + ">";
        };
        std::string c = "tensor<52x" + std::to_string(in) + "x" + type + ">";
        KernelRunner kernel(matmulText(shape(out), shape(in), c, "{transpose_a}", 0), bytes);
        ASSERT_TRUE(kernel.isReady());
        auto a = noise<T>(n * out, 1), b = noise<T>(n * in, 2);
        std::vector<T> got(out * in, NAN);
        std::vector<double> want(out * in, 0.0);
        for (int64_t t = 0; t < n; ++t)
          for (int64_t i = 0; i < out; ++i)
            for (int64_t j = 0; j < in; ++j)
              want[i * in + j] += double(a[t * out + i]) * b[t * in + j];
        PackedBatch batch(n, {}, {});
        kernel.run({a.data(), b.data(), got.data()}, batch.view);
        EXPECT_LT(worstError(got, want), bound) << bytes << " " << in << " " << type;
      }
  };
  check(0.0f, "f32", 2e-5);
  check(0.0, "f64", 1e-13);
}

TEST(MatmulKernel, SplittingTheItemsNeverChangesBits) {
  KernelRunner kernel(matmulText(tensor(-1, 700), tensor(600, 700),
                                 tensor(-1, 600), "{transpose_b}", 0));
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 1023;
  auto a = noise<float>(n * 700, 1), b = noise<float>(600 * 700, 2);
  std::vector<float> whole(n * 600), cut(n * 600), single(600);
  PackedBatch batch(n, {}, {}), one(1, {}, {});
  kernel.run({a.data(), b.data(), whole.data()}, batch.view);
  for (int64_t pieces : {1, 3}) {
    std::fill(cut.begin(), cut.end(), NAN);
    kernel.run({a.data(), b.data(), cut.data()}, batch.view, pieces);
    EXPECT_EQ(whole, cut) << pieces;
  }
  // A token's row does not depend on how many others there are.
  kernel.run({a.data(), b.data(), single.data()}, one.view);
  EXPECT_TRUE(std::equal(single.begin(), single.end(), whole.begin()));
}

TEST(MatmulKernel, RunsOverSeveralColumnBlocksNeverChangeBits) {
  // 15 items of rows, more than a run has, in 5 column blocks; more tokens than a
  // block of k. Pieces begin and end inside column blocks or span some of them.
  int64_t out = 700, in = 1100, n = 300;
  KernelRunner kernel(matmulText(tensor(-1, out), tensor(-1, in), tensor(out, in),
                                 "{transpose_a}", 0));
  ASSERT_TRUE(kernel.isReady());
  PackedBatch batch(n, {}, {});
  ASSERT_EQ(kernel.items(n), 75);
  auto a = noise<float>(n * out, 1), b = noise<float>(n * in, 2);
  std::vector<float> whole(out * in, NAN), cut(out * in);
  kernel.run({a.data(), b.data(), whole.data()}, batch.view);
  EXPECT_LT(worstError(whole, product(a, b, out, in, n, true, false)), 2e-5);
  for (int64_t pieces : {1, 5, 11, 16, 27}) {
    std::fill(cut.begin(), cut.end(), NAN);
    kernel.run({a.data(), b.data(), cut.data()}, batch.view, pieces);
    EXPECT_EQ(whole, cut) << pieces;
  }
}

TEST(MatmulKernel, SumsOfSeveralBlocksOfKInSeveralRunsNeverChangeBits) {
  // Deeper than one block of k, more rows than the sums of a run have room for, a last
  // panel and a last micro-kernel that are not whole.
  int64_t out = 72, in = 1100, n = 2303;
  KernelRunner kernel(matmulText(tensor(-1, in), tensor(out, in), tensor(-1, out),
                                 "{transpose_b}", 0));
  ASSERT_TRUE(kernel.isReady());
  EXPECT_TRUE(kernel.workItems().wantsRuns);
  PackedBatch batch(n, {}, {});
  auto a = noise<float>(n * in, 1), b = noise<float>(out * in, 2);
  std::vector<float> whole(n * out, NAN), cut(n * out);
  kernel.run({a.data(), b.data(), whole.data()}, batch.view);
  EXPECT_LT(worstError(whole, product(a, b, n, out, in, false, true)), 1e-4);
  for (int64_t pieces : {1, 7, 48}) {
    std::fill(cut.begin(), cut.end(), NAN);
    kernel.run({a.data(), b.data(), cut.data()}, batch.view, pieces);
    EXPECT_EQ(whole, cut) << pieces;
  }
}

TEST(MatmulKernel, WeightsPackedForOnePieceServeTheNextAndNeverChangeBits) {
  // A thread does pieces of several column blocks in any order, and many of one. Depths
  // with a block of columns of 256 and of 128.
  for (int64_t in : {96, 1024}) {
    int64_t out = 600, n = 150;
    KernelRunner kernel(matmulText(tensor(-1, in), tensor(out, in), tensor(-1, out),
                                   "{transpose_b}", 0));
    ASSERT_TRUE(kernel.isReady());
    EXPECT_FALSE(kernel.workItems().wantsRuns);
    PackedBatch batch(n, {}, {});
    auto a = noise<float>(n * in, 1), b = noise<float>(out * in, 2), other = noise<float>(out * in, 3);
    std::vector<float> whole(n * out, NAN), cut(n * out);
    kernel.run({a.data(), b.data(), whole.data()}, batch.view);
    // One f32 sum of `in` terms: rounding grows with them.
    EXPECT_LT(worstError(whole, product(a, b, n, out, in, false, true)), in > 512 ? 1e-4 : 2e-5);
    for (int64_t pieces : {1, 3, 7})
      for (bool backwards : {false, true}) {
        kernel.backwards = backwards;
        // What another launch has packed serves nobody.
        kernel.fillsScratch = false;
        kernel.run({a.data(), other.data(), cut.data()}, batch.view, pieces);
        std::fill(cut.begin(), cut.end(), NAN);
        kernel.run({a.data(), b.data(), cut.data()}, batch.view, pieces);
        EXPECT_EQ(whole, cut) << in << " " << pieces << " " << backwards;
      }
  }
}

TEST(MatmulKernel, PrologueAndEpilogueWithTwoResults) {
  // y = (2 x) w^T; results: leaky(y)^2 as [N, 4, 24] and x0 + scale * y.
  std::string text = R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {
^bb0(%heads_in: tensor<?x6x8xf32>, %w: tensor<96x48xf32>, %r: tensor<?x96xf32>, %s: tensor<96xf32>):
  %x = pg.reshape %heads_in : tensor<?x6x8xf32> -> tensor<?x48xf32>
  %two = pg.fill 2.0 : tensor<?x48xf32>
  %x2 = pg.mul %x, %two : tensor<?x48xf32>
  %y = pg.matmul %x2, %w {transpose_b} : tensor<?x48xf32>, tensor<96x48xf32> -> tensor<?x96xf32>
  %slope = pg.fill 0.5 : tensor<?x96xf32>
  %small = pg.mul %y, %slope : tensor<?x96xf32>
  %leaky = pg.max %y, %small : tensor<?x96xf32>
  %heads = pg.reshape %leaky : tensor<?x96xf32> -> tensor<?x4x24xf32>
  %square = pg.mul %heads, %heads : tensor<?x4x24xf32>
  %sb = pg.broadcast %s {dims = array<i64: 1>} : tensor<96xf32> -> tensor<?x96xf32>
  %scaled = pg.mul %sb, %y : tensor<?x96xf32>
  %sum = pg.add %r, %scaled : tensor<?x96xf32>
  pg.yield %square, %sum : tensor<?x4x24xf32>, tensor<?x96xf32>
}
)";
  KernelRunner kernel(text);
  ASSERT_TRUE(kernel.isReady());
  for (int64_t n : kTokens) {
    auto x = noise<float>(n * 48, 1), w = noise<float>(96 * 48, 2);
    auto r = noise<float>(n * 96, 3), s = noise<float>(96, 4);
    std::vector<float> square(n * 96, NAN), sum(n * 96, NAN);
    std::vector<double> y = product(x, w, n, 96, 48, false, true);
    std::vector<double> wantSquare(n * 96), wantSum(n * 96);
    for (int64_t k = 0; k < n * 96; ++k) {
      double v = 2 * y[k], leaky = std::max(v, 0.5 * v);
      wantSquare[k] = leaky * leaky;
      wantSum[k] = r[k] + s[k % 96] * v;
    }
    PackedBatch batch(n, {}, {});
    kernel.run({x.data(), w.data(), r.data(), s.data(), square.data(),
                sum.data()},
               batch.view);
    EXPECT_LT(worstError(square, wantSquare), 2e-5) << n;
    EXPECT_LT(worstError(sum, wantSum), 2e-5) << n;
  }
}

TEST(MatmulKernel, ReshapedOperandAndResultAreTheSameMemory) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%h: tensor<?x6x8xf32>, %w: tensor<48x36xf32>):
  %x = pg.reshape %h : tensor<?x6x8xf32> -> tensor<?x48xf32>
  %y = pg.matmul %x, %w : tensor<?x48xf32>, tensor<48x36xf32> -> tensor<?x36xf32>
  %r = pg.reshape %y : tensor<?x36xf32> -> tensor<?x3x12xf32>
  pg.yield %r : tensor<?x3x12xf32>
}
)");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 65;
  auto x = noise<float>(n * 48, 1), w = noise<float>(48 * 36, 2);
  std::vector<float> y(n * 36, NAN);
  PackedBatch batch(n, {}, {});
  kernel.run({x.data(), w.data(), y.data()}, batch.view);
  EXPECT_LT(worstError(y, product(x, w, n, 36, 48, false, false)), 1e-5);
}

TEST(MatmulKernel, MatrixTranspose) {
  for (auto [rows, columns] : kFeatures) {
    std::string from = tensor(rows, columns), to = tensor(columns, rows);
    KernelRunner kernel(
        "pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " +
        from + "):\n %y = pg.transpose %x {permutation = array<i64: 1, 0>} : " +
        from + " -> " + to + "\n pg.yield %y : " + to + "\n}\n");
    ASSERT_TRUE(kernel.isReady());
    auto x = noise<float>(rows * columns, 1);
    std::vector<float> y(rows * columns, NAN);
    PackedBatch batch(0, {}, {});
    kernel.run({x.data(), y.data()}, batch.view, 1);
    EXPECT_EQ(kernel.category(), "transpose");
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        ASSERT_EQ(y[j * rows + i], x[i * columns + j]);
  }
}

} // namespace
