//===- Initialise.cpp - the closed set of parameter initialisers ------------===//
#include "runtime/train/Initialise.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/BFloat16.h"
#include "runtime/support/Random.h"

#include <cmath>

namespace pg::rt {
namespace {

/// Sums in eight fixed lanes, so that the compiler may use vectors.
double dot(const double *a, const double *b, int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      lanes[lane] += a[i + lane] * b[i + lane];
  for (; i < count; ++i)
    lanes[0] += a[i] * b[i];
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

/// `vectors` orthonormal vectors of `length` elements (vectors <= length) from
/// Gaussian ones, by Gram-Schmidt done twice. The diagonal of R stays positive,
/// which makes the distribution uniform over the orthogonal group.
std::vector<double> orthonormal(const Random &random, int64_t vectors, int64_t length) {
  std::vector<double> q(size_t(vectors * length));
  for (size_t i = 0; i < q.size(); ++i)
    q[i] = random.normal(i);
  for (int64_t v = 0; v < vectors; ++v) {
    double *vector = q.data() + v * length;
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t earlier = 0; earlier < v; ++earlier) {
        const double *other = q.data() + earlier * length;
        double share = dot(vector, other, length);
        for (int64_t i = 0; i < length; ++i)
          vector[i] -= share * other[i];
      }
    double scale = 1 / std::sqrt(dot(vector, vector, length));
    for (int64_t i = 0; i < length; ++i)
      vector[i] *= scale;
  }
  return q;
}

std::vector<double> orthogonal(const Parameter &parameter, const Random &random, double gain) {
  int64_t rows = parameter.shape.empty() ? 1 : parameter.shape[0];
  int64_t columns = elementCount(parameter.shape) / rows;
  bool isWide = rows <= columns;
  std::vector<double> q = isWide ? orthonormal(random, rows, columns) : orthonormal(random, columns, rows);
  std::vector<double> values(q.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      values[size_t(r * columns + c)] = gain * q[size_t(isWide ? r * columns + c : c * rows + r)];
  return values;
}

} // namespace

std::string parameterBytes(const std::vector<double> &values, DType dtype) {
  std::string bytes(values.size() * size_t(dtypeBytes(dtype)), '\0');
  auto *memory = static_cast<void *>(bytes.data());
  for (size_t i = 0; i < values.size(); ++i)
    switch (dtype) {
    case DType::F64: static_cast<double *>(memory)[i] = values[i]; break;
    case DType::BF16: static_cast<uint16_t *>(memory)[i] = floatToBf16(float(values[i])); break;
    case DType::I8: static_cast<int8_t *>(memory)[i] = int8_t(values[i]); break;
    default: static_cast<float *>(memory)[i] = float(values[i]); break;
    }
  return bytes;
}

StatusOr<std::vector<double>> initialValues(const Parameter &parameter, uint64_t seed) {
  const auto &numbers = parameter.init.numbers;
  const std::string &kind = parameter.init.kind;
  auto invalid = [&](const std::string &text) {
    return Status(Code::Invalid, "parameter '" + parameter.name + "' (" + parameter.location + "): initialiser '" +
                                     kind + "' " + text);
  };
  auto has = [&](const char *name) { return numbers.count(name) != 0; };
  std::vector<double> values(size_t(elementCount(parameter.shape)), 0.0);
  Random random(seed, parameter.name);

  if (kind == "zeros")
    return values;
  if (kind == "ones") {
    values.assign(values.size(), 1.0);
    return values;
  }
  if (kind == "constant") {
    if (!has("value"))
      return invalid("needs 'value'");
    values.assign(values.size(), numbers.at("value"));
    return values;
  }
  if (kind == "normal") {
    if (!has("std"))
      return invalid("needs 'std'");
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = numbers.at("std") * random.normal(i);
    return values;
  }
  if (kind == "uniform") {
    if (!has("low") || !has("high"))
      return invalid("needs 'low' and 'high'");
    double low = numbers.at("low"), high = numbers.at("high");
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = low + (high - low) * random.uniform(i);
    return values;
  }
  if (kind == "orthogonal") {
    if (!has("gain"))
      return invalid("needs 'gain'");
    return orthogonal(parameter, random, numbers.at("gain"));
  }
  if (kind == "rows") {
    int64_t rows = parameter.shape.empty() ? 1 : parameter.shape[0];
    size_t rowSize = values.size() / size_t(rows);
    for (int64_t r = 0; r < rows; ++r) {
      auto number = numbers.find(std::to_string(r));
      if (number == numbers.end())
        return invalid("has no value for row " + std::to_string(r) + " of " + std::to_string(rows));
      std::fill_n(values.begin() + r * int64_t(rowSize), rowSize, number->second);
    }
    return values;
  }
  return invalid("is unknown, expected zeros, ones, constant, normal, uniform, orthogonal or rows");
}

Status drawState(Executor &executor, size_t index, uint64_t seed, const std::string &use) {
  const State &state = executor.package().states[index];
  std::vector<double> values(size_t(elementCount(state.shape)), state.init);
  if (!state.draw.kind.empty()) {
    Parameter drawn;
    drawn.name = state.name + " " + use;
    drawn.shape = state.shape;
    drawn.init = state.draw;
    auto random = initialValues(drawn, seed);
    if (!random)
      return random.status();
    values = std::move(*random);
  }
  return executor.writeState(index, parameterBytes(values, state.dtype).data());
}

Status initialise(Executor &executor, uint64_t seed) {
  const auto &parameters = executor.package().parameters;
  std::vector<Status> problems(parameters.size());
  std::vector<std::string> bytes(parameters.size());
  executor.pool().parallelFor(int64_t(parameters.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (auto i = size_t(begin); i < size_t(end); ++i) {
      auto values = initialValues(parameters[i], seed);
      problems[i] = values.status();
      if (values)
        bytes[i] = parameterBytes(*values, parameters[i].dtype);
    }
  });
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!problems[i])
      return problems[i];
    if (Status status = executor.writeParameter(i, bytes[i].data()); !status)
      return status;
  }
  return executor.resetStates();
}

} // namespace pg::rt
