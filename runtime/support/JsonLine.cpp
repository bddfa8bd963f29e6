//===- JsonLine.cpp - one line of a .jsonl file, without allocation ---------===//
#include "runtime/support/JsonLine.h"

#include <charconv>
#include <cmath>

namespace pg::rt {
namespace {

/// Bytes of the UTF-8 character at the start of `text`, 0 when there is none
/// (overlong forms and surrogates are none).
size_t characterBytes(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t(0); };
  auto follows = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  uint8_t first = byte(0);
  if (first < 0x80)
    return 1;
  if (first >= 0xc2 && first <= 0xdf)
    return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    bool isShort = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f);
    return !isShort && follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    bool isOutside = (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return !isOutside && follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

} // namespace

JsonLine &JsonLine::begin() {
  text.clear();
  text += '{';
  needsComma = false;
  return *this;
}

void JsonLine::string(std::string_view value) {
  text += '"';
  while (!value.empty()) {
    char c = value[0];
    size_t bytes = characterBytes(value);
    if (bytes == 0) {
      text += "\xef\xbf\xbd";
      bytes = 1;
    } else if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (uint8_t(c) < 0x20) {
      constexpr char kHex[] = "0123456789abcdef";
      text += "\\u00";
      text += kHex[uint8_t(c) >> 4];
      text += kHex[uint8_t(c) & 15];
    } else {
      text += value.substr(0, bytes);
    }
    value.remove_prefix(bytes);
  }
  text += '"';
}

void JsonLine::key(std::string_view name) {
  if (needsComma)
    text += ',';
  needsComma = true;
  string(name);
  text += ':';
}

JsonLine &JsonLine::add(std::string_view name, double value) {
  key(name);
  char digits[40];
  if (std::isnan(value))
    text += "\"nan\"";
  else if (std::isinf(value))
    text += value > 0 ? "\"inf\"" : "\"-inf\"";
  else
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  return *this;
}

JsonLine &JsonLine::add(std::string_view name, int64_t value) {
  key(name);
  char digits[24];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  return *this;
}

JsonLine &JsonLine::add(std::string_view name, bool value) { return addRaw(name, value ? "true" : "false"); }

JsonLine &JsonLine::add(std::string_view name, std::string_view value) {
  key(name);
  string(value);
  return *this;
}

JsonLine &JsonLine::addRaw(std::string_view name, std::string_view json) {
  key(name);
  text += json;
  return *this;
}

JsonLine &JsonLine::beginObject(std::string_view name) {
  key(name);
  text += '{';
  needsComma = false;
  return *this;
}

JsonLine &JsonLine::endObject() {
  text += '}';
  needsComma = true;
  return *this;
}

std::string_view JsonLine::end() {
  text += "}\n";
  return text;
}

} // namespace pg::rt
