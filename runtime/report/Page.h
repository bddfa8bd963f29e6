//===- Page.h - parts of a report page ------------------------------------------===//
//
// Text in, HTML out. Cells are given as finished HTML: `cell` and `numberCell`
// escape, nothing else may put foreign text on the page.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_REPORT_PAGE_H
#define PG_RUNTIME_REPORT_PAGE_H

#include "runtime/report/RunRecord.h"

namespace pg::rt {

/// "16,000,000"
std::string grouped(int64_t value);
/// A value of a configuration or an event: numbers as they are, text bare.
std::string plainText(const Json &value);
/// The number or text under a path of keys, "" when there is none.
std::string textAt(const Json &object, const std::vector<const char *> &path);
std::optional<double> numberAt(const Json &object, const std::vector<const char *> &path);

std::string cell(const std::string &text, const char *kind = nullptr);
std::string numberCell(const std::string &text);
/// <tr>; `kind` is a class of the style sheet.
std::string row(const std::vector<std::string> &cells, const char *kind = nullptr);
/// A table in a box that scrolls; a heading that starts with '>' is of numbers.
std::string table(const std::vector<std::string> &headings, const std::string &rows);
/// Shares of a whole as a bar, in the order of the colours.
std::string bar(const std::vector<double> &shares);

/// Sections of the page; each is empty when the run has nothing for it.
std::string chartsSection(const std::vector<RunRecord> &runs);
std::string seedsSection(const Json &seeds);
std::string timeSection(const RunRecord &run);
std::string bytesSection(const RunRecord &run);
std::string configSection(const RunRecord &run);
std::string eventsSection(const RunRecord &run);
std::string environmentSection(const RunRecord &run);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_PAGE_H
