//===- Scalar.h - the strict grammar of scalars ----------------------------===//
//
// YAML readers disagree on `010`, `yes`, `1_000` and `nan`. Here numbers are
// decimal, booleans are true and false, and whatever looks like an attempt at
// one of these without being it is refused unless quoted.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_SCALAR_H
#define PG_FRONTEND_SCALAR_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>

namespace pg::frontend {

/// -?(0|[1-9][0-9]*) that fits 64 bits.
std::optional<int64_t> parseInt(llvm::StringRef text);
/// An integer, or decimals with an optional exponent: 0.5, 1e-8. Finite.
std::optional<double> parseFloat(llvm::StringRef text);
/// true or false.
std::optional<bool> parseBool(llvm::StringRef text);
/// True when an unquoted scalar can only be meant as text: no number, no
/// boolean, nothing that another reader would take for one.
bool isPlainString(llvm::StringRef text);
/// [A-Za-z_][A-Za-z0-9_]*, dots allowed between such parts when `dotted`.
bool isIdentifier(llvm::StringRef text, bool dotted = false);

} // namespace pg::frontend

#endif // PG_FRONTEND_SCALAR_H
