//===- Dequantise.cpp - readers of weights held as codes -------------------===//
//
// With w = diag(s) c + l r, codes c [R, C]:
//
//   x w^T      = (x c^T) diag(s) + (x r^T) l^T
//   x w        = (x diag(s)) c + (x l) r
//   w[index]   = c[index] s[index] + l[index] r
//   the head   takes codes, s, x r^T and l as they are
//
// so that a product multiplies integers, which every float type holds exactly, and
// the scale is one factor for each of its columns (or rows of depth).
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Dequantise.h"

#include "dialect/ops/GradientBuilder.h"
#include "passes/derive/Passes.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace pg {
namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

class Rewriter {
public:
  Rewriter(DequantiseOp weight, Operation *user)
      : weight(weight), builder(user), g(builder, user->getLoc()) {
    if (user->hasAttr(kBackwardAttr))
      builder.setListener(&marker);
  }

  /// What stands for the first result of `user`, or null when it needs the value.
  Value rewrite(Operation *user) {
    return llvm::TypeSwitch<Operation *, Value>(user)
        .Case<MatmulOp>([&](MatmulOp op) { return product(op); })
        .Case<GatherOp>([&](GatherOp op) { return lookUp(op); })
        .Case<LinearCrossEntropyOp>(
            [&](LinearCrossEntropyOp op) { return head(op); })
        .Default([](Operation *) { return Value(); });
  }

private:
  Value matmul(Value a, Value b, bool transposeB) {
    RankedTensorType type = RankedTensorType::get(
        {typeOf(a).getDimSize(0), typeOf(b).getDimSize(transposeB ? 0 : 1)},
        typeOf(a).getElementType());
    return MatmulOp::create(builder, g.loc, type, a, b, false, transposeB);
  }

  Value product(MatmulOp op) {
    Value x = op.getA();
    if (x == weight.getResult() || op.getTransposeA())
      return {};
    bool byRows = op.getTransposeB(); // the scale belongs to columns of the result
    // First, so that the sum of both can end the large product.
    Value correction;
    if (weight.getLeft()) {
      Value thin = matmul(x, byRows ? weight.getRight() : weight.getLeft(), byRows);
      correction = matmul(thin, byRows ? weight.getLeft() : weight.getRight(), byRows);
    }
    Value factor = byRows ? x : g.mul(x, g.broadcast(weight.getScale(), x.getType(), {1}));
    Value y = matmul(factor, weight.getCodes(), byRows);
    if (byRows)
      y = g.mul(y, g.broadcast(weight.getScale(), y.getType(), {1}));
    return correction ? g.add(y, correction) : y;
  }

  Value lookUp(GatherOp op) {
    auto rowsOf = [&](Value table) -> Value {
      SmallVector<int64_t> shape(typeOf(table).getShape());
      shape[0] = op.getType().getDimSize(0);
      return GatherOp::create(
          builder, g.loc,
          RankedTensorType::get(shape, typeOf(table).getElementType()), table,
          op.getIndex());
    };
    Value rows = CastOp::create(builder, g.loc, op.getType(), rowsOf(weight.getCodes()));
    Value y = g.mul(rows, g.broadcast(rowsOf(weight.getScale()), op.getType(), {0}));
    if (weight.getLeft())
      y = g.add(y, matmul(rowsOf(weight.getLeft()), weight.getRight(), false));
    return y;
  }

  Value head(LinearCrossEntropyOp op) {
    Value x = op.getX();
    if (x == weight.getResult())
      return {};
    Value p, q;
    if (weight.getLeft()) {
      p = matmul(x, weight.getRight(), true);
      q = weight.getLeft();
    }
    auto coded = LinearCrossEntropyOp::create(
        builder, g.loc, op.getNll().getType(), op.getLse().getType(), x,
        weight.getCodes(), op.getTargets(), weight.getScale(), p, q,
        op.getSoftcapAttr());
    op.getLse().replaceAllUsesWith(coded.getLse());
    return coded.getNll();
  }

  DequantiseOp weight;
  BackwardMarker marker;
  OpBuilder builder;
  GradientBuilder g;
};

/// The weight itself, once for all who need it.
Value buildValue(DequantiseOp weight) {
  OpBuilder builder(weight);
  GradientBuilder g(builder, weight.getLoc());
  RankedTensorType type = weight.getType();
  Value numbers = CastOp::create(builder, g.loc, type, weight.getCodes());
  Value w = g.mul(numbers, g.broadcast(weight.getScale(), type, {0}));
  if (weight.getLeft())
    w = g.add(w, MatmulOp::create(builder, g.loc, type, weight.getLeft(),
                                  weight.getRight(), false, false));
  return w;
}

} // namespace

void decomposeDequantise(ModuleOp module) {
  SmallVector<DequantiseOp> weights;
  module.walk([&](DequantiseOp op) { weights.push_back(op); });
  for (DequantiseOp weight : weights) {
    // Use lists have no order of their own; an op that reads the weight twice
    // stands in it twice.
    SmallVector<Operation *> users(weight->getUsers());
    llvm::sort(users, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    users.erase(llvm::unique(users), users.end());
    for (Operation *user : users) {
      Value instead = Rewriter(weight, user).rewrite(user);
      if (!instead)
        continue;
      user->getResult(0).replaceAllUsesWith(instead);
      user->erase();
    }
    if (!weight->use_empty())
      weight.replaceAllUsesWith(buildValue(weight));
    weight.erase();
  }
}

} // namespace pg
