//===- Template.h - kernel text with named holes ------------------------------===//
#ifndef PG_PASSES_CUDA_TEMPLATE_H
#define PG_PASSES_CUDA_TEMPLATE_H

#include <cstdint>
#include <map>
#include <string>

namespace pg::cuda {

/// What stands in the holes of a template, by name.
class Holes {
public:
  Holes &set(const std::string &name, const std::string &text) {
    values[name] = text;
    return *this;
  }
  Holes &set(const std::string &name, int64_t value) {
    return set(name, std::to_string(value));
  }
  /// `text` with every @name@ replaced. A hole that stands alone on its line
  /// takes any number of lines, indented as it is; with none the line goes. A
  /// name without a value is a mistake of the emitter and stays, so that the
  /// compiler of the text reports it.
  std::string fill(const char *text) const;

private:
  std::map<std::string, std::string> values;
};

/// Every line of `text` moved right by `levels` of four spaces.
std::string indentLines(const std::string &text, int levels);
/// "constexpr float" constants: shortest text that reads back as `value`, with
/// the suffix of the type ("float", "double").
std::string literalOf(double value, const std::string &type);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_TEMPLATE_H
