//===- Statistics.h - is one set of runs better than another? -----------------===//
#ifndef PG_RUNTIME_REPORT_STATISTICS_H
#define PG_RUNTIME_REPORT_STATISTICS_H

#include "runtime/support/Status.h"

#include <vector>

namespace pg::rt {

double mean(const std::vector<double> &values);
/// Sample standard deviation (n - 1); NaN for fewer than two values.
double standardDeviation(const std::vector<double> &values);

/// I_x(a, b), the regularised incomplete beta function, for a, b > 0 and
/// 0 <= x <= 1. Continued fraction of Lentz; relative error below 1e-12 for the
/// arguments of a t-test.
double incompleteBeta(double a, double b, double x);

/// P(T <= t) for Student's t with `degrees` > 0 degrees of freedom, which need
/// not be whole.
double studentCdf(double t, double degrees);

/// One-sided test of unequal variances (Welch 1947), lower values being better.
struct WelchTest {
  double meanDifference = 0;   ///< mean(fresh) - mean(baseline)
  double margin = 0;           ///< improvement that must be exceeded
  double t = 0;
  double degrees = 0;          ///< Welch-Satterthwaite
  double p = 1;                ///< of so low a t if mean(fresh) were mean(baseline) - margin
};

/// Invalid with fewer than two values on a side, or when neither side varies.
StatusOr<WelchTest> welchTest(const std::vector<double> &fresh, const std::vector<double> &baseline,
                              double margin = 0);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_STATISTICS_H
