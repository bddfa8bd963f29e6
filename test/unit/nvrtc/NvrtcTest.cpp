//===- NvrtcTest.cpp - compile log, cubins, cache, the compiler itself -------------===//
#include "passes/cuda/CudaBackend.h"
#include "passes/nvrtc/Cubin.h"
#include "passes/nvrtc/CudaImages.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace pg::nvrtc {
namespace {

// In the words of NVRTC 13.0, cut as it cuts them.
const char *const kLog = "ptxas info    : 4 bytes gmem\n"
                         "ptxas info    : Compiling entry function 'row_0' for 'sm_90a'\n"
                         "ptxas info    : Function properties for row_0\n"
                         "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                         "ptxas info    : Used 32 registers, used 1 barriers, 2048 bytes smem\n"
                         "ptxas info    : Compiling entry function 'matmul_1' for 'sm_90a'\n"
                         "ptxas info    : Function properties for matmul_1\n"
                         "ptxas         .     48 bytes stack frame, 44 bytes spill stores, 40 bytes spill loads\n"
                         "ptxas info    : Used 255 registers, used 0 barriers\n";

TEST(CompileLog, ResourcesByKernel) {
  auto list = resourcesOf(kLog);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].kernel, "row_0");
  EXPECT_EQ(list[0].registers, 32);
  EXPECT_EQ(list[0].barriers, 1);
  EXPECT_EQ(list[0].sharedBytes, 2048);
  EXPECT_EQ(list[1].registers, 255);
  EXPECT_EQ(list[1].stackBytes, 48);
  EXPECT_EQ(list[1].spillStores, 44);
  EXPECT_EQ(list[1].spillLoads, 40);
  EXPECT_TRUE(resourcesOf("").empty());
}

TEST(CompileLog, SpillsAreProblemsUnlessExpected) {
  auto problems = problemsOf(kLog, false);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0], "matmul_1: 48 bytes stack frame, 44 bytes spill stores, 40 bytes spill loads");
  EXPECT_TRUE(problemsOf(kLog, true).empty());
}

TEST(CompileLog, LinesThatMeanSlowCode) {
  for (const char *line :
       {"ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored to maintain minimum register requirements.",
        "ptxas info    : (C7504) Potential Performance Loss: 'setmaxnreg' ignored",
        "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x",
        "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to y",
        "ptxas info    : (C7519) warpgroup.arrive is injected",
        "ptxas error   : Entry function 'k' uses too much shared data (0x38c00 bytes, 0x38000 max)"})
    EXPECT_EQ(problemsOf(line, true), std::vector<std::string>{line});
}

TEST(Cubin, HostileBytesAreErrors) {
  EXPECT_FALSE(readCubin("").isOk());
  EXPECT_FALSE(readCubin(std::string(64, '\0')).isOk());
  EXPECT_FALSE(readCubin("\x7f" "ELF").isOk());
}

TEST(Arch, Names) {
  for (const char *good : {"sm_80", "sm_90a", "sm_100f", "sm_120"})
    EXPECT_TRUE(isArchName(good)) << good;
  for (const char *bad : {"sm_", "sm_8", "sm_90b", "compute_80", "sm_90aa", "80", "sm_1200a"})
    EXPECT_FALSE(isArchName(bad)) << bad;
}

std::string testFolder() {
  std::string path = ::testing::TempDir() + "nvrtc-" +
                     ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::remove_all(path);
  return path;
}

TEST(CacheKey, EveryInputButTheNameIsPartOfIt) {
  Source source{"a", "text", "h.cuh", "header"}, other = source;
  std::string key = cacheKeyOf(source, {"--x", "--y"}, "13.0");
  other.name = "b"; // only for messages
  EXPECT_EQ(cacheKeyOf(other, {"--x", "--y"}, "13.0"), key);
  EXPECT_NE(cacheKeyOf(source, {"--x"}, "13.0"), key);
  EXPECT_NE(cacheKeyOf(source, {"--x--y"}, "13.0"), key);
  EXPECT_NE(cacheKeyOf(source, {"--x", "--y"}, "12.9"), key);
  other = source;
  other.text += " ";
  EXPECT_NE(cacheKeyOf(other, {"--x", "--y"}, "13.0"), key);
  other = source;
  other.headerText += " ";
  EXPECT_NE(cacheKeyOf(other, {"--x", "--y"}, "13.0"), key);
}

/// The compiler, where this machine has one.
class NvrtcTest : public ::testing::Test {
protected:
  void SetUp() override {
    if (!Library::get())
      GTEST_SKIP() << Library::get().status().message();
  }
  CudaSource source() const {
    return {cuda::includeLine().str(), "pg_prelude.cuh", cuda::preludeText().str(), {}};
  }
};

TEST_F(NvrtcTest, SupportKernelsCompileWithoutLocalMemory) {
  CompileOptions options;
  options.archs = {"sm_80", "sm_90a"};
  options.jobs = 2;
  auto images = buildImages(source(), options);
  ASSERT_TRUE(images.isOk()) << images.status().message();
  ASSERT_EQ(images->code.images.size(), 3u);
  const rt::CudaImage &ptx = images->code.images.back();
  EXPECT_EQ(ptx.arch, "compute_80");
  ASSERT_EQ(ptx.modules.size(), 1u);
  for (const char *part : {".target sm_80", ".entry pg_add(", ".entry pg_square_lanes("})
    EXPECT_NE(ptx.modules[0].find(part), std::string::npos) << part;
  for (const rt::CudaImage &image : images->code.images) {
    if (&image == &ptx)
      continue;
    ASSERT_EQ(image.modules.size(), 1u);
    auto kernels = readCubin(image.modules[0]);
    ASSERT_TRUE(kernels.isOk()) << kernels.status().message();
    ASSERT_EQ(kernels->size(), 4u);
    for (const CubinKernel &kernel : *kernels) {
      EXPECT_FALSE(kernel.usesLocalMemory()) << kernel.name;
      EXPECT_FALSE(kernel.usesTensorCores()) << kernel.name;
      EXPECT_GT(kernel.registers, 8u) << kernel.name;
      EXPECT_EQ(kernel.frameBytes, 0u) << kernel.name;
      EXPECT_GT(kernel.count(kLdg), 0u) << kernel.name;
    }
    EXPECT_EQ(kernels->front().name, "pg_add");
    // Damage anywhere is an error or harmless, never a crash.
    for (size_t at = 0; at < 4096 && at < image.modules[0].size(); at += 3) {
      std::string bad = image.modules[0];
      bad[at] = char(bad[at] ^ 0x55);
      (void)readCubin(bad).isOk();
      (void)readCubin(bad.substr(0, at)).isOk();
    }
  }
}

TEST_F(NvrtcTest, PtxIsKeptOfTheOldestArchitectureThatNewerOnesCanRun) {
  CompileOptions options;
  options.archs = {"sm_90a"};
  auto only = buildImages(source(), options);
  ASSERT_TRUE(only.isOk()) << only.status().message();
  EXPECT_EQ(only->code.images.size(), 1u); // sm_90a's PTX runs nowhere else
  options.archs = {"sm_90", "sm_86"};
  auto both = buildImages(source(), options);
  ASSERT_TRUE(both.isOk()) << both.status().message();
  ASSERT_EQ(both->code.images.size(), 3u);
  EXPECT_EQ(both->code.images.back().arch, "compute_86");
}

TEST_F(NvrtcTest, SpillsAndNonsenseAreRefusedByName) {
  // Sixty-four values that live across a call of a function that is not inlined.
  std::string spilling = "extern \"C\" __global__ void __launch_bounds__(1024) k(float *x) {\n  float v[256];\n"
                         "#pragma unroll\n  for (int i = 0; i < 256; ++i) v[i] = x[i * 32 + pg_thread()];\n"
                         "#pragma unroll\n  for (int i = 0; i < 256; ++i) x[(i * 7 % 256) * 32 + pg_thread()] = v[i] * v[255 - i];\n}\n";
  CudaSource text = source();
  text.kernels.push_back({"greedy", spilling, {{"k", 1024, 0, {}}}, 0, 0});
  CompileOptions options;
  options.archs = {"sm_80"};
  auto refused = buildImages(text, options);
  ASSERT_FALSE(refused.isOk());
  EXPECT_EQ(refused.status().code(), rt::Code::Internal);
  EXPECT_NE(refused.status().message().find("greedy for sm_80 compiles to code that must not be used"), std::string::npos)
      << refused.status().message();
  text.kernels[0].source = "// " + std::string(kLocalMemoryMark) + "\n" + spilling;
  EXPECT_TRUE(buildImages(text, options).isOk());
  text.kernels[0].source = spilling;
  options.spillsAreErrors = false;
  EXPECT_TRUE(buildImages(text, options).isOk());

  text.kernels[0] = {"nonsense", "extern \"C\" __global__ void k() { undeclared(); }\n", {{"k", 32, 0, {}}}, 0, 0};
  auto wrong = buildImages(text, options);
  ASSERT_FALSE(wrong.isOk());
  EXPECT_NE(wrong.status().message().find("nonsense"), std::string::npos);
  EXPECT_NE(wrong.status().message().find("undeclared"), std::string::npos);
}

TEST_F(NvrtcTest, TheSecondCompilationComesFromTheCache) {
  CompileOptions options;
  options.archs = {"sm_90a"};
  options.cache = Cache(testFolder());
  auto first = buildImages(source(), options), second = buildImages(source(), options);
  ASSERT_TRUE(first.isOk() && second.isOk());
  EXPECT_EQ(first->cached, 0u);
  EXPECT_EQ(second->cached, 1u);
  EXPECT_EQ(first->code.images[0].modules, second->code.images[0].modules);
  EXPECT_EQ(second->compiled[0][0].resources.size(), 4u);
}

} // namespace
} // namespace pg::nvrtc
