//===- AttentionKernelTest.cpp - attention against plain double loops ------===//
#include "KernelRunner.h"

#include "runtime/device/cpu/CpuCode.h"
#include "runtime/support/BFloat16.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace pg::test;

namespace {

struct Shape {
  int64_t heads, groups, d, e, window;
  bool bySegment;
  double scale = 0.75;
};

double roundToBf16(double x) {
  return pg::rt::bf16ToFloat(pg::rt::floatToBf16(static_cast<float>(x)));
}

/// Values, log-sum-exp and gradients by definition. `rounds`: probabilities and the
/// gradients of scores are rounded to bf16 where they are multiplied.
struct Reference {
  std::vector<double> out, lse, delta, dq, dk, dv;

  template <typename T>
  Reference(const Shape &s, int64_t n, const PackedBatch &batch,
            const std::vector<T> &q, const std::vector<T> &k,
            const std::vector<T> &v, const std::vector<T> &dout,
            bool rounds = false)
      : out(n * s.heads * s.e), lse(n * s.heads), delta(n * s.heads),
        dq(q.size()), dk(k.size()), dv(v.size()) {
    auto factor = [&](double x) { return rounds ? roundToBf16(x) : x; };
    const auto &begin = s.bySegment ? batch.segmentBegin : batch.rowBegin;
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t t = 0; t < n; ++t) {
        int64_t g = h * s.groups / s.heads, first = begin[t];
        if (s.window > 0)
          first = std::max(first, t - s.window + 1);
        std::vector<double> p;
        double peak = -INFINITY, sum = 0;
        const T *qt = &q[(t * s.heads + h) * s.d];
        const T *dt = &dout[(t * s.heads + h) * s.e];
        for (int64_t u = first; u <= t; ++u) {
          double z = 0;
          for (int64_t j = 0; j < s.d; ++j)
            z += double(qt[j]) * k[(u * s.groups + g) * s.d + j];
          p.push_back(s.scale * z);
          peak = std::max(peak, p.back());
        }
        for (double z : p)
          sum += std::exp(z - peak);
        double total = lse[t * s.heads + h] = peak + std::log(sum);
        double *o = &out[(t * s.heads + h) * s.e];
        for (int64_t u = first; u <= t; ++u) {
          // Forward it is not divided by the sum yet.
          double z = p[u - first];
          double weight = rounds ? factor(std::exp(z)) / std::exp(total) : std::exp(z - total);
          p[u - first] = factor(std::exp(z - total));
          for (int64_t j = 0; j < s.e; ++j)
            o[j] += weight * v[(u * s.groups + g) * s.e + j];
        }
        double &dot = delta[t * s.heads + h];
        for (int64_t j = 0; j < s.e; ++j)
          dot += o[j] * dt[j];
        for (int64_t u = first; u <= t; ++u) {
          double dp = 0;
          for (int64_t j = 0; j < s.e; ++j) {
            dp += double(dt[j]) * v[(u * s.groups + g) * s.e + j];
            dv[(u * s.groups + g) * s.e + j] += p[u - first] * dt[j];
          }
          double ds = s.scale * factor(p[u - first] * (dp - dot));
          for (int64_t j = 0; j < s.d; ++j) {
            dq[(t * s.heads + h) * s.d + j] +=
                ds * k[(u * s.groups + g) * s.d + j];
            dk[(u * s.groups + g) * s.d + j] += ds * qt[j];
          }
        }
      }
  }
};

std::string tokens(int64_t heads, int64_t width, const std::string &element) {
  return "tensor<?x" + std::to_string(heads) + "x" + std::to_string(width) +
         "x" + element + ">";
}

std::string attributes(const Shape &s) {
  return "{scale = " + std::to_string(s.scale) + " : f64, window = " + std::to_string(s.window) +
         " : i64, within = " + (s.bySegment ? "1" : "0") + " : i32}";
}

struct Types {
  std::string q, k, v, out, lse;
  Types(const Shape &s, const std::string &element)
      : q(tokens(s.heads, s.d, element)), k(tokens(s.groups, s.d, element)),
        v(tokens(s.groups, s.e, element)), out(tokens(s.heads, s.e, element)),
        lse("tensor<?x" + std::to_string(s.heads) + "x" + element + ">") {}
};

std::string forwardText(const Shape &s, const std::string &element) {
  Types t(s, element);
  return "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%q: " +
         t.q + ", %k: " + t.k + ", %v: " + t.v +
         "):\n %o, %l = \"pg.attention\"(%q, %k, %v) " + "<" + attributes(s) +
         "> : (" + t.q + ", " + t.k + ", " + t.v + ") -> (" + t.out + ", " +
         t.lse + ")\n pg.yield %o, %l : " + t.out + ", " + t.lse + "\n}\n";
}

std::string gradText(const Shape &s, const std::string &element) {
  Types t(s, element);
  return "pg.kernel_def @k attributes {modes = array<i64: 0, 0, 0>} "
         "{\n^bb0(%q: " +
         t.q + ", %k: " + t.k + ", %v: " + t.v + ", %do: " + t.out +
         ", %l: " + t.lse + ", %de: " + t.lse +
         "):\n %dq, %dk, %dv = \"pg.attention_grad\"(%q, %k, %v, %do, %l, %de) <" +
         attributes(s) + "> : (" + t.q + ", " + t.k + ", " + t.v + ", " +
         t.out + ", " + t.lse + ", " + t.lse + ") -> (" + t.q + ", " + t.k +
         ", " + t.v + ")\n pg.yield %dq, %dk, %dv : " + t.q + ", " + t.k +
         ", " + t.v + "\n}\n";
}

/// Rows of odd lengths, and segments that start anywhere in them.
PackedBatch oddBatch(int64_t n) {
  std::vector<int64_t> rows, segments;
  for (int64_t t = 150; t < n; t += 193)
    rows.push_back(t);
  for (int64_t t = 5; t < n; t += 37)
    segments.push_back(t);
  return PackedBatch(n, rows, segments);
}

/// What scores are made of.
enum class Scores { NearZero, FarApart, FarBelowZero };

template <typename T> void spread(Scores scores, std::vector<T> &q, std::vector<T> &k) {
  if (scores == Scores::NearZero)
    return;
  bool isBelow = scores == Scores::FarBelowZero;
  for (T &x : q)
    x = isBelow ? 20 * std::abs(x) : 20 * x;
  for (T &x : k)
    x = isBelow ? -20 * std::abs(x) : 20 * x;
}

template <typename T>
void check(const Shape &s, const std::string &element, int64_t vectorBytes,
           double bound, Scores scores = Scores::NearZero,
           const std::vector<int64_t> &sizes = {1, 7, 63, 64, 65, 257, 530},
           const std::vector<int64_t> &rows = {}) {
  KernelRunner forward(forwardText(s, element), vectorBytes);
  KernelRunner grad(gradText(s, element), vectorBytes);
  ASSERT_TRUE(forward.isReady() && grad.isReady());
  for (int64_t n : sizes) {
    PackedBatch batch = rows.empty() ? oddBatch(n) : PackedBatch(n, rows, rows);
    auto q = noise<T>(n * s.heads * s.d, 1), k = noise<T>(n * s.groups * s.d, 2);
    auto v = noise<T>(n * s.groups * s.e, 3);
    auto dout = noise<T>(n * s.heads * s.e, 4);
    spread(scores, q, k);
    Reference want(s, n, batch, q, k, v, dout);
    std::vector<T> out(want.out.size(), NAN), lse(want.lse.size(), NAN);
    forward.run({q.data(), k.data(), v.data(), out.data(), lse.data()},
                batch.view);
    EXPECT_LT(worstError(out, want.out), bound) << n;
    EXPECT_LT(worstError(lse, want.lse), bound) << n;

    std::vector<T> delta(want.delta.begin(), want.delta.end());
    std::vector<T> dq(q.size(), NAN), dk(k.size(), NAN), dv(v.size(), NAN);
    grad.run({q.data(), k.data(), v.data(), dout.data(), lse.data(),
              delta.data(), dq.data(), dk.data(), dv.data()},
             batch.view);
    EXPECT_LT(worstError(dq, want.dq), 4 * bound) << n;
    EXPECT_LT(worstError(dk, want.dk), 4 * bound) << n;
    EXPECT_LT(worstError(dv, want.dv), 4 * bound) << n;
  }
}

/// What is read as bf16 and multiplied in pairs (PairDotTest.cpp).
struct Halves {
  std::vector<uint16_t> bits;
  std::vector<float> values;

  Halves(int64_t count, uint64_t seed) {
    for (float x : noise<float>(count, seed)) {
      bits.push_back(pg::rt::floatToBf16(x));
      values.push_back(pg::rt::bf16ToFloat(bits.back()));
    }
  }
};

/// Nearly all numbers are what the same roundings give; those that lie in the middle
/// between two of bf16 may go the other way.
void expectRounded(const std::vector<float> &got, const std::vector<double> &want, const char *what) {
  double sum = 0;
  for (size_t i = 0; i < got.size(); ++i)
    sum += std::pow((got[i] - want[i]) / (1 + std::abs(want[i])), 2);
  EXPECT_LT(std::sqrt(sum / double(got.size())), 2e-4) << what;
  EXPECT_LT(worstError(got, want), 1e-2) << what;
}

void checkPairs(const Shape &s, int64_t vectorBytes,
                const std::vector<int64_t> &sizes = {1, 7, 64, 65, 257},
                const std::vector<int64_t> &rows = {},
                pg::PairDot how = pg::PairDot::Function) {
  // Operands are bf16 tensors; results stay f32.
  auto retyped = [&](std::string text) {
    for (const std::string &operand : {"(%q: ", ", %k: ", ", %v: ", ", %do: "})
      if (size_t at = text.find(operand); at != std::string::npos)
        text.replace(text.find("xf32", at) + 1, 3, "bf16");
    size_t at = text.find(" : (", text.find("\"pg.attention")), factors = text.find("_grad") == std::string::npos ? 3 : 4;
    for (size_t i = 0; i < factors; ++i) {
      at = text.find("xf32", at);
      text.replace(at + 1, 3, "bf16");
    }
    return text;
  };
  KernelRunner forward(retyped(forwardText(s, "f32")), vectorBytes, how);
  KernelRunner grad(retyped(gradText(s, "f32")), vectorBytes, how);
  ASSERT_TRUE(forward.isReady() && grad.isReady());
  for (int64_t n : sizes) {
    SCOPED_TRACE(n);
    PackedBatch batch = rows.empty() ? oddBatch(n) : PackedBatch(n, rows, rows);
    Halves q(n * s.heads * s.d, 1), k(n * s.groups * s.d, 2), v(n * s.groups * s.e, 3);
    Halves dout(n * s.heads * s.e, 4);
    Reference want(s, n, batch, q.values, k.values, v.values, dout.values, true);
    std::vector<float> out(want.out.size(), NAN), lse(want.lse.size(), NAN);
    forward.run({q.bits.data(), k.bits.data(), v.bits.data(), out.data(), lse.data()}, batch.view);
    EXPECT_LT(worstError(lse, want.lse), 1e-5);
    expectRounded(out, want.out, "out");
    std::vector<float> delta(want.delta.begin(), want.delta.end());
    std::vector<float> dq(want.dq.size(), NAN), dk(want.dk.size(), NAN), dv(want.dv.size(), NAN);
    grad.run({q.bits.data(), k.bits.data(), v.bits.data(), dout.bits.data(), lse.data(),
              delta.data(), dq.data(), dk.data(), dv.data()},
             batch.view);
    expectRounded(dq, want.dq, "dq");
    expectRounded(dk, want.dk, "dk");
    expectRounded(dv, want.dv, "dv");
  }
}

TEST(AttentionOfPairs, GroupedHeadsInSegments) {
  for (int64_t bytes : {16, 32, 64})
    checkPairs({8, 4, 64, 64, 0, true}, bytes, {1, 65, 257});
}
TEST(AttentionOfPairs, SmallAndUnequalWidthsInRows) { checkPairs({2, 1, 8, 20, 0, false}, 64); }
TEST(AttentionOfPairs, WindowAndWidthsThatFillNoVector) { checkPairs({3, 3, 18, 34, 50, true}, 64); }
// Five heads for a group: columns of a block that are no multiple of a wide panel.
TEST(AttentionOfPairs, FiveHeadsForAGroup) { checkPairs({5, 1, 32, 48, 0, true}, 64, {1, 97, 260}); }
TEST(AttentionOfPairs, WindowOfOneSeesOnlyItself) { checkPairs({2, 2, 12, 16, 1, false}, 64); }
TEST(AttentionOfPairs, StretchesOfSeveralParts) { checkPairs({2, 1, 16, 16, 0, false}, 64, {2100}, {1500}); }
// What is not seen stays hidden whatever the products are multiplied by.
TEST(AttentionOfPairs, NegativeScaleAndNone) {
  for (double scale : {-0.75, 0.0})
    checkPairs({4, 2, 16, 24, 0, true, scale}, 64);
}
TEST(AttentionOfPairs, WithTheInstructionWhereThisCpuHasIt) {
  if (!pg::rt::cpuFlags().count(pg::rt::kVersionFlag))
    GTEST_SKIP() << "this CPU has no avx512_bf16";
  checkPairs({8, 4, 64, 64, 0, true}, 64, {257, 530}, {}, pg::PairDot::Instruction);
  checkPairs({4, 2, 16, 24, 0, true, -0.75}, 64, {257}, {}, pg::PairDot::Instruction);
}

TEST(AttentionKernel, GroupedHeadsInSegments) {
  check<float>({8, 4, 64, 64, 0, true}, "f32", 64, 5e-6);
}
TEST(AttentionKernel, SmallAndUnequalWidthsInRows) {
  check<float>({2, 1, 8, 20, 0, false}, "f32", 64, 5e-6);
}
TEST(AttentionKernel, WindowAndOddWidth) {
  check<float>({3, 3, 16, 33, 50, true}, "f32", 64, 5e-6);
}
TEST(AttentionKernel, NegativeScaleAndNone) {
  for (double scale : {-0.75, 0.0})
    check<float>({4, 2, 16, 24, 0, true, scale}, "f32", 64, 5e-6);
}
TEST(AttentionKernel, WindowOfOneSeesOnlyItself) {
  check<float>({2, 2, 12, 16, 1, false}, "f32", 64, 5e-6);
}
TEST(AttentionKernel, NarrowVectors) {
  check<float>({2, 1, 16, 24, 0, true}, "f32", 32, 5e-6);
}
TEST(AttentionKernel, DoublePrecision) {
  check<double>({2, 1, 16, 8, 70, true}, "f64", 64, 1e-12);
}

// Exponentials of such scores are infinite or zero before the maximum is taken off.
TEST(AttentionKernel, ScoresFarApart) {
  check<double>({4, 2, 32, 16, 0, false}, "f64", 64, 1e-11, Scores::FarApart);
  for (int64_t bytes : {16, 32, 64})
    check<float>({4, 2, 32, 16, 0, true}, "f32", bytes, 1e-3, Scores::FarApart, {7, 257});
}
TEST(AttentionKernel, ScoresFarBelowZero) {
  check<double>({2, 1, 32, 16, 40, false}, "f64", 32, 1e-11, Scores::FarBelowZero);
  for (int64_t bytes : {16, 32, 64})
    check<float>({2, 1, 32, 16, 40, false}, "f32", bytes, 1e-3, Scores::FarBelowZero, {7, 257});
}
// The gradient's stretches are of 1,024 tokens, or of two times that where the second
// half sees at least 512 keys of the first: here the first pair, not the second one.
// The row from 1,500 on crosses from one pair to the next.
TEST(AttentionKernel, RowsLongerThanAStretch) {
  std::vector<int64_t> rows = {1500, 2900};
  check<float>({2, 1, 8, 20, 0, false}, "f32", 64, 5e-6, Scores::NearZero, {3200},
               rows);
  check<double>({2, 2, 8, 8, 900, false}, "f64", 32, 1e-12, Scores::NearZero, {3200},
                rows);
  // Three parts, the last one alone.
  check<float>({2, 1, 8, 8, 0, false}, "f32", 64, 5e-6, Scores::NearZero, {2100},
               {1000});
}
TEST(AttentionKernel, ManyHeadsAndVectorsOfFour) {
  check<float>({6, 2, 20, 40, 0, true}, "f32", 16, 5e-6);
}

TEST(AttentionKernel, SplittingTheItemsNeverChangesBits) {
  Shape s{4, 2, 16, 16, 0, true};
  KernelRunner forward(forwardText(s, "f32")), grad(gradText(s, "f32"));
  ASSERT_TRUE(forward.isReady() && grad.isReady());
  int64_t n = 1300; // the gradient's items are 1,024 tokens and 276
  PackedBatch batch = PackedBatch(n, {}, {900});
  auto q = noise<float>(n * 64, 1), k = noise<float>(n * 32, 2);
  auto v = noise<float>(n * 32, 3), dout = noise<float>(n * 64, 4);
  std::vector<std::vector<float>> first;
  for (int64_t cut : {0, 1, 5}) {
    std::vector<float> out(n * 64), lse(n * 4), dq(n * 64), dk(n * 32),
        dv(n * 32);
    forward.run({q.data(), k.data(), v.data(), out.data(), lse.data()},
                batch.view, cut);
    grad.run({q.data(), k.data(), v.data(), dout.data(), lse.data(),
              lse.data(), dq.data(), dk.data(), dv.data()},
             batch.view, cut);
    std::vector<std::vector<float>> now{out, lse, dq, dk, dv};
    if (first.empty())
      first = now;
    EXPECT_EQ(first, now) << cut;
  }
}

} // namespace
