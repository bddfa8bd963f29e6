//===- SafetensorsTest.cpp - format rules one by one ----------------------------===//
#include "FakePackage.h"
#include "runtime/weights/Weights.h"

namespace pg::rt {
namespace {

/// A file from header text and data.
std::string fileOf(const std::string &header, const std::string &data, int64_t length = -1) {
  std::string bytes;
  uint64_t size = length < 0 ? header.size() : uint64_t(length);
  for (int i = 0; i < 8; ++i)
    bytes += char(size >> (8 * i) & 0xff);
  return bytes + header + data;
}

std::string messageOf(const std::string &bytes) {
  auto file = SafetensorsFile::parse(bytes);
  EXPECT_TRUE(file.isOk() || file.status().code() == Code::Corrupt);
  return file.isOk() ? "ok" : file.status().message();
}

std::string tensor(const std::string &name, const std::string &rest) { return "\"" + name + "\":{" + rest + "}"; }

const std::string kOne = "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]";

TEST(Safetensors, SoundFileIsRead) {
  std::string data("\0\0\x80\x3f", 4);
  auto file = SafetensorsFile::parse(fileOf("{\"__metadata__\":{\"k\":\"v\"}," + tensor("a", kOne) + "}  ", data));
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_EQ(file->metadata().at("k"), "v");
  EXPECT_EQ((*toDoubles(*file->find("a"), "a"))[0], 1.0);
  EXPECT_EQ(file->find("b"), nullptr);
}

TEST(Safetensors, LengthsAreCheckedBeforeUse) {
  std::string data(4, '\0'), header = "{" + tensor("a", kOne) + "}";
  EXPECT_EQ(messageOf("abc"), "shorter than the 8-byte length");
  EXPECT_EQ(messageOf(fileOf(header, data, 100'000'001)), "header of 100000001 bytes, at most 100000000 is allowed");
  EXPECT_EQ(messageOf(fileOf(header, data, 1000)).substr(0, 20), "header of 1000 bytes");
  EXPECT_EQ(messageOf(fileOf(header, data, int64_t(1) << 62)).substr(0, 10), "header of ");
  EXPECT_EQ(messageOf(fileOf(" " + header, data)), "the header does not start with '{'");
  for (size_t length = 0; length < fileOf(header, data).size(); ++length)
    EXPECT_NE(messageOf(fileOf(header, data).substr(0, length)), "ok") << length;
}

TEST(Safetensors, IntervalsMustTileTheData) {
  auto two = [](const char *a, const char *b, size_t bytes) {
    std::string f = "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":";
    return messageOf(fileOf("{" + tensor("a", f + a) + "," + tensor("b", f + b) + "}", std::string(bytes, '\0')));
  };
  EXPECT_EQ(two("[0,4]", "[4,8]", 8), "ok");
  EXPECT_EQ(two("[4,8]", "[0,4]", 8), "ok");
  EXPECT_EQ(two("[0,4]", "[2,6]", 6), "tensor 'b' overlaps another");
  EXPECT_EQ(two("[0,4]", "[0,4]", 4), "tensor 'b' overlaps another");
  EXPECT_EQ(two("[0,4]", "[8,12]", 12), "a hole of 4 bytes before tensor 'b'");
  EXPECT_EQ(two("[0,4]", "[4,8]", 9), "1 bytes behind the last tensor");
  EXPECT_EQ(two("[0,4]", "[4,8]", 7), "tensor 'b' lies outside the data of 7 bytes");
}

TEST(Safetensors, RecordsAreChecked) {
  auto one = [](const std::string &rest, size_t bytes = 4) {
    return messageOf(fileOf("{" + tensor("a", rest) + "}", std::string(bytes, '\0')));
  };
  EXPECT_EQ(one("\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]"), "tensor 'a': unknown dtype 'F31'");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), "tensor 'a': bad dimension -1");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]"),
            "tensor 'a': bad dimension 9223372036854775808");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[281474976710656,281474976710656],\"data_offsets\":[0,4]"),
            "tensor 'a': the size of the shape overflows");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"),
            "tensor 'a' has 4 bytes, its dtype and shape need 8");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]").substr(0, 23), "tensor 'a' lies outside");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"),
            "tensor 'a': rank 9, at most 8 is allowed");
  EXPECT_EQ(one("\"dtype\":\"F32\",\"shape\":[1]"),
            "tensor 'a' does not have exactly dtype, shape and data_offsets");
  EXPECT_EQ(messageOf(fileOf("{" + tensor("a", kOne) + "," + tensor("a", kOne) + "}", std::string(4, '\0'))),
            "header: duplicate key 'a'");
  EXPECT_EQ(messageOf(fileOf("{" + tensor(std::string(513, 'n'), kOne) + "}", std::string(4, '\0'))),
            "a tensor name has 513 bytes, at most 512");
  EXPECT_EQ(messageOf(fileOf("{\"__metadata__\":{\"k\":1}}", "")), "__metadata__ 'k' is not a string");
}

TEST(Safetensors, EveryHeaderByteFlippedNeverCrashes) {
  std::string sound = fileOf("{" + tensor("a", kOne) + "}", std::string(4, '\0'));
  for (size_t at = 0; at < sound.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = sound;
      flipped[at] = char(flipped[at] ^ (1 << bit));
      (void)messageOf(flipped); // any answer but a crash; the code is checked inside
    }
}

TEST(Safetensors, WriterOrdersByAlignmentThenName) {
  std::string path = testFolder() + "/w.safetensors";
  std::string four(4, 'x'), eight(8, 'y'), two(2, 'z');
  ASSERT_TRUE(writeSafetensors(path, {{"b", "F32", {1}, four}, {"h", "BF16", {1}, two}, {"a", "F32", {1}, four},
                                      {"z", "F64", {1}, eight}}).isOk());
  std::string bytes = slurp(path);
  std::vector<size_t> order;
  for (const char *name : {"\"z\"", "\"a\"", "\"b\"", "\"h\""})
    order.push_back(bytes.find(name));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ((uint8_t(bytes[0]) + 8) % 8, 0);          // header padded to 8
  auto file = SafetensorsFile::read(path);
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_EQ(file->find("z")->bytes, eight);
  EXPECT_EQ(file->find("h")->bytes, two);
}

TEST(Weights, ProblemsAreListedTogether) {
  auto executor = fakeExecutor();
  std::string path = testFolder() + "/w.safetensors";
  std::string data(64, '\0');
  ASSERT_TRUE(writeSafetensors(path, {{"table", "F32", {4, 4}, data}, {"tabel", "F32", {16}, data}}).isOk());
  Status status = loadWeights(*executor, path);
  EXPECT_EQ(status.code(), Code::Invalid);
  EXPECT_NE(status.message().find("'table' has shape [4, 4], expected [8, 8]"), std::string::npos);
  EXPECT_NE(status.message().find("'tabel' [16] is no parameter of the model"), std::string::npos);
}

TEST(Weights, OtherTypesAreConverted) {
  auto executor = fakeExecutor();
  std::string path = testFolder() + "/w.safetensors";
  std::vector<uint16_t> ones(64, 0x3f80);
  std::string_view bytes(reinterpret_cast<const char *>(ones.data()), 128);
  ASSERT_TRUE(writeSafetensors(path, {{"table", "BF16", {8, 8}, bytes}}).isOk());
  ASSERT_TRUE(loadWeights(*executor, path).isOk());
  EXPECT_EQ(static_cast<float *>(executor->parameter(0))[63], 1.0f);
  ASSERT_TRUE(writeSafetensors(path, {{"table", "U16", {8, 8}, bytes}}).isOk());
  EXPECT_EQ(loadWeights(*executor, path).code(), Code::Invalid);
}

} // namespace
} // namespace pg::rt
