//===- MetricsLine.cpp - one line of metrics.jsonl --------------------------===//
#include "runtime/report/MetricsLine.h"
#include "runtime/support/Log.h"

#include <cmath>

namespace pg::rt {
namespace {

std::string quoted(const std::string &text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string number(const std::string &digits, double value) {
  return std::isfinite(value) ? digits : "\"" + digits + "\"";
}

} // namespace

MetricsLine::MetricsLine(const std::string &run, double seconds, int64_t step, const std::string &stage) {
  line = "{\"run\":" + quoted(run);
  rounded("t", seconds, 3).integer("step", step).text("stage", stage);
}

MetricsLine &MetricsLine::put(const std::string &name, const std::string &value) {
  line += "," + quoted(name) + ":" + value;
  return *this;
}

MetricsLine &MetricsLine::real(const std::string &name, double value) {
  return put(name, number(formatDouble(value), value));
}
MetricsLine &MetricsLine::real32(const std::string &name, float value) {
  return put(name, number(formatFloat(value), value));
}
MetricsLine &MetricsLine::rounded(const std::string &name, double value, int decimals) {
  return put(name, number(formatFixed(value, decimals), value));
}
MetricsLine &MetricsLine::integer(const std::string &name, int64_t value) { return put(name, std::to_string(value)); }
MetricsLine &MetricsLine::text(const std::string &name, const std::string &value) { return put(name, quoted(value)); }
MetricsLine &MetricsLine::json(const std::string &name, const Json &value) {
  return put(name, value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

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
