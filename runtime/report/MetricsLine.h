//===- MetricsLine.h - one line of metrics.jsonl -------------------------------===//
//
// One JSON object a line: run, t (seconds of the run's own clock), step, stage,
// then named values. Reals are written with the fewest digits that read back
// bit-equal: at most 9 for f32 and 17 for f64. NaN and infinities, which JSON
// has no numbers for, are the strings "nan", "inf" and "-inf".
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_REPORT_METRICSLINE_H
#define PG_RUNTIME_REPORT_METRICSLINE_H

#include "runtime/support/Json.h"

#include <string>
#include <vector>

namespace pg::rt {

class MetricsLine {
public:
  /// `seconds` since the run began, written to the millisecond.
  MetricsLine(const std::string &run, double seconds, int64_t step, const std::string &stage);

  MetricsLine &real(const std::string &name, double value);
  MetricsLine &real32(const std::string &name, float value);
  /// Fixed decimals: for times and rates, whose last digits are noise.
  MetricsLine &rounded(const std::string &name, double value, int decimals);
  MetricsLine &integer(const std::string &name, int64_t value);
  /// Bytes that are no UTF-8 are replaced.
  MetricsLine &text(const std::string &name, const std::string &value);
  MetricsLine &json(const std::string &name, const Json &value);

  /// The line, without a line break.
  std::string str() const { return line + "}"; }

private:
  MetricsLine &put(const std::string &name, const std::string &value);
  std::string line;
};

/// The objects of a metrics file. A torn last line (no line break, or text that
/// is no object) is what a killed run leaves and is left out; any other line
/// that is no object is Corrupt, with its number.
StatusOr<std::vector<Json>> parseMetrics(const std::string &text);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_METRICSLINE_H
