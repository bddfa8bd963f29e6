//===- LinearCrossEntropyKernelTest.cpp - the head against double loops ----===//
#include "KernelRunner.h"

#include <gtest/gtest.h>

using namespace pg::test;

namespace {

struct Reference {
  std::vector<double> nll, lse, dx, dw;

  template <typename T>
  Reference(int64_t n, int64_t words, int64_t width, const std::vector<T> &x,
            const std::vector<T> &w, const std::vector<int32_t> &targets,
            const std::vector<T> &dnll, double softcap)
      : nll(n), lse(n), dx(x.size()), dw(w.size()) {
    std::vector<double> z(words), slope(words);
    for (int64_t t = 0; t < n; ++t) {
      double peak = -INFINITY, sum = 0;
      for (int64_t v = 0; v < words; ++v) {
        double raw = 0;
        for (int64_t j = 0; j < width; ++j)
          raw += double(x[t * width + j]) * w[v * width + j];
        double bent = std::tanh(raw / softcap);
        z[v] = softcap > 0 ? softcap * bent : raw;
        slope[v] = softcap > 0 ? 1 - bent * bent : 1;
        peak = std::max(peak, z[v]);
      }
      for (double value : z)
        sum += std::exp(value - peak);
      lse[t] = peak + std::log(sum);
      nll[t] = lse[t] - z[targets[t]];
      for (int64_t v = 0; v < words; ++v) {
        double dz = dnll[t] * slope[v] *
                    (std::exp(z[v] - lse[t]) - (v == targets[t]));
        for (int64_t j = 0; j < width; ++j) {
          dx[t * width + j] += dz * w[v * width + j];
          dw[v * width + j] += dz * x[t * width + j];
        }
      }
    }
  }
};

template <typename T>
void check(int64_t words, int64_t width, double softcap, int64_t vectorBytes,
           double bound) {
  std::string element = sizeof(T) == 4 ? "f32" : "f64";
  std::string x = "tensor<?x" + std::to_string(width) + "x" + element + ">";
  std::string w = "tensor<" + std::to_string(words) + "x" +
                  std::to_string(width) + "x" + element + ">";
  std::string i = "tensor<?xi32>", f = "tensor<?x" + element + ">";
  std::string attr = "<{softcap = " + std::to_string(softcap) + " : f64}>";
  KernelRunner forward(
      "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " +
          x + ", %w: " + w + ", %t: " + i +
          "):\n %n, %l = pg.linear_cross_entropy %x, %w, %t {softcap = " +
          std::to_string(softcap) + " : f64} : (" + x + ", " + w + ", " + i + ") -> (" + f + ", " + f +
          ")\n pg.yield %n, %l : " + f + ", " + f + "\n}\n",
      vectorBytes);
  auto gradText = [&](const std::string &op, const std::string &result,
                      int mode) {
    return "pg.kernel_def @k attributes {modes = array<i64: " +
           std::to_string(mode) + ">} {\n^bb0(%x: " + x + ", %w: " + w +
           ", %t: " + i + ", %l: " + f + ", %d: " + f + "):\n %r = \"pg." +
           op + "\"(%x, %w, %t, %l, %d) " + attr + " : (" + x + ", " + w +
           ", " + i + ", " + f + ", " + f + ") -> " + result +
           "\n pg.yield %r : " + result + "\n}\n";
  };
  KernelRunner gradX(gradText("linear_cross_entropy_grad_x", x, 0), vectorBytes);
  KernelRunner gradW(gradText("linear_cross_entropy_grad_w", w, 2), vectorBytes);
  ASSERT_TRUE(forward.isReady() && gradX.isReady() && gradW.isReady());
  for (int64_t n : {1, 7, 65, 257}) {
    auto xs = noise<T>(n * width, 1), ws = noise<T>(words * width, 2);
    auto dnll = noise<T>(n, 3);
    std::vector<int32_t> targets;
    for (int64_t t = 0; t < n; ++t)
      targets.push_back(static_cast<int32_t>((t * 7919 + words - 1) % words));
    Reference want(n, words, width, xs, ws, targets, dnll, softcap);
    PackedBatch batch(n, {}, {});
    std::vector<T> nll(n, NAN), lse(n, NAN), dx(xs.size(), NAN);
    std::vector<T> dw(ws.size(), T(1)), dwCut(ws.size(), T(1)), nllCut(n);
    forward.run({xs.data(), ws.data(), targets.data(), nll.data(), lse.data()},
                batch.view);
    EXPECT_LT(worstError(nll, want.nll), bound) << n;
    EXPECT_LT(worstError(lse, want.lse), bound) << n;
    gradX.run({xs.data(), ws.data(), targets.data(), lse.data(), dnll.data(),
               dx.data()},
              batch.view);
    EXPECT_LT(worstError(dx, want.dx), 2 * bound) << n;
    for (double &value : want.dw)
      value += 1; // the yield accumulates
    gradW.run({xs.data(), ws.data(), targets.data(), lse.data(), dnll.data(),
               dw.data()},
              batch.view);
    EXPECT_LT(worstError(dw, want.dw), 2 * bound) << n;
    gradW.run({xs.data(), ws.data(), targets.data(), lse.data(), dnll.data(),
               dwCut.data()},
              batch.view, 1);
    EXPECT_EQ(dw, dwCut) << n;
    forward.run(
        {xs.data(), ws.data(), targets.data(), nllCut.data(), lse.data()},
        batch.view, 1);
    EXPECT_EQ(nll, nllCut) << n;
  }
}

TEST(LinearCrossEntropyKernel, SoftcapWithWholeTiles) {
  check<float>(256, 64, 3.0, 64, 1e-5);
}
TEST(LinearCrossEntropyKernel, SoftcapWithOddSizes) {
  check<float>(517, 300, 30.0, 64, 1e-5);
}
TEST(LinearCrossEntropyKernel, WithoutSoftcapTheMaximumIsCarried) {
  check<float>(301, 100, 0.0, 64, 1e-5);
}
TEST(LinearCrossEntropyKernel, NarrowVectors) {
  check<float>(130, 48, 15.0, 32, 1e-5);
}
TEST(LinearCrossEntropyKernel, DoublePrecision) {
  check<double>(141, 20, 15.0, 64, 1e-12);
  check<double>(141, 20, 0.0, 32, 1e-12);
}

} // namespace
