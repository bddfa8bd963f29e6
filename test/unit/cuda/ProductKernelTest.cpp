//===- ProductKernelTest.cpp - products: emulator against CPU -----------------===//
#include "test/unit/cpu/KernelRunner.h"
#include "TargetPair.h"

#include <gtest/gtest.h>

using namespace pg;
using namespace pg::test;

namespace {

double boundOf(const std::string &element) {
  return element == "bf16" ? 1e-2 : element == "f32" ? 2e-5 : 1e-12;
}

/// Which schedules: the two extremes of every kind, or the whole grid.
std::vector<emulator::Schedule> schedules(bool all) {
  using emulator::Order;
  if (all)
    return emulator::everySchedule();
  return {{Order::GreedyLow, true, 1}, {Order::Random, false, 7}};
}

/// All kernels of `text` at every number of tokens.
void expectEqual(const std::string &text, const std::string &element,
                 const std::vector<int64_t> &tokens, bool all = false,
                 int64_t integerLimit = 1, double amplitude = 1,
                 double bound = 0) {
  TargetPair pair(text, element);
  ASSERT_EQ(pair.error(), "");
  pair.integerLimit = integerLimit;
  pair.amplitude = amplitude;
  for (const cuda::EmittedKernel &kernel : pair.kernels())
    for (int64_t n : tokens) {
      PackedBatch batch(n, {}, {});
      for (const emulator::Schedule &schedule : schedules(all))
        EXPECT_EQ(pair.compare(kernel.symbol, batch.view, schedule,
                               bound ? bound : boundOf(element)),
                  "")
            << kernel.symbol << " in " << element << ", " << n << " tokens, "
            << emulator::scheduleName(schedule);
    }
}

std::string matrix(int64_t rows, int64_t columns,
                   const std::string &element = "$E") {
  return "tensor<" + (rows < 0 ? std::string("?") : std::to_string(rows)) +
         "x" + std::to_string(columns) + "x" + element + ">";
}

/// C = op(A) op(B), stored as mode says.
std::string product(const std::string &name, const std::string &a,
                    const std::string &b, const std::string &c,
                    const std::string &flags, int mode) {
  return "pg.kernel_def @" + name + " attributes {modes = array<i64: " +
         std::to_string(mode) + ">} {\n^bb0(%a: " + a + ", %b: " + b +
         "):\n  %c = pg.matmul %a, %b " + flags + " : " + a + ", " + b +
         " -> " + c + "\n  pg.yield %c : " + c + "\n}\n";
}

struct Feature {
  int64_t in, out;
  std::string name(const std::string &stem) const {
    return stem + "_" + std::to_string(in) + "_" + std::to_string(out);
  }
};

const char *kElements[] = {"bf16", "f32"};

TEST(CudaProduct, TokensTimesWeightInBothLayouts) {
  std::string text;
  for (Feature f : {Feature{200, 136}, {64, 64}, {12, 33}, {5, 1}}) {
    text += product(f.name("rows"), matrix(-1, f.in), matrix(f.out, f.in),
                    matrix(-1, f.out), "{transpose_b}", 0);
    text += product(f.name("columns"), matrix(-1, f.in), matrix(f.in, f.out),
                    matrix(-1, f.out), "", 0);
  }
  for (const char *element : kElements)
    expectEqual(text, element, {1, 150});
}

// Codes are copied as bytes and widened where they land; rows that no piece of
// eight divides, and rows of the contraction, go element by element or across.
TEST(CudaProduct, TokensTimesCodesInBothLayouts) {
  std::string text;
  for (Feature f : {Feature{200, 136}, {12, 33}}) {
    text += product(f.name("rows"), matrix(-1, f.in), matrix(f.out, f.in, "i8"),
                    matrix(-1, f.out, "$R"), "{transpose_b}", 0);
    text += product(f.name("columns"), matrix(-1, f.in), matrix(f.in, f.out, "i8"),
                    matrix(-1, f.out, "$R"), "", 0);
  }
  for (const char *element : kElements)
    expectEqual(text, element, {1, 150});
}

TEST(CudaProduct, EveryScheduleOfCodesThatAreWidenedWhereTheyLand) {
  expectEqual(product("codes", matrix(-1, 328), matrix(136, 328, "i8"),
                      matrix(-1, 136, "$R"), "{transpose_b}", 0),
              "bf16", {130}, true);
}

TEST(CudaProduct, EveryScheduleOfThePipeline) {
  expectEqual(product("rows", matrix(-1, 328), matrix(136, 328),
                      matrix(-1, 136), "{transpose_b}", 0) +
                  product("parts", matrix(-1, 72), matrix(-1, 136),
                          matrix(72, 136), "{transpose_a}", 0),
              "bf16", {130}, true);
}

TEST(CudaProduct, WeightGradientAddsPartsInOrder) {
  std::string text;
  for (Feature f : {Feature{72, 136}, {5, 33}})
    text += product(f.name("gradient"), matrix(-1, f.in), matrix(-1, f.out),
                    matrix(f.in, f.out), "{transpose_a}", 2);
  for (const char *element : kElements)
    expectEqual(text, element, {1, 70, 300});
}

TEST(CudaProduct, StaticTimesStaticInAllLayouts) {
  int64_t m = 9, k = 300, n = 50;
  std::string text;
  for (bool ta : {false, true})
    for (bool tb : {false, true}) {
      std::string flags = ta && tb ? "{transpose_a, transpose_b}"
                          : ta     ? "{transpose_a}"
                          : tb     ? "{transpose_b}"
                                   : "";
      text += product("static" + std::to_string(ta) + std::to_string(tb),
                      ta ? matrix(k, m) : matrix(m, k),
                      tb ? matrix(n, k) : matrix(k, n), matrix(m, n), flags, 1);
    }
  for (const char *element : kElements)
    expectEqual(text, element, {1});
}

// Several tiles on and below the diagonal, the last not full; what is added is not symmetric.
TEST(CudaProduct, MatrixTimesItsTransposeStoresMirroredTiles) {
  std::string text;
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{150, 72}, {130, 33}})
    for (bool left : {false, true}) {
      int64_t size = left ? columns : rows;
      std::string a = matrix(rows, columns), c = matrix(size, size);
      text += "pg.kernel_def @gram_" + std::to_string(size) + (left ? "_left" : "_right") + std::to_string(rows) +
              " attributes {modes = array<i64: 0, 1>} {\n^bb0(%a: " + a + ", %r: " + c +
              "):\n  %c = pg.matmul %a, %a " + (left ? "{transpose_a}" : "{transpose_b}") + " : " + a + ", " + a +
              " -> " + c + "\n  %s = pg.add %c, %r : " + c + "\n  pg.yield %s, %c : " + c + ", " + c + "\n}\n";
    }
  for (const char *element : kElements)
    expectEqual(text, element, {1});
  // Ten of the sixteen tiles of 200 x 200.
  std::string a = matrix(200, 40), c = matrix(200, 200);
  TargetPair pair("pg.kernel_def @gram attributes {modes = array<i64: 0>} {\n^bb0(%a: " + a +
                      "):\n  %c = pg.matmul %a, %a {transpose_b} : " + a + ", " + a + " -> " + c +
                      "\n  pg.yield %c : " + c + "\n}\n",
                  "f32");
  ASSERT_EQ(pair.error(), "");
  EXPECT_EQ(pair.kernels()[0].stages[0].blocks.multiplier, 10);
}

// An iteration in bf16 as it is stored: round(A A^T), its square mixed with itself and that times A, under epilogues that
// round at every step. Rows of whole pieces and rows that end inside one.
TEST(CudaProduct, EveryScheduleOfRoundedProductsOfStoredValues) {
  std::string text;
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{136, 200}, {70, 33}}) {
    std::string size = std::to_string(rows);
    std::string x = matrix(rows, columns), g = matrix(rows, rows);
    std::string wideX = matrix(rows, columns, "$R"), wideG = matrix(rows, rows, "$R");
    text += "pg.kernel_def @gram_" + size + " attributes {modes = array<i64: 0>} {\n^bb0(%x: " + x +
            "):\n  %p = pg.matmul %x, %x {transpose_b} : " + x + ", " + x + " -> " + wideG +
            "\n  %r = pg.round %p to bf16 : " + wideG + "\n  %n = pg.cast %r : " + wideG + " -> " + g +
            "\n  pg.yield %n : " + g + "\n}\n";
    // What is read beside the sums is not symmetric.
    auto step = [&](const std::string &name, const std::string &arguments, const std::string &added,
                    const std::string &narrow, const std::string &wide, const std::string &factors) {
      text += "pg.kernel_def @" + name + "_" + size + " attributes {modes = array<i64: 0>} {\n^bb0(" + arguments +
              ", %z: f64, %b: f64, %c: f64):\n  %w = pg.cast " + added + " : " + narrow + " -> " + wide +
              "\n  %p = pg.matmul " + factors + " -> " + wide + "\n  %r = pg.round %p to bf16 : " + wide +
              "\n  %0 = pg.splat %b : " + wide + "\n  %1 = pg.mul %0, %w : " + wide + "\n  %2 = pg.round %1 to bf16 : " +
              wide + "\n  %3 = pg.splat %c : " + wide + "\n  %4 = pg.mul %3, %r : " + wide +
              "\n  %5 = pg.round %4 to bf16 : " + wide + "\n  %6 = pg.add %2, %5 : " + wide + "\n  %7 = pg.splat %z : " +
              wide + "\n  %8 = pg.add %6, %7 : " + wide + "\n  %9 = pg.round %8 to bf16 : " + wide +
              "\n  %n = pg.cast %9 : " + wide + " -> " + narrow + "\n  pg.yield %n : " + narrow + "\n}\n";
    };
    step("mix", "%g: " + g, "%g", g, wideG, "%g, %g {transpose_b} : " + g + ", " + g);
    step("next", "%g: " + g + ", %x: " + x, "%x", x, wideX, "%g, %x : " + g + ", " + x);
  }
  // A sum that is rounded the other way moves by one part in 128.
  expectEqual(text, "bf16", {1}, true, 1, 1, 2e-2);
}

TEST(CudaProduct, DoublePrecision) {
  expectEqual(product("wide", matrix(-1, 100), matrix(36, 100), matrix(-1, 36),
                      "{transpose_b}", 0),
              "f64", {65});
}

// A leaky square is computed while the operand lands in shared memory, by rows
// and across the contraction.
const char *kLeakySquare = R"mlir(
    %0 = pg.splat %s : $T
    %1 = pg.compare gt %h, %0 : $T -> $B
    %2 = pg.splat %l : $T
    %3 = pg.mul %h, %2 : $T
    %4 = pg.select %1, %h, %3 : $B, $T
    %5 = pg.mul %4, %4 : $T
)mlir";

std::string leakySquare(const std::string &type, const std::string &bools) {
  std::string text = kLeakySquare;
  for (auto [name, value] : {std::pair<std::string, std::string>{"$T", type}, {"$B", bools}})
    for (size_t at = text.find(name); at != std::string::npos;
         at = text.find(name, at))
      text.replace(at, 2, value);
  return text;
}

TEST(CudaProduct, ProloguesInBothOperands) {
  std::string text;
  for (int64_t width : {136, 30}) {
    std::string h = matrix(-1, width), w = matrix(72, width), d = matrix(-1, 40);
    std::string square = leakySquare(h, matrix(-1, width, "i1"));
    std::string name = std::to_string(width);
    text += "pg.kernel_def @left_" + name +
            " attributes {modes = array<i64: 0>} {\n^bb0(%h: " + h + ", %w: " +
            w + ", %s: f64, %l: f64):" + square +
            "  %6 = pg.matmul %5, %w {transpose_b} : " + h + ", " + w + " -> " +
            matrix(-1, 72) + "\n  pg.yield %6 : " + matrix(-1, 72) + "\n}\n";
    text += "pg.kernel_def @across_" + name +
            " attributes {modes = array<i64: 2>} {\n^bb0(%d: " + d + ", %h: " +
            h + ", %s: f64, %l: f64):" + square +
            "  %6 = pg.matmul %d, %5 {transpose_a} : " + d + ", " + h + " -> " +
            matrix(40, width) + "\n  pg.yield %6 : " + matrix(40, width) +
            "\n}\n";
  }
  for (const char *element : kElements)
    expectEqual(text, element, {150});
}

TEST(CudaProduct, EpilogueScalesAddsAndSplitsHeads) {
  std::string text;
  for (int64_t width : {144, 18}) {
    std::string x = matrix(-1, 24), w = matrix(width, 24), y = matrix(-1, width);
    std::string heads = "tensor<?x2x" + std::to_string(width / 2) + "x$E>";
    std::string scale = "tensor<" + std::to_string(width) + "x$E>";
    text += "pg.kernel_def @heads_" + std::to_string(width) +
            " attributes {modes = array<i64: 0, 0>} {\n^bb0(%r: " + y +
            ", %c: " + scale + ", %x: " + x + ", %w: " + w + "):\n" +
            "  %0 = pg.broadcast %c {dims = array<i64: 1>} : " + scale + " -> " +
            y + "\n  %1 = pg.matmul %x, %w {transpose_b} : " + x + ", " + w +
            " -> " + y + "\n  %2 = pg.mul %0, %1 : " + y +
            "\n  %3 = pg.add %r, %2 : " + y + "\n  %4 = pg.reshape %1 : " + y +
            " -> " + heads + "\n  pg.yield %3, %4 : " + y + ", " + heads +
            "\n}\n";
  }
  for (const char *element : kElements)
    expectEqual(text, element, {1, 140});
}

//===----------------------------------------------------------------------===//
// The head
//===----------------------------------------------------------------------===//

struct Head {
  int64_t features, words;
  double softcap;
};
const Head kHeads[] = {{64, 200, 1.5}, {12, 17, 0}, {72, 136, 100}};

/// Loss and both gradients of a head.
std::string headText(const Head &head) {
  std::string x = matrix(-1, head.features), w = matrix(head.words, head.features);
  std::string numbers = "tensor<?x$R>", words = "tensor<?xi32>";
  std::string cap = " {softcap = " + std::to_string(head.softcap) + " : f64} : (";
  std::string name = std::to_string(head.words);
  std::string text =
      "pg.kernel_def @loss_" + name +
      " attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " + x + ", %w: " + w +
      ", %t: " + words + "):\n  %n, %l = pg.linear_cross_entropy %x, %w, %t" +
      cap + x + ", " + w + ", " + words + ") -> (" + numbers + ", " + numbers +
      ")\n  pg.yield %n, %l : " + numbers + ", " + numbers + "\n}\n";
  for (std::string which : {"grad_x", "grad_w"}) {
    std::string result = which == "grad_x"
                             ? matrix(-1, head.features, "$R")
                             : matrix(head.words, head.features, "$R");
    text += "pg.kernel_def @" + which + "_" + name +
            " attributes {modes = array<i64: " +
            (which == "grad_x" ? "0" : "2") + ">} {\n^bb0(%x: " + x +
            ", %w: " + w + ", %t: " + words + ", %l: " + numbers + ", %n: " +
            numbers + "):\n  %g = pg.linear_cross_entropy_" + which +
            " %x, %w, %t, %l, %n" + cap + x + ", " + w + ", " + words + ", " +
            numbers + ", " + numbers + ") -> " + result + "\n  pg.yield %g : " +
            result + "\n}\n";
  }
  return text;
}

// dz is rounded to the operands' type as well, so the bound is twice a product's.
// Numbers of half the size: with a noisy lse, p = exp(z - lse) would be large.
TEST(CudaHead, LossAndGradientsInTiles) {
  std::string text;
  for (const Head &head : kHeads)
    text += headText(head);
  for (const char *element : {"bf16", "f32", "f64"})
    expectEqual(text, element, {1, 130}, false, 17, 0.5, 2 * boundOf(element));
}

/// The loss of a head whose table is codes, with a correction of some rank.
std::string codedHeadText(const Head &head, int64_t rank) {
  std::string x = matrix(-1, head.features), w = matrix(head.words, head.features, "i8");
  std::string numbers = "tensor<?x$R>", words = "tensor<?xi32>";
  std::string scale = "tensor<" + std::to_string(head.words) + "x$R>";
  std::string p = matrix(-1, rank, "$R"), q = matrix(head.words, rank, "$R");
  std::string name = std::to_string(head.words) + "_" + std::to_string(rank);
  std::string types = x + ", " + w + ", " + words + ", " + scale;
  if (rank)
    types += ", " + p + ", " + q;
  return "pg.kernel_def @codes_" + name +
         " attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " + x + ", %w: " + w +
         ", %t: " + words + ", %s: " + scale +
         (rank ? ", %p: " + p + ", %q: " + q : "") +
         "):\n  %n, %l = pg.linear_cross_entropy %x, %w, %t scaled %s" +
         (rank ? " plus %p, %q" : "") + " {softcap = " +
         std::to_string(head.softcap) + " : f64} : (" + types + ") -> (" + numbers +
         ", " + numbers + ")\n  pg.yield %n, %l : " + numbers + ", " + numbers + "\n}\n";
}

// Numbers so small that codes of up to 128 leave logits of the softcap's size.
TEST(CudaHead, LossOfATableOfCodesWithAndWithoutCorrection) {
  std::string text;
  text += codedHeadText(kHeads[0], 3) + codedHeadText(kHeads[1], 0) + codedHeadText(kHeads[2], 4);
  for (const char *element : kElements)
    expectEqual(text, element, {1, 130}, false, 17, 0.1, 2 * boundOf(element));
}

TEST(CudaHead, LargeVocabulariesInChunks) {
  expectEqual(headText({8, 8204, 30}), "bf16", {3}, false, 8204, 0.5);
}

} // namespace
