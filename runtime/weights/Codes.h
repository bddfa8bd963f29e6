//===- Codes.h - weights that a file holds as integer codes ------------------===//
//
// A tensor W may be stored as parts instead of as itself:
//
//   W.codes   I8, of W's shape
//   W.scale   any float type; G numbers, each for count(W) / G codes that follow
//             each other row by row: one for all, one a row, or one a group
//   W.left, W.right   [R, r] and [r, C], themselves stored either way; may be
//             missing together
//
// W = codes x scale + left right. The package decides which form it reads: a float
// parameter takes W from either, one of codes takes W.codes and the rest as they are.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_WEIGHTS_CODES_H
#define PG_RUNTIME_WEIGHTS_CODES_H

#include "runtime/weights/Safetensors.h"

namespace pg::rt {

/// Whether the file stores `name` as codes and not as itself.
bool isStoredAsCodes(const SafetensorsFile &file, const std::string &name);

/// Names of the tensors of the file that `name` is read from, its own or its
/// parts; empty when there are none.
std::vector<std::string> partsOf(const SafetensorsFile &file, const std::string &name);

/// The values of a tensor stored as codes: every product and sum in f32, left
/// right by fused multiply-adds in the order of the rank; a
/// scale first widened to it. Invalid, with the tensor at fault, for parts that do
/// not belong together or do not have `shape`.
StatusOr<std::vector<float>> dequantise(const SafetensorsFile &file, const std::string &name,
                                        const std::vector<int64_t> &shape);

/// Invalid unless `codes` is I8 and every code has so many bits (0: not checked).
Status checkCodes(const TensorView &codes, const std::string &name, int64_t bits);

} // namespace pg::rt

#endif // PG_RUNTIME_WEIGHTS_CODES_H
