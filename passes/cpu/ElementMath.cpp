//===- ElementMath.cpp - elementwise ops on scalars and vectors -------------===//
//
// No fast-math flags anywhere: a fused row computes the same bits as separate
// ones. bf16 values are computed in f32 and rounded after every op.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/ElementEvaluator.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace pg {
namespace {

Type elementOf(Val v) { return getElementTypeOrSelf(v.type()); }

/// An integer constant (a vector of it) of the type of `like`.
Val bitPattern(Emitter &e, Val like, uint64_t value) {
  unsigned width = elementOf(like).getIntOrFloatBitWidth();
  TypedAttr attr = e.builder().getIntegerAttr(elementOf(like),
                                              APInt(width, value, false, true));
  if (auto vector = dyn_cast<VectorType>(like.type()))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return e.wrap(arith::ConstantOp::create(e.builder(), e.loc(), attr));
}

/// Round to nearest even at bit `drop` of the integer form of a float: the
/// dropped bits become zero. Infinities stay; NaN is handled by the caller.
Val roundBits(Emitter &e, Val bits, int64_t drop) {
  OpBuilder &b = e.builder();
  auto constant = [&](uint64_t value) { return bitPattern(e, bits, value); };
  Val shifted = e.wrap(
      arith::ShRUIOp::create(b, e.loc(), bits, constant(uint64_t(drop))));
  Val odd = shifted & constant(1);
  Val rounded = bits + constant((uint64_t(1) << (drop - 1)) - 1) + odd;
  return rounded & constant(~((uint64_t(1) << drop) - 1));
}

Val bitcast(Emitter &e, Val v, Type element) {
  return e.wrap(arith::BitcastOp::create(e.builder(), e.loc(),
                                         withShapeOf(v.type(), element), v));
}

/// A whole vector of f32 as bf16, by the instruction for it: subnormal numbers become zero.
Val narrowVector(Emitter &e, Val x) {
  OpBuilder &b = e.builder();
  return e.wrap(LLVM::CallIntrinsicOp::create(
                    b, e.loc(), Type(VectorType::get({e.width()}, b.getBF16Type())),
                    b.getStringAttr("llvm.x86.avx512bf16.cvtneps2bf16.512"), ValueRange{x})
                    .getResult(0));
}

bool hasNarrowVector(Emitter &e, Val x) {
  return e.hasBf16Instructions() && x.type() == e.vectorType() && elementOf(x).isF32();
}

/// f32 or f64 rounded to bf16 values, same type. Both formats share the
/// exponent of f32, so dropping significand bits is all (bf16 subnormals of an
/// f64 keep more bits than they should; no model value is that small). Subnormal f32
/// numbers become zero, as by the instruction: kernels and lanes with and without it,
/// which may compute the same number, agree in every bit.
Val roundToBf16(Emitter &e, Val x) {
  if (hasNarrowVector(e, x))
    return convertElements(e, narrowVector(e, x), elementOf(x));
  bool wide = elementOf(x).isF64();
  Type integer = e.builder().getIntegerType(wide ? 64 : 32);
  Val bits = bitcast(e, x, integer);
  // A NaN becomes quiet: its upper half alone could be that of an infinity.
  Val quiet = bits | bitPattern(e, bits, uint64_t(1) << (wide ? 51 : 22));
  Val isNan = e.wrap(arith::CmpFOp::create(e.builder(), e.loc(),
                                           arith::CmpFPredicate::UNO, x, x));
  Val rounded = roundBits(e, bits, wide ? 45 : 16);
  if (!wide) {
    Val isTiny = (bits & bitPattern(e, bits, 0x7f800000)) == bitPattern(e, bits, 0);
    rounded = e.select(isTiny, bits & bitPattern(e, bits, 0x80000000), rounded);
  }
  return bitcast(e, e.select(isNan, quiet, rounded), elementOf(x));
}

template <typename Op> Val unary(Emitter &e, Val x) {
  return e.wrap(Op::create(e.builder(), e.loc(), x));
}

/// 1 / (1 + e^-|x|), mirrored for negative x: no overflow, and small results
/// keep their relative accuracy.
Val sigmoid(Emitter &e, Val x) {
  Val decay = unary<math::ExpOp>(e, -unary<math::AbsFOp>(e, x));
  Val one = e.constant(x.type(), 1.0);
  Val numerator = e.select(x < e.constant(x.type(), 0.0), decay, one);
  return numerator / (one + decay);
}

Val compareElements(Emitter &e, Predicate predicate, Val a, Val b) {
  OpBuilder &builder = e.builder();
  if (isa<FloatType>(elementOf(a))) {
    arith::CmpFPredicate p = arith::CmpFPredicate::OEQ;
    switch (predicate) {
    case Predicate::eq:
      p = arith::CmpFPredicate::OEQ;
      break;
    case Predicate::ne:
      p = arith::CmpFPredicate::UNE;
      break;
    case Predicate::lt:
      p = arith::CmpFPredicate::OLT;
      break;
    case Predicate::le:
      p = arith::CmpFPredicate::OLE;
      break;
    case Predicate::gt:
      p = arith::CmpFPredicate::OGT;
      break;
    case Predicate::ge:
      p = arith::CmpFPredicate::OGE;
      break;
    }
    return e.wrap(arith::CmpFOp::create(builder, e.loc(), p, a, b));
  }
  arith::CmpIPredicate p = arith::CmpIPredicate::eq;
  switch (predicate) {
  case Predicate::eq:
    p = arith::CmpIPredicate::eq;
    break;
  case Predicate::ne:
    p = arith::CmpIPredicate::ne;
    break;
  case Predicate::lt:
    p = arith::CmpIPredicate::slt;
    break;
  case Predicate::le:
    p = arith::CmpIPredicate::sle;
    break;
  case Predicate::gt:
    p = arith::CmpIPredicate::sgt;
    break;
  case Predicate::ge:
    p = arith::CmpIPredicate::sge;
    break;
  }
  return e.wrap(arith::CmpIOp::create(builder, e.loc(), p, a, b));
}

} // namespace

Val convertElements(Emitter &e, Val value, Type element) {
  OpBuilder &b = e.builder();
  Type from = elementOf(value);
  if (from == element)
    return value;
  Type result = withShapeOf(value.type(), element);
  auto make = [&](auto tag) {
    using Op = typename decltype(tag)::type;
    return e.wrap(
        b.create(e.loc(),
                 StringAttr::get(b.getContext(), Op::getOperationName()),
                 ValueRange{value.get()}, TypeRange{result})
            ->getResult(0));
  };
  auto *f = isa<FloatType>(from) ? &from : nullptr;
  if (f && from.isBF16()) {
    // A bf16 is the upper half of an f32; no target needs to know the type.
    Type i32 = b.getI32Type();
    Val bits = bitcast(e, value, b.getI16Type());
    Val wide = e.wrap(arith::ExtUIOp::create(
        b, e.loc(), withShapeOf(value.type(), i32), bits));
    Val high = e.wrap(
        arith::ShLIOp::create(b, e.loc(), wide, e.constant(wide.type(), 16)));
    return convertElements(e, bitcast(e, high, b.getF32Type()), element);
  }
  if (element.isBF16()) {
    // Rounded in the source type: no double rounding from f64.
    Val x = f ? value : convertElements(e, value, b.getF32Type());
    if (hasNarrowVector(e, x))
      return narrowVector(e, x);
    return upperHalves(e, convertElements(e, roundToBf16(e, x), b.getF32Type()));
  }
  if (element.isInteger(1))
    return compareElements(e, Predicate::ne, value,
                           e.constant(value.type(), 0));
  if (f && isa<FloatType>(element)) {
    if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
      return make(std::type_identity<arith::ExtFOp>());
    return make(std::type_identity<arith::TruncFOp>());
  }
  if (f)
    return make(std::type_identity<arith::FPToSIOp>());
  if (from.isInteger(1)) {
    if (isa<FloatType>(element))
      return make(std::type_identity<arith::UIToFPOp>());
    return make(std::type_identity<arith::ExtUIOp>());
  }
  if (isa<FloatType>(element))
    return make(std::type_identity<arith::SIToFPOp>());
  if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
    return make(std::type_identity<arith::ExtSIOp>());
  return make(std::type_identity<arith::TruncIOp>());
}

Val upperHalves(Emitter &e, Val x) {
  OpBuilder &b = e.builder();
  Val bits = bitcast(e, x, b.getI32Type());
  Val high = e.wrap(arith::ShRUIOp::create(b, e.loc(), bits, e.constant(bits.type(), 16)));
  Val half = e.wrap(arith::TruncIOp::create(b, e.loc(), withShapeOf(x.type(), b.getI16Type()), high));
  return bitcast(e, half, b.getBF16Type());
}

Val roundedHalves(Emitter &e, Val first, Val second) {
  OpBuilder &b = e.builder();
  Type bf16 = b.getBF16Type();
  if (e.hasBf16Instructions())
    return e.wrap(LLVM::CallIntrinsicOp::create(
                      b, e.loc(), Type(VectorType::get({2 * e.width()}, bf16)),
                      b.getStringAttr("llvm.x86.avx512bf16.cvtne2ps2bf16.512"),
                      ValueRange{second, first})
                      .getResult(0));
  return e.joined(convertElements(e, first, bf16), convertElements(e, second, bf16));
}

Val roundElements(Emitter &e, Val value, Type narrow) {
  Type element = elementOf(value);
  if (narrow.isInteger(32))
    return unary<math::RoundEvenOp>(e, value);
  if (narrow.getIntOrFloatBitWidth() >= element.getIntOrFloatBitWidth())
    return value;
  if (narrow.isBF16())
    return roundToBf16(e, value);
  return convertElements(e, convertElements(e, value, narrow), element);
}

Val ElementEvaluator::mathOp(Operation *op, ArrayRef<Val> operands) {
  if (auto cast = dyn_cast<CastOp>(op))
    return convertElements(e, operands[0],
                           getElementTypeOrSelf(cast.getType()));
  if (isa<StopGradientOp>(op))
    return operands[0];
  if (auto select = dyn_cast<SelectOp>(op))
    return e.select(operands[0], operands[1], operands[2]);

  // bf16: widen, compute, round.
  SmallVector<Val, 4> x(operands.begin(), operands.end());
  Type f32 = e.builder().getF32Type();
  for (Val &v : x)
    if (elementOf(v).isBF16())
      v = convertElements(e, v, f32);
  Val result =
      llvm::TypeSwitch<Operation *, Val>(op)
          .Case<AddOp>([&](auto) { return x[0] + x[1]; })
          .Case<SubOp>([&](auto) { return x[0] - x[1]; })
          .Case<MulOp>([&](auto) { return x[0] * x[1]; })
          .Case<DivOp>([&](auto) {
            if (isa<FloatType>(elementOf(x[0])))
              return x[0] / x[1];
            return e.wrap(
                arith::DivSIOp::create(e.builder(), e.loc(), x[0], x[1]));
          })
          .Case<MaxOp>([&](auto) { return e.max(x[0], x[1]); })
          .Case<MinOp>([&](auto) { return e.min(x[0], x[1]); })
          .Case<NegOp>([&](auto) { return -x[0]; })
          .Case<ExpOp>([&](auto) { return unary<math::ExpOp>(e, x[0]); })
          .Case<LogOp>([&](auto) { return unary<math::LogOp>(e, x[0]); })
          .Case<TanhOp>([&](auto) { return unary<math::TanhOp>(e, x[0]); })
          .Case<SigmoidOp>([&](auto) { return sigmoid(e, x[0]); })
          .Case<SqrtOp>([&](auto) { return unary<math::SqrtOp>(e, x[0]); })
          .Case<RsqrtOp>([&](auto) {
            return e.constant(x[0].type(), 1.0) / unary<math::SqrtOp>(e, x[0]);
          })
          .Case<AbsOp>([&](auto) { return unary<math::AbsFOp>(e, x[0]); })
          .Case<SinOp>([&](auto) { return unary<math::SinOp>(e, x[0]); })
          .Case<CosOp>([&](auto) { return unary<math::CosOp>(e, x[0]); })
          .Case<ErfOp>([&](auto) { return unary<math::ErfOp>(e, x[0]); })
          .Case<XorOp>([&](auto) {
            return e.wrap(
                arith::XOrIOp::create(e.builder(), e.loc(), x[0], x[1]));
          })
          .Case<AndOp>([&](auto) { return x[0] & x[1]; })
          .Case<RemOp>([&](auto) {
            return e.wrap(
                arith::RemSIOp::create(e.builder(), e.loc(), x[0], x[1]));
          })
          .Case<CompareOp>([&](CompareOp compare) {
            return compareElements(e, compare.getPredicate(), x[0], x[1]);
          })
          .Case<RoundOp>([&](RoundOp round) {
            return roundElements(e, x[0], round.getTo());
          })
          .Default([](Operation *) { return Val(); });
  if (!result)
    return result;
  Type element = getElementTypeOrSelf(op->getResult(0).getType());
  return element.isBF16() ? convertElements(e, result, element) : result;
}

} // namespace pg
