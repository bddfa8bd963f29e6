//===- RowKernelTest.cpp - row kernels against plain double loops -------------===//
#include "KernelRunner.h"

#include "runtime/device/cpu/CpuCode.h"
#include "runtime/support/BFloat16.h"

#include <gtest/gtest.h>

using namespace pg::test;

namespace {

constexpr int64_t kTokens[] = {1, 63, 64, 65, 257};

template <typename T> void *data(std::vector<T> &v) { return v.data(); }

/// Runs twice, in one call and in small cuts; the bits must be the same.
template <typename T>
void runBothWays(KernelRunner &kernel, std::vector<void *> buffers,
                 std::vector<T> &out, const PackedBatch &batch,
                 const std::vector<double> &scalars = {}) {
  std::vector<T> start = out;
  kernel.run(buffers, batch.view, 0, scalars);
  std::vector<T> whole = out;
  out = start;
  kernel.run(buffers, batch.view, kernel.workItems().grain, scalars);
  EXPECT_EQ(0, std::memcmp(whole.data(), out.data(), sizeof(T) * out.size()));
}

TEST(RowKernel, ElementwiseWithBroadcastAndScalar) {
  for (int64_t d : {512, 100, 12, 1}) {
    std::string t = "tensor<?x" + std::to_string(d) + "xf32>";
    std::string w = "tensor<" + std::to_string(d) + "xf32>";
    KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%x: )" + t + ", %w: " + w + R"(, %c: f64):
  %b = pg.broadcast %w {dims = array<i64: 1>} : )" + w + " -> " + t + R"(
  %s = pg.splat %c : )" + t + R"(
  %m = pg.mul %x, %b : )" + t + R"(
  %a = pg.add %m, %s : )" + t + R"(
  pg.yield %a : )" + t + "\n}");
    ASSERT_TRUE(kernel.isReady());
    for (int64_t n : kTokens) {
      auto x = noise<float>(n * d, 1), weight = noise<float>(d, 2);
      std::vector<float> y(n * d, NAN);
      std::vector<double> want(n * d);
      for (int64_t k = 0; k < n * d; ++k)
        want[k] = double(x[k]) * weight[k % d] + 0.75;
      PackedBatch batch(n, {}, {});
      runBothWays(kernel, {data(x), data(weight), data(y)}, y, batch, {0.75});
      EXPECT_LT(worstError(y, want), 1e-6) << n << " " << d;
    }
  }
}

TEST(RowKernel, NormOfARow) {
  for (int64_t bytes : {64, 32, 16})
    for (int64_t d : {512, 100, 12, 3}) {
      std::string t = "tensor<?x" + std::to_string(d) + "xf32>";
      KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {
^bb0(%x: )" + t + R"():
  %q = pg.mul %x, %x : )" + t + R"(
  %s = pg.reduce_sum %q {axes = array<i64: 1>} : )" + t + R"( -> tensor<?xf32>
  %i = pg.fill )" + std::to_string(1.0 / d) + R"( : tensor<?xf32>
  %m = pg.mul %s, %i : tensor<?xf32>
  %e = pg.fill 1.0e-5 : tensor<?xf32>
  %v = pg.add %m, %e : tensor<?xf32>
  %r = pg.rsqrt %v : tensor<?xf32>
  %b = pg.broadcast %r {dims = array<i64: 0>} : tensor<?xf32> -> )" + t + R"(
  %y = pg.mul %x, %b : )" + t + R"(
  pg.yield %y, %r : )" + t + ", tensor<?xf32>\n}", bytes);
      ASSERT_TRUE(kernel.isReady());
      int64_t n = 65;
      auto x = noise<float>(n * d, 3);
      std::vector<float> y(n * d, NAN), r(n, NAN);
      std::vector<double> want(n * d), wantR(n);
      double inverse = std::stod(std::to_string(1.0 / d));
      for (int64_t t = 0; t < n; ++t) {
        double sum = 0;
        for (int64_t k = 0; k < d; ++k)
          sum += double(x[t * d + k]) * x[t * d + k];
        wantR[t] = 1 / std::sqrt(sum * inverse + 1e-5);
        for (int64_t k = 0; k < d; ++k)
          want[t * d + k] = x[t * d + k] * wantR[t];
      }
      PackedBatch batch(n, {}, {});
      runBothWays(kernel, {data(x), data(y), data(r)}, y, batch);
      EXPECT_LT(worstError(y, want), 1e-6) << d;
      EXPECT_LT(worstError(r, wantR), 1e-6) << d;
    }
}

TEST(RowKernel, PerHeadAndAcrossHeads) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0, 0>} {
^bb0(%x: tensor<?x320xf32>, %g: tensor<?x5xf32>):
  %h = pg.reshape %x : tensor<?x320xf32> -> tensor<?x5x64xf32>
  %s = pg.reduce_max %h {axes = array<i64: 2>} : tensor<?x5x64xf32> -> tensor<?x5xf32>
  %sb = pg.broadcast %s {dims = array<i64: 0, 1>} : tensor<?x5xf32> -> tensor<?x5x64xf32>
  %z = pg.sub %h, %sb : tensor<?x5x64xf32>
  %p = pg.exp %z : tensor<?x5x64xf32>
  %t = pg.reduce_sum %p {axes = array<i64: 2>} : tensor<?x5x64xf32> -> tensor<?x5xf32>
  %tb = pg.broadcast %t {dims = array<i64: 0, 1>} : tensor<?x5xf32> -> tensor<?x5x64xf32>
  %q = pg.div %p, %tb : tensor<?x5x64xf32>
  %gs = pg.sigmoid %g : tensor<?x5xf32>
  %gb = pg.broadcast %gs {dims = array<i64: 0, 1>} : tensor<?x5xf32> -> tensor<?x5x64xf32>
  %o = pg.mul %q, %gb : tensor<?x5x64xf32>
  %f = pg.reshape %o : tensor<?x5x64xf32> -> tensor<?x320xf32>
  %a = pg.reduce_sum %o {axes = array<i64: 1>} : tensor<?x5x64xf32> -> tensor<?x64xf32>
  %all = pg.reduce_sum %o {axes = array<i64: 1, 2>} : tensor<?x5x64xf32> -> tensor<?xf32>
  pg.yield %f, %a, %all : tensor<?x320xf32>, tensor<?x64xf32>, tensor<?xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 65;
  auto x = noise<float>(n * 320, 4), g = noise<float>(n * 5, 5);
  std::vector<float> f(n * 320, NAN), a(n * 64, NAN), all(n, NAN);
  std::vector<double> wantF(n * 320), wantA(n * 64), wantAll(n);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t h = 0; h < 5; ++h) {
      const float *row = &x[t * 320 + h * 64];
      double top = -1e9, sum = 0;
      for (int64_t k = 0; k < 64; ++k)
        top = std::max<double>(top, row[k]);
      for (int64_t k = 0; k < 64; ++k)
        sum += std::exp(row[k] - top);
      for (int64_t k = 0; k < 64; ++k) {
        double o = std::exp(row[k] - top) / sum / (1 + std::exp(-g[t * 5 + h]));
        wantF[t * 320 + h * 64 + k] = o;
        wantA[t * 64 + k] += o;
        wantAll[t] += o;
      }
    }
  PackedBatch batch(n, {}, {});
  runBothWays(kernel, {data(x), data(g), data(f), data(a), data(all)}, f, batch);
  EXPECT_LT(worstError(f, wantF), 1e-6);
  EXPECT_LT(worstError(a, wantA), 1e-6);
  EXPECT_LT(worstError(all, wantAll), 1e-6);
}

TEST(RowKernel, PartialSumsThenCombine) {
  for (int64_t d : {512, 100, 1}) {
    std::string f = std::to_string(d);
    KernelRunner partial(R"(
pg.kernel_def @p attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<?x)" + f + R"(xf32>, %y: tensor<?x)" + f + R"(xf32>):
  %m = pg.mul %x, %y : tensor<?x)" + f + R"(xf32>
  %s = pg.partial_sum %m : tensor<?x)" + f + "xf32> -> tensor<?x" + f + R"(xf32, #pg.chunks<64>>
  %r = pg.reduce_sum %m {axes = array<i64: 1>} : tensor<?x)" + f + R"(xf32> -> tensor<?xf32>
  %t = pg.partial_sum %r : tensor<?xf32> -> tensor<?xf32, #pg.chunks<64>>
  pg.yield %s, %t : tensor<?x)" + f + R"(xf32, #pg.chunks<64>>, tensor<?xf32, #pg.chunks<64>>
})");
    KernelRunner combine(R"(
pg.kernel_def @c attributes {modes = array<i64: 2>} {
^bb0(%s: tensor<?x)" + f + R"(xf32, #pg.chunks<64>>):
  %c = pg.combine %s : tensor<?x)" + f + R"(xf32, #pg.chunks<64>> -> tensor<)" + f + R"(xf32>
  %d = pg.add %c, %c : tensor<)" + f + R"(xf32>
  pg.yield %d : tensor<)" + f + "xf32>\n}");
    KernelRunner scalar(R"(
pg.kernel_def @c attributes {modes = array<i64: 0>} {
^bb0(%s: tensor<?xf32, #pg.chunks<64>>):
  %c = pg.combine %s : tensor<?xf32, #pg.chunks<64>> -> tensor<f32>
  pg.yield %c : tensor<f32>
})");
    ASSERT_TRUE(partial.isReady() && combine.isReady() && scalar.isReady());
    EXPECT_EQ(partial.workItems().grain % 64, 0);
    for (int64_t n : kTokens) {
      int64_t chunks = (n + 63) / 64;
      auto x = noise<float>(n * d, 6), y = noise<float>(n * d, 7);
      // Chunks start as garbage: the first row of each must reset it.
      std::vector<float> sums(chunks * d, NAN), rows(chunks, NAN);
      std::vector<float> total(d, 1.5f), one(1, NAN);
      std::vector<double> want(d, 1.5), wantOne(1);
      for (int64_t k = 0; k < n * d; ++k) {
        want[k % d] += 2 * double(x[k]) * y[k];
        wantOne[0] += double(x[k]) * y[k];
      }
      PackedBatch batch(n, {}, {});
      runBothWays(partial, {data(x), data(y), data(sums), data(rows)}, sums,
                  batch);
      combine.run({data(sums), data(total)}, batch.view, 1);
      scalar.run({data(rows), data(one)}, batch.view);
      EXPECT_LT(worstError(total, want), 1e-5) << n << " " << d;
      EXPECT_LT(worstError(one, wantOne), 1e-5) << n << " " << d;
    }
  }
}

TEST(RowKernel, ShiftStopsAtRowsAndSegments) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<?x20xf32>):
  %a = pg.token_shift %x within row {distance = 1 : i64} : tensor<?x20xf32>
  %b = pg.token_shift %x within segment {distance = -2 : i64} : tensor<?x20xf32>
  %s = pg.sub %x, %a : tensor<?x20xf32>
  pg.yield %s, %b : tensor<?x20xf32>, tensor<?x20xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 65;
  PackedBatch batch(n, {20, 40}, {7, 20, 33, 40});
  auto x = noise<float>(n * 20, 8);
  std::vector<float> s(n * 20, NAN), b(n * 20, NAN);
  std::vector<double> wantS(n * 20), wantB(n * 20);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t k = 0; k < 20; ++k) {
      double before = t - 1 >= batch.rowBegin[t] ? x[(t - 1) * 20 + k] : 0;
      wantS[t * 20 + k] = x[t * 20 + k] - before;
      wantB[t * 20 + k] = t + 2 < batch.segmentEnd[t] ? x[(t + 2) * 20 + k] : 0;
    }
  runBothWays(kernel, {data(x), data(s), data(b)}, s, batch);
  EXPECT_LT(worstError(s, wantS), 1e-6);
  EXPECT_EQ(worstError(b, wantB), 0);
}

TEST(RowKernel, HashedGather) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%table: tensor<37x40xf32>, %id: tensor<?xi32>, %x: tensor<?x40xf32>):
  %p = pg.token_shift %id within row {distance = 1 : i64} : tensor<?xi32>
  %m = pg.fill 31.0 : tensor<?xi32>
  %h = pg.mul %p, %m : tensor<?xi32>
  %e = pg.xor %h, %id : tensor<?xi32>
  %c = pg.fill 37.0 : tensor<?xi32>
  %r = pg.rem %e, %c : tensor<?xi32>
  %g = pg.gather %table, %r : tensor<37x40xf32>, tensor<?xi32> -> tensor<?x40xf32>
  %y = pg.add %g, %x : tensor<?x40xf32>
  pg.yield %y : tensor<?x40xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 65;
  PackedBatch batch(n, {30}, {});
  auto table = noise<float>(37 * 40, 9), x = noise<float>(n * 40, 10);
  std::vector<int32_t> id(n);
  for (int64_t t = 0; t < n; ++t)
    id[t] = (t * 7919) % 1000;
  std::vector<float> y(n * 40, NAN);
  std::vector<double> want(n * 40);
  for (int64_t t = 0; t < n; ++t) {
    int32_t before = t > 0 && t != 30 ? id[t - 1] : 0;
    int32_t row = ((before * 31) ^ id[t]) % 37;
    for (int64_t k = 0; k < 40; ++k)
      want[t * 40 + k] = double(table[row * 40 + k]) + x[t * 40 + k];
  }
  runBothWays(kernel, {data(table), data(id), data(x), data(y)}, y, batch);
  EXPECT_LT(worstError(y, want), 1e-6);
}

TEST(RowKernel, GatherGradFreshAccumulatedAndMapped) {
  for (int mode : {0, 1, 2})
    for (bool mapped : {false, true})
      for (int64_t d : {100, 64, 5}) {
        std::string f = std::to_string(d);
        KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: )" + std::to_string(mode) + R"(>} {
^bb0(%dy: tensor<?x)" + f + R"(xf32>, %id: tensor<?xi32>):
  %two = pg.add %dy, %dy : tensor<?x)" + f + R"(xf32>
  %g = pg.gather_grad %two, %id : tensor<?x)" + f + R"(xf32>, tensor<?xi32> -> tensor<11x)" + f + R"(xf32>
  %n = pg.neg %g : tensor<11x)" + f + R"(xf32>
  pg.yield )" + (mapped ? "%n" : "%g") + " : tensor<11x" + f + "xf32>\n}");
        ASSERT_TRUE(kernel.isReady());
        int64_t n = 65;
        PackedBatch batch(n, {}, {});
        auto dy = noise<float>(n * d, 11);
        std::vector<int32_t> id(n);
        for (int64_t t = 0; t < n; ++t)
          id[t] = (t * t) % 11;
        std::vector<float> grad(11 * d, mode == 2 ? 0.25f : NAN);
        std::vector<double> want(11 * d, mode == 2 ? 0.25 : 0);
        for (int64_t t = 0; t < n; ++t)
          for (int64_t k = 0; k < d; ++k)
            want[id[t] * d + k] += (mapped ? -2.0 : 2.0) * dy[t * d + k];
        runBothWays(kernel, {data(dy), data(id), data(grad)}, grad, batch);
        EXPECT_LT(worstError(grad, want), 1e-5) << mode << mapped << d;
      }
}

TEST(RowKernel, UnalignedPieces) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0, 0>} {
^bb0(%x: tensor<?x100xf32>, %y: tensor<?x12xf32>):
  %s = pg.slice %x {axis = 1 : i64, start = 5 : i64} : tensor<?x100xf32> -> tensor<?x12xf32>
  %m = pg.mul %s, %y : tensor<?x12xf32>
  %c = pg.concat %m, %x, %y {axis = 1 : i64} : (tensor<?x12xf32>, tensor<?x100xf32>, tensor<?x12xf32>) -> tensor<?x124xf32>
  %p = pg.pad %m {axis = 1 : i64, low = 12 : i64} : tensor<?x12xf32> -> tensor<?x100xf32>
  %z = pg.add %p, %x : tensor<?x100xf32>
  %h = pg.reshape %z : tensor<?x100xf32> -> tensor<?x5x20xf32>
  %t = pg.transpose %h {permutation = array<i64: 0, 2, 1>} : tensor<?x5x20xf32> -> tensor<?x20x5xf32>
  %f = pg.reshape %t : tensor<?x20x5xf32> -> tensor<?x100xf32>
  pg.yield %c, %z, %f : tensor<?x124xf32>, tensor<?x100xf32>, tensor<?x100xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 65;
  PackedBatch batch(n, {}, {});
  auto x = noise<float>(n * 100, 12), y = noise<float>(n * 12, 13);
  std::vector<float> c(n * 124, NAN), z(n * 100, NAN), f(n * 100, NAN);
  std::vector<double> wantC(n * 124), wantZ(n * 100), wantF(n * 100);
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t k = 0; k < 100; ++k)
      wantZ[t * 100 + k] = wantC[t * 124 + 12 + k] = x[t * 100 + k];
    for (int64_t k = 0; k < 12; ++k) {
      double m = double(x[t * 100 + 5 + k]) * y[t * 12 + k];
      wantC[t * 124 + k] = m;
      wantC[t * 124 + 112 + k] = y[t * 12 + k];
      wantZ[t * 100 + 12 + k] += m;
    }
    for (int64_t a = 0; a < 5; ++a)
      for (int64_t b = 0; b < 20; ++b)
        wantF[t * 100 + b * 5 + a] = wantZ[t * 100 + a * 20 + b];
  }
  runBothWays(kernel, {data(x), data(y), data(c), data(z), data(f)}, c, batch);
  EXPECT_LT(worstError(c, wantC), 1e-6);
  EXPECT_LT(worstError(z, wantZ), 1e-6);
  EXPECT_LT(worstError(f, wantF), 1e-6);
}

TEST(RowKernel, RotationOfHeads) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x192xf32>, %pos: tensor<?xi32>):
  %h = pg.reshape %x : tensor<?x192xf32> -> tensor<?x3x64xf32>
  %f = pg.constant dense<[1.0, 0.5, 0.25, 0.125, 0.06, 0.03, 0.01, 0.005]> : tensor<8xf32>
  %fb = pg.broadcast %f {dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>
  %p = pg.cast %pos : tensor<?xi32> -> tensor<?xf32>
  %pb = pg.broadcast %p {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x8xf32>
  %a = pg.mul %pb, %fb : tensor<?x8xf32>
  %c = pg.cos %a : tensor<?x8xf32>
  %s = pg.sin %a : tensor<?x8xf32>
  %r = pg.rotate %h, %c, %s : tensor<?x3x64xf32>, tensor<?x8xf32>
  pg.yield %r : tensor<?x3x64xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 65;
  PackedBatch batch(n, {}, {});
  const float frequency[] = {1.0f, 0.5f, 0.25f, 0.125f, 0.06f, 0.03f, 0.01f, 0.005f};
  auto x = noise<float>(n * 192, 14);
  std::vector<int32_t> position(n);
  for (int64_t t = 0; t < n; ++t)
    position[t] = t < 40 ? 98303 - t : t;
  std::vector<float> y(n * 192, NAN);
  std::vector<double> want(n * 192);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t h = 0; h < 3; ++h)
      for (int64_t k = 0; k < 64; ++k) {
        const float *row = &x[t * 192 + h * 64];
        double value = row[k];
        if (k < 16) {
          double angle = float(position[t]) * frequency[k % 8];
          value = k < 8 ? row[k] * std::cos(angle) + row[k + 8] * std::sin(angle)
                        : row[k] * std::cos(angle) - row[k - 8] * std::sin(angle);
        }
        want[t * 192 + h * 64 + k] = value;
      }
  runBothWays(kernel, {data(x), data(position), data(y)}, y, batch);
  EXPECT_LT(worstError(y, want), 1e-6);
}

TEST(RowKernel, SelectByComparison) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<?x33xf32>):
  %z = pg.fill 0.0 : tensor<?x33xf32>
  %c = pg.compare gt %x, %z : tensor<?x33xf32> -> tensor<?x33xi1>
  %h = pg.fill 0.5 : tensor<?x33xf32>
  %l = pg.mul %x, %h : tensor<?x33xf32>
  %s = pg.select %c, %x, %l : tensor<?x33xi1>, tensor<?x33xf32>
  %q = pg.mul %s, %s : tensor<?x33xf32>
  pg.yield %q, %c : tensor<?x33xf32>, tensor<?x33xi1>
})");
  KernelRunner reader(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%c: tensor<?x33xi1>):
  %f = pg.cast %c : tensor<?x33xi1> -> tensor<?x33xf32>
  pg.yield %f : tensor<?x33xf32>
})");
  ASSERT_TRUE(kernel.isReady() && reader.isReady());
  int64_t n = 65;
  PackedBatch batch(n, {}, {});
  auto x = noise<float>(n * 33, 15);
  std::vector<float> q(n * 33, NAN), f(n * 33, NAN);
  std::vector<uint8_t> c(n * 33, 7);
  std::vector<double> wantQ(n * 33), wantC(n * 33);
  for (int64_t k = 0; k < n * 33; ++k) {
    double s = x[k] > 0 ? x[k] : 0.5 * x[k];
    wantQ[k] = s * s;
    wantC[k] = x[k] > 0;
  }
  runBothWays(kernel, {data(x), data(q), data(c)}, q, batch);
  reader.run({data(c), data(f)}, batch.view);
  EXPECT_LT(worstError(q, wantQ), 1e-6);
  EXPECT_EQ(worstError(f, wantC), 0);
}

TEST(RowKernel, UpdateInPlace) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 1, 1, 1>} {
^bb0(%p: tensor<30x50xf32>, %g: tensor<30x50xf32>, %m: tensor<30x50xf32>,
     %v: tensor<30x50xf32>, %lr: tensor<f32>, %b1: f64, %b2: f64):
  %k1 = pg.splat %b1 : tensor<30x50xf32>
  %k2 = pg.splat %b2 : tensor<30x50xf32>
  %one = pg.fill 1.0 : tensor<30x50xf32>
  %j1 = pg.sub %one, %k1 : tensor<30x50xf32>
  %j2 = pg.sub %one, %k2 : tensor<30x50xf32>
  %m1 = pg.mul %m, %k1 : tensor<30x50xf32>
  %m2 = pg.mul %g, %j1 : tensor<30x50xf32>
  %mn = pg.add %m1, %m2 : tensor<30x50xf32>
  %gg = pg.mul %g, %g : tensor<30x50xf32>
  %v1 = pg.mul %v, %k2 : tensor<30x50xf32>
  %v2 = pg.mul %gg, %j2 : tensor<30x50xf32>
  %vn = pg.add %v1, %v2 : tensor<30x50xf32>
  %r = pg.sqrt %vn : tensor<30x50xf32>
  %e = pg.fill 1.0e-8 : tensor<30x50xf32>
  %d = pg.add %r, %e : tensor<30x50xf32>
  %u = pg.div %mn, %d : tensor<30x50xf32>
  %l = pg.broadcast %lr {dims = array<i64>} : tensor<f32> -> tensor<30x50xf32>
  %s = pg.mul %u, %l : tensor<30x50xf32>
  %pn = pg.sub %p, %s : tensor<30x50xf32>
  pg.yield %pn, %mn, %vn : tensor<30x50xf32>, tensor<30x50xf32>, tensor<30x50xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  EXPECT_EQ(kernel.items(0), 30);
  auto p = noise<float>(1500, 16), g = noise<float>(1500, 17);
  auto m = noise<float>(1500, 18), v = noise<float>(1500, 19);
  for (float &x : v)
    x = std::abs(x);
  std::vector<double> wantP(1500), wantM(1500), wantV(1500);
  for (int k = 0; k < 1500; ++k) {
    wantM[k] = m[k] * 0.9 + g[k] * 0.1;
    wantV[k] = v[k] * 0.99 + double(g[k]) * g[k] * 0.01;
    wantP[k] = p[k] - 0.01 * wantM[k] / (std::sqrt(wantV[k]) + 1e-8);
  }
  float lr = 0.01f;
  PackedBatch batch(1, {}, {});
  // The launch hands the same memory as argument and as target.
  kernel.run({data(p), data(g), data(m), data(v), &lr, data(p), data(m), data(v)},
             batch.view, 7, {0.9, 0.99});
  EXPECT_LT(worstError(m, wantM), 1e-6);
  EXPECT_LT(worstError(v, wantV), 1e-6);
  EXPECT_LT(worstError(p, wantP), 1e-5);
}

TEST(RowKernel, UpdateInPlaceByNormOfTheWhole) {
  // p <- reversed halves of p / |p|: the norm needs all of p, and the moved
  // read must not see what was written.
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 1>} {
^bb0(%p: tensor<6x40xf32>):
  %q = pg.mul %p, %p : tensor<6x40xf32>
  %s = pg.reduce_sum %q {axes = array<i64: 0, 1>} : tensor<6x40xf32> -> tensor<f32>
  %r = pg.rsqrt %s : tensor<f32>
  %b = pg.broadcast %r {dims = array<i64>} : tensor<f32> -> tensor<6x40xf32>
  %lo = pg.slice %p {axis = 0 : i64, start = 0 : i64} : tensor<6x40xf32> -> tensor<3x40xf32>
  %hi = pg.slice %p {axis = 0 : i64, start = 3 : i64} : tensor<6x40xf32> -> tensor<3x40xf32>
  %c = pg.concat %hi, %lo {axis = 0 : i64} : (tensor<3x40xf32>, tensor<3x40xf32>) -> tensor<6x40xf32>
  %n = pg.mul %c, %b : tensor<6x40xf32>
  pg.yield %n : tensor<6x40xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  EXPECT_EQ(kernel.items(0), 1);
  auto p = noise<float>(240, 20);
  std::vector<double> want(240);
  double norm = 0;
  for (float x : p)
    norm += double(x) * x;
  for (int k = 0; k < 240; ++k)
    want[k] = p[(k + 120) % 240] / std::sqrt(norm);
  PackedBatch batch(1, {}, {});
  kernel.run({data(p), data(p)}, batch.view);
  EXPECT_LT(worstError(p, want), 1e-6);
}

TEST(RowKernel, ReductionsOfStaticRowsAndColumns) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<30x50xf32>):
  %r = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<30x50xf32> -> tensor<30xf32>
  %c = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<30x50xf32> -> tensor<50xf32>
  pg.yield %r, %c : tensor<30xf32>, tensor<50xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  auto x = noise<float>(1500, 21);
  std::vector<float> r(30, NAN), c(50, NAN);
  std::vector<double> wantR(30), wantC(50);
  for (int k = 0; k < 1500; ++k) {
    wantR[k / 50] += x[k];
    wantC[k % 50] += x[k];
  }
  PackedBatch batch(1, {}, {});
  kernel.run({data(x), data(r), data(c)}, batch.view);
  EXPECT_LT(worstError(r, wantR), 1e-6);
  EXPECT_LT(worstError(c, wantC), 1e-6);
}

TEST(RowKernel, TakenRowsAreNormalised) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x48xf32>, %rows: tensor<4xi32>):
  %q = pg.mul %x, %x : tensor<?x48xf32>
  %s = pg.reduce_sum %q {axes = array<i64: 1>} : tensor<?x48xf32> -> tensor<?xf32>
  %r = pg.rsqrt %s : tensor<?xf32>
  %b = pg.broadcast %r {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x48xf32>
  %n = pg.mul %x, %b : tensor<?x48xf32>
  %t = pg.take_rows %n, %rows : tensor<?x48xf32>, tensor<4xi32> -> tensor<4x48xf32>
  pg.yield %t : tensor<4x48xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  EXPECT_EQ(kernel.items(65), 4);
  auto x = noise<float>(65 * 48, 22);
  std::vector<int32_t> rows = {64, 0, 17, 17};
  std::vector<float> y(4 * 48, NAN);
  std::vector<double> want(4 * 48);
  for (int m = 0; m < 4; ++m) {
    double sum = 0;
    for (int k = 0; k < 48; ++k)
      sum += double(x[rows[m] * 48 + k]) * x[rows[m] * 48 + k];
    for (int k = 0; k < 48; ++k)
      want[m * 48 + k] = x[rows[m] * 48 + k] / std::sqrt(sum);
  }
  PackedBatch batch(65, {}, {});
  runBothWays(kernel, {data(x), data(rows), data(y)}, y, batch);
  EXPECT_LT(worstError(y, want), 1e-6);
}

TEST(RowKernel, DoublePrecision) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x20xf64>, %c: f64):
  %s = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x20xf64> -> tensor<?xf64>
  %b = pg.broadcast %s {dims = array<i64: 0>} : tensor<?xf64> -> tensor<?x20xf64>
  %k = pg.splat %c : tensor<?x20xf64>
  %e = pg.exp %x : tensor<?x20xf64>
  %t = pg.tanh %b : tensor<?x20xf64>
  %f = pg.erf %x : tensor<?x20xf64>
  %g = pg.cos %x : tensor<?x20xf64>
  %a = pg.add %e, %t : tensor<?x20xf64>
  %d = pg.mul %f, %g : tensor<?x20xf64>
  %y = pg.add %a, %d : tensor<?x20xf64>
  %z = pg.mul %y, %k : tensor<?x20xf64>
  pg.yield %z : tensor<?x20xf64>
})");
  ASSERT_TRUE(kernel.isReady());
  int64_t n = 9;
  auto x = noise<double>(n * 20, 23);
  std::vector<double> y(n * 20, NAN), want(n * 20);
  for (int64_t t = 0; t < n; ++t) {
    double sum = 0;
    for (int k = 0; k < 20; ++k)
      sum += x[t * 20 + k];
    for (int k = 0; k < 20; ++k) {
      double v = x[t * 20 + k];
      want[t * 20 + k] =
          0.1 * (std::exp(v) + std::tanh(sum) + std::erf(v) * std::cos(v));
    }
  }
  PackedBatch batch(n, {}, {});
  runBothWays(kernel, {data(x), data(y)}, y, batch, {0.1});
  EXPECT_LT(worstError(y, want), 1e-14);
}

TEST(RowKernel, RoundingToBf16) {
  KernelRunner kernel(R"(
pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<?x20xf32>):
  %r = pg.round %x to bf16 : tensor<?x20xf32>
  %c = pg.cast %x : tensor<?x20xf32> -> tensor<?x20xbf16>
  %d = pg.cast %c : tensor<?x20xbf16> -> tensor<?x20xf32>
  pg.yield %r, %d : tensor<?x20xf32>, tensor<?x20xf32>
})");
  ASSERT_TRUE(kernel.isReady());
  auto x = noise<float>(100, 24);
  x[0] = 1.00390625f; // halfway between 1 and the next bf16: to even
  x[1] = 1.01171875f; // halfway above an odd one
  x[2] = INFINITY;
  std::vector<float> r(100, NAN), d(100, NAN);
  PackedBatch batch(5, {}, {});
  kernel.run({data(x), data(r), data(d)}, batch.view);
  EXPECT_EQ(r[0], 1.0f);
  EXPECT_EQ(r[1], 1.015625f);
  EXPECT_EQ(r[2], INFINITY);
  for (int k = 3; k < 100; ++k) {
    int exponent;
    double fraction = std::frexp(x[k], &exponent);
    double want = std::ldexp(std::nearbyint(fraction * 256), exponent - 8);
    EXPECT_EQ(r[k], want);
    EXPECT_EQ(d[k], want);
  }
}

// Kernels with and without the instruction compute some numbers twice: in whole vectors,
// in tails, and one by one.
TEST(RowKernel, RoundingToBf16HasTheSameBitsWithAndWithoutTheInstruction) {
  constexpr int64_t kWidth = 37, kTokens = 64;
  std::string type = "tensor<?x37xf32>", half = "tensor<?x37xbf16>";
  std::string text = "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " + type +
                     "):\n  %r = pg.round %x to bf16 : " + type + "\n  %c = pg.cast %x : " + type + " -> " + half +
                     "\n  pg.yield %r, %c : " + type + ", " + half + "\n}\n";
  std::vector<float> x = noise<float>(kWidth * kTokens, 31);
  const float kinds[] = {0, 1e-40f, 1.1754943e-38f, 1.17549435e-38f, 3e38f, 3.4e38f, INFINITY, NAN, 1.00390625f, 1e-20f};
  for (size_t i = 0; i < x.size(); ++i)
    if (i % 3 == 0)
      x[i] = std::copysign(kinds[i / 3 % std::size(kinds)], x[i]);
  auto run = [&](pg::PairDot how) {
    KernelRunner kernel(text, 64, how);
    EXPECT_TRUE(kernel.isReady());
    std::vector<uint32_t> rounded(x.size());
    std::vector<uint16_t> halves(x.size());
    PackedBatch batch(kTokens, {}, {});
    kernel.run({x.data(), rounded.data(), halves.data()}, batch.view);
    return std::pair(rounded, halves);
  };
  auto without = run(pg::PairDot::None);
  for (size_t i = 0; i < x.size(); ++i) {
    float number = std::fpclassify(x[i]) == FP_SUBNORMAL ? std::copysign(0.0f, x[i]) : x[i];
    EXPECT_EQ(without.second[i], pg::rt::floatToBf16(number)) << x[i];
    EXPECT_EQ(without.first[i], uint32_t(without.second[i]) << 16) << x[i];
  }
  if (!pg::rt::cpuFlags().count(pg::rt::kVersionFlag))
    GTEST_SKIP() << "this CPU has no avx512_bf16";
  EXPECT_EQ(run(pg::PairDot::Instruction), without);
}

/// Error in units of the last place of the float nearest to the true value.
double ulps(float got, double want) {
  float nearest = static_cast<float>(want);
  double ulp = std::nextafter(std::abs(nearest), INFINITY) - std::abs(nearest);
  return std::abs(got - want) / std::max(ulp, 1.2e-38);
}

TEST(RowKernel, TranscendentalsAreAccurate) {
  struct Function {
    const char *op;
    double (*reference)(double);
    double low, high, limit;
  };
  const Function functions[] = {
      {"exp", [](double x) { return std::exp(x); }, -80, 80, 4},
      {"log", [](double x) { return std::log(x); }, 1e-6, 1e6, 4},
      {"tanh", [](double x) { return std::tanh(x); }, -9, 9, 6},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, -30, 30, 5},
      {"erf", [](double x) { return std::erf(x); }, -4, 4, 6},
      {"sin", [](double x) { return std::sin(x); }, -98303, 98303, 1},
      {"cos", [](double x) { return std::cos(x); }, -98303, 98303, 1},
      {"rsqrt", [](double x) { return 1 / std::sqrt(x); }, 1e-6, 1e6, 2}};
  for (const Function &f : functions) {
    KernelRunner kernel(std::string(R"(
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x64xf32>):
  %y = pg.)") + f.op + R"( %x : tensor<?x64xf32>
  pg.yield %y : tensor<?x64xf32>
})");
    ASSERT_TRUE(kernel.isReady());
    int64_t n = 1024;
    auto x = noise<float>(n * 64, 25);
    for (float &v : x)
      v = f.low + (f.high - f.low) * (v + 1) / 2;
    // A quarter near zero, where relative accuracy is hardest.
    for (int64_t k = 0; k < n * 16; ++k)
      x[k] *= f.low < 0 ? 1e-3f : 1.0f;
    std::vector<float> y(n * 64, NAN);
    PackedBatch batch(n, {}, {});
    kernel.run({data(x), data(y)}, batch.view);
    double worst = 0, at = 0;
    for (int64_t k = 0; k < n * 64; ++k)
      if (double u = ulps(y[k], f.reference(x[k])); !(u <= worst)) {
        worst = u;
        at = x[k];
      }
    RecordProperty(f.op, std::to_string(worst));
    EXPECT_LE(worst, f.limit) << f.op << " at " << at;
  }
}

TEST(TransposeKernel, MovesEveryElementOfAnyType) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>(64, 48), {70, 41}, {3, 130}})
    for (int64_t bytes : {16, 32, 64}) {
      auto text = [&](const std::string &element) {
        std::string from = "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "x" + element + ">";
        std::string to = "tensor<" + std::to_string(columns) + "x" + std::to_string(rows) + "x" + element + ">";
        return "pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " + from +
               "):\n  %y = pg.transpose %x {permutation = array<i64: 1, 0>} : " + from + " -> " + to +
               "\n  pg.yield %y : " + to + "\n}\n";
      };
      auto check = [&](const std::string &element, auto value, pg::PairDot how = pg::PairDot::None) {
        using T = decltype(value(0));
        KernelRunner kernel(text(element), bytes, how);
        ASSERT_TRUE(kernel.isReady());
        EXPECT_EQ(kernel.category(), "transpose");
        std::vector<T> x, want(rows * columns), got(rows * columns);
        for (int64_t i = 0; i < rows * columns; ++i) {
          x.push_back(value(i));
          want[i % columns * rows + i / columns] = x.back();
        }
        PackedBatch batch(0, {}, {});
        kernel.run({x.data(), got.data()}, batch.view);
        EXPECT_EQ(got, want) << element << " " << rows << " x " << columns << ", " << bytes;
      };
      check("f32", [](int64_t i) { return float(i); });
      check("f64", [](int64_t i) { return double(i); });
      // Numbers of all sizes and signs, none of them a NaN.
      auto halves = [](int64_t i) { return uint16_t(i * 7919 % 0x7F00 + (i % 2) * 0x8000); };
      check("bf16", halves);
      if (bytes == 64 && pg::rt::cpuFlags().count(pg::rt::kVersionFlag))
        check("bf16", halves, pg::PairDot::Instruction);
    }
}

} // namespace
