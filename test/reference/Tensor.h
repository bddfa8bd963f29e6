//===- Tensor.h - a dense tensor of doubles
//--------------------------------===//
//
// The value type of the reference: row-major, every element type of the dialect
// held as double (i32 and i1 are exact).
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_REFERENCE_TENSOR_H
#define PG_TEST_REFERENCE_TENSOR_H

#include <cstdint>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

namespace pg::reference {

using Shape = std::vector<int64_t>;

/// Number of elements of a shape; 1 for rank 0.
inline int64_t volume(const Shape &shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1},
                         std::multiplies<int64_t>());
}

/// Elements one step along each dimension skips.
inline Shape strides(const Shape &shape) {
  Shape result(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    result[i - 1] = result[i] * shape[i];
  return result;
}

struct Tensor {
  Shape shape;
  std::vector<double> data;

  Tensor() = default;
  explicit Tensor(Shape dims, double fill = 0.0)
      : shape(std::move(dims)), data(volume(shape), fill) {}
  Tensor(Shape dims, std::vector<double> values)
      : shape(std::move(dims)), data(std::move(values)) {}

  int64_t size() const { return static_cast<int64_t>(data.size()); }
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  /// Product of the dimensions before / after `axis`.
  int64_t outer(int64_t axis) const {
    return volume(Shape(shape.begin(), shape.begin() + axis));
  }
  int64_t inner(int64_t axis) const {
    return volume(Shape(shape.begin() + axis + 1, shape.end()));
  }
  double &operator[](int64_t i) { return data[i]; }
  double operator[](int64_t i) const { return data[i]; }
};

} // namespace pg::reference

#endif // PG_TEST_REFERENCE_TENSOR_H
