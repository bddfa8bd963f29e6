//===- Cache.cpp - compiled kernels kept between runs ------------------------===//
#include "passes/nvrtc/Cache.h"

#include "runtime/support/Sha256.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

namespace pg::nvrtc {
namespace {

/// Part of every key: bumped when the meaning of a file changes.
constexpr const char *kFormat = "pgc-cuda-1";
constexpr size_t kDigestChars = 64;

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

std::string Cache::keyOf(const Source &source, const std::vector<std::string> &options,
                         const std::string &compilerVersion) {
  std::string text;
  addPiece(text, kFormat);
  addPiece(text, compilerVersion);
  addPiece(text, std::to_string(options.size()));
  for (const std::string &option : options)
    addPiece(text, option);
  addPiece(text, source.headerName);
  addPiece(text, source.headerText);
  addPiece(text, source.text);
  return rt::sha256Hex(text);
}

std::string Cache::pathOf(const std::string &key) const { return folder + "/" + key.substr(0, 2) + "/" + key; }

std::optional<Output> Cache::find(const std::string &key) const {
  if (folder.empty())
    return std::nullopt;
  std::ifstream file(pathOf(key), std::ios::binary);
  if (!file)
    return std::nullopt;
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() < kDigestChars || rt::sha256Hex(key + bytes.substr(kDigestChars)) != bytes.substr(0, kDigestChars))
    return std::nullopt;
  std::string_view rest(bytes);
  rest.remove_prefix(kDigestChars);
  Output output;
  if (!takePiece(rest, output.cubin) || !takePiece(rest, output.ptx) || !takePiece(rest, output.log) || !rest.empty())
    return std::nullopt;
  return output;
}

void Cache::put(const std::string &key, const Output &output) const {
  if (folder.empty())
    return;
  std::string body;
  addPiece(body, output.cubin);
  addPiece(body, output.ptx);
  addPiece(body, output.log);
  std::string path = pathOf(key);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
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

} // namespace pg::nvrtc
