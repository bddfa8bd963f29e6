//===- TokenShards.cpp - the field's .bin files -----------------------------===//
#include "runtime/data/TokenShards.h"
#include "runtime/support/File.h"

#include <fnmatch.h>

namespace pg::rt {
namespace {

constexpr int32_t kMagic = 20240520;
constexpr int32_t kVersion = 1;
constexpr size_t kHeaderBytes = 1024;

int32_t readInt(const std::string &bytes, size_t index) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i)
    value |= uint32_t(uint8_t(bytes[4 * index + i])) << (8 * i);
  return int32_t(value);
}

StatusOr<std::vector<std::string>> findFiles(const std::string &folder, const std::string &pattern, bool sidecar) {
  auto names = listFolder(folder);
  if (!names)
    return names.status();
  std::vector<std::string> paths;
  for (const std::string &name : *names)
    if (::fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0 &&
        (name.find("_bytes_") != std::string::npos) == sidecar)
      paths.push_back(folder + (folder.back() == '/' ? "" : "/") + name);
  return paths;
}

} // namespace

StatusOr<int64_t> parseShardHeader(const std::string &header, uint64_t fileBytes, const std::string &name) {
  auto corrupt = [&](const std::string &text) { return Status(Code::Corrupt, "shard '" + name + "': " + text); };
  if (header.size() < kHeaderBytes || fileBytes < kHeaderBytes)
    return corrupt("has " + std::to_string(fileBytes) + " bytes, the header alone has 1024 (truncated?)");
  if (readInt(header, 0) != kMagic)
    return corrupt("has magic " + std::to_string(readInt(header, 0)) + ", expected 20240520");
  if (readInt(header, 1) != kVersion)
    return corrupt("has version " + std::to_string(readInt(header, 1)) + ", expected 1 (16-bit tokens)");
  int32_t count = readInt(header, 2);
  if (count < 0)
    return corrupt("has a token count of " + std::to_string(count));
  if (fileBytes != kHeaderBytes + 2 * uint64_t(count))
    return corrupt("has " + std::to_string(fileBytes) + " bytes, a count of " + std::to_string(count) +
                   " tokens needs " + std::to_string(kHeaderBytes + 2 * size_t(count)));
  return int64_t(count);
}

StatusOr<std::vector<uint16_t>> parseShard(const std::string &bytes, const std::string &name, int64_t vocabulary) {
  auto count = parseShardHeader(bytes, bytes.size(), name);
  if (!count)
    return count.status();
  std::vector<uint16_t> tokens(static_cast<size_t>(*count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = uint16_t(uint8_t(bytes[kHeaderBytes + 2 * i]) | uint8_t(bytes[kHeaderBytes + 2 * i + 1]) << 8);
  if (vocabulary > 0)
    for (size_t i = 0; i < tokens.size(); ++i)
      if (tokens[i] >= vocabulary)
        return Status(Code::Invalid, "shard '" + name + "': token " + std::to_string(tokens[i]) + " at position " +
                                         std::to_string(i) + " is outside the vocabulary of " +
                                         std::to_string(vocabulary) + " (data of another tokenizer?)");
  return tokens;
}

StatusOr<std::vector<uint16_t>> readShard(const std::string &path, int64_t vocabulary) {
  auto bytes = readFile(path, uint64_t(1) << 33);
  if (!bytes)
    return bytes.status();
  return parseShard(*bytes, path, vocabulary);
}

std::string serialiseShard(const std::vector<uint16_t> &tokens) {
  std::string bytes(kHeaderBytes + 2 * tokens.size(), '\0');
  int32_t header[3] = {kMagic, kVersion, int32_t(tokens.size())};
  for (size_t field = 0; field < 3; ++field)
    for (size_t i = 0; i < 4; ++i)
      bytes[4 * field + i] = char(uint32_t(header[field]) >> (8 * i) & 0xff);
  for (size_t i = 0; i < tokens.size(); ++i) {
    bytes[kHeaderBytes + 2 * i] = char(tokens[i] & 0xff);
    bytes[kHeaderBytes + 2 * i + 1] = char(tokens[i] >> 8);
  }
  return bytes;
}

StatusOr<std::vector<std::string>> findShards(const std::string &folder, const std::string &pattern) {
  auto paths = findFiles(folder, pattern, false);
  if (paths && paths->empty())
    return Status(Code::Invalid, "folder '" + folder + "' holds no token shard named " + pattern);
  return paths;
}

StatusOr<std::vector<std::string>> findSidecars(const std::string &folder) {
  return findFiles(folder, "*_val_bytes_*.bin", true);
}

StatusOr<std::vector<uint16_t>> readShards(const std::vector<std::string> &paths, int64_t vocabulary) {
  std::vector<uint16_t> all;
  for (const std::string &path : paths) {
    auto tokens = readShard(path, vocabulary);
    if (!tokens)
      return tokens.status();
    all.insert(all.end(), tokens->begin(), tokens->end());
  }
  return all;
}

} // namespace pg::rt
