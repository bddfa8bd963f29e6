//===- Scalar.cpp - the strict grammar of scalars --------------------------===//
#include "frontend/Scalar.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

#include <cmath>
#include <cstdlib>

using namespace pg::frontend;

/// Takes digits off the front; returns how many.
static size_t takeDigits(llvm::StringRef &text) {
  size_t count = text.find_first_not_of("0123456789");
  count = count == llvm::StringRef::npos ? text.size() : count;
  text = text.drop_front(count);
  return count;
}

static bool takeWhole(llvm::StringRef &text) {
  text.consume_front("-");
  bool leadingZero = text.starts_with("0");
  size_t digits = takeDigits(text);
  return digits == 1 || (digits > 1 && !leadingZero);
}

std::optional<int64_t> pg::frontend::parseInt(llvm::StringRef text) {
  llvm::StringRef rest = text;
  int64_t value = 0;
  if (!takeWhole(rest) || !rest.empty() || text.getAsInteger(10, value))
    return std::nullopt;
  return value;
}

std::optional<double> pg::frontend::parseFloat(llvm::StringRef text) {
  llvm::StringRef rest = text;
  if (!takeWhole(rest))
    return std::nullopt;
  if (rest.consume_front(".") && takeDigits(rest) == 0)
    return std::nullopt;
  if (rest.consume_front("e") || rest.consume_front("E")) {
    if (!rest.consume_front("-"))
      rest.consume_front("+");
    if (takeDigits(rest) == 0)
      return std::nullopt;
  }
  if (!rest.empty())
    return std::nullopt;
  double value = std::strtod(text.str().c_str(), nullptr);
  return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

std::optional<bool> pg::frontend::parseBool(llvm::StringRef text) {
  if (text == "true")
    return true;
  if (text == "false")
    return false;
  return std::nullopt;
}

bool pg::frontend::isPlainString(llvm::StringRef text) {
  if (text.empty())
    return false;
  if (text.contains(' ')) // prose, such as "2 sigmoid of the input"
    return true;
  if (llvm::isDigit(text.front()))
    return false;
  llvm::StringRef unsignedText = text;
  if (text.front() == '-' || text.front() == '+' || text.front() == '.')
    unsignedText = text.drop_while(
        [](char c) { return c == '-' || c == '+' || c == '.'; });
  if (unsignedText.size() != text.size() && !unsignedText.empty() &&
      llvm::isDigit(unsignedText.front()))
    return false;
  return llvm::StringSwitch<bool>(unsignedText.lower())
      .Cases({"true", "false", "yes", "no", "on", "off"}, false)
      .Cases({"null", "~", "nan", "inf", "y", "n"}, unsignedText.size() == 1)
      .Default(true);
}

bool pg::frontend::isIdentifier(llvm::StringRef text, bool dotted) {
  llvm::SmallVector<llvm::StringRef> parts;
  text.split(parts, '.');
  if (parts.size() > 1 && !dotted)
    return false;
  for (auto [index, part] : llvm::enumerate(parts)) {
    if (part.empty())
      return false;
    // Layer numbers are parts of dotted names: blocks.3.attn.c_q.weight.
    if (index == 0 && llvm::isDigit(part.front()))
      return false;
    for (char c : part)
      if (!llvm::isAlnum(c) && c != '_')
        return false;
  }
  return true;
}
