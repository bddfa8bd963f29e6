//===- Bigram.h - a count model to compare with --------------------------------===//
#ifndef PG_RUNTIME_EVAL_BIGRAM_H
#define PG_RUNTIME_EVAL_BIGRAM_H

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace pg::rt {

/// Interpolated absolute discounting over token pairs:
///   P(b | a) = (max(n(a, b) - d, 0) + d T(a) P1(b)) / n(a),   d = 0.75,
/// T(a) the number of different successors of a; P1(b) = (n(b) + 1) / (n + V).
/// Contexts never seen fall back to P1. Sums to one over the vocabulary.
class BigramModel {
public:
  BigramModel(const std::vector<uint16_t> &tokens, int64_t vocabulary);
  /// Natural-log loss of `next` after `previous`.
  double nll(uint16_t previous, uint16_t next) const;

private:
  int64_t vocabulary;
  double total = 0;
  std::vector<double> unigram;             ///< n(b)
  std::vector<double> context, successors; ///< n(a), T(a)
  std::unordered_map<uint32_t, uint32_t> pairs;
};

} // namespace pg::rt

#endif // PG_RUNTIME_EVAL_BIGRAM_H
