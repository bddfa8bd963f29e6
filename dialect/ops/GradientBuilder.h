//===- GradientBuilder.h - short forms for writing gradients --------------===//
//
// Every `vjp` writes a few pointwise ops; this keeps each rule as short as its
// formula. All ops are made at the builder's insertion point with one location.
//
//===----------------------------------------------------------------------===//
#ifndef PG_DIALECT_OPS_GRADIENTBUILDER_H
#define PG_DIALECT_OPS_GRADIENTBUILDER_H

#include "dialect/Pg.h"

namespace pg {

class GradientBuilder {
public:
  GradientBuilder(mlir::OpBuilder &builder, mlir::Location loc)
      : builder(builder), loc(loc) {}

  mlir::Value add(mlir::Value x, mlir::Value y) {
    return AddOp::create(builder, loc, x.getType(), x, y);
  }
  mlir::Value sub(mlir::Value x, mlir::Value y) {
    return SubOp::create(builder, loc, x.getType(), x, y);
  }
  mlir::Value mul(mlir::Value x, mlir::Value y) {
    return MulOp::create(builder, loc, x.getType(), x, y);
  }
  mlir::Value div(mlir::Value x, mlir::Value y) {
    return DivOp::create(builder, loc, x.getType(), x, y);
  }
  mlir::Value neg(mlir::Value x) {
    return NegOp::create(builder, loc, x.getType(), x);
  }
  mlir::Value exp(mlir::Value x) {
    return ExpOp::create(builder, loc, x.getType(), x);
  }
  /// The number `value` in the shape of `like`.
  mlir::Value fillLike(mlir::Value like, double value) {
    return fill(like.getType(), value);
  }
  mlir::Value fill(mlir::Type type, double value) {
    return FillOp::create(builder, loc, type, builder.getF64FloatAttr(value));
  }
  mlir::Value scale(mlir::Value x, double factor) {
    return mul(x, fillLike(x, factor));
  }
  mlir::Value compare(Predicate predicate, mlir::Value x, mlir::Value y) {
    auto type = mlir::cast<mlir::RankedTensorType>(x.getType());
    return CompareOp::create(builder, loc, type.clone(builder.getI1Type()),
                             predicate, x, y);
  }
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y) {
    return SelectOp::create(builder, loc, x.getType(), condition, x, y);
  }
  mlir::Value reshape(mlir::Value x, mlir::Type type) {
    if (x.getType() == type)
      return x;
    return ReshapeOp::create(builder, loc, type, x);
  }
  mlir::Value broadcast(mlir::Value x, mlir::Type type,
                        llvm::ArrayRef<int64_t> dims) {
    if (x.getType() == type)
      return x;
    return BroadcastOp::create(builder, loc, type, x,
                               builder.getDenseI64ArrayAttr(dims));
  }
  /// Sum over `axes` (increasing); the token axis goes last, in an op of its
  /// own.
  mlir::Value reduceSum(mlir::Value x, llvm::ArrayRef<int64_t> axes);
  mlir::Value reduceMax(mlir::Value x, llvm::ArrayRef<int64_t> axes);
  /// Puts `axes` back that a reduction of a tensor of `type` removed from `x`.
  mlir::Value restoreAxes(mlir::Value x, mlir::Type type,
                          llvm::ArrayRef<int64_t> axes);

  mlir::OpBuilder &builder;
  mlir::Location loc;
};

/// `type` without the dimensions `axes`.
mlir::RankedTensorType dropAxes(mlir::RankedTensorType type,
                                llvm::ArrayRef<int64_t> axes);

} // namespace pg

#endif // PG_DIALECT_OPS_GRADIENTBUILDER_H
