//===- Template.cpp - kernel text with named holes ----------------------------===//
#include "passes/cuda/Template.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace pg::cuda {

std::string indentLines(const std::string &text, int levels) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    end = end == std::string::npos ? text.size() : end;
    if (end > at)
      out += std::string(4 * levels, ' ') + text.substr(at, end - at);
    out += '\n';
    at = end + 1;
  }
  return out;
}

std::string Holes::fill(const char *text) const {
  std::string source = text, out;
  size_t at = 0;
  while (at < source.size()) {
    size_t end = source.find('\n', at);
    end = end == std::string::npos ? source.size() : end;
    std::string line = source.substr(at, end - at);
    at = end + 1;

    size_t first = line.find_first_not_of(' ');
    if (first != std::string::npos && line[first] == '@' &&
        line.back() == '@' &&
        line.find('@', first + 1) == line.size() - 1) {
      auto found = values.find(line.substr(first + 1, line.size() - first - 2));
      if (found != values.end()) {
        out += indentLines(found->second, static_cast<int>(first / 4));
        continue;
      }
    }
    for (size_t open = line.find('@'); open != std::string::npos;) {
      size_t close = line.find('@', open + 1);
      if (close == std::string::npos)
        break;
      auto found = values.find(line.substr(open + 1, close - open - 1));
      if (found == values.end()) {
        open = line.find('@', close + 1);
        continue;
      }
      line.replace(open, close - open + 1, found->second);
      open = line.find('@', open + found->second.size());
    }
    out += line + '\n';
  }
  return out;
}

std::string literalOf(double value, const std::string &type) {
  bool single = type == "float";
  if (std::isinf(value) || std::isnan(value))
    return "(" + type + ")" + (std::isnan(value) ? "(0.0 / 0.0)"
                               : value > 0       ? "(1.0 / 0.0)"
                                                 : "(-1.0 / 0.0)");
  char text[40];
  for (int digits = single ? 6 : 15;; ++digits) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    double back = std::strtod(text, nullptr);
    if (digits >= 17 || back == value ||
        (single && static_cast<float>(back) == static_cast<float>(value)))
      break;
  }
  std::string out = text;
  if (out.find_first_of(".e") == std::string::npos)
    out += ".0";
  return out + (single ? "f" : "");
}

} // namespace pg::cuda
