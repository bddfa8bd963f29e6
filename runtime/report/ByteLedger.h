//===- ByteLedger.h - what the weights would take in an artifact --------------===//
//
// An estimate from the current weights, not a packing. A tensor with a
// quantisation label takes the codes that rounding to nearest would give:
//   scale of a row = clip_sigmas * (deviation of the row) / qmax,
//   code = clamp(round(w / scale), -qmax, qmax), qmax = 2^(bits - 1) - 1
// (stack-1693 §4.2), priced at the entropy of their histogram, plus one 16-bit
// scale a row. Everything else is kept as 16-bit floats.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_REPORT_BYTELEDGER_H
#define PG_RUNTIME_REPORT_BYTELEDGER_H

#include "runtime/package/Package.h"
#include "runtime/support/Json.h"

#include <functional>

namespace pg::rt {

/// The limit of the field, in bytes.
inline constexpr int64_t kArtifactLimitBytes = 16000000;

struct QuantRule {
  int bits = 6;
  double clipSigmas = 12.85;
};
/// Bits and clipping of a quantisation label (stack-1693 §0); other labels are
/// plain 6-bit matrices.
QuantRule quantRule(const std::string &label);

struct TensorBytes {
  std::string name, quant;     ///< quant: label, "" = kept as 16-bit floats
  std::vector<int64_t> shape;
  int bits = 16;
  int64_t raw = 0;             ///< as the run holds it
  int64_t quantised = 0;       ///< codes at `bits` each, and scales
  int64_t coded = 0;           ///< after an ideal entropy coder
};

struct ByteLedger {
  std::vector<TensorBytes> tensors;  ///< in the package's order
  int64_t specBytes = 0;             ///< model and recipe text: code counted as source
  int64_t raw = 0, quantised = 0, coded = 0;
  /// What an artifact would take: coded tensors and the spec they run from.
  int64_t artifactBytes() const { return coded + specBytes; }
  Json toJson() const;
};

/// Bits a value takes at the entropy of its codes. `values` are `rows` rows of
/// `columns`; 0 for weights that all round to one code.
double codeEntropyBits(const std::vector<double> &values, int64_t rows, int64_t columns, const QuantRule &rule);

/// `parameter` gives the memory of a parameter of the package, valid until it is
/// asked again. Reads at most
/// `sampledValues` of each tensor, in whole rows spread evenly.
ByteLedger estimateBytes(const Package &package, const std::function<const void *(size_t)> &parameter,
                         int64_t sampledValues = 65536);

} // namespace pg::rt

#endif // PG_RUNTIME_REPORT_BYTELEDGER_H
