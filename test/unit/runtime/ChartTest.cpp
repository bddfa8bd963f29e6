//===- ChartTest.cpp - curves and text of report pages ----------------------------===//
#include "runtime/report/Chart.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace pg::rt {
namespace {

std::vector<double> ys(const std::vector<Point> &points) {
  std::vector<double> values;
  for (const Point &point : points)
    values.push_back(point.y);
  return values;
}

TEST(Chart, SmoothingIsCentredShortAtTheStartOneSidedAtTheEnd) {
  std::vector<Point> points = {{1, 8}, {2, 2}, {3, 5}, {4, 11}, {5, 2}, {6, 8}};
  // 3 points: the first alone, then means of neighbours, the last of two.
  EXPECT_EQ(ys(smoothed(points, 3)), (std::vector<double>{8, 5, 6, 6, 7, 5}));
  EXPECT_EQ(ys(smoothed(points, 1)), ys(points));
  // A straight line stays one up to its end.
  std::vector<Point> line;
  for (int i = 0; i < 20; ++i)
    line.push_back({double(i), double(2 * i)});
  std::vector<double> means = ys(smoothed(line, 5));
  for (int i = 0; i < 18; ++i)
    EXPECT_DOUBLE_EQ(means[size_t(i)], 2 * i);
  EXPECT_EQ(smoothingWindow(10), 1u);
  EXPECT_EQ(smoothingWindow(1200), 31u);
  EXPECT_TRUE(smoothed({}, 5).empty());
}

TEST(Chart, ThinningKeepsEndsAndExtremes) {
  std::vector<Point> points;
  for (int i = 0; i < 10000; ++i)
    points.push_back({double(i), i == 5001 ? 50.0 : i == 7003 ? -50.0 : double(i % 7)});
  std::vector<Point> few = thinned(points, 400);
  EXPECT_LE(few.size(), 400u);
  EXPECT_EQ(few.front().x, 0);
  EXPECT_EQ(few.back().x, 9999);
  std::vector<double> values = ys(few);
  EXPECT_EQ(*std::max_element(values.begin(), values.end()), 50);
  EXPECT_EQ(*std::min_element(values.begin(), values.end()), -50);
  for (size_t i = 1; i < few.size(); ++i)
    EXPECT_LT(few[i - 1].x, few[i].x);
}

TEST(Chart, TicksAreRoundAndInside) {
  EXPECT_EQ(ticks(0, 10, 5, false), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(ticks(3.1, 4.2, 4, false), (std::vector<double>{3.5, 4}));
  EXPECT_EQ(ticks(1, 100, 6, true), (std::vector<double>{1, 2, 5, 10, 20, 50, 100}));
  EXPECT_EQ(ticks(1, 1e6, 3, true).size(), 4u); // 1, 100, 10k, 1M
  EXPECT_TRUE(ticks(2, 2, 5, false).empty());
  EXPECT_TRUE(ticks(0, INFINITY, 5, false).empty());
}

TEST(Chart, FiguresOfNothingAreEmptyAndBadPointsLeftOut) {
  Chart chart;
  EXPECT_EQ(chartFigure(chart, "a"), "");
  chart.curves.push_back({Curve::Kind::Exact, "bad", {{1, NAN}, {2, INFINITY}}, 0});
  EXPECT_EQ(chartFigure(chart, "a"), "");
  chart.curves[0].points = {{1, 2}, {2, NAN}, {3, -4}};
  std::string figure = chartFigure(chart, "a");
  EXPECT_EQ(figure.find("nan"), std::string::npos);
  EXPECT_NE(figure.find("class=\"log\""), std::string::npos); // 2 can be shown, -4 cannot
  chart.curves[0].points = {{1, -2}};
  EXPECT_EQ(chartFigure(chart, "a").find("class=\"log\""), std::string::npos);
  // Ends of the scales do not meet: one point, one value, huge values.
  for (std::vector<Point> points : {std::vector<Point>{{5, 0}}, {{1, 3}, {2, 3}}, {{1, 1e300}, {2, -1e300}}}) {
    chart.curves[0].points = points;
    figure = chartFigure(chart, "a");
    EXPECT_EQ(figure.find("nan"), std::string::npos);
    EXPECT_EQ(figure.find("inf"), std::string::npos);
  }
}

TEST(Chart, LinesEndWhereTheyLeaveACutScale) {
  Chart chart;
  chart.width = 110;   // frame from x 46 to 98, one unit 26
  chart.height = 136;  // frame from y 10 to 110
  chart.labelsEnds = false;
  chart.fromZero = true;
  chart.cutAbove = 10;
  chart.curves.push_back({Curve::Kind::Exact, "", {{0, 20}, {1, 0}, {2, 0}}, 0});
  // From 20 to 0 the line enters at 10, half a unit in.
  EXPECT_NE(chartFigure(chart, "a").find("d=\"M59.0 10.0L72.0 110.0L98.0 110.0\""), std::string::npos);
}

TEST(Chart, TextCannotLeaveItsPlace) {
  EXPECT_EQ(escapeHtml("<a href='x'>\"&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
  EXPECT_EQ(escapeHtml(std::string("a\0b\x1b", 4)), "a\xEF\xBF\xBD" "b\xEF\xBF\xBD");
  EXPECT_EQ(escapeHtml("\xff\xc3\xa9\n"), "\xEF\xBF\xBD\xc3\xa9 ");
}

} // namespace
} // namespace pg::rt
