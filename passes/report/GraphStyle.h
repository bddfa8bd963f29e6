//===- GraphStyle.h - sizes and lines shared by layout and writers
//---------===//
#ifndef PG_PASSES_REPORT_GRAPHSTYLE_H
#define PG_PASSES_REPORT_GRAPHSTYLE_H

#include "passes/report/BlockGraph.h"

#include <string>
#include <vector>

namespace pg::report {

/// Pixels.
struct GraphStyle {
  static constexpr double kGlyph = 6.65; ///< width of a letter of 11 px
  static constexpr double kLine = 15, kPadding = 9;
  static constexpr double kRowGap = 38, kColumnGap = 26;
  static constexpr double kClusterPadding = 18, kClusterHead = 44;
  static constexpr double kPassing = 10; ///< width of an edge that passes a row
};

/// One line of text in a box; `kind` is its CSS class.
struct GraphLine {
  std::string text, kind;
};

/// Lines of a closed box.
std::vector<GraphLine> linesOf(const GraphNode &node);
/// Number of letters of UTF-8 text.
size_t lettersOf(const std::string &text);

} // namespace pg::report

#endif // PG_PASSES_REPORT_GRAPHSTYLE_H
