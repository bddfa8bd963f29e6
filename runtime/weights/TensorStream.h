//===- TensorStream.h - a safetensors file written tensor by tensor ------------===//
#ifndef PG_RUNTIME_WEIGHTS_TENSORSTREAM_H
#define PG_RUNTIME_WEIGHTS_TENSORSTREAM_H

#include "runtime/support/File.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pg::rt {

/// What is known of a tensor before its values are.
struct TensorShape {
  std::string name, dtype;    ///< safetensors spelling of the type
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  size_t source = 0;          ///< for the caller
};

/// Puts the tensors into the order of the format's reference writer: larger
/// elements first, then by name.
void sortTensors(std::vector<TensorShape> &tensors);

/// Everything in front of the values of `tensors`, which are in file order:
/// length, JSON, padding to 8 bytes.
std::string safetensorsHeader(const std::vector<TensorShape> &tensors,
                              const std::map<std::string, std::string> &metadata);

} // namespace pg::rt

#endif // PG_RUNTIME_WEIGHTS_TENSORSTREAM_H
