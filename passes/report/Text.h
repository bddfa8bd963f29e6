//===- Text.h - numbers, shapes and source lines as people read them
//-------===//
#ifndef PG_PASSES_REPORT_TEXT_H
#define PG_PASSES_REPORT_TEXT_H

#include "mlir/IR/Location.h"
#include "mlir/IR/Types.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pg::report {

/// 1234567 -> "1,234,567".
std::string grouped(int64_t value);
/// tensor<?x4x32xf32> -> "T×4×32", or with `times` "x" "Tx4x32"; "scalar" for
/// rank 0.
std::string shapeText(mlir::Type type, llvm::StringRef times = "x");
/// "f32"
std::string elementText(mlir::Type type);
/// The shortest number that reads back as the same double.
std::string numberText(double value);
/// A path as reports show it: relative paths as they are, absolute ones from
/// their last "models" folder or, failing that, the file name. Reports are the
/// same wherever a project lies.
std::string displayPath(llvm::StringRef path);

/// A place in a specification file.
struct Place {
  std::string path; ///< as in the location
  unsigned line = 0, column = 0;
  /// "models/blocks/mlp.yaml:7"
  std::string text() const;
  bool sameLine(const Place &other) const {
    return line == other.line && path == other.path;
  }
};

/// All places of a location: of an inlined op first its own line, then the
/// callers' from the inside out; those of fused locations in order. No
/// repetitions.
std::vector<Place> placesOf(mlir::Location loc);
/// The first of them; line 0 when there is none.
Place placeOf(mlir::Location loc);

/// Lines of the specification files, read on demand. A file that cannot be
/// read has no lines.
class SourceText {
public:
  /// Line `place.line` without indentation and trailing comment.
  std::string line(const Place &place);
  /// Names assigned on that line: {"a", "b"} for `a, b = f(x)`.
  std::vector<std::string> assigned(const Place &place);
  /// The identifier that starts at the place; empty when there is none.
  std::string identifier(const Place &place);

private:
  std::string raw(const Place &place);
  std::map<std::string, std::vector<std::string>> files;
};

} // namespace pg::report

#endif // PG_PASSES_REPORT_TEXT_H
