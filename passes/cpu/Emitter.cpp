//===- Emitter.cpp ----------------------------------------------------------===//
#include "passes/cpu/Emitter.h"

#include "runtime/package/KernelAbi.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <array>
#include <cstddef>

using namespace mlir;

namespace pg {
namespace {

enum Argument { Buffers, Scalars, BatchArgument, Begin, End, Scratch };

Type withElement(Type type, Type element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return VectorType::get(vector.getShape(), element);
  return element;
}

bool isFloat(Value v) { return isa<FloatType>(getElementTypeOrSelf(v)); }

/// Makes two operands one type: a scalar beside a vector is broadcast.
void unify(Val &a, Val &b) {
  if (a.isVector() && !b.isVector())
    b = a.e().broadcast(b, cast<VectorType>(a.type()).getNumElements());
  else if (b.isVector() && !a.isVector())
    a = b.e().broadcast(a, cast<VectorType>(b.type()).getNumElements());
}

template <typename IntOp, typename FloatOp> Val binary(Val a, Val b) {
  unify(a, b);
  Emitter &e = a.e();
  if (isFloat(a))
    return e.wrap(e.builder().createOrFold<FloatOp>(e.loc(), a.get(), b.get()));
  return e.wrap(e.builder().createOrFold<IntOp>(e.loc(), a.get(), b.get()));
}

Val compare(Val a, Val b, arith::CmpIPredicate integer,
            arith::CmpFPredicate floating) {
  unify(a, b);
  Emitter &e = a.e();
  if (isFloat(a))
    return e.wrap(
        arith::CmpFOp::create(e.builder(), e.loc(), floating, a, b));
  return e.wrap(e.builder().createOrFold<arith::CmpIOp>(e.loc(), integer,
                                                        a.get(), b.get()));
}

} // namespace

bool Val::isVector() const { return isa<VectorType>(value.getType()); }

Val operator+(Val a, Val b) { return binary<arith::AddIOp, arith::AddFOp>(a, b); }
Val operator-(Val a, Val b) { return binary<arith::SubIOp, arith::SubFOp>(a, b); }
Val operator*(Val a, Val b) { return binary<arith::MulIOp, arith::MulFOp>(a, b); }
Val operator/(Val a, Val b) { return binary<arith::DivUIOp, arith::DivFOp>(a, b); }
Val operator%(Val a, Val b) { return binary<arith::RemUIOp, arith::RemFOp>(a, b); }
Val operator+(Val a, double b) { return a + a.e().constant(a.type(), b); }
Val operator-(Val a, double b) { return a - a.e().constant(a.type(), b); }
Val operator*(Val a, double b) { return a * a.e().constant(a.type(), b); }
Val operator/(Val a, double b) { return a / a.e().constant(a.type(), b); }
Val operator%(Val a, int64_t b) {
  return a % a.e().constant(a.type(), static_cast<double>(b));
}
Val operator-(Val a) {
  if (!isFloat(a))
    return a.e().constant(a.type(), 0) - a;
  return a.e().wrap(arith::NegFOp::create(a.e().builder(), a.e().loc(), a));
}
Val operator<(Val a, Val b) {
  return compare(a, b, arith::CmpIPredicate::slt, arith::CmpFPredicate::OLT);
}
Val operator<=(Val a, Val b) {
  return compare(a, b, arith::CmpIPredicate::sle, arith::CmpFPredicate::OLE);
}
Val operator>(Val a, Val b) {
  return compare(a, b, arith::CmpIPredicate::sgt, arith::CmpFPredicate::OGT);
}
Val operator>=(Val a, Val b) {
  return compare(a, b, arith::CmpIPredicate::sge, arith::CmpFPredicate::OGE);
}
Val operator==(Val a, Val b) {
  return compare(a, b, arith::CmpIPredicate::eq, arith::CmpFPredicate::OEQ);
}
Val operator!=(Val a, Val b) {
  return compare(a, b, arith::CmpIPredicate::ne, arith::CmpFPredicate::UNE);
}
static Val likeInt(Val a, int64_t b) {
  return a.e().constant(a.type(), static_cast<double>(b));
}
Val operator<(Val a, int64_t b) { return a < likeInt(a, b); }
Val operator>=(Val a, int64_t b) { return a >= likeInt(a, b); }
Val operator>(Val a, int64_t b) { return a > likeInt(a, b); }
Val operator==(Val a, int64_t b) { return a == likeInt(a, b); }
Val operator&(Val a, Val b) {
  unify(a, b);
  return a.e().wrap(a.e().builder().createOrFold<arith::AndIOp>(
      a.e().loc(), a.get(), b.get()));
}
Val operator|(Val a, Val b) {
  unify(a, b);
  return a.e().wrap(a.e().builder().createOrFold<arith::OrIOp>(
      a.e().loc(), a.get(), b.get()));
}
//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

/// The arguments of KernelAbi.h.
static SmallVector<Type> kernelArguments(MLIRContext *context) {
  Type ptr = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  return {ptr, ptr, ptr, i64, i64, ptr};
}

Emitter::Emitter(ModuleOp module, StringRef symbol, Location loc,
                 Type floatType, const CpuTarget &target)
    : Emitter(module, symbol, loc, floatType, target,
              kernelArguments(module.getContext())) {}

Emitter::Emitter(ModuleOp module, StringRef symbol, Location loc,
                 Type floatType, const CpuTarget &target, TypeRange arguments)
    : b(module.getContext()), location(loc), scalarType(floatType),
      lanes(target.vectorBytes * 8 / floatType.getIntOrFloatBitWidth()),
      pairDot(floatType.isF32() ? target.pairDot : PairDot::None),
      scratchTop(rt::kScratchHeader) {
  b.setInsertionPointToEnd(module.getBody());
  auto type = b.getFunctionType(arguments, {});
  func = func::FuncOp::create(b, loc, symbol, type);
  b.setInsertionPointToStart(func.addEntryBlock());
  // Entry loads stand before the mark, the body between it and the return.
  entryMark = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(0));
  b.setInsertionPoint(func::ReturnOp::create(b, loc));
}

uint64_t Emitter::finish() {
  entryMark->erase();
  entryMark = nullptr;
  return static_cast<uint64_t>(scratchTop);
}

Val Emitter::entryLoad(int64_t argument, int64_t slot, Type type) {
  Value &value = entryLoads[{argument, slot}];
  if (!value) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryMark);
    value = load(type, wrap(func.getArgument(argument)), i(slot));
  }
  return wrap(value);
}

Val Emitter::buffer(int64_t index) {
  return entryLoad(Buffers, index, LLVM::LLVMPointerType::get(b.getContext()));
}
Val Emitter::scalarF64(int64_t index) {
  return entryLoad(Scalars, index, b.getF64Type());
}
Val Emitter::scalar(int64_t index) {
  Val wide = scalarF64(index);
  if (scalarType.isF64())
    return wide;
  Value &narrow = entryDerived[{Scalars, index}];
  if (!narrow) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryMark);
    narrow = arith::TruncFOp::create(b, location, scalarType, wide);
  }
  return wrap(narrow);
}

// All fields of Batch are eight bytes, so a field is a slot.
static_assert(offsetof(rt::Batch, numTokens) == 0 &&
              offsetof(rt::Batch, rowBegin) == 8 &&
              offsetof(rt::Batch, rowEnd) == 16 &&
              offsetof(rt::Batch, segmentBegin) == 24 &&
              offsetof(rt::Batch, segmentEnd) == 32 &&
              offsetof(rt::Batch, slot) == 40);
Val Emitter::numTokens() {
  return entryLoad(BatchArgument, 0, b.getI64Type());
}
Val Emitter::rowBegin() {
  return entryLoad(BatchArgument, 1, LLVM::LLVMPointerType::get(b.getContext()));
}
Val Emitter::rowEnd() {
  return entryLoad(BatchArgument, 2, LLVM::LLVMPointerType::get(b.getContext()));
}
Val Emitter::segmentBegin() {
  return entryLoad(BatchArgument, 3, LLVM::LLVMPointerType::get(b.getContext()));
}
Val Emitter::segmentEnd() {
  return entryLoad(BatchArgument, 4, LLVM::LLVMPointerType::get(b.getContext()));
}
Val Emitter::slot() {
  return entryLoad(BatchArgument, 5, LLVM::LLVMPointerType::get(b.getContext()));
}

Val Emitter::launchNote() { return wrap(func.getArgument(Scratch)); }

Val Emitter::scratch(int64_t bytes) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(entryMark);
  Val piece = address(b.getI8Type(), wrap(func.getArgument(Scratch)),
                      i(scratchTop));
  scratchTop += (bytes + 63) / 64 * 64;
  return piece;
}

//===----------------------------------------------------------------------===//
// Constants and arithmetic
//===----------------------------------------------------------------------===//

Val Emitter::i(int64_t value) {
  return wrap(arith::ConstantOp::create(b, location, b.getI64IntegerAttr(value)));
}
Val Emitter::i32(int32_t value) {
  return wrap(arith::ConstantOp::create(b, location, b.getI32IntegerAttr(value)));
}
Val Emitter::f(double value) { return constant(scalarType, value); }
Val Emitter::vec(double value) { return constant(vectorType(), value); }

Val Emitter::constant(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr;
  if (isa<FloatType>(element))
    attr = b.getFloatAttr(element, value);
  else
    attr = b.getIntegerAttr(element, static_cast<int64_t>(value));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return wrap(arith::ConstantOp::create(b, location, attr));
}

Val Emitter::fma(Val a, Val c, Val d) {
  unify(a, c);
  unify(a, d);
  unify(c, d);
  return wrap(math::FmaOp::create(b, location, a, c, d));
}
Val Emitter::pairs(Val first, Val second) {
  Type bits = withElement(first.type(), b.getI32Type());
  auto bitsOf = [&](Val v) {
    return wrap(arith::BitcastOp::create(b, location, bits, v));
  };
  // A bf16 number is the upper half of an f32 whose lower half is zero.
  Val low = wrap(arith::ShRUIOp::create(b, location, bitsOf(first),
                                        constant(bits, 16)));
  return wrap(arith::BitcastOp::create(b, location, first.type(),
                                       low | bitsOf(second)));
}
Val Emitter::pairsOfHalves(Val halves) {
  SmallVector<int64_t> mask;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    mask.push_back(lane);
    mask.push_back(lanes + lane);
  }
  return wrap(LLVM::BitcastOp::create(b, location, Type(vectorType()), shuffle(halves, halves, mask)));
}
Val Emitter::dotPairs(Val x, Val y, Val sum) {
  if (pairDot == PairDot::Instruction) {
    auto halves = VectorType::get({2 * lanes}, b.getBF16Type());
    Value left = LLVM::BitcastOp::create(b, location, halves, x);
    Value right = LLVM::BitcastOp::create(b, location, halves, y);
    return wrap(LLVM::CallIntrinsicOp::create(
                    b, location, Type(vectorType()),
                    b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
                    ValueRange{sum, left, right})
                    .getResult(0));
  }
  if (dotOperands.empty())
    for (int k = 0; k < 3; ++k)
      dotOperands.push_back(stackVector());
  for (auto [value, at] : llvm::zip(std::array<Val, 3>{x, y, sum}, dotOperands))
    store(value, at, i(0));
  call(kPairDotFunction,
       {dotOperands[0], dotOperands[1], dotOperands[2], i(lanes)});
  return loadV(dotOperands[2], i(0));
}
Val Emitter::stackVector() {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(entryMark);
  return wrap(LLVM::AllocaOp::create(
      b, location, LLVM::LLVMPointerType::get(b.getContext()), vectorType(),
      i(1).get()));
}
Val Emitter::min(Val a, Val c) {
  return binary<arith::MinSIOp, arith::MinimumFOp>(a, c);
}
Val Emitter::max(Val a, Val c) {
  unify(a, c);
  if (!isFloat(a))
    return binary<arith::MaxSIOp, arith::MaximumFOp>(a, c);
  return wrap(arith::MaximumFOp::create(b, location, a, c));
}
Val Emitter::select(Val condition, Val a, Val c) {
  unify(a, c);
  return wrap(b.createOrFold<arith::SelectOp>(location, condition.get(),
                                              a.get(), c.get()));
}
Val Emitter::larger(Val a, Val c) {
  unify(a, c);
  return select(a > c, a, c);
}
Val Emitter::exp(Val x) { return wrap(math::ExpOp::create(b, location, x)); }
Val Emitter::exp2(Val x) {
  if (!scalarType.isF32())
    return exp(x * 0.6931471805599453);
  if (lanes == 16 && x.type() == vectorType())
    return exp2Scaled(x);
  // x = n + f, |f| <= 1/2. Adding 1.5 2^23 + 127 rounds to an integer and leaves
  // n + 127, the exponent of 2^n, in the low bits. 2^f is the polynomial of
  // degree 5 with the least relative error on [-1/2, 1/2], 8e-8.
  constexpr double kShift = 12582912.0 + 127.0;
  constexpr double kPolynomial[] = {
      1.3276471979e-03, 9.6755413342e-03, 5.5507132735e-02,
      2.4022119724e-01, 6.9314696706e-01, 1.0000000717};
  // A NaN stays. From 127.5 up n is 128, whose exponent is that of infinity.
  Val bounded = larger(constant(x.type(), -127), x);
  bounded = select(bounded > constant(x.type(), 128), constant(x.type(), 128), bounded);
  Val shifted = bounded + kShift;
  Val f = bounded - (shifted - kShift);
  Val p = constant(x.type(), kPolynomial[0]);
  for (double coefficient : llvm::ArrayRef(kPolynomial).drop_front())
    p = fma(p, f, constant(x.type(), coefficient));
  Type bits = withElement(x.type(), b.getI32Type());
  Val exponent = wrap(arith::BitcastOp::create(b, location, bits, shifted));
  exponent = wrap(arith::ShLIOp::create(b, location, exponent,
                                        constant(bits, 23)));
  return p * wrap(arith::BitcastOp::create(b, location, x.type(), exponent));
}
Val Emitter::exp2Scaled(Val x) {
  // f = x - floor(x) and p 2^floor(x) are one instruction each. 2^f is the
  // polynomial of degree 5 with the least relative error on [0, 1], 7.5e-8.
  constexpr double kPolynomial[] = {
      1.87757676566e-03, 8.9893398766e-03, 5.58263182317e-02,
      2.40153616983e-01, 6.93153073207e-01, 0.999999925064};
  constexpr int32_t kFromFloor = 9, kCurrentRounding = 4;
  Val zero = constant(x.type(), 0);
  Value every = arith::ConstantOp::create(b, location, b.getI16IntegerAttr(-1));
  auto call = [&](StringRef name, Val first, Val second) {
    return wrap(LLVM::CallIntrinsicOp::create(
                    b, location, Type(vectorType()), b.getStringAttr(name),
                    ValueRange{first, second, zero, every, i32(kCurrentRounding)})
                    .getResult(0));
  };
  Val f = call("llvm.x86.avx512.mask.reduce.ps.512", x, i32(kFromFloor));
  Val p = constant(x.type(), kPolynomial[0]);
  for (double coefficient : llvm::ArrayRef(kPolynomial).drop_front())
    p = fma(p, f, constant(x.type(), coefficient));
  // Subnormal numbers, which are slow, become zero; a NaN stays.
  Val normal = wrap(arith::CmpFOp::create(b, location, arith::CmpFPredicate::UGE,
                                          x, constant(x.type(), -126)));
  return select(normal, call("llvm.x86.avx512.mask.scalef.ps.512", p, x), zero);
}
Val Emitter::log(Val x) { return wrap(math::LogOp::create(b, location, x)); }
Val Emitter::tanh(Val x) { return wrap(math::TanhOp::create(b, location, x)); }
Val Emitter::sqrt(Val x) { return wrap(math::SqrtOp::create(b, location, x)); }

Val Emitter::ceilDiv(Val a, int64_t divisor) {
  return (a + (divisor - 1)) / static_cast<double>(divisor);
}
Val Emitter::broadcast(Val scalar) { return broadcast(scalar, lanes); }
Val Emitter::broadcast(Val scalar, int64_t count) {
  return wrap(vector::BroadcastOp::create(
      b, location, VectorType::get({count}, scalar.type()), scalar));
}
Val Emitter::lane(Val vector, int64_t index) {
  return wrap(vector::ExtractOp::create(b, location, vector.get(), index));
}
Val Emitter::lane(Val vector, Val index) {
  return wrap(LLVM::ExtractElementOp::create(b, location, vector, index));
}
Val Emitter::insertLane(Val vector, Val scalar, int64_t index) {
  return wrap(vector::InsertOp::create(b, location, scalar.get(), vector.get(),
                                       index));
}

Val Emitter::shuffle(Val a, Val c, ArrayRef<int64_t> mask) {
  return wrap(vector::ShuffleOp::create(b, location, a, c, mask));
}

static int64_t lanesOf(Val vector) {
  return cast<VectorType>(vector.type()).getNumElements();
}
Val Emitter::joined(Val a, Val c) {
  return shuffle(a, c, llvm::to_vector(llvm::seq<int64_t>(0, lanesOf(a) + lanesOf(c))));
}
Val Emitter::half(Val vector, int64_t which) {
  int64_t count = lanesOf(vector) / 2;
  return shuffle(vector, vector, llvm::to_vector(llvm::seq(which * count, (which + 1) * count)));
}

/// Folds the upper half onto the lower until one lane is left.
static Val foldHalves(Emitter &e, Val vector, function_ref<Val(Val, Val)> op) {
  while (lanesOf(vector) > 1)
    vector = op(e.half(vector, 0), e.half(vector, 1));
  return e.lane(vector, 0);
}
Val Emitter::reduceSum(Val vector) {
  return foldHalves(*this, vector, [](Val x, Val y) { return x + y; });
}
Val Emitter::reduceMax(Val vector) {
  return foldHalves(*this, vector, [&](Val x, Val y) { return max(x, y); });
}

Val Emitter::any(Val mask) {
  return wrap(vector::ReductionOp::create(b, location, vector::CombiningKind::OR,
                                          mask.get()));
}

Val Emitter::toI64(Val v) {
  Type type = withElement(v.type(), b.getI64Type());
  return type == v.type() ? v : wrap(arith::ExtSIOp::create(b, location, type, v));
}
Val Emitter::toI32(Val v) {
  Type type = withElement(v.type(), b.getI32Type());
  return type == v.type() ? v
                          : wrap(arith::TruncIOp::create(b, location, type, v));
}
Val Emitter::toFloat(Val v) {
  return wrap(arith::SIToFPOp::create(b, location,
                                      withElement(v.type(), scalarType), v));
}
Val Emitter::iota(Type integer, int64_t count) {
  SmallVector<Attribute> values;
  for (int64_t k = 0; k < count; ++k)
    values.push_back(b.getIntegerAttr(integer, k));
  auto type = VectorType::get({count}, integer);
  return wrap(arith::ConstantOp::create(b, location,
                                        DenseElementsAttr::get(type, values)));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Alignment promised for an access: that of one element.
static unsigned alignmentOf(Type type) {
  Type element = getElementTypeOrSelf(type);
  if (isa<LLVM::LLVMPointerType>(element))
    return 8;
  return std::max(1u, element.getIntOrFloatBitWidth() / 8);
}

Val Emitter::address(Type element, Val ptr, Val index) {
  return wrap(LLVM::GEPOp::create(b, location, ptr.type(), element, ptr.get(),
                                  ArrayRef<LLVM::GEPArg>{index.get()}));
}
Val Emitter::load(Type type, Val ptr, Val index) {
  Val at = address(getElementTypeOrSelf(type), ptr, index);
  return wrap(LLVM::LoadOp::create(b, location, type, at, alignmentOf(type)));
}
void Emitter::store(Val value, Val ptr, Val index) {
  Val at = address(getElementTypeOrSelf(value.type()), ptr, index);
  LLVM::StoreOp::create(b, location, value, at, alignmentOf(value.type()));
}
Val Emitter::opaque(Val value) {
  auto copy = LLVM::InlineAsmOp::create(
      b, location, value.type(), value.get(), /*asm_string=*/"",
      /*constraints=*/"=r,0", /*has_side_effects=*/false,
      /*is_align_stack=*/false, LLVM::TailCallKind::None,
      LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT),
      /*operand_attrs=*/ArrayAttr());
  return wrap(copy.getResult(0));
}
void Emitter::prefetch(Val address, Near near) {
  constexpr uint32_t kRead = 0, kData = 1;
  uint32_t locality = near == Near::L1 ? 3 : 2;
  LLVM::Prefetch::create(b, location, address, kRead, locality, kData);
}
Val Emitter::laneMask(Val count) {
  Val small = toI32(count);
  return iota(b.getI32Type(), lanes) < broadcast(small);
}
Val Emitter::maskedLoad(Val ptr, Val index, Val mask) {
  Val at = addressF(ptr, index);
  return wrap(LLVM::MaskedLoadOp::create(b, location, vectorType(), at, mask.get(),
                                         vec(0.0).get(),
                                         alignmentOf(scalarType)));
}
void Emitter::maskedStore(Val value, Val ptr, Val index, Val mask) {
  Val at = addressF(ptr, index);
  LLVM::MaskedStoreOp::create(b, location, value, at, mask,
                              alignmentOf(scalarType));
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

void Emitter::loop(Val lo, Val hi, int64_t step, function_ref<void(Val)> body) {
  loopBy(lo, hi, i(step), body);
}
void Emitter::loopBy(Val lo, Val hi, Val step, function_ref<void(Val)> body) {
  auto op = scf::ForOp::create(b, location, lo, hi, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.getBody()->getTerminator());
  body(wrap(op.getInductionVar()));
}
Emitter::Vals
Emitter::loop(Val lo, Val hi, int64_t step, ArrayRef<Val> init,
              function_ref<Vals(Val, ArrayRef<Val>)> body) {
  return loopBy(lo, hi, i(step), init, body);
}
Emitter::Vals
Emitter::loopBy(Val lo, Val hi, Val step, ArrayRef<Val> init,
                function_ref<Vals(Val, ArrayRef<Val>)> body) {
  assert(!init.empty() && "a loop without carried values has its own overload");
  SmallVector<Value> start;
  for (Val v : init)
    start.push_back(v);
  auto op = scf::ForOp::create(b, location, lo, hi, step, start);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(op.getBody());
    Vals carried;
    for (Value v : op.getRegionIterArgs())
      carried.push_back(wrap(v));
    SmallVector<Value> next;
    for (Val v : body(wrap(op.getInductionVar()), carried))
      next.push_back(v);
    scf::YieldOp::create(b, location, next);
  }
  Vals results;
  for (Value v : op.getResults())
    results.push_back(wrap(v));
  return results;
}

void Emitter::call(StringRef symbol, ArrayRef<Val> arguments) {
  auto module = func->getParentOfType<ModuleOp>();
  SmallVector<Value> values;
  for (Val v : arguments)
    values.push_back(v);
  if (!module.lookupSymbol(symbol)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(func);
    auto type = b.getFunctionType(ValueRange(values).getTypes(), {});
    func::FuncOp::create(b, location, symbol, type).setPrivate();
  }
  func::CallOp::create(b, location, symbol, TypeRange(), values);
}

void Emitter::ifThen(Val condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(b, location, condition, /*withElse=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.thenBlock()->getTerminator());
  body();
}
void Emitter::ifElse(Val condition, function_ref<void()> thenBody,
                     function_ref<void()> elseBody) {
  auto op = scf::IfOp::create(b, location, condition, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.thenBlock()->getTerminator());
  thenBody();
  b.setInsertionPoint(op.elseBlock()->getTerminator());
  elseBody();
}
Emitter::Vals Emitter::ifElse(Val condition, TypeRange types,
                              function_ref<Vals()> thenBody,
                              function_ref<Vals()> elseBody) {
  auto op = scf::IfOp::create(b, location, types, condition, true);
  {
    OpBuilder::InsertionGuard guard(b);
    for (auto [block, body] : {std::pair(op.thenBlock(), thenBody),
                               std::pair(op.elseBlock(), elseBody)}) {
      b.setInsertionPointToEnd(block);
      SmallVector<Value> values;
      for (Val v : body())
        values.push_back(v);
      scf::YieldOp::create(b, location, values);
    }
  }
  Vals results;
  for (Value v : op.getResults())
    results.push_back(wrap(v));
  return results;
}

} // namespace pg
