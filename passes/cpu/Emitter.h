//===- Emitter.h - writing kernel code that reads like C -------------------===//
//
// A thin layer over OpBuilder for the CPU emitters. Integers are i64 (counts,
// indices), floats are scalars or vectors of one float type, memory is a raw
// `!llvm.ptr` plus an element index. Nothing here decides anything about a
// kernel; it only makes the emitted arith/scf/vector/llvm ops short to write.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_EMITTER_H
#define PG_PASSES_CPU_EMITTER_H

#include "runtime/package/Package.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <optional>
#include <string>

namespace pg {

class Emitter;

/// How code multiplies pairs of bf16 numbers.
enum class PairDot {
  None,        ///< not at all: products of bf16 factors are products of f32
  Instruction, ///< vdpbf16ps, on 512-bit vectors
  /// A call of `kPairDotFunction`, which the loading program defines: for tests on
  /// machines without the instruction.
  Function
};
/// What LLVM calls the feature behind PairDot::Instruction.
inline constexpr const char *kPairDotFeature = "avx512bf16";
/// void (const uint32_t *a, const uint32_t *b, float *sum, int64_t lanes): what
/// vdpbf16ps does to `lanes` sums.
inline constexpr const char *kPairDotFunction = "pg_pair_dot";

/// What the emitted code may use. Width is in bytes so that f32 and f64 kernels
/// share it: 64 for AVX-512, 32 for AVX2, 16 for SSE2.
struct CpuTarget {
  int64_t vectorBytes = 64;
  PairDot pairDot = PairDot::None;
};

/// What the package needs to know of an emitted kernel.
struct KernelShape {
  rt::WorkItems items;
  uint64_t scratchBytes = 0; ///< per thread
  std::string category;      ///< "row", "matmul", "attention", "head", "transpose"
  /// LLVM's whole default pipeline: worth its time around products only.
  bool wholePipeline = false;
};

/// An SSA value with arithmetic. `+ - * / %` on integers (division unsigned:
/// operands must not be negative) and on floats; a scalar float beside a vector
/// is broadcast, a C++ number takes the other operand's type.
class Val {
public:
  Val() = default;
  Val(Emitter *emitter, mlir::Value value) : emitter(emitter), value(value) {}
  operator mlir::Value() const { return value; }
  mlir::Value get() const { return value; }
  mlir::Type type() const { return value.getType(); }
  Emitter &e() const { return *emitter; }
  explicit operator bool() const { return static_cast<bool>(value); }
  bool isVector() const;

private:
  Emitter *emitter = nullptr;
  mlir::Value value;
};

Val operator+(Val a, Val b);
Val operator-(Val a, Val b);
Val operator*(Val a, Val b);
Val operator/(Val a, Val b);
Val operator%(Val a, Val b);
Val operator+(Val a, double b);
Val operator-(Val a, double b);
Val operator*(Val a, double b);
Val operator/(Val a, double b);
Val operator%(Val a, int64_t b);
Val operator-(Val a);
/// Comparisons: signed on integers, ordered on floats; result i1 or vector of i1.
Val operator<(Val a, Val b);
Val operator<=(Val a, Val b);
Val operator>(Val a, Val b);
Val operator>=(Val a, Val b);
Val operator==(Val a, Val b);
Val operator!=(Val a, Val b);
Val operator<(Val a, int64_t b);
Val operator>=(Val a, int64_t b);
Val operator>(Val a, int64_t b);
Val operator==(Val a, int64_t b);
Val operator&(Val a, Val b);
Val operator|(Val a, Val b);

/// Emits into one kernel function. Loaded arguments (buffers, scalars, batch
/// fields) are read once, at the function's entry.
class Emitter {
public:
  using Vals = llvm::SmallVector<Val, 16>;

  /// Creates `func.func @symbol(buffers, scalars, batch, begin, end, scratch)`
  /// (KernelAbi.h) at the end of `module` and stands inside it. `floatType` is
  /// f32 or f64; it decides the element of `loadF`, `vec`, constants. Call
  /// `finish` when the body is complete.
  Emitter(mlir::ModuleOp module, llvm::StringRef symbol, mlir::Location loc,
          mlir::Type floatType, const CpuTarget &target);
  /// The same for a function of other arguments, without scratch and batch.
  Emitter(mlir::ModuleOp module, llvm::StringRef symbol, mlir::Location loc,
          mlir::Type floatType, const CpuTarget &target,
          mlir::TypeRange arguments);
  /// Closes the function; returns the bytes of scratch it takes.
  uint64_t finish();

  mlir::OpBuilder &builder() { return b; }
  mlir::Location loc() const { return location; }
  mlir::Type floatType() const { return scalarType; }
  int64_t floatBytes() const { return scalarType.getIntOrFloatBitWidth() / 8; }
  /// Lanes of one native vector of the float type.
  int64_t width() const { return lanes; }
  mlir::VectorType vectorType() const { return vecType(lanes); }
  mlir::VectorType vecType(int64_t lanes) const {
    return mlir::VectorType::get({lanes}, scalarType);
  }
  mlir::func::FuncOp function() const { return func; }
  Val wrap(mlir::Value v) { return Val(this, v); }

  // Kernel arguments (KernelAbi.h).
  Val begin() { return wrap(func.getArgument(3)); }
  Val end() { return wrap(func.getArgument(4)); }
  Val argument(int64_t i) { return wrap(func.getArgument(i)); }
  /// Pointer of the i-th buffer.
  Val buffer(int64_t i);
  /// The i-th f64 scalar as stored.
  Val scalarF64(int64_t i);
  /// The i-th f64 scalar rounded to the float type.
  Val scalar(int64_t i);
  Val numTokens();
  Val rowBegin();
  Val rowEnd();
  Val segmentBegin();
  Val segmentEnd();
  Val slot();
  /// A 64-byte aligned piece of the calling thread's scratch.
  Val scratch(int64_t bytes);
  /// Where an i64 lies that is zero when the thread first works at a launch and then
  /// keeps, like all scratch, what the thread's earlier calls left.
  Val launchNote();

  // Constants.
  Val i(int64_t value);
  Val i32(int32_t value);
  Val f(double value);
  /// A vector with one value in every lane.
  Val vec(double value);
  /// A constant of any integer, float or vector-of-those type.
  Val constant(mlir::Type type, double value);

  // Arithmetic beyond the operators.
  Val fma(Val a, Val b, Val c); ///< a * b + c, rounded once
  /// Vectors of bf16 pairs travel as f32 vectors of the same bits, the first of a
  /// pair in the lower half.
  bool hasPairDot() const { return pairDot != PairDot::None; }
  bool hasBf16Instructions() const { return pairDot == PairDot::Instruction; }
  /// Pairs of the lanes of two f32 vectors that hold bf16 numbers.
  Val pairs(Val first, Val second);
  /// Pairs of the lanes of both halves of a vector of bf16 numbers.
  Val pairsOfHalves(Val halves);
  /// sum + a.second b.second + a.first b.first lane by lane, added in this order,
  /// each rounded to nearest even, subnormal numbers taken as zero.
  Val dotPairs(Val a, Val b, Val sum);
  Val min(Val a, Val b);        ///< signed integers, or floats
  Val max(Val a, Val b);
  Val select(Val condition, Val a, Val b);
  /// a where a > b, else b: one instruction. A NaN in `a` gives b.
  Val larger(Val a, Val b);
  Val exp(Val x);
  /// 2^x. In f32 within 2 ulp, 0 below -126.5 (512-bit vectors: -126), infinite
  /// from 128 (127.5 elsewhere) up.
  Val exp2(Val x);
  Val log(Val x);
  Val tanh(Val x);
  Val sqrt(Val x);
  /// ceil(a / b) of non-negative integers.
  Val ceilDiv(Val a, int64_t b);
  Val broadcast(Val scalar);
  Val broadcast(Val scalar, int64_t lanes);
  Val lane(Val vector, int64_t index);
  /// Lane chosen at run time (i64).
  Val lane(Val vector, Val index);
  Val insertLane(Val vector, Val scalar, int64_t index);
  /// Sum (maximum) of the lanes, halves first: a fixed tree.
  Val reduceSum(Val vector);
  Val reduceMax(Val vector);
  /// Whether any lane of a vector of i1 is set.
  Val any(Val mask);
  /// Lanes picked from the concatenation of a and b.
  Val shuffle(Val a, Val b, llvm::ArrayRef<int64_t> mask);
  /// The lanes of a, then those of b.
  Val joined(Val a, Val b);
  /// The first (0) or second (1) half of the lanes.
  Val half(Val vector, int64_t which);
  /// i64 of an i32, sign-extended.
  Val toI64(Val v);
  Val toI32(Val v);
  /// Integer to the float type.
  Val toFloat(Val v);
  /// <0, 1, 2, ...> of i64 or i32 lanes.
  Val iota(mlir::Type integer, int64_t lanes);

  // Memory: `ptr` plus an element index. Alignment is that of the element.
  Val load(mlir::Type type, Val ptr, Val index);
  Val loadF(Val ptr, Val index) { return load(scalarType, ptr, index); }
  Val loadV(Val ptr, Val index) { return load(vectorType(), ptr, index); }
  void store(Val value, Val ptr, Val index);
  /// Address of element `index` of `element` type.
  Val address(mlir::Type element, Val ptr, Val index);
  Val addressF(Val ptr, Val index) { return address(scalarType, ptr, index); }
  /// The same value, of which LLVM knows nothing.
  Val opaque(Val value);
  /// Asks for the line at an address, which need not be one of the program's: into
  /// L1, or no nearer than L2.
  enum class Near { L1, L2 };
  void prefetch(Val address, Near near);
  /// Lanes < count as vector of i1, for the native width.
  Val laneMask(Val count);
  /// Lanes outside the mask read as zero and are not touched.
  Val maskedLoad(Val ptr, Val index, Val mask);
  void maskedStore(Val value, Val ptr, Val index, Val mask);

  // Control flow.
  /// for (iv = lo; iv < hi; iv += step) body(iv).
  void loop(Val lo, Val hi, int64_t step, llvm::function_ref<void(Val)> body);
  /// The same with values carried from one iteration to the next.
  Vals loop(Val lo, Val hi, int64_t step, llvm::ArrayRef<Val> init,
            llvm::function_ref<Vals(Val, llvm::ArrayRef<Val>)> body);
  void loopBy(Val lo, Val hi, Val step, llvm::function_ref<void(Val)> body);
  Vals loopBy(Val lo, Val hi, Val step, llvm::ArrayRef<Val> init,
              llvm::function_ref<Vals(Val, llvm::ArrayRef<Val>)> body);
  /// Calls a function without results, which is declared where it is not known.
  void call(llvm::StringRef symbol, llvm::ArrayRef<Val> arguments);
  void ifThen(Val condition, llvm::function_ref<void()> body);
  void ifElse(Val condition, llvm::function_ref<void()> thenBody,
              llvm::function_ref<void()> elseBody);
  Vals ifElse(Val condition, mlir::TypeRange types,
              llvm::function_ref<Vals()> thenBody,
              llvm::function_ref<Vals()> elseBody);

private:
  /// Value loaded once at the function entry, by argument and slot.
  Val entryLoad(int64_t argument, int64_t slot, mlir::Type type);
  /// exp2 with instructions of AVX-512.
  Val exp2Scaled(Val x);
  /// Room for one native vector on the stack, made at the function entry.
  Val stackVector();

  mlir::OpBuilder b;
  mlir::Location location;
  mlir::Type scalarType;
  int64_t lanes;
  PairDot pairDot;
  mlir::func::FuncOp func;
  /// Entry loads go before this op, so that they dominate the whole body.
  mlir::Operation *entryMark = nullptr;
  llvm::DenseMap<std::pair<int64_t, int64_t>, mlir::Value> entryLoads;
  llvm::DenseMap<std::pair<int64_t, int64_t>, mlir::Value> entryDerived;
  int64_t scratchTop;
  llvm::SmallVector<Val, 3> dotOperands; ///< of PairDot::Function
};

} // namespace pg

#endif // PG_PASSES_CPU_EMITTER_H
