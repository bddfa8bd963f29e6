//===- OpCases.h - one small program per primitive
//-------------------------===//
//
// Each case is one op with its operands. The same case yields the comparison of
// compiled values with the reference and the check of the gradient against
// central differences.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_NUMERICS_OPCASES_H
#define PG_TEST_NUMERICS_OPCASES_H

#include "test/reference/Interpreter.h"

#include <ostream>
#include <string>
#include <vector>

namespace pg::numerics {

struct Operand {
  enum class Kind { Float, Int, Bool };
  std::string name;
  reference::Shape shape; ///< without the token axis
  bool perToken = false;
  Kind kind = Kind::Float;
  double low = -1.5, high = 1.5; ///< values are drawn from [low, high)
  /// The gradient w.r.t. this operand is compared with central differences.
  bool isChecked = true;

  /// Type text, for instance `tensor<?x4xf64>`.
  std::string type(const std::string &element) const;
};

struct OpCase {
  std::string name;
  std::vector<Operand> operands;
  /// Defines %y; `$F` stands for the float type.
  std::string text;
  /// Result shape without the token axis, and whether it has one.
  reference::Shape shape;
  bool perToken = true;
  /// Bound of ||compiled - reference|| / ||reference|| per tensor, values and
  /// gradients (docs/numerics.md).
  double boundF32 = 1e-5, boundF64 = 1e-12;
};

/// How gtest prints a case.
inline void PrintTo(const OpCase &c, std::ostream *out) { *out << c.text; }

/// Operands in short.
Operand token(std::string name, reference::Shape shape, double low = -1.5,
              double high = 1.5);
Operand weight(std::string name, reference::Shape shape, double low = -1.5,
               double high = 1.5);
Operand tokenInt(std::string name, int below);
Operand tokenBool(std::string name, reference::Shape shape);

/// Every differentiable primitive, in its variants.
const std::vector<OpCase> &opCases();
/// Those of them whose logits can be kept between loss and gradients.
std::vector<OpCase> headCases();

/// A batch of three rows, one of them a single token, with segments that cut
/// rows at odd places: 23 tokens. Slots 2, 0 and 2.
reference::PackedBatch oddBatch();

/// Reproducible values for the operands of a case, integers included.
reference::Tensor draw(const Operand &operand, int64_t tokens, uint64_t seed);

} // namespace pg::numerics

#endif // PG_TEST_NUMERICS_OPCASES_H
