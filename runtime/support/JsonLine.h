//===- JsonLine.h - one line of a .jsonl file, without allocation ------------===//
#ifndef PG_RUNTIME_SUPPORT_JSONLINE_H
#define PG_RUNTIME_SUPPORT_JSONLINE_H

#include <cstdint>
#include <string>
#include <string_view>

namespace pg::rt {

/// Builds one JSON object and a newline in memory that is kept from line to
/// line: after the first lines of a run nothing is allocated.
class JsonLine {
public:
  explicit JsonLine(size_t capacity = 4096) { text.reserve(capacity); }

  JsonLine &begin();
  /// Shortest text that reads back bit-equal; infinities and NaN as strings.
  JsonLine &add(std::string_view key, double value);
  JsonLine &add(std::string_view key, int64_t value);
  JsonLine &add(std::string_view key, int value) { return add(key, int64_t(value)); }
  JsonLine &add(std::string_view key, bool value);
  /// Escaped; bytes that are no UTF-8 become U+FFFD.
  JsonLine &add(std::string_view key, std::string_view value);
  JsonLine &add(std::string_view key, const char *value) { return add(key, std::string_view(value)); }
  /// `json` is written as it is.
  JsonLine &addRaw(std::string_view key, std::string_view json);
  JsonLine &beginObject(std::string_view key);
  JsonLine &endObject();
  /// The whole line; valid until the next begin.
  std::string_view end();

private:
  void key(std::string_view name);
  void string(std::string_view value);
  std::string text;
  bool needsComma = false;
};

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_JSONLINE_H
