//===- Safetensors.h - the field's tensor file -------------------------------===//
//
// Reader with every check of the format and caps of our own; writer in the
// order of the reference implementation (larger alignment first, then name).
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_WEIGHTS_SAFETENSORS_H
#define PG_RUNTIME_WEIGHTS_SAFETENSORS_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pg::rt {

/// A tensor inside a file that is held in memory.
struct TensorView {
  std::string dtype;            ///< "F32", "BF16", "I32", ...
  std::vector<int64_t> shape;
  std::string_view bytes;

  int64_t count() const;
};

/// A parsed file; views stay valid as long as it lives.
class SafetensorsFile {
public:
  /// Io or Corrupt, naming the file.
  static StatusOr<SafetensorsFile> read(const std::string &path);
  /// Parses bytes (they are kept).
  static StatusOr<SafetensorsFile> parse(std::string bytes);

  const std::map<std::string, TensorView> &tensors() const { return tensors_; }
  const std::map<std::string, std::string> &metadata() const { return metadata_; }
  const TensorView *find(const std::string &name) const;

private:
  std::unique_ptr<const std::string> held; ///< its address survives a move of the file
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Bytes of one element of a safetensors dtype, 0 when unknown.
int64_t safetensorsDtypeBytes(std::string_view dtype);

/// A tensor to write; `bytes` is borrowed.
struct TensorToWrite {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::string_view bytes;
};

/// Atomic write, same tensors same bytes.
Status writeSafetensors(const std::string &path, std::vector<TensorToWrite> tensors,
                        const std::map<std::string, std::string> &metadata = {});

/// Elements as doubles / 64-bit integers whatever the stored type; Invalid for
/// a type that does not fit (`name` is for the message).
StatusOr<std::vector<double>> toDoubles(const TensorView &tensor, const std::string &name);
StatusOr<std::vector<int64_t>> toIntegers(const TensorView &tensor, const std::string &name);

/// "[8192, 512]"
std::string shapeText(const std::vector<int64_t> &shape);

} // namespace pg::rt

#endif // PG_RUNTIME_WEIGHTS_SAFETENSORS_H
