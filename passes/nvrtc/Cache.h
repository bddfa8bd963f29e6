//===- Cache.h - compiled kernels kept between runs --------------------------===//
#ifndef PG_PASSES_NVRTC_CACHE_H
#define PG_PASSES_NVRTC_CACHE_H

#include "passes/nvrtc/Nvrtc.h"

#include <optional>

namespace pg::nvrtc {

/// A folder of outputs by key. Files carry their checksum: a damaged or foreign
/// one counts as absent and is written anew. Writers use a temporary and a
/// rename, so any number of processes may share the folder. A folder that cannot
/// be written is no error: the work is done again next time.
class Cache {
public:
  /// "" turns the cache off.
  explicit Cache(std::string folder) : folder(std::move(folder)) {}

  /// PG_CACHE_DIR, else $XDG_CACHE_HOME/pgc, else ~/.cache/pgc; "" when none is
  /// known or PG_CACHE_DIR is "off".
  static std::string defaultFolder();

  /// Everything that decides the output: compiler version, options, header, text.
  static std::string keyOf(const Source &source, const std::vector<std::string> &options,
                           const std::string &compilerVersion);

  std::optional<Output> find(const std::string &key) const;
  void put(const std::string &key, const Output &output) const;

private:
  std::string pathOf(const std::string &key) const;
  std::string folder;
};

} // namespace pg::nvrtc

#endif // PG_PASSES_NVRTC_CACHE_H
