//===- Precision.h - precision policies: which storage type each class gets ===//
//
// A policy is a row of the table in Precision.cpp: compiler, checks of packages
// and help texts all read it there. A rounding that belongs to a model
// (pg.round, a parameter declared in a narrower type) is part of the program
// and the same under every policy.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_PACKAGE_PRECISION_H
#define PG_RUNTIME_PACKAGE_PRECISION_H

#include "runtime/package/Package.h"

namespace pg::rt {

struct PrecisionPolicy {
  std::string name;
  std::string summary; ///< for help texts
  /// Arithmetic of row-wise ops and the sums of products. Parameters, gradients,
  /// optimizer state, scalars and all other static tensors are held in it too.
  DType maths;
  /// Factors of products: weights at use, and what they are multiplied with.
  DType factor;
  /// Token tensors between kernels, with as many features as a model is wide.
  DType activation;
  /// Token tensors of one number for a row or a head (norms, log-sum-exps,
  /// losses), and tables made of positions alone.
  DType statistic;
  /// Sums over some of the tokens, on their way to a gradient.
  DType partialSum;
};

/// All policies; the first is the default.
const std::vector<PrecisionPolicy> &precisionPolicies();
/// Null when there is none of this name.
const PrecisionPolicy *findPrecisionPolicy(const std::string &name);
/// "f32, f64 or bf16".
std::string precisionNames();

} // namespace pg::rt

#endif // PG_RUNTIME_PACKAGE_PRECISION_H
