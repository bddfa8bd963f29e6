//===- Precision.cpp - the table of precision policies ---------------------===//
#include "runtime/package/Precision.h"

namespace pg::rt {

const std::vector<PrecisionPolicy> &precisionPolicies() {
  using enum DType;
  static const std::vector<PrecisionPolicy> policies = {
      //        maths factor activation statistic partialSum
      {"f32", "everything in f32", F32, F32, F32, F32, F32},
      {"f64", "everything in f64", F64, F64, F64, F64, F64},
      // Statistics stay wide because a relative error of 2^-9 in one of them
      // scales or shifts a whole row: lse stands in an exponent, delta is
      // subtracted from a sum it nearly cancels, a turned vector keeps its
      // length only while cos^2 + sin^2 = 1. Partial sums stay wide because a
      // gradient adds up hundreds of them. Both are small beside activations.
      {"bf16", "products of bf16 numbers summed in f32, activations stored in bf16",
       F32, BF16, BF16, F32, F32},
  };
  return policies;
}

const PrecisionPolicy *findPrecisionPolicy(const std::string &name) {
  for (const PrecisionPolicy &policy : precisionPolicies())
    if (policy.name == name)
      return &policy;
  return nullptr;
}

std::string precisionNames() {
  const auto &policies = precisionPolicies();
  std::string names;
  for (size_t i = 0; i < policies.size(); ++i)
    names += (i == 0 ? "" : i + 1 < policies.size() ? ", " : " or ") + policies[i].name;
  return names;
}

} // namespace pg::rt
