//===- ExecutorTest.cpp - a package runs --------------------------------------------===//
#include "FakePackage.h"
#include "runtime/eval/Bpb.h"
#include "runtime/eval/Generate.h"
#include "runtime/eval/Score.h"
#include "runtime/data/TokenShards.h"
#include "runtime/device/cpu/CpuCode.h"
#include "runtime/train/Initialise.h"

#include <cmath>
#include <cstring>

namespace pg::rt {
namespace {

float *table(Executor &executor) { return static_cast<float *>(executor.parameter(0)); }

/// -log softmax(row)[target] in double.
double expectedNll(const float *row, int32_t target) {
  double sum = 0;
  for (int64_t v = 0; v < kFakeVocabulary; ++v)
    sum += std::exp(double(row[v]));
  return std::log(sum) - row[target];
}

TEST(Executor, ScoresMatchTheFormulaAcrossRuns) {
  auto executor = fakeExecutor(2);
  ASSERT_TRUE(initialise(*executor, 1).isOk());
  std::vector<TokenRow> rows; // 5 rows of 10 tokens: runs of 3 and 2 rows at 32 tokens
  for (int r = 0; r < 5; ++r) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 11; ++i)
      tokens.push_back((r * 5 + i * 3) % 8);
    rows.push_back(rowOf(tokens));
  }
  auto nll = scoreRows(*executor, *findRole(*executor, "score", ""), rows);
  ASSERT_TRUE(nll.isOk()) << nll.status().message();
  ASSERT_EQ(nll->size(), 50u);
  for (size_t i = 0; i < 50; ++i) {
    const TokenRow &row = rows[i / 10];
    EXPECT_NEAR((*nll)[i], expectedNll(table(*executor) + 8 * row.tokens[i % 10], row.targets[i % 10]), 1e-6);
  }
}

TEST(Executor, TablesReachTheKernel) {
  auto executor = fakeExecutor();
  TokenRow row = rowOf({1, 2, 3, 4});
  row.segmentStarts = {0, 1};
  BatchTables batch;
  batch.add(row);
  batch.add(rowOf({5, 6}));
  int entry = executor->findEntry("where@plain");
  ASSERT_TRUE(runBatch(*executor, entry, batch).isOk());
  double where[4];
  ASSERT_TRUE(readOutput(*executor, entry, "where", 4, where).isOk());
  EXPECT_EQ(where[0], 0 + 0 + 300 + 0 + 10000);
  EXPECT_EQ(where[2], 2 + 0 + 300 + 1000 + 30000);
  EXPECT_EQ(where[3], 0 + 30 + 400 + 3000 + 40000);
}

TEST(Executor, TooLongARowSaysHowToRecompile) {
  auto executor = fakeExecutor();
  TokenRow row = rowOf(std::vector<int32_t>(34, 1));
  auto nll = scoreRows(*executor, *findRole(*executor, "score", "plain"), {row});
  EXPECT_EQ(nll.status().code(), Code::Usage);
  EXPECT_EQ(nll.status().message(), "entry 'score@plain' was compiled for at most 32 tokens, this run needs 33; "
                                    "recompile with --max-tokens 33");
}

TEST(Executor, UnknownPhaseListsTheKnown) {
  auto executor = fakeExecutor();
  EXPECT_EQ(findRole(*executor, "score", "lat").status().message(),
            "the package has no phase 'lat' for 'score', it has: plain, late");
  EXPECT_EQ(findRole(*executor, "calibrate", "").status().message(), "the package has no program 'calibrate'; compile it with --programs calibrate");
}

TEST(Executor, GradientOfTheMeanMatchesDifferences) {
  auto executor = fakeExecutor();
  ASSERT_TRUE(initialise(*executor, 2).isOk());
  std::vector<TokenRow> rows;
  for (int r = 0; r < 5; ++r)
    rows.push_back(rowOf({r, 1, 2, 3, 2, 1, 7, 4, 2, r, 1}));
  auto loss = accumulateMean(*executor, *findRole(*executor, "accumulate", ""), rows);
  ASSERT_TRUE(loss.isOk()) << loss.status().message();
  int score = *findRole(*executor, "score", "");
  auto mean = [&] {
    auto nll = scoreRows(*executor, score, rows);
    double sum = 0;
    for (double value : *nll)
      sum += value;
    return sum / double(nll->size());
  };
  EXPECT_NEAR(*loss, mean(), 1e-7);
  for (int element : {8, 17, 26, 63}) {
    float &weight = table(*executor)[element], kept = weight;
    weight = kept + 0.01f;
    double up = mean();
    weight = kept - 0.01f;
    double down = mean();
    weight = kept;
    EXPECT_NEAR(static_cast<float *>(executor->state(0))[element], (up - down) / 0.02, 1e-5) << element;
  }
}

TEST(Executor, SameBitsForAnyNumberOfThreads) {
  std::vector<TokenRow> rows = {rowOf({1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3}), rowOf({3, 3, 2, 6, 5})};
  std::vector<std::string> gradients;
  for (int threads : {1, 2, 3}) {
    auto executor = fakeExecutor(threads);
    ASSERT_TRUE(initialise(*executor, 4).isOk());
    ASSERT_TRUE(accumulateMean(*executor, *findRole(*executor, "accumulate", ""), rows).isOk());
    gradients.emplace_back(static_cast<const char *>(executor->state(0)), 256);
  }
  EXPECT_EQ(gradients[0], gradients[1]);
  EXPECT_EQ(gradients[0], gradients[2]);
}

TEST(Executor, LogitsOfMoreRowsThanSlots) {
  auto executor = fakeExecutor();
  ASSERT_TRUE(initialise(*executor, 1).isOk());
  std::vector<TokenRow> rows = {rowOf({1, 2, 3, 4}), rowOf({5, 6, 7})};
  auto logits = logitsAt(*executor, *findRole(*executor, "logits", ""), rows, {4, 0, 2, 1});
  ASSERT_TRUE(logits.isOk()) << logits.status().message();
  int32_t tokens[] = {6, 1, 3, 2};
  for (int i = 0; i < 4; ++i)
    for (int64_t v = 0; v < 8; ++v)
      EXPECT_EQ((*logits)[size_t(i * 8 + v)], table(*executor)[tokens[i] * 8 + v]);
}

TEST(Executor, MissingCpuFeatureIsExitThree) {
  CodeTarget target{"cpu", "znver9", "x86-64-v9", {"sse2x", "avx9"}};
  Status status = checkFeatures(target, {"sse2"});
  EXPECT_EQ(int(status.code()), 3);
  EXPECT_NE(status.message().find("needs CPU features this machine lacks: sse2x, avx9"), std::string::npos);
}

TEST(Executor, DamagedCodeIsAnErrorNotACrash) {
  Package package = fakePackage();
  package.codeCpu = "not an object";
  EXPECT_EQ(Executor::create(package, {}).status().code(), Code::Corrupt);
  package.codeCpu = fakePackage().codeCpu;
  package.kernels[0].symbol = "absent";
  EXPECT_EQ(Executor::create(package, {}).status().message(), "the code section lacks kernel 'absent'");
  package.codeCpu.clear();
  EXPECT_EQ(Executor::create(package, {}).status().code(), Code::Environment);
}

TEST(Bpb, ExactAccounting) {
  // 25 tokens, rows of 8: 24 targets. Every target but BOS is worth 2 bytes
  // ("ab"), BOS 0. patternTokens puts BOS at 0, 9, 18: two BOS targets.
  std::string folder = testFolder();
  spill(folder + "/fineweb_val_0.bin", serialiseShard(patternTokens(25)));
  auto executor = fakeExecutor();
  PieceTable pieces;
  for (int i = 0; i < 8; ++i)
    pieces.pieces.push_back({"ab", i == 1 ? Piece::Control : Piece::Normal});
  ByteCounts counts(pieces);
  EvalOptions options;
  options.rowLength = 8;
  auto result = evaluate(*executor, folder, options, &counts); // table of zeros: uniform over 8
  ASSERT_TRUE(result.isOk()) << result.status().message();
  EXPECT_EQ(result->tokens, 24);
  EXPECT_EQ(result->bytes, 44);
  EXPECT_NEAR(result->loss(), std::log(8.0), 1e-6);
  EXPECT_NEAR(result->bitsPerByte(), 3.0 * 24 / 44, 1e-6);

  // A sidecar replaces the table: 1 byte per token.
  spill(folder + "/fineweb_val_bytes_0.bin", serialiseShard(std::vector<uint16_t>(25, 1)));
  result = evaluate(*executor, folder, options, &counts);
  ASSERT_TRUE(result.isOk());
  EXPECT_TRUE(result->fromSidecar);
  EXPECT_EQ(result->bytes, 24);
  spill(folder + "/fineweb_val_bytes_0.bin", serialiseShard(std::vector<uint16_t>(24, 1)));
  EXPECT_EQ(evaluate(*executor, folder, options, &counts).status().code(), Code::Invalid);
}

TEST(Bpb, NotFiniteIsANumericalFailure) {
  std::string folder = testFolder();
  spill(folder + "/fineweb_val_0.bin", serialiseShard(patternTokens(25)));
  auto executor = fakeExecutor();
  table(*executor)[20] = NAN;
  EvalOptions options;
  options.rowLength = 8;
  EXPECT_EQ(evaluate(*executor, folder, options, nullptr).status().code(), Code::Numerical);
}

TEST(Generate, FollowsTheTable) {
  auto executor = fakeExecutor();
  for (int64_t t = 0; t < 8; ++t)
    table(*executor)[t * 8 + (t + 1) % 8] = 50; // t is followed by t + 1
  std::vector<int32_t> context = {2};
  GenerateOptions options;
  options.tokens = 10;
  options.stopId = 1;
  ASSERT_TRUE(generate(*executor, context, options, [](int32_t) {}).isOk());
  EXPECT_EQ(context, (std::vector<int32_t>{2, 3, 4, 5, 6, 7, 0})); // stops before 1
}

TEST(Generate, SamplingHonoursTopKAndTemperature) {
  double logits[] = {0, 2, 1, -1};
  EXPECT_EQ(sampleToken(logits, 4, 0, 0, 0.99), 1);
  EXPECT_EQ(sampleToken(logits, 4, 1, 2, 0.999), 2);   // only 1 and 2 remain
  EXPECT_EQ(sampleToken(logits, 4, 1, 0, 0.9999), 3);
  EXPECT_EQ(sampleToken(logits, 4, 0.01, 0, 0.9999), 1);
}

} // namespace
} // namespace pg::rt
