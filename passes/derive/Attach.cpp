//===- Attach.cpp - adapters at the declared sites ------------------------===//
//
// `forward@P` with adapters is `adapted@P`: at the site `name` number i,
//
//   to + scale (from A^T) B^T
//
// with A and B the states `adapter.<name>.<i>.a` [S, r, in] and `.b` [S, out, r],
// one pair of matrices per slot, and the run-time scalar "adapter_scale". A site
// without states keeps the value of `to`. In every other program a site means
// nothing.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"
#include "passes/derive/Programs.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_ATTACHPASS
#include "passes/derive/Passes.h.inc"

namespace {

constexpr StringLiteral kForwardPrefix = "forward@";
constexpr StringLiteral kScale = "adapter_scale";

class AdapterAttacher {
public:
  AdapterAttacher(ModuleOp module, func::FuncOp entry)
      : symbols(module), entry(entry) {}

  LogicalResult run() {
    SmallVector<SiteOp> sites(entry.getBody().front().getOps<SiteOp>());
    for (SiteOp site : sites)
      if (failed(attach(site)))
        return failure();
    return success();
  }

private:
  LogicalResult attach(SiteOp site) {
    if (!site.getIndex())
      return site.emitOpError("has no index; run pg-inline first");
    std::string base = ("adapter." + site.getName() + "." +
                        Twine(*site.getIndex()))
                           .str();
    auto a = symbols.lookup<StateOp>(base + ".a");
    auto b = symbols.lookup<StateOp>(base + ".b");
    if (!a && !b)
      return success();
    auto aType = a ? dyn_cast<RankedTensorType>(a.getType()) : nullptr;
    auto bType = b ? dyn_cast<RankedTensorType>(b.getType()) : nullptr;
    auto from = site.getFrom().getType(), to = site.getTo().getType();
    if (!aType || !bType || aType.getRank() != 3 || bType.getRank() != 3 ||
        aType.getDimSize(0) != bType.getDimSize(0) ||
        aType.getDimSize(1) != bType.getDimSize(2) ||
        aType.getDimSize(2) != from.getDimSize(1) ||
        bType.getDimSize(1) != to.getDimSize(1))
      return site.emitError("the states of adapter '")
             << base << "' do not fit a site from " << from << " to " << to;

    OpBuilder builder(site);
    Location loc = site.getLoc();
    auto read = [&](StateOp state) -> Value {
      return ReadStateOp::create(builder, loc, state.getType(),
                                 FlatSymbolRefAttr::get(state.getSymNameAttr()));
    };
    Type element = from.getElementType();
    auto narrowType = RankedTensorType::get(
        {ShapedType::kDynamic, aType.getDimSize(1)}, element);
    Value narrow = GroupedMatmulOp::create(builder, loc, narrowType,
                                           site.getFrom(), read(a), true);
    Value scale = ScalarOp::create(builder, loc,
                                   RankedTensorType::get({}, element),
                                   builder.getStringAttr(kScale));
    Value factor = BroadcastOp::create(builder, loc, narrowType, scale,
                                       builder.getDenseI64ArrayAttr({}));
    narrow = MulOp::create(builder, loc, narrowType, narrow, factor);
    Value added =
        GroupedMatmulOp::create(builder, loc, to, narrow, read(b), true);
    Value sum = AddOp::create(builder, loc, to, site.getTo(), added);
    site.getResult().replaceAllUsesWith(sum);
    return success();
  }

  SymbolTable symbols;
  func::FuncOp entry;
};

struct AttachPass : impl::AttachPassBase<AttachPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (isWanted(module, "adapt"))
      for (auto forward :
           llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
        if (!forward.getName().starts_with(kForwardPrefix))
          continue;
        OpBuilder builder(forward->getContext());
        builder.setInsertionPointAfter(forward);
        auto copy = cast<func::FuncOp>(builder.clone(*forward));
        copy.setName(("adapted@" + forward.getName().drop_front(
                                       kForwardPrefix.size()))
                         .str());
        if (failed(AdapterAttacher(module, copy).run()))
          return signalPassFailure();
      }
    module.walk([](SiteOp site) {
      site.replaceAllUsesWith(site.getTo());
      site.erase();
    });
  }
};

} // namespace
} // namespace pg
