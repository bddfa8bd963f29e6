//===- ReadCodes.cpp - programs that read weights from codes ---------------===//
//
// A parameter W marked `pg.codes` gives way to the parameters W.codes (integers),
// W.scale (one number a row) and, for a correction of some rank, W.left and
// W.right, which a weights file may leave out. Every read of W becomes
// `pg.dequantise` of those; what that costs is decided by pg-decompose.
//
//===----------------------------------------------------------------------===//
#include "passes/derive/Passes.h"

using namespace mlir;

namespace pg {
#define GEN_PASS_DEF_READCODESPASS
#include "passes/derive/Passes.h.inc"

namespace {

/// The parameters that stand for one weight; left and right may be null.
struct Parts {
  ParameterOp codes, scale, left, right;
};

int64_t number(DictionaryAttr from, StringRef name) {
  auto value = from.getAs<IntegerAttr>(name);
  return value ? value.getInt() : 0;
}

FailureOr<Parts> declareParts(ParameterOp weight, DictionaryAttr how) {
  auto type = cast<RankedTensorType>(weight.getType());
  int64_t bits = number(how, "bits"), rank = number(how, "rank");
  if (type.getRank() != 2 || !isa<FloatType>(type.getElementType()) ||
      bits < 2 || bits > 8 || rank < 0)
    return weight.emitOpError("expects '")
           << kCodesAttr << "' on a matrix of floats, with bits from 2 to 8 and a "
           << "rank, got " << how << " on " << type;
  OpBuilder builder(weight);
  auto declare = [&](StringRef suffix, RankedTensorType partType,
                     StringRef init, bool isOptional) {
    auto kind = builder.getDictionaryAttr(
        builder.getNamedAttr("kind", builder.getStringAttr(init)));
    return ParameterOp::create(
        builder, weight.getLoc(),
        builder.getStringAttr(weight.getSymName() + suffix),
        TypeAttr::get(partType), kind, weight.getGroupAttr(),
        weight.getQuantAttr(),
        isOptional ? builder.getUnitAttr() : UnitAttr());
  };
  auto shaped = [&](ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, type.getElementType());
  };
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  Parts parts;
  parts.codes = declare(".codes", type.clone(builder.getI8Type()), "zeros", false);
  parts.codes->setAttr(kBitsAttr, builder.getI64IntegerAttr(bits));
  parts.scale = declare(".scale", shaped({rows}), "ones", false);
  if (rank > 0) {
    parts.left = declare(".left", shaped({rows, rank}), "zeros", true);
    parts.right = declare(".right", shaped({rank, columns}), "zeros", true);
  }
  return parts;
}

struct ReadCodesPass : impl::ReadCodesPassBase<ReadCodesPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto weight :
         llvm::make_early_inc_range(module.getOps<ParameterOp>())) {
      auto how = weight->getAttrOfType<DictionaryAttr>(kCodesAttr);
      if (!how)
        continue;
      for (auto state : module.getOps<StateOp>())
        if (state.getOf() == weight.getSymName()) {
          weight.emitOpError("is read from codes, but '")
              << state.getSymName() << "' belongs to it: programs that change "
              << "a weight need the weight itself";
          return signalPassFailure();
        }
      FailureOr<Parts> parts = declareParts(weight, how);
      if (failed(parts))
        return signalPassFailure();
      module.walk([&](ParamOp read) {
        if (read.getName() == weight.getSymName())
          replaceRead(read, *parts);
      });
      weight.erase();
    }
  }

private:
  static void replaceRead(ParamOp read, const Parts &parts) {
    OpBuilder builder(read);
    auto value = [&](ParameterOp part) -> Value {
      if (!part)
        return {};
      return ParamOp::create(builder, read.getLoc(), part.getType(),
                             part.getSymName());
    };
    Value codes = value(parts.codes), scale = value(parts.scale),
          left = value(parts.left), right = value(parts.right);
    auto weight = DequantiseOp::create(builder, read.getLoc(), read.getType(),
                                       codes, scale, left, right);
    read.replaceAllUsesWith(weight.getResult());
    read.erase();
  }
};

} // namespace
} // namespace pg
