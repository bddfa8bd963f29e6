//===- ByteCountsTest.cpp - the piece table and its guard -----------------------===//
#include "FakePackage.h"
#include "runtime/data/ByteCounts.h"

namespace pg::rt {
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7)
    out += char(value | 0x80);
  return out + char(value);
}

std::string field(int number, const std::string &text) {
  return varint(uint64_t(number) << 3 | 2) + varint(text.size()) + text;
}

/// A ModelProto piece: text, score, type.
std::string piece(const std::string &text, int type = 1) {
  return field(1, field(1, text) + std::string("\x15\0\0\0\0", 5) + (type == 1 ? "" : varint(3 << 3) + varint(uint64_t(type))));
}

const std::string kSpace = "\xE2\x96\x81";

/// 0 unk, 1 <s>, 2 byte, 3 "_the", 4 "cat", 5 "_", 6 e-acute, 7 user-defined
/// "_x", 8 unused, 9 "a_b".
std::string model() {
  return piece("<unk>", 2) + piece("<s>", 3) + piece("<0x41>", 6) + piece(kSpace + "the") + piece("cat") +
         piece(kSpace) + piece("\xC3\xA9") + piece(kSpace + "x", 4) + piece("gone", 5) + piece("a" + kSpace + "b");
}

TEST(ByteCounts, TableOfEveryPieceType) { // data-format §4
  auto table = parsePieceTable(model(), "m", 10);
  ASSERT_TRUE(table.isOk()) << table.status().message();
  EXPECT_TRUE(table->hasSpacePiece);
  ByteCounts counts(*table);
  EXPECT_EQ(counts.bytes(4, 3), 4);   // "the" and its space
  EXPECT_EQ(counts.bytes(1, 3), 3);   // no space straight after BOS
  EXPECT_EQ(counts.bytes(0, 3), 3);   // unknown is a boundary
  EXPECT_EQ(counts.bytes(8, 3), 3);   // unused is a boundary
  EXPECT_EQ(counts.bytes(2, 3), 4);   // a byte piece is none
  EXPECT_EQ(counts.bytes(99, 3), 3);  // ids beyond the table are
  EXPECT_EQ(counts.bytes(3, 4), 3);
  EXPECT_EQ(counts.bytes(3, 5), 1);   // a lone space
  EXPECT_EQ(counts.bytes(1, 5), 0);
  EXPECT_EQ(counts.bytes(3, 6), 2);   // two UTF-8 bytes
  EXPECT_EQ(counts.bytes(3, 7), 2);   // user-defined counts like text
  EXPECT_EQ(counts.bytes(3, 2), 1);
  EXPECT_EQ(counts.bytes(3, 1), 0);
  EXPECT_EQ(counts.bytes(3, 8), 0);
  EXPECT_EQ(counts.bytes(3, 99), 0);
  EXPECT_EQ(counts.bytes(3, 9), 5);   // an inner space mark counts its bytes
}

TEST(ByteCounts, GuardRefusesWhatTheLibraryCannotTake) {
  auto message = [](const std::string &bytes, int64_t vocabulary = 0) {
    auto table = parsePieceTable(bytes, "m", vocabulary);
    return table.isOk() ? std::string("ok") : table.status().message();
  };
  EXPECT_EQ(message(""), "tokenizer 'm': not a SentencePiece model (truncated?)");
  EXPECT_EQ(message(model(), 11), "tokenizer 'm' has 10 pieces, the model's vocabulary is 11");
  EXPECT_NE(message(piece(std::string(1025, 'a'))).find("1025 bytes"), std::string::npos);
  EXPECT_NE(message(piece(std::string("a\0b", 3))).find("NUL"), std::string::npos);
  EXPECT_NE(message(piece("a", 9)).find("unknown type 9"), std::string::npos);
  // field 35 of field 2 switches byte fallback on; there is one byte piece
  EXPECT_EQ(message(model() + field(2, varint(35 << 3) + varint(1))),
            "tokenizer 'm': byte fallback is on but there are 1 distinct byte pieces, expected 256");
  std::string many;
  for (int i = 0; i < 65537; ++i)
    many += piece("p");
  EXPECT_EQ(message(many), "tokenizer 'm': more than 65536 pieces");
}

TEST(ByteCounts, TruncatedModelsNeverCrash) {
  std::string bytes = model();
  for (size_t length = 0; length < bytes.size(); ++length)
    (void)parsePieceTable(bytes.substr(0, length), "m", 10).isOk();
  EXPECT_FALSE(parsePieceTable(bytes.substr(0, bytes.size() - 1), "m", 0).isOk());
}

} // namespace
} // namespace pg::rt
