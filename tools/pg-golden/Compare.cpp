//===- Compare.cpp - measured differences between tensors
//------------------===//
#include "tools/pg-golden/Compare.h"

#include <cmath>
#include <limits>

using namespace pg;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

rt::StatusOr<std::vector<double>>
golden::tensorOf(const rt::SafetensorsFile &file, const std::string &name) {
  const rt::TensorView *view = file.find(name);
  if (!view)
    return rt::Status(rt::Code::Invalid, "no tensor '" + name + "'");
  return rt::toDoubles(*view, name);
}

double golden::maxAbsDifference(const std::vector<double> &a,
                                const std::vector<double> &b) {
  if (a.size() != b.size())
    return kInfinity;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    double difference = std::fabs(a[i] - b[i]);
    // Written so that NaN wins and stays.
    if (!(difference <= largest))
      largest = difference;
    if (std::isnan(largest))
      break;
  }
  return largest;
}

double golden::meanAbsDifference(const std::vector<double> &a,
                                 const std::vector<double> &b) {
  if (a.size() != b.size() || a.empty())
    return kInfinity;
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += std::fabs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

double golden::relativeL2(const std::vector<double> &a,
                          const std::vector<double> &b) {
  if (a.size() != b.size())
    return kInfinity;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  if (norm == 0)
    return difference == 0 ? 0 : kInfinity;
  return std::sqrt(difference / norm);
}
