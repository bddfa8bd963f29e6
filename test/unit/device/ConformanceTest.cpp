//===- ConformanceTest.cpp - one suite for every device ---------------------------===//
//
// What Device.h promises, on the CPU and on the CUDA device over the fake driver:
// the same package gives the same bits on both.
//
//===----------------------------------------------------------------------===//
#include "FakeCuda.h"
#include "runtime/eval/Score.h"
#include "runtime/exec/Gradients.h"
#include "runtime/train/Initialise.h"
#include "runtime/weights/Weights.h"

#include <cmath>

namespace pg::rt {
namespace {

class DeviceTest : public ::testing::TestWithParam<const char *> {
protected:
  std::unique_ptr<Executor> open(const ExecutorOptions &options = {}) {
    if (std::string(GetParam()) == "cuda")
      return fakeCudaExecutor(options);
    ExecutorOptions onCpu = options;
    onCpu.threads = 1;
    auto executor = Executor::create(fakeCudaPackage(), onCpu);
    EXPECT_TRUE(executor.isOk()) << executor.status().message();
    return executor ? std::move(*executor) : nullptr;
  }
  std::unique_ptr<Executor> executor = open();
  /// The same work on the CPU.
  std::unique_ptr<Executor> reference = fakeExecutor();

  static std::string parameterBytes(Executor &executor) {
    std::string bytes(256, '\0');
    EXPECT_TRUE(executor.readParameter(0, bytes.data()).isOk());
    return bytes;
  }
  static std::string stateBytes(Executor &executor, size_t index) {
    std::string bytes(256, '\0');
    EXPECT_TRUE(executor.readState(index, bytes.data()).isOk());
    return bytes;
  }
  static std::vector<TokenRow> someRows() {
    std::vector<TokenRow> rows;
    for (int r = 0; r < 5; ++r)
      rows.push_back(rowOf({r, 1, 2, 3, 2, 1, 7, 4, 2, r, 1}));
    return rows;
  }
};

TEST_P(DeviceTest, AllocationsAreZeroedAndSeparate) {
  auto a = executor->device().allocate(1000), b = executor->device().allocate(1000);
  ASSERT_TRUE(a.isOk() && b.isOk());
  std::string ones(1000, '\1'), back(1000, '\2');
  ASSERT_TRUE(executor->device().upload({{*b, ones.data(), 1000}}).isOk());
  ASSERT_TRUE(executor->device().read(back.data(), *a, 1000).isOk());
  EXPECT_EQ(back, std::string(1000, '\0'));
  ASSERT_TRUE(executor->device().read(back.data(), *b, 1000).isOk());
  EXPECT_EQ(back, ones);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(*a) % 64, 0u);
}

TEST_P(DeviceTest, UploadsMayBeReusedAtOnceAndExceedTheStaging) {
  constexpr size_t kBytes = size_t(20) << 20; // more than twice the staging block
  auto memory = executor->device().allocate(kBytes);
  ASSERT_TRUE(memory.isOk());
  std::string pattern(kBytes, '\0'), back(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i)
    pattern[i] = char(i * 31 + i / 4096);
  std::string kept = pattern;
  ASSERT_TRUE(executor->device().upload({{*memory, pattern.data(), kBytes}}).isOk());
  std::fill(pattern.begin(), pattern.end(), 'x');
  ASSERT_TRUE(executor->device().read(back.data(), *memory, kBytes).isOk());
  EXPECT_TRUE(back == kept);
  ASSERT_TRUE(executor->device().fill(*memory + 5, 0x7f, 3).isOk());
  ASSERT_TRUE(executor->device().read(back.data(), *memory, 16).isOk());
  EXPECT_EQ(back.substr(5, 3), "\x7f\x7f\x7f");
  EXPECT_EQ(back[8], kept[8]);
}

TEST_P(DeviceTest, ScoresAndTablesAreThoseOfTheCpu) {
  ASSERT_TRUE(initialise(*executor, 1).isOk());
  ASSERT_TRUE(initialise(*reference, 1).isOk());
  EXPECT_EQ(parameterBytes(*executor), parameterBytes(*reference));
  for (int again = 0; again < 3; ++again) { // alone, captured, replayed
    auto nll = scoreRows(*executor, *findRole(*executor, "score", ""), someRows());
    ASSERT_TRUE(nll.isOk()) << nll.status().message();
    EXPECT_EQ(*nll, *scoreRows(*reference, *findRole(*reference, "score", ""), someRows()));
  }
  TokenRow row = rowOf({1, 2, 3, 4});
  row.segmentStarts = {0, 1};
  BatchTables batch;
  batch.add(row);
  batch.add(rowOf({5, 6}));
  int entry = executor->findEntry("where@plain");
  for (int again = 0; again < 3; ++again) {
    ASSERT_TRUE(runBatch(*executor, entry, batch).isOk());
    double where[4];
    ASSERT_TRUE(readOutput(*executor, entry, "where", 4, where).isOk());
    EXPECT_EQ(where[3], 0 + 30 + 400 + 3000 + 40000);
  }
}

TEST_P(DeviceTest, AReplayedGraphSeesNewInputsScalarsAndTables) {
  ASSERT_TRUE(initialise(*executor, 3).isOk());
  ASSERT_TRUE(initialise(*reference, 3).isOk());
  for (int step = 0; step < 4; ++step) {
    for (Executor *one : {executor.get(), reference.get()}) {
      BatchTables batch;
      TokenRow row = rowOf({step, 1, 2 + step % 3, 3, step, 0, 7});
      if (step % 2)
        row.segmentStarts = {0, 3};
      batch.add(row);
      int entry = *findRole(*one, "accumulate", "plain");
      one->setScalar(entry, "loss_scale", 0.25 * (step + 1));
      ASSERT_TRUE(runBatch(*one, entry, batch).isOk());
    }
    EXPECT_EQ(stateBytes(*executor, 0), stateBytes(*reference, 0)) << step;
  }
}

TEST_P(DeviceTest, LogitsOfMoreRowsThanSlots) {
  ASSERT_TRUE(initialise(*executor, 1).isOk());
  ASSERT_TRUE(initialise(*reference, 1).isOk());
  std::vector<TokenRow> rows = {rowOf({1, 2, 3, 4}), rowOf({5, 6, 7})};
  auto logits = logitsAt(*executor, *findRole(*executor, "logits", ""), rows, {4, 0, 2, 1});
  ASSERT_TRUE(logits.isOk()) << logits.status().message();
  EXPECT_EQ(*logits, *logitsAt(*reference, *findRole(*reference, "logits", ""), rows, {4, 0, 2, 1}));
}

TEST_P(DeviceTest, NormClipZeroAndAStepGiveTheSameBits) {
  for (Executor *one : {executor.get(), reference.get()}) {
    ASSERT_TRUE(initialise(*one, 2).isOk());
    ASSERT_TRUE(accumulateMean(*one, *findRole(*one, "accumulate", ""), someRows()).isOk());
  }
  Gradients norm(*executor), expected(*reference);
  auto measured = norm.norm();
  ASSERT_TRUE(measured.isOk()) << measured.status().message();
  EXPECT_EQ(*measured, *expected.norm());
  EXPECT_GT(*measured, 0);
  norm.scale(Gradients::clipFactor(*measured, *measured / 3));
  expected.scale(Gradients::clipFactor(*measured, *measured / 3));
  EXPECT_EQ(stateBytes(*executor, 0), stateBytes(*reference, 0));
  EXPECT_NEAR(*norm.norm(), *measured / 3, 1e-6);
  for (Executor *one : {executor.get(), reference.get()}) {
    int apply = one->findEntry("apply");
    one->setScalar(apply, "step", 1);
    one->setScalar(apply, "embed.lr", 0.5);
    one->setScalar(apply, "embed.decay", 0.25);
    ASSERT_TRUE(one->run(apply, nullptr).isOk());
    one->zeroGradients();
  }
  EXPECT_EQ(parameterBytes(*executor), parameterBytes(*reference));
  EXPECT_EQ(stateBytes(*executor, 0), std::string(256, '\0'));
  EXPECT_EQ(stateBytes(*executor, 1), stateBytes(*reference, 1));
}

TEST_P(DeviceTest, SumsOfShortSpansAndDoubles) {
  Device &device = executor->device();
  std::vector<double> doubles = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  std::vector<float> floats = {1, -2, 3};
  auto a = device.allocate(88), b = device.allocate(12);
  ASSERT_TRUE(device.upload({{*a, doubles.data(), 88}, {*b, floats.data(), 12}}).isOk());
  std::vector<FloatSpan> spans = {{*a, 11, true}, {*b, 3, false}, {*b, 0, false}};
  double sums[3];
  ASSERT_TRUE(device.sumSquares(spans, sums).isOk());
  EXPECT_EQ(sums[0], 506);
  EXPECT_EQ(sums[1], 14);
  EXPECT_EQ(sums[2], 0);
  ASSERT_TRUE(device.scale(spans, 0.5).isOk());
  ASSERT_TRUE(device.read(doubles.data(), *a, 88).isOk());
  ASSERT_TRUE(device.read(floats.data(), *b, 12).isOk());
  EXPECT_EQ(doubles[10], 5.5);
  EXPECT_EQ(floats[1], -1);
}

TEST_P(DeviceTest, RanksAreSummedInTheSameTree) {
  for (int64_t ranks : {2, 3, 5}) {
    std::vector<std::string> sums;
    for (Executor *one : {executor.get(), reference.get()}) {
      Gradients gradients(*one);
      ASSERT_TRUE(gradients.reserveRanks(ranks).isOk());
      for (int64_t rank = 0; rank < ranks; ++rank) {
        std::vector<float> values(64);
        for (int i = 0; i < 64; ++i)
          values[size_t(i)] = std::sin(float(i * 7 + rank)) / 3;
        ASSERT_TRUE(one->writeState(0, values.data()).isOk());
        gradients.addRank();
      }
      gradients.total();
      sums.push_back(stateBytes(*one, 0));
    }
    EXPECT_EQ(sums[0], sums[1]) << ranks;
  }
}

TEST_P(DeviceTest, WeightsGoOutAndIn) {
  std::string path = ::testing::TempDir() + "conformance-" + GetParam() + ".safetensors";
  ASSERT_TRUE(initialise(*executor, 9).isOk());
  ASSERT_TRUE(saveWeights(*executor, path).isOk());
  auto other = open();
  ASSERT_TRUE(loadWeights(*other, path).isOk());
  EXPECT_EQ(parameterBytes(*other), parameterBytes(*executor));
  EXPECT_NE(parameterBytes(*other), std::string(256, '\0'));
}

TEST_P(DeviceTest, PoisonAndProfileChangeNoBits) {
  ExecutorOptions options;
  options.poison = options.profile = true;
  auto careful = open(options);
  ASSERT_TRUE(initialise(*executor, 1).isOk());
  ASSERT_TRUE(initialise(*careful, 1).isOk());
  auto plain = scoreRows(*executor, *findRole(*executor, "score", ""), someRows());
  EXPECT_EQ(*scoreRows(*careful, *findRole(*careful, "score", ""), someRows()), *plain);
  ASSERT_EQ(careful->profile().byKernel().size(), 1u);
  EXPECT_EQ(careful->profile().byKernel()[0].name, "fake_nll");
  EXPECT_EQ(careful->profile().byKernel()[0].launches, 2);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceTest, ::testing::Values("cpu", "cuda"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
} // namespace pg::rt
