//===- RunRecord.h - what a run folder holds, read back ------------------------===//
#ifndef PG_RUNTIME_REPORT_RUNRECORD_H
#define PG_RUNTIME_REPORT_RUNRECORD_H

#include "runtime/report/Chart.h"
#include "runtime/support/Json.h"

#include <optional>

namespace pg::rt {

/// One training run: config.json, metrics.jsonl, bytes.json and
/// evaluation.json of its folder. Every field
/// is optional when shown: folders of killed runs are reported on too.
struct RunRecord {
  std::string folder;           ///< as given
  Json config = Json::object();
  std::vector<Json> lines;      ///< of metrics.jsonl, in order
  Json bytes;                   ///< of bytes.json (ByteLedger::toJson), null without one
  Json evaluation;              ///< of evaluation.json: the final weights' score, null without one

  /// Values of `key` in the lines of a stage, over steps. NaN and infinities
  /// come through as such.
  std::vector<Point> curve(const std::string &stage, const std::string &key) const;
  /// The last finite value of `key` in a stage.
  std::optional<double> last(const std::string &stage, const std::string &key) const;
  std::vector<const Json *> events() const;
  /// The last event that has `key`; nullptr when there is none.
  const Json *lastEventWith(const std::string &key) const;
  int64_t steps() const;        ///< done
  /// "finished", "stopped by signal 15", "failed", "unfinished": by the last event.
  std::string outcome() const;
};

/// Io or Corrupt, naming the file. A folder without metrics.jsonl is Invalid.
StatusOr<RunRecord> readRun(const std::string &folder);

/// A run, or the runs of several seeds with their summary (seeds.json).
struct ReportData {
  std::string folder;
  std::vector<RunRecord> runs;  ///< at least one
  Json seeds;                   ///< null for a single run
};
StatusOr<ReportData> readReport(const std::string &folder);

/// The whole page: HTML without links, scripts or anything to load.
std::string reportPage(const ReportData &data);

/// The page's style sheet.
extern const char *const kReportStyle;

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_RUNRECORD_H
