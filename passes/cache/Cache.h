//===- Cache.h - compiled kernels kept between runs --------------------------===//
#ifndef PG_PASSES_CACHE_CACHE_H
#define PG_PASSES_CACHE_CACHE_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pg {

/// A folder of compiler outputs by key. Files carry their checksum: a damaged or
/// foreign one counts as absent and is written anew. Writers use a temporary and
/// a rename, so any number of processes may share the folder. A folder that cannot
/// be written is no error: the work is done again next time.
class Cache {
public:
  /// "" turns the cache off.
  explicit Cache(std::string folder) : folder(std::move(folder)) {}

  /// PG_CACHE_DIR, else $XDG_CACHE_HOME/pgc, else ~/.cache/pgc; "" when none is
  /// known or PG_CACHE_DIR is "off".
  static std::string defaultFolder();

  /// `inputs` is everything that decides the output, the compiler's version
  /// included; where one piece ends and the next begins counts.
  static std::string keyOf(const std::vector<std::string> &inputs);

  /// Whether keys are worth computing.
  bool isOn() const { return !folder.empty(); }

  /// The outputs that were put under this key.
  std::optional<std::vector<std::string>> find(const std::string &key) const;
  void put(const std::string &key, const std::vector<std::string> &outputs) const;

  /// Removes the files used longest ago until at most `bytes` are left; 0 = what
  /// PG_CACHE_MB says, else 2 GiB. Returns the bytes removed.
  uint64_t trim(uint64_t bytes = 0) const;

private:
  std::string pathOf(const std::string &key) const;
  std::string folder;
};

} // namespace pg

#endif // PG_PASSES_CACHE_CACHE_H
