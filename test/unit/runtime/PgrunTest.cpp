//===- PgrunTest.cpp - the tool from outside: exit codes and files -------------===//
#include "FakePackage.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/Json.h"
#include "runtime/weights/Safetensors.h"

#include <cmath>
#include <sys/wait.h>
#include <unistd.h>

namespace pg::rt {
namespace {

class PgrunTest : public ::testing::Test {
protected:
  std::string folder = testFolder(), package = folder + "/fake.pgx", weights = folder + "/w.safetensors";
  std::string out, err;

  void SetUp() override {
    ASSERT_TRUE(writePackage(fakePackage(), package).isOk());
    spill(folder + "/fineweb_train_0.bin", serialiseShard(patternTokens(400)));
    spill(folder + "/fineweb_val_0.bin", serialiseShard(patternTokens(50)));
    std::vector<float> zeros(64, 0.0f);
    ASSERT_TRUE(writeSafetensors(weights, {{"table", "F32", {8, 8}, bytesOf(zeros)}}).isOk());
  }
  template <typename T> static std::string_view bytesOf(const std::vector<T> &values) {
    return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
  }
  /// Exit code; stdout and stderr are kept.
  int run(const std::string &arguments) {
    std::string command = std::string(PGRUN) + " " + arguments + " >'" + folder + "/out' 2>'" + folder + "/err'";
    int status = std::system(command.c_str());
    out = slurp(folder + "/out");
    err = slurp(folder + "/err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(PgrunTest, ScoreWritesTheShapeOfTheTargets) {
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 0};
  ASSERT_TRUE(writeSafetensors(folder + "/t.safetensors", {{"tokens", "I32", {2, 4}, bytesOf(tokens)}}).isOk());
  ASSERT_EQ(run("score " + package + " --weights " + weights + " --tokens " + folder + "/t.safetensors -o " + folder +
                "/o.safetensors --logits-rows 0:2,5 --threads 2"),
            0) << err;
  auto file = SafetensorsFile::read(folder + "/o.safetensors");
  ASSERT_TRUE(file.isOk());
  EXPECT_EQ(file->find("nll")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file->find("logits")->shape, (std::vector<int64_t>{2, 8}));
  EXPECT_NEAR((*toDoubles(*file->find("nll"), "nll"))[5], std::log(8.0), 1e-6);
  EXPECT_EQ(out.substr(0, 9), "loss 2.07");
  EXPECT_EQ(run("score " + package + " --weights " + weights + " --tokens " + folder + "/t.safetensors -o " + folder +
                "/o.safetensors --logits-rows 2:0"), 2);
  EXPECT_NE(err.find("'2:0' is no target"), std::string::npos);
}

TEST_F(PgrunTest, ScoreOfAShardKeepsTheTail) {
  ASSERT_EQ(run("score " + package + " --weights " + weights + " --tokens " + folder +
                "/fineweb_val_0.bin -o " + folder + "/o.safetensors"), 0) << err;
  EXPECT_EQ(SafetensorsFile::read(folder + "/o.safetensors")->find("nll")->shape, (std::vector<int64_t>{49}));
}

TEST_F(PgrunTest, GradNamesAndShapesOfTheParameters) {
  ASSERT_EQ(run("grad " + package + " --weights " + weights + " --tokens " + folder + "/fineweb_val_0.bin -o " +
                folder + "/g.safetensors --phase plain"), 0) << err;
  auto file = SafetensorsFile::read(folder + "/g.safetensors");
  ASSERT_TRUE(file.isOk());
  ASSERT_EQ(file->find("table")->shape, (std::vector<int64_t>{8, 8}));
  double rowSum = 0; // softmax minus one-hot sums to zero over the vocabulary
  auto values = *toDoubles(*file->find("table"), "table");
  for (int v = 0; v < 8; ++v)
    rowSum += values[size_t(16 + v)];
  EXPECT_NEAR(rowSum, 0, 1e-6);
  EXPECT_NE(values[16], 0);
}

TEST_F(PgrunTest, TrainThenInfoBenchAndOverrides) {
  ASSERT_EQ(run("train " + package + " --data " + folder + " --run " + folder + "/run --steps 5 --set log.every=1 --json"), 0) << err;
  auto result = parseJson(out);
  ASSERT_TRUE(result.isOk()) << out;
  EXPECT_EQ((*result)["steps"], 5);
  EXPECT_TRUE(SafetensorsFile::read((*result)["weights"].get<std::string>()).isOk());
  EXPECT_EQ(run("train " + package + " --data " + folder + " --run " + folder + "/other --set schedule.stepps=5"), 2);
  EXPECT_NE(err.find("did you mean 'schedule.steps'?"), std::string::npos);
  ASSERT_EQ(run("info " + package + " --json"), 0);
  EXPECT_EQ((*parseJson(out))["parameters"], 64);
  ASSERT_EQ(run("bench " + package + " --tokens 16 --repeat 2 --profile --json"), 0) << err;
  EXPECT_EQ((*parseJson(out))["entry"], "accumulate@late");
  EXPECT_NE(err.find("fake_gradient"), std::string::npos);
}

TEST_F(PgrunTest, InterruptSavesAndExits128PlusN) {
  // The first metrics line is written by the first step.
  EXPECT_EQ(run("train " + package + " --data " + folder + " --run " + folder +
                "/run --steps 100000000 -q >/dev/null 2>/dev/null & p=$!; until [ -s " + folder +
                "/run/metrics.jsonl ]; do sleep 0.02; done; kill -TERM $p; wait $p"),
            143);
  EXPECT_TRUE(SafetensorsFile::read(folder + "/run/weights.safetensors").isOk());
}

TEST_F(PgrunTest, UsageErrorsSuggestAndExitTwo) {
  EXPECT_EQ(run(""), 2);
  EXPECT_NE(err.find("train"), std::string::npos);
  EXPECT_EQ(run("trian x"), 2);
  EXPECT_EQ(err, "pgrun: error: unknown verb 'trian'; did you mean 'train'?\n");
  EXPECT_EQ(run("score " + package + " --wieghts w"), 2);
  EXPECT_EQ(err, "pgrun: error: unknown flag '--wieghts'; did you mean '--weights'?\n");
  EXPECT_EQ(run("score " + package), 2);
  EXPECT_NE(err.find("--"), std::string::npos);
  EXPECT_EQ(run("train " + package + " --data d --run r --steps 0"), 2);
  for (const char *verb : {"train", "eval", "generate", "score", "grad", "info", "bench"}) {
    EXPECT_EQ(run(std::string(verb) + " --help"), 0);
    EXPECT_NE(out.find("Example:\n  pgrun " + std::string(verb)), std::string::npos) << verb;
  }
  EXPECT_EQ(run("--version"), 0);
}

TEST_F(PgrunTest, ExitCodesOfBadFiles) {
  std::string tokens = " --tokens " + folder + "/fineweb_val_0.bin -o " + folder + "/o.safetensors";
  EXPECT_EQ(run("info " + folder + "/absent.pgx"), 4);
  EXPECT_NE(err.find("absent.pgx': No such file"), std::string::npos);
  spill(folder + "/cut.pgx", slurp(package).substr(0, 5000));
  EXPECT_EQ(run("info " + folder + "/cut.pgx"), 5);
  EXPECT_NE(err.find("truncated?"), std::string::npos);
  EXPECT_EQ(run("info " + weights), 5);
  EXPECT_EQ(run("score " + package + " --weights " + package + tokens), 5);
  EXPECT_EQ(run("score " + package + " --weights " + weights + " --tokens " + weights + " -o x"), 1);
  spill(folder + "/t.bin", "short");
  EXPECT_EQ(run("score " + package + " --weights " + weights + " --tokens " + folder + "/t.bin -o x"), 5);
  EXPECT_EQ(run("score " + package + " --weights " + weights + tokens + "/no/o.safetensors"), 4);
  EXPECT_EQ(run("eval " + package + " --weights " + weights + " --data " + folder + " --tokenizer " + weights), 5);
  for (const char *name : {"duplicate-key", "hole", "overlap", "huge-header", "truncated", "count-overflow"})
    EXPECT_EQ(run("score " + package + " --weights " + INPUTS + "/malformed/" + name + ".safetensors" + tokens), 5) << name << err;
  for (const char *name : {"wrong-magic", "wrong-version", "negative-count", "count-too-large", "truncated"})
    EXPECT_EQ(run("score " + package + " --weights " + weights + " --tokens " + INPUTS + "/malformed/" + name +
                  ".bin -o x"), 5) << name << err;
  EXPECT_EQ(run("score " + package + " --weights " + weights + " --tokens " + INPUTS + "/malformed/token-beyond.bin -o x"), 1);
  // With the reason, so that no other fault answers first.
  const std::pair<const char *, const char *> packages[] = {
      {"wrong-version", "recompile with pgc"},       {"section-outside", "does not lie inside the file"},
      {"section-count", "sections, at most"},        {"bad-manifest", "manifest"},
      {"flipped-hash", "checksum of the header"},    {"no-manifest", "section 'manifest' is missing"}};
  for (auto [name, reason] : packages) {
    EXPECT_EQ(run(std::string("info ") + INPUTS + "/malformed/" + name + ".pgx"), 5) << name << err;
    EXPECT_NE(err.find(reason), std::string::npos) << name << ": " << err;
  }
}

} // namespace
} // namespace pg::rt
