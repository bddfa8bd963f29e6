//===- FoldFactors.cpp - factors of channels move from tokens to weights ----===//
//
// A token tensor whose channels are multiplied by fixed factors, y = x s, in front of
// products (the gradient of a block's result behind its scale is one):
//
//   y w   = x (diag(s) w)          the weights are multiplied, as they are packed
//   y^T b = diag(s) (x^T b)        the result is, before it is stored
//   a^T y = (a^T x) diag(s)
//
// Where only products read y it is then never made: one read and one write of all
// tokens less, and a product that reads x as it lies.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/StructuredKernels.h"

#include "dialect/Pg.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

using namespace mlir;

namespace pg {
namespace {

/// y = x times `factors`, one for each channel.
struct Scaled {
  Value x, factors;
};

/// A static vector along the channels of a token matrix.
Value channelFactors(Value value) {
  auto broadcast = value.getDefiningOp<BroadcastOp>();
  if (!broadcast)
    return {};
  auto from = cast<RankedTensorType>(broadcast.getX().getType());
  bool isAlongChannels = from.getRank() == 1 && from.hasStaticShape() && broadcast.getDims()[0] == 1;
  return isAlongChannels ? broadcast.getX() : Value();
}

/// Whether products can read x instead: each has y on one side, and tokens there.
bool canReadUnscaled(MulOp y, MatmulOp product) {
  Value a = product.getA(), b = product.getB(), scaled = y.getResult();
  if (a == b || product.getType().getElementType() != y.getType().getElementType())
    return false;
  if (a != scaled)
    return product.getTransposeA() && !product.getTransposeB();
  auto other = cast<RankedTensorType>(b.getType());
  return product.getTransposeA() ||
         (other.hasStaticShape() && other.getElementType() == y.getType().getElementType());
}

/// `value` times the factors along dimension `dim`, in front of or behind a product.
Value multiplied(OpBuilder &builder, Operation *product, Value value, Value factors, int64_t dim) {
  auto spread = BroadcastOp::create(builder, product->getLoc(), value.getType(), factors,
                                    builder.getDenseI64ArrayAttr({dim}));
  auto result = MulOp::create(builder, product->getLoc(), value, spread);
  // The new ops belong to the part of the program that the product belongs to.
  for (Operation *op : {spread.getOperation(), result.getOperation()})
    op->setDiscardableAttrs(product->getDiscardableAttrDictionary());
  return result;
}

void readUnscaled(MulOp y, MatmulOp product, const Scaled &scaled) {
  OpBuilder builder(product);
  bool isLeft = product.getA() == y.getResult();
  (isLeft ? product.getAMutable() : product.getBMutable()).assign(scaled.x);
  if (isLeft && !product.getTransposeA()) {
    int64_t dim = product.getTransposeB() ? 1 : 0;
    Value weights = multiplied(builder, product, product.getB(), scaled.factors, dim);
    weights.getDefiningOp()->setAttr(kIntoProductAttr, builder.getUnitAttr());
    product.getBMutable().assign(weights);
    return;
  }
  builder.setInsertionPointAfter(product);
  Value result = multiplied(builder, product, product.getResult(), scaled.factors, isLeft ? 0 : 1);
  product.getResult().replaceAllUsesExcept(result, result.getDefiningOp());
}

} // namespace

void foldFactors(ModuleOp module) {
  // A policy that rounds factors of products would round other numbers.
  const rt::PrecisionPolicy *policy = precisionPolicyOf(module);
  if (policy && policy->factor != policy->maths)
    return;
  SmallVector<MulOp> products;
  module.walk([&](MulOp op) { products.push_back(op); });
  for (MulOp y : products) {
    auto type = cast<RankedTensorType>(y.getType());
    if (type.getRank() != 2 || !type.isDynamicDim(0) || y->use_empty())
      continue;
    Scaled scaled{y.getLhs(), channelFactors(y.getRhs())};
    if (!scaled.factors)
      scaled = {y.getRhs(), channelFactors(y.getLhs())};
    bool canFold = scaled.factors && llvm::all_of(y->getUsers(), [&](Operation *user) {
      auto product = dyn_cast<MatmulOp>(user);
      return product && canReadUnscaled(y, product);
    });
    if (!canFold)
      continue;
    SmallVector<Operation *> users(y->getUsers());
    for (Operation *user : users)
      readUnscaled(y, cast<MatmulOp>(user), scaled);
    y->erase();
  }
}

} // namespace pg
