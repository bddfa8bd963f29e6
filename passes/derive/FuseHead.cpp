//===- FuseHead.cpp - the loss takes in the product of the logits ---------===//
#include "passes/derive/Passes.h"

#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <cmath>

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_FUSEHEADPASS
#include "passes/derive/Passes.h.inc"

namespace {

/// The number a value holds everywhere, through broadcasts.
std::optional<double> uniformValue(Value value) {
  while (auto broadcast = value.getDefiningOp<BroadcastOp>())
    value = broadcast.getX();
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  if (auto number = dyn_cast<FloatAttr>(attr))
    return number.getValueAsDouble();
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (!dense || !dense.isSplat() || !isa<FloatType>(dense.getElementType()))
    return std::nullopt;
  APFloat element = dense.getSplatValue<APFloat>();
  bool losesInfo = false;
  element.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
  return element.convertToDouble();
}

/// `value` as x * c, whichever side the number stands on.
std::optional<std::pair<Value, double>> matchScaled(Value value) {
  auto mul = value.getDefiningOp<MulOp>();
  if (!mul)
    return std::nullopt;
  if (std::optional<double> c = uniformValue(mul.getRhs()))
    return std::make_pair(Value(mul.getLhs()), *c);
  if (std::optional<double> c = uniformValue(mul.getLhs()))
    return std::make_pair(Value(mul.getRhs()), *c);
  return std::nullopt;
}

/// The capped value z of c tanh(z / c) and c; `logits` itself and 0 otherwise.
std::pair<Value, double> stripSoftcap(Value logits) {
  std::pair<Value, double> bare(logits, 0.0);
  auto outer = matchScaled(logits);
  if (!outer || !(outer->second > 0.0))
    return bare;
  double c = outer->second;
  auto tanh = outer->first.getDefiningOp<TanhOp>();
  if (!tanh)
    return bare;
  if (auto div = tanh.getX().getDefiningOp<DivOp>()) {
    std::optional<double> divisor = uniformValue(div.getRhs());
    return divisor && *divisor == c ? std::make_pair(Value(div.getLhs()), c)
                                    : bare;
  }
  // The quotient may be written as a product with 1 / c, rounded once.
  auto inner = matchScaled(tanh.getX());
  return inner && std::fabs(inner->second * c - 1.0) < 1e-15 * 4
             ? std::make_pair(inner->first, c)
             : bare;
}

struct FuseHead : OpRewritePattern<CrossEntropyOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CrossEntropyOp op,
                                PatternRewriter &rewriter) const override {
    auto [product, softcap] = stripSoftcap(op.getLogits());
    auto matmul = product.getDefiningOp<MatmulOp>();
    if (!matmul || matmul.getTransposeA() || !matmul.getTransposeB() ||
        !isTokenTensor(matmul.getA().getType()) ||
        isTokenTensor(matmul.getB().getType()))
      return failure();
    Type perToken = op.getNll().getType();
    // All three lines, so that each of them leads to the fused op.
    Location loc = rewriter.getFusedLoc(
        {matmul.getLoc(), op.getLogits().getLoc(), op.getLoc()});
    auto head = LinearCrossEntropyOp::create(
        rewriter, loc, perToken, perToken, matmul.getA(), matmul.getB(),
        op.getTargets(), rewriter.getF64FloatAttr(softcap));
    rewriter.replaceOp(op, head.getNll());
    return success();
  }
};

struct FuseHeadPass : impl::FuseHeadPassBase<FuseHeadPass> {
  using Base::Base;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseHead>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace pg
