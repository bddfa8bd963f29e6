//===- ByteLedger.cpp - what the weights would take in an artifact ----------===//
#include "runtime/report/ByteLedger.h"
#include "runtime/support/BFloat16.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace pg::rt {
namespace {

/// Tensors up to this size stay 16-bit floats whatever their label
/// (stack-1693 §4.2), as in the estimate of `pgc check`.
constexpr int64_t kMaxPassThrough = 65536;

double valueAt(const void *memory, DType dtype, int64_t index) {
  switch (dtype) {
  case DType::F64: return static_cast<const double *>(memory)[index];
  case DType::F32: return static_cast<const float *>(memory)[index];
  case DType::BF16: return bf16ToFloat(static_cast<const uint16_t *>(memory)[index]);
  default: return 0;
  }
}

/// Adds the codes of one row to the histogram, whose middle is code 0.
void addRow(const double *row, int64_t columns, const QuantRule &rule, std::vector<int64_t> &histogram) {
  int qmax = (1 << (rule.bits - 1)) - 1;
  double sum = 0, squares = 0;
  for (int64_t c = 0; c < columns; ++c)
    sum += row[c];
  double middle = sum / double(columns);
  for (int64_t c = 0; c < columns; ++c)
    squares += (row[c] - middle) * (row[c] - middle);
  double deviation = columns > 1 ? std::sqrt(squares / double(columns - 1)) : std::fabs(middle);
  double scale = rule.clipSigmas * deviation / qmax;
  for (int64_t c = 0; c < columns; ++c) {
    double code = scale > 0 ? std::nearbyint(row[c] / scale) : 0;
    // A NaN counts as the middle: an estimate must not fail.
    int clamped = std::isnan(code) ? 0 : int(std::clamp(code, double(-qmax), double(qmax)));
    ++histogram[size_t(clamped + qmax)];
  }
}

double entropyBits(const std::vector<int64_t> &histogram) {
  int64_t total = 0;
  for (int64_t count : histogram)
    total += count;
  double bits = 0;
  for (int64_t count : histogram)
    if (count > 0)
      bits -= double(count) / double(total) * std::log2(double(count) / double(total));
  return bits;
}

std::vector<int64_t> emptyHistogram(const QuantRule &rule) { return std::vector<int64_t>(size_t(1) << rule.bits); }

} // namespace

QuantRule quantRule(const std::string &label) {
  if (label == "attn")
    return {6, 13.0};
  if (label == "mlp")
    return {6, 12.0};
  if (label == "embed")
    return {7, 15.0};
  return {};
}

double codeEntropyBits(const std::vector<double> &values, int64_t rows, int64_t columns, const QuantRule &rule) {
  std::vector<int64_t> histogram = emptyHistogram(rule);
  for (int64_t r = 0; r < rows; ++r)
    addRow(values.data() + r * columns, columns, rule, histogram);
  return entropyBits(histogram);
}

ByteLedger estimateBytes(const Package &package, const std::function<const void *(size_t)> &parameter,
                         int64_t sampledValues) {
  ByteLedger ledger;
  ledger.specBytes = int64_t(package.spec.size());
  std::vector<double> row;
  for (size_t index = 0; index < package.parameters.size(); ++index) {
    const Parameter &tensor = package.parameters[index];
    int64_t count = 1;
    for (int64_t size : tensor.shape)
      count *= size;
    TensorBytes bytes{tensor.name, tensor.quant, tensor.shape};
    bytes.raw = count * dtypeBytes(tensor.dtype);
    bytes.quantised = bytes.coded = 2 * count;
    bool isCoded = !tensor.quant.empty() && tensor.shape.size() >= 2 && count > kMaxPassThrough;
    // Asked for once: it may be a copy from another memory.
    const void *memory = isCoded ? parameter(index) : nullptr;
    if (memory) {
      int64_t columns = tensor.shape.back(), rows = count / columns;
      int64_t taken = std::clamp<int64_t>(sampledValues / columns, 1, rows);
      QuantRule rule = quantRule(tensor.quant);
      std::vector<int64_t> histogram = emptyHistogram(rule);
      row.resize(size_t(columns));
      for (int64_t i = 0; i < taken; ++i) {
        int64_t first = i * rows / taken * columns;
        for (int64_t c = 0; c < columns; ++c)
          row[size_t(c)] = valueAt(memory, tensor.dtype, first + c);
        addRow(row.data(), columns, rule, histogram);
      }
      bytes.bits = rule.bits;
      bytes.quantised = (count * rule.bits + 7) / 8 + 2 * rows;
      bytes.coded = int64_t(std::ceil(double(count) * entropyBits(histogram) / 8)) + 2 * rows;
    } else {
      bytes.quant.clear();
    }
    ledger.raw += bytes.raw;
    ledger.quantised += bytes.quantised;
    ledger.coded += bytes.coded;
    ledger.tensors.push_back(std::move(bytes));
  }
  return ledger;
}

Json ByteLedger::toJson() const {
  Json list = Json::array();
  for (const TensorBytes &tensor : tensors)
    list.push_back({{"name", tensor.name}, {"shape", tensor.shape}, {"quant", tensor.quant}, {"bits", tensor.bits},
                    {"raw", tensor.raw}, {"quantised", tensor.quantised}, {"coded", tensor.coded}});
  return {{"raw", raw}, {"quantised", quantised}, {"coded", coded}, {"spec", specBytes},
          {"artifact", artifactBytes()}, {"limit", kArtifactLimitBytes}, {"tensors", list}};
}

} // namespace pg::rt
