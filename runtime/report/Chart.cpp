//===- Chart.cpp - curves as inline SVG ---------------------------------------===//
#include "runtime/report/Chart.h"
#include "runtime/support/Json.h"
#include "runtime/support/Log.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {
namespace {

constexpr double kLeft = 46, kTop = 10, kBottom = 26;
constexpr size_t kMaxDrawnPoints = 1200;

std::string number(double value) { return formatFixed(value, 1); }

/// "0.02", "1.5", "200k", "1e-05": short, for axes and end labels.
std::string shortNumber(double value) {
  double size = std::fabs(value);
  if (value == 0)
    return "0";
  auto trimmed = [](std::string text) {
    if (text.find('.') != std::string::npos) {
      text.erase(text.find_last_not_of('0') + 1);
      if (text.back() == '.')
        text.pop_back();
    }
    return text;
  };
  if (size >= 1e9)
    return trimmed(formatFixed(value / 1e9, 2)) + "G";
  if (size >= 1e6)
    return trimmed(formatFixed(value / 1e6, 2)) + "M";
  if (size >= 1e4)
    return trimmed(formatFixed(value / 1e3, 1)) + "k";
  if (size >= 1e-3)
    return trimmed(formatFixed(value, size >= 100 ? 0 : size >= 1 ? 3 : 4));
  int exponent = int(std::floor(std::log10(size)));
  return trimmed(formatFixed(value / std::pow(10, exponent), 1)) + "e" + std::to_string(exponent);
}

/// Four digits, for the value at the end of a curve.
std::string endNumber(double value) {
  double size = std::fabs(value);
  return size >= 1 && size < 100 ? formatFixed(value, size < 10 ? 3 : 2) : shortNumber(value);
}

/// Room beside the frame for the end labels.
double rightEdge(const Chart &chart) { return chart.width - (chart.labelsEnds ? 50 : 12); }

struct Range {
  double low = INFINITY, high = -INFINITY;
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool isEmpty() const { return !(low <= high); }
};

/// One scale of a chart: from values to positions.
class Plot {
public:
  Plot(const Chart &chart, const std::vector<Curve> &drawn, bool logScale) : chart(chart), logScale(logScale) {
    for (const Curve &curve : drawn)
      for (const Point &point : curve.points)
        if (!logScale || point.y > 0) {
          x.take(point.x);
          y.take(scaled(point.y));
        }
    if (x.isEmpty())
      return;
    if (chart.fromZero && !logScale)
      y.take(0);
    if (x.low == x.high)
      x = {x.low - 0.5, x.high + 0.5};
    double pad = y.low == y.high ? std::max(1e-12, std::fabs(y.low) * 0.05) : 0.04 * (y.high - y.low);
    y.low -= chart.fromZero && !logScale ? 0 : pad;
    y.high += pad;
    if (!logScale && chart.cutAbove > y.low && chart.cutAbove < y.high)
      y.high = chart.cutAbove;
  }
  bool isEmpty() const { return x.isEmpty(); }
  bool shows(const Point &point) const { return !logScale || point.y > 0; }
  double px(double value) const { return kLeft + (value - x.low) / (x.high - x.low) * (rightEdge(chart) - kLeft); }
  double py(double value) const {
    return kTop + (y.high - scaled(value)) / (y.high - y.low) * (chart.height - kTop - kBottom);
  }
  std::string path(const std::vector<Point> &points) const;
  std::string axes() const;
  std::string markLines() const;

private:
  double scaled(double value) const { return logScale ? std::log10(value) : value; }
  const Chart &chart;
  bool logScale;
  Range x, y;
};

std::string Plot::path(const std::vector<Point> &points) const {
  // Above a cut scale the line is left out, from and to the edge it crosses.
  std::string text;
  const Point *before = nullptr;
  auto put = [&](const char *command, double atX, double atY) {
    text += command + number(atX) + " " + number(atY);
  };
  auto crossing = [&](const Point &a, const Point &b) {
    double share = (kTop - py(a.y)) / (py(b.y) - py(a.y));
    return px(a.x) + share * (px(b.x) - px(a.x));
  };
  for (const Point &point : points) {
    if (!shows(point))
      continue;
    bool inside = py(point.y) >= kTop, wasInside = before && py(before->y) >= kTop;
    if (inside && before && !wasInside)
      put("M", crossing(*before, point), kTop);
    if (inside)
      put(before ? "L" : "M", px(point.x), py(point.y));
    if (!inside && wasInside)
      put("L", crossing(*before, point), kTop);
    before = &point;
  }
  return text;
}

std::string Plot::axes() const {
  std::string text;
  double right = rightEdge(chart), bottom = chart.height - kBottom;
  double low = logScale ? std::pow(10, y.low) : y.low, high = logScale ? std::pow(10, y.high) : y.high;
  for (double tick : ticks(low, high, chart.height / 48, logScale)) {
    std::string at = number(py(tick));
    text += "<path class=\"grid\" d=\"M" + number(kLeft) + " " + at + "H" + number(right) + "\"/>";
    text += "<text class=\"tick\" text-anchor=\"end\" x=\"" + number(kLeft - 7) + "\" y=\"" + number(py(tick) + 3.5) +
            "\">" + shortNumber(tick) + "</text>";
  }
  text += "<path class=\"axis\" d=\"M" + number(kLeft) + " " + number(bottom) + "H" + number(right) + "\"/>";
  for (double tick : ticks(x.low, x.high, chart.width / 90, false)) {
    if (tick != std::floor(tick))
      continue; // there are no half steps
    text += "<path class=\"axis\" d=\"M" + number(px(tick)) + " " + number(bottom) + "v4\"/>";
    text += "<text class=\"tick\" text-anchor=\"middle\" x=\"" + number(px(tick)) + "\" y=\"" + number(bottom + 17) +
            "\">" + shortNumber(tick) + "</text>";
  }
  text += "<text class=\"tick\" text-anchor=\"end\" x=\"" + number(kLeft - 7) + "\" y=\"" + number(bottom + 17) +
          "\">step</text>";
  return text;
}

std::string Plot::markLines() const {
  std::string text;
  for (const ChartMark &mark : chart.marks) {
    if (mark.x <= x.low || mark.x > x.high)
      continue;
    text += "<path class=\"mark\" d=\"M" + number(px(mark.x)) + " " + number(kTop) + "V" +
            number(chart.height - kBottom) + "\"/>";
    if (!mark.label.empty())
      text += "<text class=\"mark-label\" x=\"" + number(px(mark.x) + 5) + "\" y=\"" + number(kTop + 9) + "\">" +
              escapeHtml(mark.label) + "</text>";
  }
  return text;
}

/// Values at the curves' ends, moved apart where they would overlap.
std::string endLabels(const Plot &plot, const std::vector<Curve> &curves, const Chart &chart) {
  struct Label {
    double at;
    std::string text;
    int colour;
  };
  std::vector<Label> labels;
  for (const Curve &curve : curves) {
    const Point &last = curve.points.back();
    if (plot.shows(last) && plot.py(last.y) >= kTop)
      labels.push_back({plot.py(last.y) + 3.5, endNumber(last.y), curve.colour});
  }
  std::sort(labels.begin(), labels.end(), [](const Label &a, const Label &b) { return a.at < b.at; });
  for (size_t i = 1; i < labels.size(); ++i)
    labels[i].at = std::max(labels[i].at, labels[i - 1].at + 12);
  double lowest = chart.height - kBottom + 3.5;
  for (size_t i = labels.size(); i-- > 0; lowest = labels[i].at - 12)
    labels[i].at = std::min(labels[i].at, lowest);
  std::string text;
  for (const Label &label : labels)
    text += "<text class=\"end t" + std::to_string(label.colour) + "\" x=\"" + number(rightEdge(chart) + 7) +
            "\" y=\"" + number(label.at) + "\">" + label.text + "</text>";
  return text;
}

std::string chartSvg(const Chart &chart, const std::vector<Curve> &curves, bool logScale) {
  // What is drawn, thin lines under thick ones; the thick ones give the end labels.
  std::vector<Curve> ends;
  for (const Curve &curve : curves) {
    Curve end = curve;
    if (curve.kind == Curve::Kind::Measured || curve.kind == Curve::Kind::Mean)
      end.points = smoothed(curve.points, smoothingWindow(curve.points.size()));
    ends.push_back(std::move(end));
  }
  std::vector<Curve> drawn = ends;
  for (const Curve &curve : curves)
    if (curve.kind == Curve::Kind::Measured)
      drawn.push_back(curve);
  Plot plot(chart, drawn, logScale);
  if (plot.isEmpty())
    return "";
  std::string text = "<svg viewBox=\"0 0 " + std::to_string(chart.width) + " " + std::to_string(chart.height) +
                     "\" role=\"img\" aria-label=\"" + escapeHtml(chart.title) + (logScale ? ", log scale" : "") + "\">";
  text += plot.axes() + plot.markLines();
  for (const Curve &curve : curves)
    if (curve.kind == Curve::Kind::Measured)
      text += "<path class=\"raw c" + std::to_string(curve.colour) + "\" d=\"" +
              plot.path(thinned(curve.points, kMaxDrawnPoints)) + "\"/>";
  for (const Curve &curve : ends) {
    text += "<path class=\"line c" + std::to_string(curve.colour) + "\" d=\"" +
            plot.path(thinned(curve.points, kMaxDrawnPoints)) + "\"/>";
    if (curve.kind == Curve::Kind::Sparse && curve.points.size() <= 60)
      for (const Point &point : curve.points)
        if (plot.shows(point) && plot.py(point.y) >= kTop)
          text += "<circle class=\"dot f" + std::to_string(curve.colour) + "\" cx=\"" + number(plot.px(point.x)) +
                  "\" cy=\"" + number(plot.py(point.y)) + "\" r=\"2.6\"><title>step " + shortNumber(point.x) + ": " +
                  formatDouble(point.y) + "</title></circle>";
  }
  return text + (chart.labelsEnds ? endLabels(plot, ends, chart) : "") + "</svg>";
}

} // namespace

size_t smoothingWindow(size_t numPoints) { return std::max<size_t>(1, numPoints / 40) | 1; }

std::vector<Point> smoothed(const std::vector<Point> &points, size_t window) {
  std::vector<Point> result;
  result.reserve(points.size());
  size_t reach = window / 2;
  for (size_t i = 0; i < points.size(); ++i) {
    // Centred, so that nothing lags. It shrinks at the steep beginning; at the
    // end it only loses the points to come, or the last value would be noise.
    size_t back = std::min(reach, i), begin = i - back;
    size_t end = points.size() - i > reach ? i + back + 1 : points.size();
    double sum = 0;
    for (size_t j = begin; j < end; ++j)
      sum += points[j].y;
    result.push_back({points[i].x, sum / double(end - begin)});
  }
  return result;
}

std::vector<Point> thinned(const std::vector<Point> &points, size_t limit) {
  if (points.size() <= limit || limit < 4)
    return points;
  std::vector<Point> result;
  size_t buckets = limit / 2;
  for (size_t b = 0; b < buckets; ++b) {
    auto begin = points.begin() + int64_t(b * points.size() / buckets);
    auto end = points.begin() + int64_t((b + 1) * points.size() / buckets);
    auto [low, high] = std::minmax_element(begin, end, [](const Point &a, const Point &c) { return a.y < c.y; });
    result.push_back(std::min(low, high)[0]);
    if (low != high)
      result.push_back(std::max(low, high)[0]);
  }
  result.front() = points.front();
  result.back() = points.back();
  return result;
}

std::vector<double> ticks(double low, double high, int count, bool logScale) {
  std::vector<double> result;
  if (!(low < high) || !std::isfinite(low) || !std::isfinite(high))
    return result;
  if (logScale && low > 0 && high / low > 3) {
    int first = int(std::floor(std::log10(low))), last = int(std::ceil(std::log10(high)));
    int stride = std::max(1, (last - first + count - 1) / std::max(1, count));
    std::vector<double> steps = stride > 1 || last - first > 4 ? std::vector<double>{1}
                                : high / low > 15              ? std::vector<double>{1, 2, 5}
                                                               : std::vector<double>{1, 1.5, 2, 3, 4, 5, 6, 8};
    for (int exponent = first; exponent <= last; exponent += stride)
      for (double step : steps)
        if (double value = step * std::pow(10, exponent); value >= low && value <= high)
          result.push_back(value);
    return result;
  }
  double rough = (high - low) / std::max(1, count), base = std::pow(10, std::floor(std::log10(rough)));
  double step = rough <= base ? base : rough <= 2 * base ? 2 * base : rough <= 5 * base ? 5 * base : 10 * base;
  for (double index = std::ceil(low / step - 1e-9); index * step <= high + 1e-9 * step; ++index)
    result.push_back(index * step);
  return result;
}

std::string chartFigure(const Chart &chart, const std::string &id) {
  std::vector<Curve> curves;
  for (const Curve &curve : chart.curves) {
    Curve kept = curve;
    std::erase_if(kept.points, [](const Point &point) { return !std::isfinite(point.x) || !std::isfinite(point.y); });
    if (!kept.points.empty())
      curves.push_back(std::move(kept));
  }
  if (curves.empty())
    return "";
  std::string linear = chartSvg(chart, curves, false), logarithmic = chartSvg(chart, curves, true);
  std::string text = "<figure class=\"chart\"><div class=\"chart-head\"><h3>" + escapeHtml(chart.title) + "</h3>";
  if (curves.size() > 1 || chart.curves.size() > 1) {
    text += "<ul class=\"legend\">";
    for (const Curve &curve : curves)
      text += "<li class=\"t" + std::to_string(curve.colour) + "\"><i></i><span>" + escapeHtml(curve.label) +
              "</span></li>";
    text += "</ul>";
  }
  text += "</div>";
  if (!logarithmic.empty())
    text += "<input class=\"scale\" type=\"checkbox\" id=\"" + id + "\"" + (chart.startsLog ? " checked" : "") +
            "><label class=\"scale-label\" for=\"" + id + "\">log</label>";
  text += "<div class=\"linear\">" + linear + "</div>";
  if (!logarithmic.empty())
    text += "<div class=\"log\">" + logarithmic + "</div>";
  if (!chart.note.empty())
    text += "<figcaption>" + escapeHtml(chart.note) + "</figcaption>";
  return text + "</figure>\n";
}

std::string escapeHtml(const std::string &text) {
  // The JSON writer replaces what is no UTF-8; reading its text back undoes the quoting.
  std::string clean = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
  std::string result;
  for (char byte : clean)
    switch (byte) {
    case '&': result += "&amp;"; break;
    case '<': result += "&lt;"; break;
    case '>': result += "&gt;"; break;
    case '"': result += "&quot;"; break;
    case '\'': result += "&#39;"; break;
    case '\t':
    case '\n': result += ' '; break;
    default: result += uint8_t(byte) < 0x20 || byte == 0x7f ? std::string("\xEF\xBF\xBD") : std::string(1, byte);
    }
  return result;
}

} // namespace pg::rt
