//===- LoaderTest.cpp - shards and batches -----------------------------------------===//
//
// The batches of test/inputs/loader were written by the loaders of the seed
// systems (512 tokens a step, eight micro-batches over all ranks).
//
//===----------------------------------------------------------------------===//
#include "FakePackage.h"
#include "runtime/data/Loader.h"
#include "runtime/data/Prefetcher.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/File.h"
#include "runtime/weights/Safetensors.h"

namespace pg::rt {
namespace {

const std::string kFolder = std::string(INPUTS) + "/loader";

std::vector<int64_t> integers(const SafetensorsFile &file, const std::string &name) {
  const TensorView *tensor = file.find(name);
  return tensor ? *toIntegers(*tensor, name) : std::vector<int64_t>();
}

std::vector<int64_t> widen(const std::vector<int32_t> &values) { return {values.begin(), values.end()}; }

/// Runs the loader against every recorded batch of one world size.
void compare(bool documents, int world) {
  auto file = SafetensorsFile::read(kFolder + "/io.safetensors");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  ShardSetOptions shards;
  auto set = ShardSet::open(kFolder, "train_*.bin", shards);
  ASSERT_TRUE(set.isOk()) << set.status().message();
  LoaderOptions options;
  options.documents = documents;
  options.spanTokens = 64;
  options.spansPerTake = world;
  int64_t rowLength = documents ? 64 : 32;
  auto loader = Loader::open(std::move(*set), options);
  ASSERT_TRUE(loader.isOk()) << loader.status().message();
  // The same batches arrive through the thread that reads ahead, and after a seek to any take.
  Prefetcher ahead(std::move(*loader), 64, world);
  int compared = 0;
  for (int batch = 0;; ++batch) {
    auto step = ahead.next();
    ASSERT_TRUE(step.isOk()) << step.status().message();
    if (batch == 1) {
      ASSERT_TRUE(ahead.seek((*step)->before).isOk());
      step = ahead.next();
      ASSERT_TRUE(step.isOk());
    }
    for (int rank = 0; rank < world; ++rank) {
      std::string prefix = std::string(documents ? "packed" : "stream") + ".world" + std::to_string(world) + ".rank" +
                           std::to_string(rank) + ".batch" + std::to_string(batch) + ".";
      std::vector<int64_t> inputs = integers(*file, prefix + "inputs");
      if (inputs.empty()) {
        ASSERT_GE(compared, 4);
        return;
      }
      BatchTables tables;
      const int32_t *span = (*step)->spans.data() + rank * 65;
      for (int64_t at = 0; at < 64; at += rowLength)
        tables.addSpan(span + at, rowLength, documents ? 1 : -1, documents ? 20 : 0);
      EXPECT_EQ(widen(tables.tokens), inputs) << prefix;
      if (documents) {
        std::vector<int64_t> offsets;
        Batch view = tables.view();
        for (int32_t i = 0; i < 64; i = view.segmentEnd[i]) {
          EXPECT_EQ(view.segmentBegin[i], i);
          offsets.push_back(i);
        }
        offsets.push_back(64);
        EXPECT_EQ(offsets, integers(*file, prefix + "cu_seqlens")) << prefix;
        EXPECT_EQ(tables.targets.back(), integers(*file, prefix + "last_target")[0]) << prefix;
      } else {
        EXPECT_EQ(widen(tables.targets), integers(*file, prefix + "targets")) << prefix;
      }
      ++compared;
    }
  }
}

TEST(Loader, PackedBatchesOfTheSeedSystem) {
  compare(true, 1);
  compare(true, 2);
  compare(true, 4);
}

TEST(Loader, StreamBatchesOfTheBaseline) {
  compare(false, 1);
  compare(false, 2);
}

TEST(Loader, SegmentsBeginAtBosAndAtTheCap) {
  std::vector<int32_t> tokens = {1, 5, 5, 5, 5, 1, 5, 1, 5, 5};
  EXPECT_EQ(deriveSegments(tokens.data(), 10, 1, 3), (std::vector<int32_t>{0, 3, 5, 7}));
  EXPECT_EQ(deriveSegments(tokens.data(), 10, 1, 0), (std::vector<int32_t>{0, 5, 7}));
  EXPECT_EQ(deriveSegments(tokens.data(), 10, -1, 0), (std::vector<int32_t>{0}));
}

TEST(Loader, TooLittleDataIsAnError) {
  std::string folder = testFolder();
  spill(folder + "/x_train_0.bin", serialiseShard(patternTokens(20)));
  LoaderOptions options;
  options.documents = true;
  options.spanTokens = 64;
  auto loader = Loader::open(*ShardSet::open(folder, "*_train_*.bin", {}), options);
  ASSERT_TRUE(loader.isOk());
  int32_t span[65];
  Status status = loader->next(span);
  EXPECT_EQ(status.code(), Code::Invalid);
  EXPECT_NE(status.message().find("holds the 65 tokens of one take"), std::string::npos);
  Prefetcher ahead(std::move(*loader), 64, 1);
  EXPECT_EQ(ahead.next().status().code(), Code::Invalid);
}

TEST(Loader, StreamGoesOnAcrossShardsAndWraps) {
  std::string folder = testFolder();
  spill(folder + "/t_0.bin", serialiseShard({10, 11, 12}));
  spill(folder + "/t_1.bin", serialiseShard({20, 21}));
  LoaderOptions options;
  options.spanTokens = 3;
  auto loader = Loader::open(*ShardSet::open(folder, "t_*.bin", {}), options);
  ASSERT_TRUE(loader.isOk());
  int32_t span[4];
  ASSERT_TRUE(loader->next(span).isOk());
  EXPECT_EQ(std::vector<int32_t>(span, span + 4), (std::vector<int32_t>{10, 11, 12, 20}));
  EXPECT_EQ(loader->position(), (LoaderPosition{1, 1, 0}));
  ASSERT_TRUE(loader->next(span).isOk());
  EXPECT_EQ(std::vector<int32_t>(span, span + 4), (std::vector<int32_t>{21, 10, 11, 12}));
  EXPECT_EQ(loader->position(), (LoaderPosition{0, 3, 1}));
  EXPECT_EQ(loader->seek({2, 0, 0}).code(), Code::Corrupt);
  EXPECT_EQ(loader->seek({0, 4, 0}).code(), Code::Corrupt);
  ASSERT_TRUE(loader->seek({1, 1, 0}).isOk());
  ASSERT_TRUE(loader->next(span).isOk());
  EXPECT_EQ(span[0], 21);
}

TEST(ShardSet, AllProblemsBeforeTheRun) {
  std::string folder = testFolder();
  for (const char *name : {"t_000.bin", "t_001.bin", "t_004.bin"})
    spill(folder + "/" + name, serialiseShard({1, 2, 3}));
  spill(folder + "/t_005.bin", serialiseShard({1, 2, 3}).substr(0, 1028));
  spill(folder + "/t_006.bin", serialiseShard({1, 9, 3}));
  ShardSetOptions options;
  options.vocabulary = 8;
  Status status = ShardSet::open(folder, "t_*.bin", options).status();
  EXPECT_EQ(status.code(), Code::Corrupt); // of the first problem
  for (const char *part : {"t_005.bin': has 1028 bytes, a count of 3 tokens needs 1030",
                           "t_006.bin': token 9 at position 1 is outside the vocabulary of 8", "2 missing between them"})
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  spill(folder + "/t_005.bin", serialiseShard({1, 2, 3}));
  options.checkTokens = false;
  EXPECT_NE(ShardSet::open(folder, "t_*.bin", options).status().message().find("data.allow_gaps"), std::string::npos);
  options.allowGaps = true;
  auto set = ShardSet::open(folder, "t_*.bin", options);
  ASSERT_TRUE(set.isOk()) << set.status().message();
  EXPECT_EQ(set->totalTokens(), 15);
  std::vector<uint16_t> tokens;
  EXPECT_EQ(set->load(4, tokens).code(), Code::Invalid); // checked when it is opened instead
}

TEST(ShardSet, AShardThatChangesDuringTheRunIsAnError) {
  std::string folder = testFolder();
  spill(folder + "/t_0.bin", serialiseShard({1, 2, 3}));
  spill(folder + "/t_1.bin", serialiseShard({4, 5, 6}));
  auto set = ShardSet::open(folder, "t_*.bin", {});
  ASSERT_TRUE(set.isOk());
  std::vector<uint16_t> tokens;
  ASSERT_TRUE(set->load(1, tokens).isOk());
  EXPECT_EQ(tokens, (std::vector<uint16_t>{4, 5, 6}));
  spill(folder + "/t_1.bin", serialiseShard({4, 5}));
  EXPECT_EQ(set->load(1, tokens).message(), "shard '" + folder + "/t_1.bin' was changed after the run began");
  ASSERT_TRUE(removeFile(folder + "/t_1.bin").isOk());
  EXPECT_EQ(set->load(1, tokens).code(), Code::Io);
  // Contents count for the identity, folder and time do not.
  std::string other = folder + "/copy";
  ASSERT_TRUE(makeFolder(other).isOk());
  spill(other + "/t_0.bin", serialiseShard({1, 2, 3}));
  spill(other + "/t_1.bin", serialiseShard({4, 5, 6}));
  EXPECT_EQ(ShardSet::open(other, "t_*.bin", {})->fingerprint(), set->fingerprint());
  spill(other + "/t_1.bin", serialiseShard({4, 6, 5}));
  EXPECT_NE(ShardSet::open(other, "t_*.bin", {})->fingerprint(), set->fingerprint());
}

TEST(BatchTables, RowsAndSegmentsPerToken) {
  TokenRow row = rowOf({1, 2, 3, 4});
  row.segmentStarts = {0, 2};
  BatchTables tables;
  tables.add(row);
  tables.add(rowOf({5, 6}));
  Batch batch = tables.view();
  ASSERT_EQ(batch.numTokens, 4);
  auto list = [](const int32_t *p) { return std::vector<int32_t>(p, p + 4); };
  EXPECT_EQ(list(batch.rowBegin), (std::vector<int32_t>{0, 0, 0, 3}));
  EXPECT_EQ(list(batch.rowEnd), (std::vector<int32_t>{3, 3, 3, 4}));
  EXPECT_EQ(list(batch.segmentBegin), (std::vector<int32_t>{0, 0, 2, 3}));
  EXPECT_EQ(list(batch.segmentEnd), (std::vector<int32_t>{2, 2, 3, 4}));
  EXPECT_EQ(tables.position, (std::vector<int32_t>{0, 1, 2, 0}));
  EXPECT_EQ(tables.targets, (std::vector<int32_t>{2, 3, 4, 6}));
}

TEST(TokenShards, HeaderFieldsAreChecked) {
  std::string sound = serialiseShard({1, 7, 3});
  auto message = [&](size_t at, uint32_t value) {
    std::string bytes = sound;
    for (size_t i = 0; i < 4; ++i)
      bytes[at + i] = char(value >> (8 * i));
    return parseShard(bytes, "s", 8).status().message();
  };
  EXPECT_EQ((*parseShard(sound, "s", 8)), (std::vector<uint16_t>{1, 7, 3}));
  EXPECT_EQ(message(0, 20240801), "shard 's': has magic 20240801, expected 20240520");
  EXPECT_EQ(message(4, 7), "shard 's': has version 7, expected 1 (16-bit tokens)");
  EXPECT_EQ(message(8, uint32_t(-1)), "shard 's': has a token count of -1");
  EXPECT_EQ(message(8, 0x7fffffff), "shard 's': has 1030 bytes, a count of 2147483647 tokens needs 4294968318");
  EXPECT_EQ(parseShard(sound, "s", 7).status().message(),
            "shard 's': token 7 at position 1 is outside the vocabulary of 7 (data of another tokenizer?)");
  EXPECT_EQ(parseShard(sound, "s", 7).status().code(), Code::Invalid);
  for (size_t length = 0; length < sound.size(); ++length)
    EXPECT_EQ(parseShard(sound.substr(0, length), "s", 8).status().code(), Code::Corrupt);
}

TEST(TokenShards, FoundInNameOrderWithoutSidecars) {
  std::string folder = testFolder();
  for (const char *name : {"a_val_1.bin", "a_val_0.bin", "a_val_bytes_0.bin", "a_train_0.bin", "notes.txt"})
    spill(folder + "/" + name, "");
  EXPECT_EQ(*findShards(folder, "a_val_*.bin"),
            (std::vector<std::string>{folder + "/a_val_0.bin", folder + "/a_val_1.bin"}));
  EXPECT_EQ(*findSidecars(folder), std::vector<std::string>{folder + "/a_val_bytes_0.bin"});
  EXPECT_EQ(findShards(folder, "b_val_*.bin").status().message(),
            "folder '" + folder + "' holds no token shard named b_val_*.bin");
}

} // namespace
} // namespace pg::rt
