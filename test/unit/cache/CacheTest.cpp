//===- CacheTest.cpp - the folder of compiled kernels -------------------------===//
#include "passes/cache/Cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace pg {
namespace {

using Outputs = std::vector<std::string>;

std::string testFolder() {
  std::string path =
      ::testing::TempDir() + "cache-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::remove_all(path);
  return path;
}

std::string pathOf(const std::string &folder, const std::string &key) {
  return folder + "/" + key.substr(0, 2) + "/" + key;
}

TEST(Cache, KeepsWhatItIsGiven) {
  Cache cache(testFolder());
  std::string key = Cache::keyOf({"text"});
  EXPECT_FALSE(cache.find(key));
  for (const Outputs &outputs : {Outputs{std::string("cu\0bin", 6), "ptx", "log\n"}, Outputs{""}, Outputs{}}) {
    cache.put(key, outputs);
    EXPECT_EQ(cache.find(key), outputs);
  }
}

TEST(Cache, WhereOneInputEndsIsPartOfTheKey) {
  EXPECT_NE(Cache::keyOf({"a", "b"}), Cache::keyOf({"ab"}));
  EXPECT_NE(Cache::keyOf({"a", "b"}), Cache::keyOf({"ab", ""}));
  EXPECT_NE(Cache::keyOf({"a", "b"}), Cache::keyOf({"b", "a"}));
  EXPECT_EQ(Cache::keyOf({"a", "b"}), Cache::keyOf({"a", "b"}));
}

TEST(Cache, DamagedAndForeignFilesCountAsAbsent) {
  std::string folder = testFolder();
  Cache cache(folder);
  std::string key = Cache::keyOf({"t"}), other = Cache::keyOf({"u"});
  cache.put(key, {"cubin", "ptx", "log"});
  std::string path = pathOf(folder, key);
  std::string bytes;
  {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (size_t at = 0; at < bytes.size(); at += 7) {
    std::string flipped = bytes;
    flipped[at] = char(flipped[at] ^ 1);
    std::ofstream(path, std::ios::binary) << flipped;
    EXPECT_FALSE(cache.find(key)) << at;
  }
  for (size_t length = 0; length < bytes.size(); length += 5) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, length);
    EXPECT_FALSE(cache.find(key)) << length;
  }
  // Another key's sound file under this name.
  std::filesystem::create_directories(folder + "/" + other.substr(0, 2));
  std::ofstream(pathOf(folder, other), std::ios::binary) << bytes;
  EXPECT_FALSE(cache.find(other));
  cache.put(key, {"cubin", "ptx", "log"});
  EXPECT_TRUE(cache.find(key));
}

TEST(Cache, OffAndUnwritableAreNoErrors) {
  for (const char *folder : {"", "/proc/nowhere"}) {
    Cache cache(folder);
    cache.put("0011", {"c"});
    EXPECT_FALSE(cache.find("0011"));
    EXPECT_EQ(cache.trim(1), 0u);
  }
}

TEST(Cache, ManyWritersOfOneKey) {
  Cache cache(testFolder());
  std::string key = Cache::keyOf({"t"});
  Outputs outputs{std::string(100000, 'c'), "ptx"};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 20; ++k) {
        cache.put(key, outputs);
        EXPECT_EQ(cache.find(key), outputs);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Cache, TrimRemovesWhatWasUsedLongestAgo) {
  std::string folder = testFolder();
  Cache cache(folder);
  std::vector<std::string> keys;
  auto hourAgo = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (int i = 0; i < 4; ++i) {
    keys.push_back(Cache::keyOf({std::to_string(i)}));
    cache.put(keys[i], {std::string(1000, 'x')});
    std::filesystem::last_write_time(pathOf(folder, keys[i]), hourAgo + std::chrono::minutes(i));
  }
  EXPECT_TRUE(cache.find(keys[0])); // used just now: the oldest is keys[1]
  EXPECT_EQ(cache.trim(1 << 20), 0u);
  uint64_t size = std::filesystem::file_size(pathOf(folder, keys[0]));
  EXPECT_EQ(cache.trim(2 * size), 2 * size);
  EXPECT_TRUE(cache.find(keys[0]));
  EXPECT_FALSE(cache.find(keys[1]));
  EXPECT_FALSE(cache.find(keys[2]));
  EXPECT_TRUE(cache.find(keys[3]));
}

} // namespace
} // namespace pg
