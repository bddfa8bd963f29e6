//===- LoaderTest.cpp - shards and batches -----------------------------------------===//
//
// The batches of test/inputs/loader were written by the loaders of the seed
// systems (512 tokens a step, eight micro-batches over all ranks).
//
//===----------------------------------------------------------------------===//
#include "FakePackage.h"
#include "runtime/data/Loader.h"
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
  LoaderOptions options;
  options.documents = documents;
  options.maxSegment = documents ? 20 : 0;
  options.spanTokens = 64;
  options.spansPerTake = documents ? world : 1;
  options.rowLength = documents ? 64 : 32;
  auto loader = Loader::open(*findShards(kFolder, "train_*.bin"), options);
  ASSERT_TRUE(loader.isOk()) << loader.status().message();
  int compared = 0;
  for (int batch = 0;; ++batch)
    for (int rank = 0; rank < world; ++rank) {
      std::string prefix = std::string(documents ? "packed" : "stream") + ".world" + std::to_string(world) + ".rank" +
                           std::to_string(rank) + ".batch" + std::to_string(batch) + ".";
      std::vector<int64_t> inputs = integers(*file, prefix + "inputs");
      if (inputs.empty()) {
        ASSERT_GE(compared, 4);
        return;
      }
      auto rows = loader->next();
      ASSERT_TRUE(rows.isOk()) << rows.status().message();
      std::vector<int64_t> tokens, targets;
      for (const TokenRow &row : *rows) {
        for (int64_t value : widen(row.tokens))
          tokens.push_back(value);
        for (int64_t value : widen(row.targets))
          targets.push_back(value);
      }
      EXPECT_EQ(tokens, inputs) << prefix;
      if (documents) {
        std::vector<int64_t> offsets = widen((*rows)[0].segmentStarts);
        offsets.push_back(64);
        EXPECT_EQ(offsets, integers(*file, prefix + "cu_seqlens")) << prefix;
        EXPECT_EQ(targets.back(), integers(*file, prefix + "last_target")[0]) << prefix;
      } else {
        EXPECT_EQ(targets, integers(*file, prefix + "targets")) << prefix;
      }
      ++compared;
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
  options.spanTokens = options.rowLength = 64;
  auto loader = Loader::open(*findShards(folder, "*_train_*.bin"), options);
  ASSERT_TRUE(loader.isOk());
  auto rows = loader->next();
  EXPECT_EQ(rows.status().code(), Code::Invalid);
  EXPECT_NE(rows.status().message().find("holds the 65 tokens of one step"), std::string::npos);
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
