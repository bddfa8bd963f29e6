//===- Decompose.cpp - norms, losses and small products as rows -----------===//
//
// Small products stop being kernels of their own: a token tensor times a small
// static matrix is a row's broadcast, product and sum, which fuses with the
// row-wise ops around it; the gradient of a small matrix is a sum over tokens
// of each row's outer product.
//
//===----------------------------------------------------------------------===//
#include "dialect/ops/GradientBuilder.h"
#include "passes/derive/Dequantise.h"
#include "passes/derive/Passes.h"
#include "passes/derive/Simplify.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_DECOMPOSEPASS
#include "passes/derive/Passes.h.inc"

namespace {

/// x (mean(x^2) + eps)^(-1/2).
Value buildRmsNorm(GradientBuilder &g, RmsNormOp op) {
  Value x = op.getX();
  RankedTensorType type = op.getType();
  int64_t last = type.getRank() - 1;
  Value meanSquare = g.scale(g.reduceSum(g.mul(x, x), {last}),
                             1.0 / static_cast<double>(type.getDimSize(last)));
  Value shifted =
      g.add(meanSquare, g.fillLike(meanSquare, op.getEps().convertToDouble()));
  Value r = RsqrtOp::create(g.builder, g.loc, shifted.getType(), shifted);
  return g.mul(x, g.restoreAxes(r, type, {last}));
}

/// log sum exp(z - max z) + max z - z[target].
Value buildCrossEntropy(GradientBuilder &g, CrossEntropyOp op) {
  Value z = op.getLogits();
  RankedTensorType type = op.getLogits().getType();
  Value top = g.reduceMax(z, {1});
  Value sum = g.reduceSum(g.exp(g.sub(z, g.restoreAxes(top, type, {1}))), {1});
  Value log = LogOp::create(g.builder, g.loc, sum.getType(), sum);
  Value wanted =
      PickOp::create(g.builder, g.loc, top.getType(), z, op.getTargets());
  return g.sub(g.add(log, top), wanted);
}

/// The row-wise form of a product with at most `limit` static elements, or
/// null when the product keeps its kernel.
Value buildSmallProduct(GradientBuilder &g, MatmulOp op, int64_t limit) {
  Value a = op.getA(), b = op.getB();
  RankedTensorType aType = op.getA().getType(), bType = op.getB().getType();
  auto cube = [&](int64_t i, int64_t j, int64_t k) {
    return RankedTensorType::get({i, j, k}, aType.getElementType());
  };
  // dW [M, K] = sum over t of p_t (outer) q_t.
  if (op.getTransposeA()) {
    if (!isTokenTensor(aType) || !isTokenTensor(bType) ||
        op.getType().getNumElements() > limit)
      return {};
    RankedTensorType outer =
        cube(ShapedType::kDynamic, aType.getDimSize(1), bType.getDimSize(1));
    Value left = g.broadcast(a, outer, {0, 1});
    Value right = g.broadcast(b, outer, {0, 2});
    return g.reduceSum(g.mul(left, right), {0});
  }
  if (!isTokenTensor(aType) || isTokenTensor(bType) ||
      bType.getNumElements() > limit)
    return {};
  // The matrix keeps its layout: its row index is dimension 1 of the cube and
  // its column index dimension 2; the contracted one is summed.
  RankedTensorType product =
      cube(ShapedType::kDynamic, bType.getDimSize(0), bType.getDimSize(1));
  int64_t contracted = op.getTransposeB() ? 2 : 1;
  Value left = g.broadcast(a, product, {0, contracted});
  Value right = g.broadcast(b, product.clone(bType.getElementType()), {1, 2});
  if (bType.getElementType() != aType.getElementType()) // codes
    right = CastOp::create(g.builder, g.loc, product, right);
  return g.reduceSum(g.mul(left, right), {contracted});
}

struct DecomposePass : impl::DecomposePassBase<DecomposePass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // First: it makes small products.
    decomposeDequantise(module);
    SmallVector<Operation *> candidates;
    module.walk([&](Operation *op) {
      if (isa<RmsNormOp, CrossEntropyOp, MatmulOp>(op))
        candidates.push_back(op);
    });
    for (Operation *op : candidates)
      decompose(op);
    OpPassManager pipeline(ModuleOp::getOperationName());
    addSimplification(pipeline);
    if (failed(runPipeline(pipeline, module)))
      return signalPassFailure();
    module.walk([](Operation *op) {
      if (op->hasTrait<OpTrait::ConstantLike>())
        op->removeAttr(kBackwardAttr);
    });
  }

private:
  void decompose(Operation *op) {
    BackwardMarker marker;
    OpBuilder builder(op);
    if (op->hasAttr(kBackwardAttr))
      builder.setListener(&marker);
    GradientBuilder g(builder, op->getLoc());
    Value replacement;
    if (auto norm = dyn_cast<RmsNormOp>(op))
      replacement = buildRmsNorm(g, norm);
    else if (auto loss = dyn_cast<CrossEntropyOp>(op))
      replacement = buildCrossEntropy(g, loss);
    else
      replacement = buildSmallProduct(g, cast<MatmulOp>(op), smallProduct);
    if (!replacement)
      return;
    op->replaceAllUsesWith(ValueRange(replacement));
    op->erase();
  }
};

} // namespace
} // namespace pg
