//===- Bigram.cpp - a count model to compare with ------------------------------===//
#include "runtime/eval/Bigram.h"

#include <algorithm>
#include <cmath>

namespace pg::rt {
namespace {
/// The usual discount of counts for pairs; not tuned on validation text.
constexpr double kDiscount = 0.75;

uint32_t pairKey(uint16_t a, uint16_t b) { return uint32_t(a) << 16 | b; }
} // namespace

BigramModel::BigramModel(const std::vector<uint16_t> &tokens, int64_t vocabulary)
    : vocabulary(vocabulary), total(static_cast<double>(tokens.size())),
      unigram(65536), context(65536), successors(65536) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    unigram[tokens[i]] += 1;
    if (i + 1 == tokens.size())
      break;
    context[tokens[i]] += 1;
    if (++pairs[pairKey(tokens[i], tokens[i + 1])] == 1)
      successors[tokens[i]] += 1;
  }
}

double BigramModel::nll(uint16_t previous, uint16_t next) const {
  double p1 = (unigram[next] + 1) / (total + static_cast<double>(vocabulary));
  double n = context[previous];
  if (n == 0)
    return -std::log(p1);
  auto found = pairs.find(pairKey(previous, next));
  double count = found == pairs.end() ? 0 : found->second;
  return -std::log((std::max(count - kDiscount, 0.0) +
                    kDiscount * successors[previous] * p1) / n);
}

} // namespace pg::rt
