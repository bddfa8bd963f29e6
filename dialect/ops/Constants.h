//===- Constants.h - arithmetic on constants at compile time --------------===//
//
// A constant operand is either the f64 attribute of a `pg.fill` (one value, any
// shape, also of a token tensor) or the dense elements of a `pg.constant`.
// Arithmetic is done on the host in double, integers in 64 bits wrapped to 32;
// each dense result is rounded once to the element type.
//
//===----------------------------------------------------------------------===//
#ifndef PG_DIALECT_OPS_CONSTANTS_H
#define PG_DIALECT_OPS_CONSTANTS_H

#include "dialect/Pg.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>

namespace pg {

/// No constant above this many elements is made by folding: larger tables are
/// cheaper to compute at run time than to carry in the package.
inline constexpr int64_t kMaxFoldedElements = 65536;

/// A constant operand, read element by element.
class ConstantOperand {
public:
  /// Empty when `attr` is no constant or too large to fold.
  static std::optional<ConstantOperand> read(mlir::Attribute attr);

  /// True when one number stands for every element.
  bool isUniform() const { return values.size() == 1 && uniform; }
  double operator[](int64_t i) const { return values[uniform ? 0 : i]; }
  int64_t size() const { return static_cast<int64_t>(values.size()); }

private:
  bool uniform = false;
  llvm::SmallVector<double, 1> values;
};

/// True when the constant `attr` is `value` everywhere.
bool isUniformConstant(mlir::Attribute attr, double value);

/// `values` as the dense attribute of the static tensor `type`.
mlir::Attribute denseConstant(mlir::RankedTensorType type,
                              llvm::ArrayRef<double> values);

/// Applies `function` to the elements; null when an operand is no constant.
mlir::OpFoldResult
foldElementwise(llvm::ArrayRef<mlir::Attribute> operands, mlir::Type resultType,
                llvm::function_ref<double(llvm::ArrayRef<double>)> function);

/// Moves elements: element i of the result is element `source(i)` of the
/// operand, or 0 when that is negative. Null when the operand is no constant.
mlir::OpFoldResult foldMovement(mlir::Attribute operand, mlir::Type resultType,
                                llvm::function_ref<int64_t(int64_t)> source);

/// Row-major strides of a static shape.
llvm::SmallVector<int64_t> rowMajorStrides(llvm::ArrayRef<int64_t> shape);

} // namespace pg

#endif // PG_DIALECT_OPS_CONSTANTS_H
