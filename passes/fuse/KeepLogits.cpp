//===- KeepLogits.cpp - logits stored between a loss and its gradients ----===//
//
// `linear_cross_entropy` makes the logits in tiles that are gone when it ends;
// each of its gradients multiplies x w^T once more. Where an entry has the loss
// and its gradients, this pass may write them as
//
//   z = x w^T                      one product, [N, V]
//   t = tanh(z / c), s = c t
//   e = exp(s - top), nll = log(sum e) + top - s[target]
//   g = (e / sum e - onehot(target)) dnll (1 - t^2)
//   dx = g w, dw = g^T x
//
// with `top` the softcap c where that bounds s well, else max s. The rows
// between the products fuse into one kernel, whose g may lie where z was, unless
// a precision policy stores it in another type. Three products instead of five,
// and one exp and one tanh for a logit instead of three, for N x V numbers in
// memory.
//
// Everything made here counts as backward: it stands where the program turns, so
// the choice of what to rebuild has nothing to decide about it.
//
//===----------------------------------------------------------------------===//

#include "dialect/ops/GradientBuilder.h"
#include "dialect/ops/Softcap.h"
#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace pg {

namespace {

/// Flops a byte of memory traffic must save (Recompute.cpp has the same price
/// for a kept byte).
constexpr double kMinFlopsPerByte = 12;
/// Times the logits or what replaces them cross memory: the product writes
/// them, the rows read and write them, two products read them. Where a policy stores g
/// in half the bytes it is 3.5; such a byte must save somewhat more.
constexpr double kCrossings = 5;

/// A loss whose log-sum-exp nothing but its gradients reads.
struct Head {
  LinearCrossEntropyOp loss;
  SmallVector<Operation *, 2> gradients; ///< in program order
  Value dnll;

  RankedTensorType logits() {
    auto type = cast<RankedTensorType>(loss.getX().getType());
    return RankedTensorType::get(
        {type.getDimSize(0), cast<RankedTensorType>(loss.getW().getType()).getDimSize(0)},
        type.getElementType());
  }
  double logitBytes() { return bytesOf(logits()).perToken; }
  double depth() {
    return double(cast<RankedTensorType>(loss.getX().getType()).getDimSize(1));
  }
};

template <typename OpType> bool isGradientOf(OpType gradient, Head &head) {
  if (!gradient)
    return false;
  LinearCrossEntropyOp loss = head.loss;
  if (!head.dnll)
    head.dnll = gradient.getDnll();
  return gradient.getX() == loss.getX() && gradient.getW() == loss.getW() &&
         gradient.getTargets() == loss.getTargets() &&
         gradient.getSoftcap() == loss.getSoftcap() &&
         gradient.getLse() == loss.getLse() && gradient.getDnll() == head.dnll;
}

SmallVector<Head> headsOf(func::FuncOp entry) {
  SmallVector<Head> heads;
  for (auto loss : entry.getBody().front().getOps<LinearCrossEntropyOp>()) {
    Head head{loss, {}, {}};
    bool isAlone = !loss.getScale() && isTokenTensor(loss.getX().getType());
    for (Operation *user : loss.getLse().getUsers()) {
      isAlone &= isGradientOf(dyn_cast<LinearCrossEntropyGradXOp>(user), head) ||
                 isGradientOf(dyn_cast<LinearCrossEntropyGradWOp>(user), head);
      if (!llvm::is_contained(head.gradients, user))
        head.gradients.push_back(user);
    }
    if (!isAlone || head.gradients.empty())
      continue;
    llvm::sort(head.gradients, [](Operation *a, Operation *b) {
      return a->isBeforeInBlock(b);
    });
    heads.push_back(std::move(head));
  }
  return heads;
}

struct TurnMarker : OpBuilder::Listener {
  void notifyOperationInserted(Operation *op, OpBuilder::InsertPoint) override {
    op->setAttr(kBackwardAttr, UnitAttr::get(op->getContext()));
  }
};

void rewrite(Head &head) {
  LinearCrossEntropyOp loss = head.loss;
  TurnMarker marker;
  OpBuilder builder(loss);
  builder.setListener(&marker);
  Location loc = loss.getLoc();
  GradientBuilder g(builder, loc);
  RankedTensorType type = head.logits();
  RankedTensorType perToken = dropAxes(type, {1});
  double softcap = loss.getSoftcap().convertToDouble();
  auto perWord = [&](Value x) { return g.restoreAxes(x, type, {1}); };

  Value capped = MatmulOp::create(builder, loc, type, loss.getX(), loss.getW(),
                                  /*transpose_a=*/false, /*transpose_b=*/true);
  // Rounded to bf16 they would be no base for a loss.
  capped.getDefiningOp()->setAttr(kWideAttr, builder.getUnitAttr());
  Value tanh;
  if (softcap > 0) {
    tanh = TanhOp::create(builder, loc, type, g.scale(capped, 1.0 / softcap));
    capped = g.scale(tanh, softcap);
  }
  Value top = softcap > 0 && softcap <= kBoundingSoftcap
                  ? g.fill(perToken, softcap)
                  : g.reduceMax(capped, {1});
  Value e = g.exp(g.sub(capped, perWord(top)));
  Value sum = g.reduceSum(e, {1});
  Value lse = g.add(LogOp::create(builder, loc, perToken, sum), top);
  // Of what the gradient reads as well, so that a row keeps no third copy.
  Value wanted = PickOp::create(builder, loc, perToken, tanh ? tanh : capped,
                                loss.getTargets());
  if (tanh)
    wanted = g.scale(wanted, softcap);
  Value nll = g.sub(lse, wanted);

  // Where the first gradient stands, so that dnll is there.
  builder.setInsertionPoint(head.gradients.front());
  auto wordType = type.clone(builder.getI32Type());
  Value words = IotaOp::create(builder, loc, wordType, builder.getI64IntegerAttr(1));
  Value isTarget = g.compare(Predicate::eq, words,
                             g.broadcast(loss.getTargets(), wordType, {0}));
  Value dlogits = g.mul(e, perWord(g.div(head.dnll, sum)));
  dlogits = g.select(isTarget, g.sub(dlogits, perWord(head.dnll)), dlogits);
  if (softcap > 0)
    dlogits = g.mul(dlogits, g.sub(g.fill(type, 1.0), g.mul(tanh, tanh)));

  for (Operation *gradient : head.gradients) {
    builder.setInsertionPoint(gradient);
    bool isOfX = isa<LinearCrossEntropyGradXOp>(gradient);
    Value product = MatmulOp::create(
        builder, gradient->getLoc(), gradient->getResult(0).getType(), dlogits,
        isOfX ? loss.getW() : loss.getX(), /*transpose_a=*/!isOfX,
        /*transpose_b=*/false);
    gradient->getResult(0).replaceAllUsesWith(product);
    gradient->erase();
  }
  loss.getNll().replaceAllUsesWith(nll);
  loss.erase();
}

/// Why the heads of an entry should be left as they are; empty when their logits
/// are worth their memory.
std::string reasonAgainst(func::FuncOp entry, MutableArrayRef<Head> heads,
                          int64_t maxTokens, double storedShare, const LogitsChoice &choice) {
  double logitBytes = 0;
  for (Head &head : heads) {
    double saved = double(head.gradients.size()) * 2 * head.depth() *
                   double(elementsPerToken(head.logits()));
    if (saved < kMinFlopsPerByte * kCrossings * head.logitBytes())
      return "a product of depth " + std::to_string(int64_t(head.depth())) +
             " costs less than moving them";
    // Of another type than z, g lies beside it.
    logitBytes += head.logitBytes() * (storedShare == 1 ? 1 : 1 + storedShare);
  }
  if (logitBytes * double(maxTokens) <= double(choice.smallBytes))
    return "";
  double held = keptBytesPerToken(entry) * storedShare;
  if (logitBytes > choice.share * held)
    return "they take " + std::to_string(int64_t(logitBytes)) +
           " bytes for a token, more than " +
           std::to_string(int64_t(choice.share * 100)) +
           " % of the " + std::to_string(int64_t(held)) +
           " that wait for the gradients";
  return "";
}

/// Bytes of an activation in memory over those of the same in maths.
double storedShareOf(ModuleOp module) {
  const rt::PrecisionPolicy *policy = precisionPolicyOf(module);
  return policy ? double(rt::dtypeBytes(policy->activation)) / double(rt::dtypeBytes(policy->maths)) : 1.0;
}

} // namespace

SmallVector<func::FuncOp> keepLogits(ModuleOp module, const LogitsChoice &choice) {
  SmallVector<func::FuncOp> keeping;
  for (func::FuncOp entry : entriesOf(module)) {
    SmallVector<Head> heads = headsOf(entry);
    if (heads.empty())
      continue;
    std::string against;
    if (choice.rule == LogitsRule::Rebuild)
      against = choice.reason;
    else if (choice.rule == LogitsRule::Automatic)
      against = reasonAgainst(entry, heads, maxTokensOf(module), storedShareOf(module), choice);
    if (against.empty())
      for (Head &head : heads)
        rewrite(head);
    OpBuilder builder(module.getContext());
    entry->setAttr(kLogitsAttr,
                   builder.getStringAttr(against.empty() ? "kept" : "rebuilt: " + against));
    if (against.empty())
      keeping.push_back(entry);
  }
  return keeping;
}

#define GEN_PASS_DEF_KEEPLOGITSPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct KeepLogitsPass : impl::KeepLogitsPassBase<KeepLogitsPass> {
  using Base::Base;
  void runOnOperation() override {
    LogitsChoice choice;
    std::optional<LogitsRule> found = parseLogitsRule(rule);
    if (!found) {
      getOperation().emitError("unknown rule '")
          << rule << "': expected auto, keep or rebuild";
      return signalPassFailure();
    }
    choice.rule = *found;
    choice.share = share;
    choice.smallBytes = smallBytes;
    numEntries = keepLogits(getOperation(), choice).size();
  }
};
} // namespace

std::optional<LogitsRule> parseLogitsRule(StringRef name) {
  if (name == "auto")
    return LogitsRule::Automatic;
  if (name == "keep")
    return LogitsRule::Keep;
  if (name == "rebuild")
    return LogitsRule::Rebuild;
  return std::nullopt;
}

} // namespace pg
