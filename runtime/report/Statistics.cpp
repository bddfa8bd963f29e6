//===- Statistics.cpp - is one set of runs better than another? -------------===//
#include "runtime/report/Statistics.h"

#include <cmath>
#include <limits>

namespace pg::rt {
namespace {

/// The continued fraction of I_x(a, b), by Lentz's method: fast for
/// x < (a + 1) / (a + b + 2).
double betaFraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300, kEnough = 1e-15;
  auto keptFromZero = [](double value) { return std::fabs(value) < kTiny ? kTiny : value; };
  double c = 1, d = 1 / keptFromZero(1 - (a + b) * x / (a + 1)), fraction = d;
  // The number of terms grows like the square root of the larger argument.
  for (int m = 1; m <= 10000; ++m) {
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / keptFromZero(1 + even * d);
    c = keptFromZero(1 + even / c);
    fraction *= d * c;
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / keptFromZero(1 + odd * d);
    c = keptFromZero(1 + odd / c);
    fraction *= d * c;
    if (std::fabs(d * c - 1) < kEnough)
      break;
  }
  return fraction;
}

} // namespace

double mean(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value;
  return values.empty() ? std::numeric_limits<double>::quiet_NaN() : sum / double(values.size());
}

double standardDeviation(const std::vector<double> &values) {
  if (values.size() < 2)
    return std::numeric_limits<double>::quiet_NaN();
  double middle = mean(values), sum = 0;
  for (double value : values)
    sum += (value - middle) * (value - middle);
  return std::sqrt(sum / double(values.size() - 1));
}

double incompleteBeta(double a, double b, double x) {
  if (!(a > 0) || !(b > 0) || !(x >= 0) || !(x <= 1))
    return std::numeric_limits<double>::quiet_NaN();
  if (x == 0 || x == 1)
    return x;
  double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2))
    return front * betaFraction(a, b, x) / a;
  return 1 - front * betaFraction(b, a, 1 - x) / b;
}

double studentCdf(double t, double degrees) {
  if (std::isnan(t) || !(degrees > 0))
    return std::numeric_limits<double>::quiet_NaN();
  if (std::isinf(t))
    return t > 0 ? 1 : 0;
  double tail = 0.5 * incompleteBeta(degrees / 2, 0.5, degrees / (degrees + t * t));
  return t > 0 ? 1 - tail : tail;
}

StatusOr<WelchTest> welchTest(const std::vector<double> &fresh, const std::vector<double> &baseline, double margin) {
  if (fresh.size() < 2 || baseline.size() < 2)
    return Status(Code::Invalid, "a Welch test needs at least two values on each side, got " +
                                     std::to_string(fresh.size()) + " and " + std::to_string(baseline.size()));
  auto errorOf = [](const std::vector<double> &values) {
    double deviation = standardDeviation(values);
    return deviation * deviation / double(values.size());
  };
  double one = errorOf(fresh), other = errorOf(baseline);
  if (!(one + other > 0) || !std::isfinite(one + other))
    return Status(Code::Invalid, "a Welch test needs finite values that vary on at least one side");
  WelchTest test;
  test.meanDifference = mean(fresh) - mean(baseline);
  test.margin = margin;
  test.t = (test.meanDifference + margin) / std::sqrt(one + other);
  test.degrees = (one + other) * (one + other) /
                 (one * one / double(fresh.size() - 1) + other * other / double(baseline.size() - 1));
  test.p = studentCdf(test.t, test.degrees);
  return test;
}

} // namespace pg::rt
