//===- Json.h - strict JSON reading, exact number writing -------------------===//
#ifndef PG_RUNTIME_SUPPORT_JSON_H
#define PG_RUNTIME_SUPPORT_JSON_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace pg::rt {

using Json = nlohmann::json;

/// Parses UTF-8 JSON; duplicate keys, nesting deeper than 64 and trailing text
/// are Corrupt errors with the byte position.
StatusOr<Json> parseJson(std::string_view text);

/// A double as JSON: finite values as numbers that read back bit-equal,
/// infinities and NaN as the strings "inf", "-inf", "nan".
Json numberToJson(double value);

/// Reads fields of one object; remembers the first problem so that a caller can
/// read a whole record and check once. Never throws.
class JsonFields {
public:
  /// `where` names the object in messages, "entries[2].launches[7]".
  JsonFields(const Json &object, std::string where, Status &status);

  /// Whether the object has `key`; says nothing of its type.
  bool has(const char *key) const { return object_.is_object() && object_.contains(key); }
  std::string string(const char *key);
  double number(const char *key);
  bool boolean(const char *key);
  int64_t integer(const char *key, int64_t min, int64_t max);
  /// The array under `key`, or an empty one after an error.
  const Json &array(const char *key);
  const Json &object(const char *key);
  /// Records a problem of this object.
  void fail(const std::string &text);
  bool isOk() const { return status.isOk(); }
  std::string path(const char *key) const { return where.empty() ? key : where + "." + key; }
  std::string path(const char *key, size_t index) const {
    return path(key) + "[" + std::to_string(index) + "]";
  }

private:
  const Json *find(const char *key);
  const Json &object_;
  std::string where;
  Status &status;
};

/// Reads one number written by numberToJson.
bool readNumber(const Json &value, double &number);

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_JSON_H
