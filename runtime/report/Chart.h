//===- Chart.h - curves as inline SVG -------------------------------------------===//
//
// Colours, fonts and line widths are classes of the page's style sheet, so one
// picture serves light, dark and print.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_REPORT_CHART_H
#define PG_RUNTIME_REPORT_CHART_H

#include <cmath>
#include <string>
#include <vector>

namespace pg::rt {

struct Point {
  double x = 0, y = 0;
};

/// One quantity over steps. `Measured` draws every point thin and a centred
/// mean thick; `Mean` that mean alone; `Exact` one line; `Sparse` a line with
/// dots.
struct Curve {
  enum class Kind { Measured, Mean, Exact, Sparse } kind = Kind::Exact;
  std::string label;
  std::vector<Point> points;   ///< x ascending; points that are not finite are left out
  int colour = 0;              ///< of the style sheet, c0 to c5
};

/// A vertical line where something changed.
struct ChartMark {
  double x = 0;
  std::string label;
};

struct Chart {
  std::string title;
  std::string note;            ///< under the title, "" = none
  std::vector<Curve> curves;
  std::vector<ChartMark> marks;
  bool fromZero = false;       ///< the linear scale starts at zero
  double cutAbove = INFINITY;  ///< the linear scale ends here; the log scale shows all
  bool labelsEnds = true;      ///< the last value of each curve beside its end
  bool startsLog = false;      ///< which scale shows first
  int width = 928, height = 320;
};

/// Points in a centred window of this many give the thick line of a curve.
size_t smoothingWindow(size_t numPoints);
std::vector<Point> smoothed(const std::vector<Point> &points, size_t window);
/// At most about `limit` points with the same outline: lowest and highest of
/// each stretch, in order.
std::vector<Point> thinned(const std::vector<Point> &points, size_t limit);
/// Round numbers inside [low, high], about `count` of them; on a log scale 1, 2,
/// 5 times powers of ten, or powers alone over many decades.
std::vector<double> ticks(double low, double high, int count, bool logScale);

/// A figure with title, legend and both scales; a check box that needs no
/// script switches between them. `id` must differ for every figure of a page.
/// Empty when no curve has a finite point.
std::string chartFigure(const Chart &chart, const std::string &id);

/// The text with &, <, >, quotes and control characters made harmless, and
/// bytes that are no UTF-8 replaced: safe in text and in quoted attributes.
std::string escapeHtml(const std::string &text);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_CHART_H
