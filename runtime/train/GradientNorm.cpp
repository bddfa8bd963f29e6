//===- GradientNorm.cpp - joint norm and clipping of the gradients ----------===//
#include "runtime/train/GradientNorm.h"
#include "runtime/package/PackageJson.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {
namespace {

constexpr int64_t kPiece = 4096;
constexpr double kClipEpsilon = 1e-6; // stack-1693 §3.3

template <typename T> double sumOfSquares(const T *values, int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      lanes[lane] += double(values[i + lane]) * double(values[i + lane]);
  for (; i < count; ++i)
    lanes[0] += double(values[i]) * double(values[i]);
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

double treeSum(const double *values, size_t count) {
  if (count == 0)
    return 0;
  if (count == 1)
    return values[0];
  return treeSum(values, count / 2) + treeSum(values + count / 2, count - count / 2);
}

} // namespace

GradientNorm::GradientNorm(Executor &executor) : executor(executor) {
  const auto &states = executor.package().states;
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].role != "gradient")
      continue;
    bool isDouble = states[i].dtype == DType::F64;
    int64_t count = elementCount(states[i].shape);
    for (int64_t at = 0; at < count; at += kPiece)
      pieces.push_back({static_cast<char *>(executor.state(i)) + at * (isDouble ? 8 : 4),
                        std::min(kPiece, count - at), isDouble});
  }
  sums.resize(pieces.size());
}

double GradientNorm::norm() {
  executor.pool().parallelFor(int64_t(pieces.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece &piece = pieces[size_t(i)];
      sums[size_t(i)] = piece.isDouble ? sumOfSquares(static_cast<const double *>(piece.memory), piece.count)
                                       : sumOfSquares(static_cast<const float *>(piece.memory), piece.count);
    }
  });
  return std::sqrt(treeSum(sums.data(), sums.size()));
}

void GradientNorm::clip(double norm, double limit) {
  double factor = limit / (norm + kClipEpsilon);
  if (factor >= 1)
    return;
  executor.pool().parallelFor(int64_t(pieces.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece &piece = pieces[size_t(i)];
      for (int64_t k = 0; k < piece.count; ++k)
        if (piece.isDouble)
          static_cast<double *>(piece.memory)[k] *= factor;
        else
          static_cast<float *>(piece.memory)[k] *= float(factor);
    }
  });
}

} // namespace pg::rt
