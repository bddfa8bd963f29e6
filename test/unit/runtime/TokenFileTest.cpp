//===- TokenFileTest.cpp - the --tokens argument --------------------------------===//
#include "FakePackage.h"
#include "runtime/data/TokenFile.h"
#include "runtime/data/TokenShards.h"
#include "runtime/weights/Safetensors.h"

namespace pg::rt {
namespace {

class TokenFileTest : public ::testing::Test {
protected:
  std::string path = testFolder() + "/t.safetensors";
  TokenFileOptions options;

  void SetUp() override { options.vocabulary = 8; }

  StatusOr<TokenFile> read(const std::vector<int32_t> &tokens, std::vector<int64_t> shape,
                           const std::vector<int32_t> &offsets = {}) {
    auto bytes = [](const std::vector<int32_t> &v) {
      return std::string_view(reinterpret_cast<const char *>(v.data()), v.size() * 4);
    };
    std::vector<TensorToWrite> tensors = {{"tokens", "I32", std::move(shape), bytes(tokens)}};
    if (!offsets.empty())
      tensors.push_back({"cu_seqlens", "I32", {int64_t(offsets.size())}, bytes(offsets)});
    EXPECT_TRUE(writeSafetensors(path, std::move(tensors)).isOk());
    return readTokenFile(path, options);
  }
  std::string message(const std::vector<int32_t> &tokens, std::vector<int64_t> shape,
                      const std::vector<int32_t> &offsets = {}) {
    auto file = read(tokens, std::move(shape), offsets);
    EXPECT_EQ(file.status().code(), Code::Invalid);
    return file.status().message().substr(path.size() + 4); // behind "'path': "
  }
};

TEST_F(TokenFileTest, RowsAndShapeFollowTheTensor) {
  auto one = read({1, 2, 3, 4}, {4});
  ASSERT_TRUE(one.isOk()) << one.status().message();
  EXPECT_EQ(one->targetShape, (std::vector<int64_t>{3}));
  EXPECT_EQ(one->rows[0].targets, (std::vector<int32_t>{2, 3, 4}));
  auto two = read({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_TRUE(two.isOk());
  EXPECT_EQ(two->targetShape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(two->rows[1].tokens, (std::vector<int32_t>{4, 5}));
}

TEST_F(TokenFileTest, OffsetsMakeSegmentsAndTrailingOnesArePadding) {
  auto file = read({1, 2, 3, 4, 5}, {1, 5}, {0, 1, 3, 4, 4, 4});
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_EQ(file->rows[0].segmentStarts, (std::vector<int32_t>{0, 1, 3}));
  EXPECT_EQ(message({1, 2, 3}, {3}, {1, 2}), "'cu_seqlens' does not start with 0");
  EXPECT_EQ(message({1, 2, 3}, {3}, {0, 3}), "'cu_seqlens' ends with 3, expected the number of targets 2");
  EXPECT_EQ(message({1, 2, 3, 4, 5}, {5}, {0, 3, 2, 4}), "'cu_seqlens' is not increasing at entry 2 (3, 2)");
  EXPECT_NE(message({1, 2, 3, 4}, {2, 2}, {0, 1}).find("one row of tokens"), std::string::npos);
}

TEST_F(TokenFileTest, BadTokensAreNamed) {
  EXPECT_EQ(message({1, 8, 2}, {3}), "token 8 at position 1 is outside the vocabulary of 8");
  EXPECT_EQ(message({1, -1, 2}, {3}), "token -1 at position 1 is outside the vocabulary of 8");
  EXPECT_EQ(message({1}, {1}), "'tokens' has shape [1], expected [T+1] or [B, T+1] with T >= 1");
}

TEST_F(TokenFileTest, ShardKeepsItsTail) { // 11 tokens: 10 targets in rows of 4, 4 and 2
  std::string shard = path + ".bin";
  spill(shard, serialiseShard(patternTokens(11)));
  options.rowLength = 4;
  options.bosId = 1;
  auto file = readTokenFile(shard, options);
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_EQ(file->targetShape, (std::vector<int64_t>{10}));
  ASSERT_EQ(file->rows.size(), 3u);
  EXPECT_EQ(file->rows[2].size(), 2);
  EXPECT_EQ(file->rows[2].segmentStarts, (std::vector<int32_t>{0, 1})); // BOS at token 9
}

} // namespace
} // namespace pg::rt
