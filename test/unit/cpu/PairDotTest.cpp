//===- PairDotTest.cpp - products of bf16 pairs, and who gets them ---------===//
//
// vdpbf16ps is replaced by a function with its documented meaning, so that packing,
// tails, odd depths and epilogues run on any machine.
//
//===----------------------------------------------------------------------===//
#include "KernelRunner.h"

#include "dialect/Pg.h"
#include "passes/cpu/CpuBackend.h"
#include "runtime/device/cpu/CpuCode.h"
#include "runtime/support/BFloat16.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <bit>

using namespace pg::test;

namespace {

int64_t modelCalls = 0;

float flushed(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}

/// One lane of vdpbf16ps: the upper numbers of the pairs first, a fused multiply-add
/// each, subnormal operands and results taken as zero.
float dot(uint32_t a, uint32_t b, float sum) {
  auto number = [](uint32_t bits) { return flushed(std::bit_cast<float>(bits)); };
  sum = flushed(std::fma(number(a & 0xFFFF0000u), number(b & 0xFFFF0000u), flushed(sum)));
  return flushed(std::fma(number(a << 16), number(b << 16), sum));
}

} // namespace

extern "C" __attribute__((visibility("default"))) void
pg_pair_dot(const uint32_t *a, const uint32_t *b, float *sum, int64_t lanes) {
  ++modelCalls;
  for (int64_t lane = 0; lane < lanes; ++lane)
    sum[lane] = dot(a[lane], b[lane], sum[lane]);
}

namespace {

/// bf16 numbers, as they lie in memory and as they are worth.
struct Numbers {
  std::vector<uint16_t> bits;
  std::vector<double> values;

  Numbers(int64_t count, uint64_t seed) {
    for (float x : noise<float>(count, seed)) {
      bits.push_back(pg::rt::floatToBf16(x));
      values.push_back(pg::rt::bf16ToFloat(bits.back()));
    }
  }
};

std::string tensor(int64_t rows, int64_t columns, const std::string &element) {
  return "tensor<" + (rows < 0 ? std::string("?") : std::to_string(rows)) + "x" +
         std::to_string(columns) + "x" + element + ">";
}

/// A product of sizes m, n, k; -1 stands for the tokens.
struct Product {
  int64_t m, n, k;
  bool transposeA, transposeB;

  std::string left(const std::string &element) const {
    return transposeA ? tensor(k, m, element) : tensor(m, k, element);
  }
  std::string right(const std::string &element) const {
    return transposeB ? tensor(n, k, element) : tensor(k, n, element);
  }
  std::string text(int mode, const std::string &name = "k") const {
    std::string flags;
    if (transposeA || transposeB)
      flags = std::string("{") + (transposeA ? "transpose_a" : "") +
              (transposeA && transposeB ? ", " : "") +
              (transposeB ? "transpose_b" : "") + "} ";
    std::string a = left("bf16"), b = right("bf16"), c = tensor(m, n, "f32");
    return "pg.kernel_def @" + name + " attributes {modes = array<i64: " +
           std::to_string(mode) + ">} {\n^bb0(%a: " + a + ", %b: " + b +
           "):\n  %c = pg.matmul %a, %b " + flags + ": " + a + ", " + b +
           " -> " + c + "\n  pg.yield %c : " + c + "\n}\n";
  }
  Product at(int64_t tokens) const {
    Product p = *this;
    for (int64_t *size : {&p.m, &p.n, &p.k})
      *size = *size < 0 ? tokens : *size;
    return p;
  }
  /// In double, and in the order and the roundings of the instruction.
  std::vector<double> exact(const Numbers &a, const Numbers &b) const {
    std::vector<double> c(m * n, 0.0);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < n; ++j)
          c[i * n + j] += a.values[leftAt(i, p)] * b.values[rightAt(p, j)];
    return c;
  }
  std::vector<float> rounded(const Numbers &a, const Numbers &b) const {
    std::vector<float> c(m * n, 0.0f);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t p = 0; p < k; p += 2) {
          uint32_t x = a.bits[leftAt(i, p)], y = b.bits[rightAt(p, j)];
          if (p + 1 < k) {
            x |= uint32_t(a.bits[leftAt(i, p + 1)]) << 16;
            y |= uint32_t(b.bits[rightAt(p + 1, j)]) << 16;
          }
          c[i * n + j] = dot(x, y, c[i * n + j]);
        }
    return c;
  }

private:
  int64_t leftAt(int64_t i, int64_t p) const { return transposeA ? p * m + i : i * k + p; }
  int64_t rightAt(int64_t p, int64_t j) const { return transposeB ? j * k + p : p * n + j; }
};

/// Bits of the instruction, whatever the cut into calls, and close to double.
void check(const Product &shape, std::initializer_list<int64_t> tokens,
           int64_t vectorBytes = 64) {
  KernelRunner kernel(shape.text(0), vectorBytes, pg::PairDot::Function);
  ASSERT_TRUE(kernel.isReady());
  for (int64_t count : tokens) {
    Product p = shape.at(count);
    SCOPED_TRACE(std::to_string(p.m) + " " + std::to_string(p.n) + " " + std::to_string(p.k));
    Numbers a(p.m * p.k, 1), b(p.k * p.n, 2);
    std::vector<float> c(p.m * p.n, NAN), cut(p.m * p.n, NAN);
    PackedBatch batch(count, {}, {});
    int64_t before = modelCalls;
    kernel.run({a.bits.data(), b.bits.data(), c.data()}, batch.view);
    EXPECT_GT(modelCalls, before);
    kernel.run({a.bits.data(), b.bits.data(), cut.data()}, batch.view, 1);
    EXPECT_EQ(c, cut);
    EXPECT_EQ(c, p.rounded(a, b));
    EXPECT_LT(worstError(c, p.exact(a, b)), 1e-5);
  }
}

TEST(PairDot, TokensTimesWeightInBothLayouts) {
  // Depths of less than a pair, of whole and partial vectors of pairs, odd ones, and
  // of several blocks.
  for (bool transposed : {true, false})
    for (int64_t depth : {1, 2, 31, 32, 48, 63, 100, 1091})
      check({-1, 50, depth, false, transposed}, {1, 13, 70});
  check({-1, 100, 36, false, true}, {1, 257}, 32);
  check({-1, 100, 37, false, false}, {1, 257}, 16);
}

TEST(PairDot, WeightGradientOfAnyNumberOfTokens) {
  for (int64_t out : {8, 50})
    check({33, out, -1, true, false}, {1, 2, 7, 64, 65, 300, 1037});
}

TEST(PairDot, WeightGradientWithoutTokensAddsNothing) {
  Product shape{20, 33, -1, true, false};
  KernelRunner kernel(shape.text(2), 64, pg::PairDot::Function);
  ASSERT_TRUE(kernel.isReady());
  std::vector<float> c = noise<float>(20 * 33, 3), before = c;
  PackedBatch batch(0, {}, {});
  kernel.run({nullptr, nullptr, c.data()}, batch.view);
  EXPECT_EQ(c, before);
}

TEST(PairDot, StaticTimesStaticInAllLayouts) {
  for (bool transposeA : {false, true})
    for (bool transposeB : {false, true})
      for (int64_t depth : {31, 32, 290})
        check({19, 40, depth, transposeA, transposeB}, {1});
}

TEST(PairDot, MatrixTimesItsTranspose) {
  for (bool left : {false, true})
    for (int64_t depth : {40, 31}) {
      Product p{140, 140, depth, left, !left};
      std::string x = p.left("bf16"), c = tensor(p.m, p.n, "f32");
      KernelRunner kernel("pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " + x +
                              "):\n  %c = pg.matmul %x, %x {transpose_" + (left ? "a" : "b") + "} : " + x + ", " + x +
                              " -> " + c + "\n  pg.yield %c : " + c + "\n}\n",
                          64, pg::PairDot::Function);
      ASSERT_TRUE(kernel.isReady());
      Numbers a(p.m * p.k, 5);
      std::vector<float> got(p.m * p.n, NAN);
      PackedBatch batch(0, {}, {});
      kernel.run({a.bits.data(), got.data()}, batch.view);
      EXPECT_EQ(got, p.rounded(a, a)) << left << " " << depth;
    }
}

TEST(PairDot, ComputedOperandsCodesAndEpilogues) {
  // bf16(x * x) times codes, plus r, rounded.
  for (int64_t depth : {45, 64}) {
    std::string x = tensor(-1, depth, "f32"), h = tensor(-1, depth, "bf16"), w = tensor(24, depth, "i8"),
                c = tensor(-1, 24, "f32"), y = tensor(-1, 24, "bf16");
    KernelRunner kernel("pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " + x + ", %w: " + w +
                            ", %r: " + c + "):\n  %s = pg.mul %x, %x : " + x + "\n  %h = pg.cast %s : " + x + " -> " +
                            h + "\n  %c = pg.matmul %h, %w {transpose_b} : " + h + ", " + w + " -> " + c +
                            "\n  %d = pg.add %c, %r : " + c + "\n  %y = pg.cast %d : " + c + " -> " + y +
                            "\n  pg.yield %y : " + y + "\n}\n",
                        64, pg::PairDot::Function);
    ASSERT_TRUE(kernel.isReady());
    int64_t tokens = 70;
    auto xs = noise<float>(tokens * depth, 1), rs = noise<float>(tokens * 24, 2);
    std::vector<int8_t> codes;
    for (float value : noise<float>(24 * depth, 3))
      codes.push_back(int8_t(value * 127));
    std::vector<uint16_t> got(tokens * 24);
    PackedBatch batch(tokens, {}, {});
    kernel.run({xs.data(), codes.data(), rs.data(), got.data()}, batch.view);
    double worst = 0;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < 24; ++j) {
        double want = rs[t * 24 + j];
        for (int64_t k = 0; k < depth; ++k) {
          float square = xs[t * depth + k] * xs[t * depth + k];
          want += double(pg::rt::bf16ToFloat(pg::rt::floatToBf16(square))) * codes[j * depth + k];
        }
        worst = std::max(worst, std::abs(pg::rt::bf16ToFloat(got[t * 24 + j]) - want) / (1 + std::abs(want)));
      }
    EXPECT_LT(worst, 0.0041) << depth; // half a unit of bf16
  }
}

TEST(PairDot, HeadAgreesWithTheOneThatMultipliesInF32) {
  int64_t words = 150, tokens = 140;
  for (int64_t width : {33, 1090}) {
    std::string x = tensor(-1, width, "bf16"), w = tensor(words, width, "bf16"), i = "tensor<?xi32>",
                f = "tensor<?xf32>", dw = tensor(words, width, "f32"), dx = tensor(-1, width, "f32");
    std::string forward = "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " + x + ", %w: " + w +
                          ", %t: " + i + "):\n  %n, %l = pg.linear_cross_entropy %x, %w, %t {softcap = 30.0 : f64} : (" +
                          x + ", " + w + ", " + i + ") -> (" + f + ", " + f + ")\n  pg.yield %n, %l : " + f + ", " + f +
                          "\n}\n";
    auto gradient = [&](const std::string &op, const std::string &result) {
      return "pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " + x + ", %w: " + w + ", %t: " + i +
             ", %l: " + f + ", %d: " + f + "):\n  %r = \"pg." + op +
             "\"(%x, %w, %t, %l, %d) <{softcap = 30.0 : f64}> : (" + x + ", " + w + ", " + i + ", " + f + ", " + f +
             ") -> " + result + "\n  pg.yield %r : " + result + "\n}\n";
    };
    Numbers xs(tokens * width, 1), ws(words * width, 2);
    std::vector<int32_t> targets;
    for (int64_t t = 0; t < tokens; ++t)
      targets.push_back(int32_t(t * 7919 % words));
    auto dnll = noise<float>(tokens, 3);
    PackedBatch batch(tokens, {}, {});
    std::vector<std::vector<float>> results[2];
    for (bool pairs : {false, true}) {
      pg::PairDot how = pairs ? pg::PairDot::Function : pg::PairDot::None;
      KernelRunner run(forward, 64, how), gradX(gradient("linear_cross_entropy_grad_x", dx), 64, how),
          gradW(gradient("linear_cross_entropy_grad_w", dw), 64, how);
      ASSERT_TRUE(run.isReady() && gradX.isReady() && gradW.isReady());
      std::vector<float> nll(tokens), lse(tokens), gx(tokens * width), gw(words * width);
      int64_t before = modelCalls;
      run.run({xs.bits.data(), ws.bits.data(), targets.data(), nll.data(), lse.data()}, batch.view);
      std::vector<void *> inputs = {xs.bits.data(), ws.bits.data(), targets.data(), lse.data(), dnll.data()};
      auto with = [&](float *result) {
        std::vector<void *> all = inputs;
        all.push_back(result);
        return all;
      };
      gradX.run(with(gx.data()), batch.view);
      gradW.run(with(gw.data()), batch.view);
      EXPECT_EQ(modelCalls > before, pairs);
      results[pairs] = {nll, lse, gx, gw};
    }
    for (size_t k = 0; k < results[0].size(); ++k) {
      std::vector<double> want(results[0][k].begin(), results[0][k].end());
      EXPECT_LT(worstError(results[1][k], want), 2e-5) << width << " result " << k;
    }
  }
}

/// A module of these kernels, compiled.
pg::cpu::EmittedCode compile(const std::string &text, const pg::cpu::Target &target) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<pg::PgDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  auto code = pg::cpu::emitCpu(*module, target, 1, pg::Cache(pg::Cache::defaultFolder()));
  return mlir::succeeded(code) ? *code : pg::cpu::EmittedCode();
}

TEST(PairDot, TheRuntimeTakesTheVersionThatTheCpuHas) {
  Product shape{-1, 40, 34, false, true};
  auto target = *pg::cpu::namedTarget("x86-64-v3");
  target.pairDot = pg::PairDot::Function;
  target.pairDotIsVersion = true;
  pg::rt::Package package;
  package.codeCpu = compile(shape.text(0), target).elf;
  package.kernels.resize(1);
  package.kernels[0].symbol = "k";
  package.targets = {{"cpu", target.cpu, target.level, target.features}};
  std::set<std::string> plain(target.features.begin(), target.features.end()), better = plain, worse = plain;
  better.insert("avx512_bf16");
  worse.erase("avx2");
  EXPECT_EQ(pg::rt::CpuCode::load(package, worse).status().code(), pg::rt::Code::Environment);

  int64_t tokens = 20;
  Product p = shape.at(tokens);
  Numbers a(p.m * p.k, 1), b(p.k * p.n, 2);
  PackedBatch batch(tokens, {}, {});
  std::vector<char> scratch(16 << 20);
  void *aligned = reinterpret_cast<void *>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  for (bool isBetter : {false, true}) {
    auto code = pg::rt::CpuCode::load(package, isBetter ? better : plain);
    ASSERT_TRUE(code.isOk()) << code.status().message();
    std::vector<float> c(p.m * p.n, NAN);
    void *buffers[] = {a.bits.data(), b.bits.data(), c.data()};
    int64_t before = modelCalls;
    *static_cast<uint64_t *>(aligned) = 0; // another launch (KernelAbi.h)
    code->functions()[0](buffers, nullptr, &batch.view, 0, 1, aligned);
    EXPECT_EQ(modelCalls > before, isBetter);
    EXPECT_LT(worstError(c, p.exact(a, b)), 1e-5);
    EXPECT_EQ(c == p.rounded(a, b), isBetter);
  }
}

TEST(PairDot, EachVersionCutsADeepProductItsOwnWay) {
  // 2,048 numbers are summed in blocks, 1,024 pairs in one.
  auto both = *pg::cpu::namedTarget("x86-64-v4-bf16");
  auto code = compile(Product{-1, 512, 2048, false, true}.text(0), both);
  ASSERT_EQ(code.kernels.count("k"), 1u);
  const pg::cpu::EmittedKernel &kernel = code.kernels["k"];
  ASSERT_TRUE(kernel.versionItems);
  EXPECT_GT(kernel.versionItems->multiplier, kernel.items.multiplier);
  EXPECT_TRUE(kernel.items.wantsRuns);
  EXPECT_FALSE(kernel.versionItems->wantsRuns);
  EXPECT_FALSE(compile(Product{-1, 40, 64, false, true}.text(0), both).kernels["k"].versionItems);
  EXPECT_TRUE(kernel.multipliesPairs);
  EXPECT_FALSE(compile(Product{-1, 40, 64, false, true}.text(0), *pg::cpu::namedTarget("x86-64-v4")).kernels["k"].multipliesPairs);
}

TEST(PairDot, OnlyProductsOfBf16FactorsHaveASecondVersion) {
  std::string row = "pg.kernel_def @row attributes {modes = array<i64: 0>} {\n^bb0(%x: tensor<?x8xf32>):\n"
                    "  %y = pg.exp %x : tensor<?x8xf32>\n  pg.yield %y : tensor<?x8xf32>\n}\n";
  std::string f32 = "pg.kernel_def @plain attributes {modes = array<i64: 0>} {\n"
                    "^bb0(%a: tensor<?x32xf32>, %b: tensor<40x32xf32>):\n  %c = pg.matmul %a, %b {transpose_b} : "
                    "tensor<?x32xf32>, tensor<40x32xf32> -> tensor<?x40xf32>\n  pg.yield %c : tensor<?x40xf32>\n}\n";
  std::string bf16 = Product{-1, 40, 32, false, true}.text(0, "halves");
  auto v4 = *pg::cpu::namedTarget("x86-64-v4"), both = *pg::cpu::namedTarget("x86-64-v4-bf16");
  EXPECT_EQ(both.features, v4.features);
  EXPECT_EQ(compile(row + f32, v4).elf, compile(row + f32, both).elf);
  std::string elf = compile(row + f32 + bf16, both).elf, without = compile(row + f32 + bf16, v4).elf;
  EXPECT_NE(elf.find("halves.avx512_bf16"), std::string::npos);
  EXPECT_EQ(elf.find("row.avx512_bf16"), std::string::npos);
  EXPECT_EQ(elf.find("plain.avx512_bf16"), std::string::npos);
  EXPECT_EQ(without.find("avx512_bf16"), std::string::npos);
}

TEST(PairDot, LevelsSayWhetherBf16ProductsUseTheInstruction) {
  using pg::rt::usesBf16Dot;
  pg::rt::CodeTarget level{"cpu", "x86-64-v4", "x86-64-v4-bf16", {"avx512f"}}, native = level, v4 = level;
  native.level = "native";
  native.features.push_back("avx512_bf16");
  v4.level = "x86-64-v4";
  EXPECT_TRUE(usesBf16Dot(level, {"avx512f", "avx512_bf16"}));
  EXPECT_FALSE(usesBf16Dot(level, {"avx512f"}));
  EXPECT_TRUE(usesBf16Dot(native, {"avx512f", "avx512_bf16"}));
  EXPECT_FALSE(usesBf16Dot(v4, {"avx512f", "avx512_bf16"}));
  // A package uses it where a kernel of its multiplies pairs.
  pg::rt::Package package;
  package.targets = {level};
  package.kernels.resize(2);
  EXPECT_FALSE(pg::rt::multipliesPairs(package, {"avx512f", "avx512_bf16"}));
  EXPECT_EQ(pg::rt::cpuCodeText(package, {"avx512f", "avx512_bf16"}), "cpu x86-64-v4 x86-64-v4-bf16");
  package.kernels[1].multipliesPairs = true;
  EXPECT_TRUE(pg::rt::multipliesPairs(package, {"avx512f", "avx512_bf16"}));
  EXPECT_EQ(pg::rt::cpuCodeText(package, {"avx512f"}), "cpu x86-64-v4 x86-64-v4-bf16");
  EXPECT_EQ(pg::rt::cpuCodeText(package, {"avx512f", "avx512_bf16"}), "cpu x86-64-v4 x86-64-v4-bf16 with avx512_bf16");
  EXPECT_FALSE(pg::rt::multipliesPairs(package, {"avx512f"}));
}

} // namespace
