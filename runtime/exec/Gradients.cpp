//===- Gradients.cpp - norm, clipping and sums of the gradients -------------===//
#include "runtime/exec/Gradients.h"
#include "runtime/package/PackageJson.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pg::rt {
namespace {

constexpr int64_t kPiece = 4096;
constexpr uint64_t kAlignment = 256;
constexpr double kClipEpsilon = 1e-6; // stack-1693 §3.3

double treeSum(const double *values, size_t count) {
  if (count == 0)
    return 0;
  if (count == 1)
    return values[0];
  return treeSum(values, count / 2) + treeSum(values + count / 2, count - count / 2);
}

} // namespace

Gradients::Gradients(Executor &executor) : executor(executor) {
  const auto &states = executor.package().states;
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].role != "gradient")
      continue;
    tensors.push_back({i, executor.stateMemory(i), executor.stateBytes(i), bytes});
    bytes += (executor.stateBytes(i) + kAlignment - 1) / kAlignment * kAlignment;
    bool isDouble = states[i].dtype == DType::F64;
    int64_t count = elementCount(states[i].shape);
    for (int64_t at = 0; at < count; at += kPiece) {
      spans.push_back({tensors.back().memory + at * (isDouble ? 8 : 4), std::min(kPiece, count - at), isDouble});
      stateOf.push_back(i);
    }
  }
  sums.resize(spans.size());
}

StatusOr<double> Gradients::norm() {
  if (Status status = queueNorm(); !status)
    return status;
  return takeNorm();
}

Status Gradients::queueNorm() {
  auto ticket = executor.device().queueSumSquares(spans);
  if (ticket)
    sumsTicket = *ticket;
  return ticket.status();
}

StatusOr<double> Gradients::takeNorm() {
  if (Status status = executor.device().finishRead(sumsTicket, sums.data(), sums.size() * sizeof(double)); !status)
    return status;
  return std::sqrt(treeSum(sums.data(), sums.size()));
}

void Gradients::scale(double factor) {
  if (factor != 1)
    (void)executor.device().scale(spans, factor);
}

double Gradients::clipFactor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + kClipEpsilon)) : 1.0;
}

Status Gradients::reserveRanks(int64_t count) {
  ranks = count;
  levels.clear();
  levelSpans.clear();
  // The last rank of a full tree is added to the gradients themselves.
  for (int64_t held = 1; held < ranks; held *= 2) {
    auto level = executor.device().allocate(bytes);
    if (!level)
      return {level.status().code(), "not enough memory: the sum over " + std::to_string(ranks) + " logical ranks needs " +
                                     std::to_string(bytes >> 20) + " MiB more; reduce batch.logical_ranks\n  " + level.status().message()};
    levels.push_back(*level);
    // The same pieces, elsewhere.
    std::vector<FloatSpan> &pieces = levelSpans.emplace_back(spans);
    size_t next = 0;
    for (const Tensor &tensor : tensors)
      for (; next < pieces.size() && stateOf[next] == tensor.state; ++next)
        pieces[next].memory = *level + tensor.offset + (static_cast<char *>(spans[next].memory) - tensor.memory);
  }
  return Status::ok();
}

void Gradients::addLevel(size_t level) { (void)executor.device().add(spans, levelSpans[level]); }

void Gradients::storeLevel(size_t level) {
  for (const Tensor &tensor : tensors)
    (void)executor.device().copy(levels[level] + tensor.offset, tensor.memory, tensor.bytes);
}

void Gradients::addRank() {
  // Like adding one to a binary number: full levels are merged into the carry.
  size_t level = 0;
  for (int64_t digits = ranksAdded; digits & 1; digits >>= 1)
    addLevel(level++);
  ++ranksAdded;
  if (ranksAdded < ranks)
    storeLevel(level);
}

void Gradients::total() {
  // The carry of the last rank is in the gradients and stands for the lowest
  // digit that is set; with a number of ranks that is no power of two, levels
  // to its left are still to be added.
  int carry = std::countr_zero(uint64_t(ranksAdded));
  for (int level = carry + 1; ranksAdded >> level != 0; ++level)
    if (ranksAdded >> level & 1)
      addLevel(size_t(level));
  ranksAdded = 0;
}

int Gradients::firstNotFinite() {
  if (!norm())
    return -1;
  for (size_t i = 0; i < sums.size(); ++i)
    if (!std::isfinite(sums[i]))
      return int(stateOf[i]);
  return -1;
}

} // namespace pg::rt
