//===- MetricsReader.cpp - metrics.jsonl, read back ---------------------------===//
#include "runtime/report/MetricsReader.h"

namespace pg::rt {

StatusOr<std::vector<Json>> parseMetrics(const std::string &text) {
  std::vector<Json> lines;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++number;
    size_t end = text.find('\n', begin);
    if (end == std::string::npos)
      break; // torn
    auto line = parseJson(std::string_view(text).substr(begin, end - begin));
    bool isLast = end + 1 == text.size();
    begin = end + 1;
    if (line && line->is_object()) {
      lines.push_back(std::move(*line));
      continue;
    }
    if (!isLast)
      return Status(Code::Corrupt, "line " + std::to_string(number) + ": " +
                                       (line ? "expected a JSON object" : line.status().message()));
  }
  return lines;
}

} // namespace pg::rt
