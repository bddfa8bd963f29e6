//===- TensorBuilder.h - NumPy-like arithmetic as pg ops -------------------===//
//
// The dialect's pointwise ops take operands of one shape. This class makes
// what NumPy leaves implicit explicit: conversions, broadcasts, flattening.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_TENSORBUILDER_H
#define PG_FRONTEND_TENSORBUILDER_H

#include "frontend/Report.h"
#include "frontend/StaticValue.h"

#include "dialect/Pg.h"

#include <functional>
#include <map>

namespace pg::frontend {

/// Creates ops at the builder's insertion point. Every method takes the
/// position of the expression it builds; after a reported error it returns
/// poison (or a null value).
class TensorBuilder {
public:
  TensorBuilder(mlir::OpBuilder &builder, Reporter &reporter)
      : builder(builder), reporter(reporter) {}

  /// Reads a parameter of the present scope; set by whoever owns the scope.
  std::function<mlir::Value(const Value &parameter, SpecPos)> readParameter;
  /// Names of sizes, for messages.
  std::map<std::string, int64_t> sizeNames;

  /// The tensor behind a Tensor or Parameter value; null with an error naming
  /// `what` for anything else.
  mlir::Value tensor(const Value &value, SpecPos pos, const std::string &what);
  /// Brings operands to one shape and element type: numbers become constants,
  /// integers meet floats as f32.
  bool unify(SpecPos pos, llvm::ArrayRef<Value> operands,
             llvm::SmallVectorImpl<mlir::Value> &out, bool forceFloat = false);
  /// "[T, H=8, 64]".
  std::string describe(mlir::RankedTensorType type) const;

  Value binary(SpecPos pos, const std::string &op, const Value &left,
               const Value &right);
  Value compare(SpecPos pos, const std::string &op, const Value &left,
                const Value &right);
  Value power(SpecPos pos, const Value &base, const Value &exponent);
  Value negate(SpecPos pos, const Value &operand);
  Value select(SpecPos pos, const Value &condition, const Value &left,
               const Value &right);

  /// A unary op on floats; integers are converted first.
  template <typename Op> Value unary(SpecPos pos, const Value &operand) {
    mlir::Value x = floatTensor(operand, pos);
    return x ? Value::of(Op::create(builder, location(pos), x).getResult())
             : Value::poison();
  }
  /// A binary op on operands of one type.
  template <typename Op>
  Value pair(SpecPos pos, const Value &left, const Value &right) {
    llvm::SmallVector<mlir::Value> operands;
    if (!unify(pos, {left, right}, operands))
      return Value::poison();
    return Value::of(
        Op::create(builder, location(pos), operands[0], operands[1])
            .getResult());
  }

  mlir::Value floatTensor(const Value &value, SpecPos pos);
  mlir::Value cast(SpecPos pos, mlir::Value x, mlir::Type element);
  mlir::Value fill(SpecPos pos, double value, mlir::RankedTensorType type);
  mlir::Value reshape(SpecPos pos, mlir::Value x, llvm::ArrayRef<int64_t> shape);
  mlir::Value broadcast(SpecPos pos, mlir::Value x,
                        llvm::ArrayRef<int64_t> shape);
  mlir::Value slice(SpecPos pos, mlir::Value x, int64_t axis, int64_t start,
                    int64_t size);
  /// x W^T over the last axis of x of any rank.
  Value linear(SpecPos pos, const Value &x, const Value &weight);
  /// Sum or maximum over `axes` of the result type's rank (increasing).
  mlir::Value reduce(SpecPos pos, mlir::Value x, llvm::ArrayRef<int64_t> axes,
                     bool isMax, bool keepDims);

  mlir::RankedTensorType floatType(llvm::ArrayRef<int64_t> shape);
  mlir::Location location(SpecPos pos) const { return reporter.location(pos); }
  mlir::OpBuilder &getBuilder() { return builder; }
  Reporter &getReporter() { return reporter; }

private:
  mlir::OpBuilder &builder;
  Reporter &reporter;
};

/// The type of a tensor value.
inline mlir::RankedTensorType typeOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}

} // namespace pg::frontend

#endif // PG_FRONTEND_TENSORBUILDER_H
