//===- MetricsReader.h - metrics.jsonl, read back -------------------------------===//
#ifndef PG_RUNTIME_REPORT_METRICSREADER_H
#define PG_RUNTIME_REPORT_METRICSREADER_H

#include "runtime/support/Json.h"

#include <string>
#include <vector>

namespace pg::rt {

/// The objects of a metrics file. A torn last line (no line break, or text that
/// is no object) is what a killed run leaves and is left out; any other line
/// that is no object is Corrupt, with its number.
StatusOr<std::vector<Json>> parseMetrics(const std::string &text);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_METRICSREADER_H
