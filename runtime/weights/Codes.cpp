//===- Codes.cpp - weights that a file holds as integer codes ----------------===//
#include "runtime/weights/Codes.h"

#include <cmath>

namespace pg::rt {
namespace {

const char *const kCodes = ".codes", *const kScale = ".scale", *const kLeft = ".left", *const kRight = ".right";

Status invalid(const std::string &text) { return {Code::Invalid, text}; }

/// A float tensor of the file, as itself or from codes.
StatusOr<std::vector<float>> numbersOf(const SafetensorsFile &file, const std::string &name,
                                       const std::vector<int64_t> &shape) {
  const TensorView *tensor = file.find(name);
  if (!tensor)
    return dequantise(file, name, shape);
  if (tensor->shape != shape)
    return invalid("'" + name + "' has shape " + shapeText(tensor->shape) + ", expected " + shapeText(shape));
  auto values = toDoubles(*tensor, name);
  if (!values)
    return values.status();
  return std::vector<float>(values->begin(), values->end());
}

/// The shape under which the file stores `name`, or its codes; null for neither.
const std::vector<int64_t> *storedShape(const SafetensorsFile &file, const std::string &name) {
  const TensorView *tensor = file.find(name);
  if (!tensor)
    tensor = file.find(name + kCodes);
  return tensor ? &tensor->shape : nullptr;
}

/// w += left right: one chain of fused multiply-adds for each element, as the
/// originals' matrix library adds up so few terms.
Status addCorrection(const SafetensorsFile &file, const std::string &name, const std::vector<int64_t> &shape,
                     std::vector<float> &w) {
  const auto *leftShape = storedShape(file, name + kLeft), *rightShape = storedShape(file, name + kRight);
  if (!leftShape && !rightShape)
    return Status::ok();
  if (!leftShape || !rightShape)
    return invalid("'" + name + kLeft + "' and '" + name + kRight + "' belong together, and one is missing");
  if (shape.size() != 2 || leftShape->size() != 2)
    return invalid("'" + name + kLeft + "' has shape " + shapeText(*leftShape) + ", expected [rows, rank] of " +
                   shapeText(shape));
  int64_t rows = shape[0], columns = shape[1], rank = (*leftShape)[1];
  auto left = numbersOf(file, name + kLeft, {rows, rank});
  if (!left)
    return left.status();
  auto right = numbersOf(file, name + kRight, {rank, columns});
  if (!right)
    return right.status();
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < rank; ++k)
        sum = std::fma((*left)[size_t(i * rank + k)], (*right)[size_t(k * columns + j)], sum);
      w[size_t(i * columns + j)] += sum;
    }
  return Status::ok();
}

} // namespace

bool isStoredAsCodes(const SafetensorsFile &file, const std::string &name) {
  return !file.find(name) && file.find(name + kCodes);
}

std::vector<std::string> partsOf(const SafetensorsFile &file, const std::string &name) {
  if (file.find(name))
    return {name};
  std::vector<std::string> parts;
  if (!file.find(name + kCodes))
    return parts;
  for (const char *suffix : {kCodes, kScale})
    if (file.find(name + suffix))
      parts.push_back(name + suffix);
  for (const char *suffix : {kLeft, kRight})
    for (const std::string &part : partsOf(file, name + suffix))
      parts.push_back(part);
  return parts;
}

Status checkCodes(const TensorView &codes, const std::string &name, int64_t bits) {
  if (codes.dtype != "I8")
    return invalid("'" + name + "' has dtype " + codes.dtype + ", expected I8");
  if (bits <= 0)
    return Status::ok();
  int low = -(1 << (bits - 1)), high = -low - 1;
  for (char byte : codes.bytes) {
    auto code = static_cast<signed char>(byte);
    if (code < low || code > high)
      return invalid("'" + name + "' holds the code " + std::to_string(code) + "; codes of " + std::to_string(bits) +
                     " bits lie in " + std::to_string(low) + ".." + std::to_string(high));
  }
  return Status::ok();
}

StatusOr<std::vector<float>> dequantise(const SafetensorsFile &file, const std::string &name,
                                        const std::vector<int64_t> &shape) {
  const TensorView *codes = file.find(name + kCodes), *scale = file.find(name + kScale);
  if (!codes)
    return invalid("'" + name + kCodes + "' is missing");
  if (!scale)
    return invalid("'" + name + kCodes + "' has no '" + name + kScale + "' beside it");
  if (Status status = checkCodes(*codes, name + kCodes, 0); !status)
    return status;
  if (codes->shape != shape)
    return invalid("'" + name + kCodes + "' has shape " + shapeText(codes->shape) + ", expected " + shapeText(shape));
  if (scale->dtype == "I8" || scale->dtype == "I32")
    return invalid("'" + name + kScale + "' has dtype " + scale->dtype + ", expected floats");
  auto factors = toDoubles(*scale, name + kScale);
  if (!factors)
    return factors.status();
  size_t count = codes->bytes.size(), groups = factors->size();
  if (groups == 0 ? count > 0 : count % groups != 0)
    return invalid("'" + name + kScale + "' has " + std::to_string(groups) + " numbers, which do not divide the " +
                   std::to_string(count) + " codes");
  std::vector<float> w(count);
  size_t perGroup = groups ? count / groups : 1;
  for (size_t i = 0; i < count; ++i)
    w[i] = float(static_cast<signed char>(codes->bytes[i])) * float((*factors)[i / perGroup]);
  if (Status status = addCorrection(file, name, shape, w); !status)
    return status;
  return w;
}

} // namespace pg::rt
