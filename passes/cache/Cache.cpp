//===- Cache.cpp - compiled kernels kept between runs ------------------------===//
#include "passes/cache/Cache.h"

#include "runtime/support/Sha256.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <unistd.h>

namespace pg {
namespace {

namespace fs = std::filesystem;

/// Part of every key: bumped when the meaning of a file changes.
constexpr const char *kFormat = "pgc-kernels-2";
constexpr size_t kDigestChars = 64;
constexpr uint64_t kMebi = 1 << 20;

void addPiece(std::string &text, const std::string &piece) {
  text += std::to_string(piece.size()) + ":" + piece;
}

/// The reverse of addPiece; false when the text is not one.
bool takePiece(std::string_view &text, std::string &piece) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 12)
    return false;
  uint64_t size = 0;
  for (char digit : text.substr(0, colon)) {
    if (digit < '0' || digit > '9')
      return false;
    size = size * 10 + uint64_t(digit - '0');
  }
  text.remove_prefix(colon + 1);
  if (size > text.size())
    return false;
  piece = std::string(text.substr(0, size));
  text.remove_prefix(size);
  return true;
}

} // namespace

std::string Cache::defaultFolder() {
  const char *own = std::getenv("PG_CACHE_DIR");
  if (own && *own)
    return std::string(own) == "off" ? "" : own;
  const char *shared = std::getenv("XDG_CACHE_HOME");
  if (shared && *shared == '/')
    return std::string(shared) + "/pgc";
  const char *home = std::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.cache/pgc" : "";
}

std::string Cache::keyOf(const std::vector<std::string> &inputs) {
  std::string text;
  addPiece(text, kFormat);
  for (const std::string &input : inputs)
    addPiece(text, input);
  return rt::sha256Hex(text);
}

std::string Cache::pathOf(const std::string &key) const { return folder + "/" + key.substr(0, 2) + "/" + key; }

std::optional<std::vector<std::string>> Cache::find(const std::string &key) const {
  if (folder.empty())
    return std::nullopt;
  std::string path = pathOf(key);
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return std::nullopt;
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() < kDigestChars || rt::sha256Hex(key + bytes.substr(kDigestChars)) != bytes.substr(0, kDigestChars))
    return std::nullopt;
  std::string_view rest(bytes);
  rest.remove_prefix(kDigestChars);
  std::vector<std::string> outputs;
  while (!rest.empty())
    if (!takePiece(rest, outputs.emplace_back()))
      return std::nullopt;
  std::error_code ignored; // trim goes by the time of the last use
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  return outputs;
}

void Cache::put(const std::string &key, const std::vector<std::string> &outputs) const {
  if (folder.empty())
    return;
  std::string body;
  for (const std::string &output : outputs)
    addPiece(body, output);
  std::string path = pathOf(key);
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  static std::atomic<unsigned> counter{0};
  std::string temporary = path + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  {
    std::ofstream file(temporary, std::ios::binary);
    file << rt::sha256Hex(key + body) << body;
    file.flush();
    if (!file) {
      file.close();
      std::remove(temporary.c_str());
      return;
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    std::remove(temporary.c_str());
}

uint64_t Cache::trim(uint64_t bytes) const {
  if (folder.empty())
    return 0;
  if (!bytes) {
    const char *text = std::getenv("PG_CACHE_MB");
    uint64_t mebis = text ? std::strtoull(text, nullptr, 10) : 0;
    bytes = (mebis ? mebis : 2048) * kMebi;
  }
  struct Entry {
    fs::file_time_type used;
    uint64_t size;
    fs::path path;
  };
  std::vector<Entry> entries;
  uint64_t total = 0;
  std::error_code error;
  // Others may remove files at the same time: what is gone is skipped.
  for (auto at = fs::recursive_directory_iterator(folder, error); !error && at != fs::recursive_directory_iterator();
       at.increment(error)) {
    std::error_code gone;
    if (!at->is_regular_file(gone) || gone)
      continue;
    uint64_t size = at->file_size(gone);
    fs::file_time_type used = at->last_write_time(gone);
    if (gone)
      continue;
    total += size;
    entries.push_back({used, size, at->path()});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) { return a.used < b.used; });
  uint64_t removed = 0;
  for (const Entry &entry : entries) {
    if (total - removed <= bytes)
      break;
    std::error_code gone;
    if (fs::remove(entry.path, gone) && !gone)
      removed += entry.size;
  }
  return removed;
}

} // namespace pg
