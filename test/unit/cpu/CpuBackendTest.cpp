//===- CpuBackendTest.cpp - the driver: levels, bytes, cache, errors -----------===//
#include "passes/cpu/CpuBackend.h"
#include "dialect/Pg.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <filesystem>

using namespace mlir;

namespace {

std::string addKernel(const std::string &name, int width) {
  std::string t = "tensor<?x" + std::to_string(width) + "xf32>";
  return "pg.kernel_def @" + name +
         " attributes {modes = array<i64: 0>} {\n"
         "^bb0(%x: " +
         t + "):\n  %y = pg.exp %x : " + t + "\n  pg.yield %y : " + t + "\n}\n";
}

struct Source {
  explicit Source(const std::string &text) {
    context.loadDialect<pg::PgDialect>();
    module = parseSourceString<ModuleOp>(text, &context);
  }
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST(CpuBackend, BytesDoNotDependOnJobsOrRepetition) {
  std::string text;
  for (int k = 0; k < 6; ++k)
    text += addKernel("k" + std::to_string(k), 10 + k);
  Source first(text), second(text);
  auto target = pg::cpu::namedTarget("x86-64-v3");
  ASSERT_TRUE(succeeded(target));
  auto one = pg::cpu::emitCpu(*first.module, *target, 1, pg::Cache(""));
  auto three = pg::cpu::emitCpu(*second.module, *target, 3, pg::Cache(""));
  ASSERT_TRUE(succeeded(one) && succeeded(three));
  EXPECT_EQ(one->kernels.size(), 6u);
  EXPECT_TRUE(one->elf == three->elf);
  EXPECT_EQ(one->elf.substr(1, 3), "ELF");
  EXPECT_EQ(one->elf.find("/tmp"), std::string::npos);
}

TEST(CpuBackend, TheCacheHoldsWhatWouldBeCompiled) {
  std::string folder = ::testing::TempDir() + "cpu-backend-cache";
  std::filesystem::remove_all(folder);
  pg::Cache off(""), cache(folder);
  Source source(addKernel("a", 10) + addKernel("b", 12));
  Source changed(addKernel("a", 11) + addKernel("b", 12));
  auto v3 = pg::cpu::namedTarget("x86-64-v3"), v2 = pg::cpu::namedTarget("x86-64-v2");
  ASSERT_TRUE(succeeded(v3) && succeeded(v2));
  auto plain = pg::cpu::emitCpu(*source.module, *v3, 1, off);
  auto first = pg::cpu::emitCpu(*source.module, *v3, 1, cache);
  auto second = pg::cpu::emitCpu(*source.module, *v3, 1, cache);
  auto other = pg::cpu::emitCpu(*changed.module, *v3, 1, cache);
  auto lower = pg::cpu::emitCpu(*source.module, *v2, 1, cache);
  ASSERT_TRUE(succeeded(plain) && succeeded(first) && succeeded(second) && succeeded(other) && succeeded(lower));
  EXPECT_EQ(plain->cached, 0u);
  EXPECT_EQ(first->cached, 0u);
  EXPECT_EQ(second->cached, 2u);
  EXPECT_EQ(other->cached, 1u); // @b alone is the same
  EXPECT_EQ(lower->cached, 0u); // another machine
  EXPECT_TRUE(first->elf == plain->elf);
  EXPECT_TRUE(second->elf == plain->elf);
  EXPECT_FALSE(other->elf == plain->elf);
}

TEST(CpuBackend, LevelsNameTheFlagsTheyNeed) {
  auto v2 = pg::cpu::namedTarget("x86-64-v2");
  auto v3 = pg::cpu::namedTarget("x86-64-v3");
  auto v4 = pg::cpu::namedTarget("x86-64-v4");
  ASSERT_TRUE(succeeded(v2) && succeeded(v3) && succeeded(v4));
  auto needs = [](const pg::cpu::Target &target, const char *flag) {
    return llvm::is_contained(target.features, flag);
  };
  EXPECT_TRUE(needs(*v2, "sse4_2") && !needs(*v2, "avx2"));
  EXPECT_TRUE(needs(*v3, "avx2") && needs(*v3, "fma") &&
              !needs(*v3, "avx512f"));
  EXPECT_TRUE(needs(*v4, "avx512f") && needs(*v4, "avx512vl"));
  EXPECT_EQ(v2->vectorBytes, 16);
  EXPECT_EQ(v3->vectorBytes, 32);
  EXPECT_EQ(v4->vectorBytes, 64);
  EXPECT_TRUE(failed(pg::cpu::namedTarget("x86-64-v5")));
  EXPECT_TRUE(succeeded(pg::cpu::namedTarget("native")));
  EXPECT_FALSE(pg::cpu::hostTarget().features.empty());
}

TEST(CpuBackend, UnsupportedKernelIsAnErrorThatNamesIt) {
  // A sum over tokens has no place in a row.
  Source source(R"(
pg.kernel_def @bad attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x8xf32>):
  %s = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<?x8xf32> -> tensor<8xf32>
  %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>
  pg.yield %b : tensor<?x8xf32>
})");
  std::string message;
  ScopedDiagnosticHandler handler(&source.context, [&](Diagnostic &diagnostic) {
    message += diagnostic.str();
  });
  EXPECT_TRUE(
      failed(pg::cpu::emitCpu(*source.module, pg::cpu::hostTarget(), 2, pg::Cache(""))));
  EXPECT_NE(message.find("@bad"), std::string::npos) << message;
  EXPECT_NE(message.find("stays inside a row"), std::string::npos) << message;
}

} // namespace
