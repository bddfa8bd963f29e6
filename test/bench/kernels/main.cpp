//===- main.cpp - speed of the structured kernels --------------------------===//
//
// Prints, for each kernel and shape, useful operations per second on one thread
// and the ratio to register-only fused multiply-adds in the same run (README).
//
//===----------------------------------------------------------------------===//
#include "../../unit/cpu/KernelRunner.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <time.h>
#include <vector>

using namespace pg::test;

double fmaRounds(int64_t rounds);

namespace {

/// Processor time of the calling thread, so that other work on the machine
/// counts only through shared caches and clocks.
double threadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double secondsOf(const std::function<void()> &work) {
  double start = threadSeconds();
  work();
  return threadSeconds() - start;
}

/// More than the caches hold.
constexpr int64_t kColdBytes = 64 << 20;

int64_t vectorBytes = 64;
std::string wanted; ///< part of the names of what is timed

/// A millisecond or two of multiply-adds from registers; operations per second.
double peakNow() {
  double flops = 0;
  double seconds = secondsOf([&] { flops = fmaRounds(500'000); });
  return flops / seconds;
}

/// At least nine runs and half a second, each compared with the peak right before
/// and behind it: the machine's clock moves with other work on it.
void report(const std::string &name, double flops,
            const std::function<void()> &work) {
  if (name.find(wanted) == std::string::npos)
    return;
  work();
  double best = 1e30, total = 0, before = peakNow();
  std::vector<double> ratios;
  while (ratios.size() < 9 || total < 0.5) {
    double seconds = secondsOf(work), behind = peakNow();
    ratios.push_back(flops / seconds / (0.5 * (before + behind)));
    before = behind;
    best = std::min(best, seconds);
    total += seconds;
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("%-44s %8.3f ms %7.1f GF/s %5.1f %%\n", name.c_str(), best * 1e3,
              flops / best * 1e-9, 100 * ratios[ratios.size() / 2]);
  std::fflush(stdout);
}

std::string matrix(int64_t rows, int64_t columns) {
  return "tensor<" + (rows < 0 ? std::string("?") : std::to_string(rows)) +
         "x" + std::to_string(columns) + "xf32>";
}

void product(const char *name, int64_t n, std::string a, std::string b,
             std::string c, std::string flags, int64_t sizeA, int64_t sizeB,
             int64_t sizeC, double flops) {
  KernelRunner kernel("pg.kernel_def @k attributes {modes = array<i64: 0>} "
                      "{\n^bb0(%a: " +
                          a + ", %b: " + b + "):\n %c = pg.matmul %a, %b " +
                          flags + " : " + a + ", " + b + " -> " + c +
                          "\n pg.yield %c : " + c + "\n}\n",
                      vectorBytes);
  if (!kernel.isReady())
    return;
  kernel.fillsScratch = false;
  // Other operands and results every time, as in a step of a model: what comes
  // from memory must not be in a cache.
  int64_t copies = 1 + kColdBytes / (4 * (sizeA + sizeB + sizeC)), turn = 0;
  auto left = noise<float>(sizeA * copies, 1);
  auto right = noise<float>(sizeB * copies, 2);
  std::vector<float> out(sizeC * copies);
  PackedBatch batch(n, {}, {});
  report(name, flops, [&] {
    int64_t at = turn++ % copies;
    kernel.run({left.data() + at * sizeA, right.data() + at * sizeB,
                out.data() + at * sizeC},
               batch.view);
  });
}

void products(int64_t n, int64_t in, int64_t out) {
  double flops = 2.0 * n * in * out;
  std::string size = std::to_string(n) + " x " + std::to_string(out) + " x " +
                     std::to_string(in);
  product(("forward  x w^T    " + size).c_str(), n, matrix(-1, in),
          matrix(out, in), matrix(-1, out), "{transpose_b}", n * in, in * out,
          n * out, flops);
  product(("dX       dy w     " + size).c_str(), n, matrix(-1, out),
          matrix(out, in), matrix(-1, in), "", n * out, in * out, n * in,
          flops);
  product(("dW       dy^T x   " + size).c_str(), n, matrix(-1, out),
          matrix(-1, in), matrix(out, in), "{transpose_a}", n * out, n * in,
          in * out, flops);
}

/// x x^T, half of which is computed.
void gram(int64_t n) {
  std::string x = matrix(n, n);
  KernelRunner kernel("pg.kernel_def @k attributes {modes = array<i64: 0>} "
                      "{\n^bb0(%x: " +
                          x + "):\n %c = pg.matmul %x, %x {transpose_b} : " + x +
                          ", " + x + " -> " + x + "\n pg.yield %c : " + x +
                          "\n}\n",
                      vectorBytes);
  if (!kernel.isReady())
    return;
  kernel.fillsScratch = false;
  auto values = noise<float>(n * n, 1);
  std::vector<float> out(n * n);
  PackedBatch batch(0, {}, {});
  report("gram     x x^T    " + std::to_string(n), 2.0 * n * n * n,
         [&] { kernel.run({values.data(), out.data()}, batch.view); });
}

void attention(int64_t n, int64_t heads, int64_t groups, int64_t d) {
  auto tensor = [](int64_t h, int64_t w) {
    return "tensor<?x" + std::to_string(h) + "x" + std::to_string(w) + "xf32>";
  };
  std::string q = tensor(heads, d), k = tensor(groups, d);
  std::string l = "tensor<?x" + std::to_string(heads) + "xf32>";
  std::string attributes = "<{scale = 0.125 : f64}>";
  KernelRunner forward(
      "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%q: " +
          q + ", %k: " + k + ", %v: " + k +
          "):\n %o, %l = \"pg.attention\"(%q, %k, %v) " + attributes + " : (" +
          q + ", " + k + ", " + k + ") -> (" + q + ", " + l +
          ")\n pg.yield %o, %l : " + q + ", " + l + "\n}\n",
      vectorBytes);
  KernelRunner grad(
      "pg.kernel_def @k attributes {modes = array<i64: 0, 0, 0>} {\n^bb0(%q: " +
          q + ", %k: " + k + ", %v: " + k + ", %d: " + q + ", %l: " + l +
          ", %e: " + l +
          "):\n %a, %b, %c = \"pg.attention_grad\"(%q, %k, %v, %d, %l, %e) " +
          attributes + " : (" + q + ", " + k + ", " + k + ", " + q + ", " + l +
          ", " + l + ") -> (" + q + ", " + k + ", " + k +
          ")\n pg.yield %a, %b, %c : " + q + ", " + k + ", " + k + "\n}\n",
      vectorBytes);
  if (!forward.isReady() || !grad.isReady())
    return;
  forward.fillsScratch = grad.fillsScratch = false;
  auto qs = noise<float>(n * heads * d, 1), ks = noise<float>(n * groups * d, 2);
  auto vs = noise<float>(n * groups * d, 3), ds = noise<float>(n * heads * d, 4);
  std::vector<float> out(qs.size()), lse(n * heads), dq(qs.size()),
      dk(ks.size()), dv(ks.size());
  PackedBatch batch(n, {}, {});
  double pairs = 0.5 * n * (n + 1.0) * heads;
  std::string size = std::to_string(n) + ", " + std::to_string(heads) + "/" +
                     std::to_string(groups) + " x " + std::to_string(d);
  report("attention forward " + size, 4 * pairs * d, [&] {
    forward.run({qs.data(), ks.data(), vs.data(), out.data(), lse.data()},
                batch.view);
  });
  report("attention grad    " + size, 10 * pairs * d, [&] {
    grad.run({qs.data(), ks.data(), vs.data(), ds.data(), lse.data(),
              lse.data(), dq.data(), dk.data(), dv.data()},
             batch.view);
  });
}

void head(int64_t n, int64_t words, int64_t width) {
  std::string x = matrix(-1, width), w = matrix(words, width);
  std::string f = "tensor<?xf32>", i = "tensor<?xi32>";
  std::string attributes = "<{softcap = 30.0 : f64}>";
  KernelRunner forward(
      "pg.kernel_def @k attributes {modes = array<i64: 0, 0>} {\n^bb0(%x: " +
          x + ", %w: " + w + ", %t: " + i +
          "):\n %n, %l = pg.linear_cross_entropy %x, %w, %t " +
          "{softcap = 30.0 : f64} : (" + x + ", " + w + ", " + i + ") -> (" + f + ", " +
          f + ")\n pg.yield %n, %l : " + f + ", " + f + "\n}\n",
      vectorBytes);
  auto text = [&](const std::string &op, const std::string &result) {
    return "pg.kernel_def @k attributes {modes = array<i64: 0>} {\n^bb0(%x: " +
           x + ", %w: " + w + ", %t: " + i + ", %l: " + f + ", %d: " + f +
           "):\n %r = \"pg." + op + "\"(%x, %w, %t, %l, %d) " + attributes +
           " : (" + x + ", " + w + ", " + i + ", " + f + ", " + f + ") -> " +
           result + "\n pg.yield %r : " + result + "\n}\n";
  };
  KernelRunner gradX(text("linear_cross_entropy_grad_x", x), vectorBytes);
  KernelRunner gradW(text("linear_cross_entropy_grad_w", w), vectorBytes);
  if (!forward.isReady() || !gradX.isReady() || !gradW.isReady())
    return;
  forward.fillsScratch = gradX.fillsScratch = gradW.fillsScratch = false;
  auto xs = noise<float>(n * width, 1), ws = noise<float>(words * width, 2);
  std::vector<int32_t> targets(n, 7);
  std::vector<float> nll(n), lse(n), dnll(n, 1.0f), dx(xs.size()),
      dw(ws.size());
  PackedBatch batch(n, {}, {});
  double flops = 2.0 * n * words * width;
  std::string size = std::to_string(n) + " x " + std::to_string(words) + " x " +
                     std::to_string(width);
  report("head forward " + size, flops, [&] {
    forward.run({xs.data(), ws.data(), targets.data(), nll.data(), lse.data()},
                batch.view);
  });
  report("head grad x  " + size, 2 * flops, [&] {
    gradX.run({xs.data(), ws.data(), targets.data(), lse.data(), dnll.data(),
               dx.data()},
              batch.view);
  });
  report("head grad w  " + size, 2 * flops, [&] {
    gradW.run({xs.data(), ws.data(), targets.data(), lse.data(), dnll.data(),
               dw.data()},
              batch.view);
  });
}

} // namespace

int main(int argc, char **argv) {
  if (argc > 1)
    vectorBytes = std::atoi(argv[1]);
  bool quick = argc > 2 && std::strcmp(argv[2], "quick") == 0;
  if (argc > 3)
    wanted = argv[3];
  std::printf("best time, median ratio to the peak of one thread (f32) around each run; "
              "vectors of %lld bytes\n",
              static_cast<long long>(vectorBytes));
  products(1024, 512, 512);
  if (!quick) {
    products(1024, 512, 1536);
    products(1024, 512, 2048);
    products(2048, 2048, 512);
  }
  gram(512);
  attention(1024, 8, 4, 64);
  if (!quick)
    attention(2048, 8, 4, 64);
  head(1024, quick ? 1024 : 8192, 512);
  return 0;
}
