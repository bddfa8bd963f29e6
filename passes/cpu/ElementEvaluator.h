//===- ElementEvaluator.h - one element (or vector) of a tensor value -------===//
//
// Emits the value of any tensor of a kernel body at given coordinates, by
// walking the value-level ops that define it. Shape ops cost index arithmetic
// only; nothing is materialised here. Row kernels use it for whole bodies, the
// structured kernels for their prologues (an operand's element) and epilogues
// (an element of a yield, with the product bound to a register).
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_ELEMENTEVALUATOR_H
#define PG_PASSES_CPU_ELEMENTEVALUATOR_H

#include "dialect/Pg.h"
#include "passes/cpu/Emitter.h"

#include <limits>
#include <map>
#include <set>
#include <vector>

namespace pg {

/// Index along one dimension: base + offset, plus the lane number when `lanes`.
/// `low <= index < high` over all values the base takes and all lanes, and the
/// base is a multiple of `divisor`: what is known decides pieces of concat and
/// pad statically and keeps vectors whole across reshapes.
struct Coord {
  Val base; ///< i64; empty for a constant
  int64_t offset = 0;
  int64_t low = 0;
  int64_t high = std::numeric_limits<int64_t>::max();
  int64_t divisor = 1;
  bool lanes = false;

  static Coord constant(int64_t value);
  /// Constant first index of `width` consecutive elements.
  static Coord constantLanes(int64_t first, int64_t width);
  /// A run-time index known to lie in [low, high).
  static Coord at(Val base, int64_t low = 0,
                  int64_t high = std::numeric_limits<int64_t>::max(),
                  int64_t divisor = 1);
  /// A run-time first index of consecutive elements, all in [low, high).
  static Coord lanesAt(Val base, int64_t low, int64_t high, int64_t divisor);
  /// The index moved by a constant.
  Coord shifted(int64_t by) const;
};
using Coords = llvm::SmallVector<Coord, 4>;

class ElementEvaluator {
public:
  explicit ElementEvaluator(Emitter &emitter);

  //===--- what values are bound to ---------------------------------------===//

  /// Block arguments of the kernel: tensors to buffers, f64 to scalars.
  void bindArguments(KernelDefOp kernel);
  /// The whole tensor lies row-major at `pointer`.
  void bindMemory(mlir::Value tensor, Val pointer);
  /// One row of the tensor (its leading dimension at `row`) lies at `pointer`.
  void bindRow(mlir::Value tensor, Val pointer, Val row);
  /// In the innermost scope the tensor is only asked for at one position, whose
  /// value is `value` (scalar or vector as the coordinates ask). With `row`,
  /// being asked for at another leading coordinate is an error.
  void bindCurrent(mlir::Value tensor, Val value, Val row = Val());
  /// Forgets a memory or row binding.
  void unbind(mlir::Value tensor);
  bool isBound(mlir::Value tensor) const;

  //===--- scopes ---------------------------------------------------------===//

  /// A block into which values are emitted and in which they may be reused.
  /// Values whose coordinates come from an outer scope are emitted there,
  /// before the loop, so row-invariant work leaves the inner loops. Nothing
  /// moves out of a scope that has `bindCurrent` values. Enter a scope for
  /// every block `evaluate` is called in; it ends with the C++ object.
  class Scope {
  public:
    Scope(ElementEvaluator &evaluator, mlir::Block *block);
    ~Scope();
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;

  private:
    ElementEvaluator &evaluator;
  };

  /// From now on nothing moves out of the innermost scope: memory is written in
  /// it that even values at constant coordinates read.
  void pin() { scopes.back().pinned = true; }

  //===--- values ---------------------------------------------------------===//

  /// The element at `at`, or vector<width> when a coordinate has lanes. The
  /// element type is the tensor's.
  Val evaluate(mlir::Value tensor, llvm::ArrayRef<Coord> at, int64_t width = 1);
  /// Load or store of a row-major tensor in memory (i1 as bytes).
  Val load(mlir::RankedTensorType type, Val pointer, llvm::ArrayRef<Coord> at,
           int64_t width, bool oneRow = false);
  void store(Val value, mlir::RankedTensorType type, Val pointer,
             llvm::ArrayRef<Coord> at, bool oneRow = false);
  /// Stores a yield's element as its mode asks (KernelDefOp): 2 adds.
  void storeYield(Val value, mlir::RankedTensorType type, Val pointer,
                  llvm::ArrayRef<Coord> at, int64_t mode);
  /// i64 value of a coordinate's first lane.
  Val indexOf(const Coord &coord);

  /// Positions along the last dimension where the expression changes piece
  /// (concat, pad, rotate). A loop cut there meets only whole pieces.
  std::set<int64_t> breakpoints(mlir::Value tensor);

  /// True after a diagnostic: an op cannot be evaluated elementwise.
  bool failed() const { return hasFailed; }
  Emitter &emitter() { return e; }

private:
  struct Binding {
    Val pointer;
    Val row; ///< set: one row only
  };
  using Key = std::pair<void *, std::vector<int64_t>>;
  struct ScopeData {
    mlir::Block *block = nullptr;
    std::map<Key, Val> values;
    std::map<std::vector<int64_t>, Val> indices;
    std::map<void *, std::pair<Val, Val>> current; ///< value, row
    bool pinned = false;
  };

  int depthOf(Val base) const;
  Key keyOf(mlir::Value tensor, llvm::ArrayRef<Coord> at, int64_t width) const;
  Val compute(mlir::Value tensor, llvm::ArrayRef<Coord> at, int64_t width);
  /// True at a leading coordinate that is `row`, or when no row is asked.
  static bool isAtRow(llvm::ArrayRef<Coord> at, Val row);
  Val computeBound(mlir::Value tensor, const Binding &binding,
                   llvm::ArrayRef<Coord> at, int64_t width);
  /// Each lane on its own; for accesses that are not one vector.
  Val scalarised(mlir::Value tensor, llvm::ArrayRef<Coord> at, int64_t width);
  /// Splats a scalar when the coordinates ask for lanes.
  Val spread(Val value, llvm::ArrayRef<Coord> at, int64_t width);
  Val zero(mlir::Type element, llvm::ArrayRef<Coord> at, int64_t width);
  Val unsupported(mlir::Operation *op, mlir::Value tensor,
                  llvm::ArrayRef<Coord> at, int64_t width, llvm::StringRef why);

  // Shape ops (ElementShape.cpp).
  Val reshape(ReshapeOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val pad(PadOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val concat(ConcatOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val rotate(RotateOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val tokenShift(TokenShiftOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val constant(ConstantOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val iota(IotaOp op, llvm::ArrayRef<Coord> at, int64_t width);
  Val shapeOp(mlir::Operation *op, llvm::ArrayRef<Coord> at, int64_t width);
  /// Quotient and remainder by n; nothing when lanes would cross a multiple.
  std::optional<std::pair<Coord, Coord>> divide(const Coord &coord, int64_t n,
                                                int64_t width);
  /// Row-major linear index of several coordinates; nothing when lanes are not
  /// consecutive in it.
  std::optional<Coord> linearise(llvm::ArrayRef<Coord> at,
                                 llvm::ArrayRef<int64_t> shape, int64_t width);
  enum class IndexKind { Times, Div, Rem };
  Val indexArith(IndexKind kind, Val base, int64_t by);
  /// The coordinate when it lies in [low, high), else a harmless one inside;
  /// and the condition.
  std::pair<Coord, Val> clampInto(const Coord &coord, int64_t low, int64_t high);

  // Elementwise ops (ElementMath.cpp).
  Val mathOp(mlir::Operation *op, llvm::ArrayRef<Val> operands);

  Emitter &e;
  llvm::DenseMap<mlir::Value, Binding> bindings;
  llvm::DenseMap<mlir::Value, Val> scalars;
  llvm::DenseMap<mlir::Attribute, Val> globals;
  std::vector<ScopeData> scopes;
  bool hasFailed = false;
};

/// Conversion of a scalar or vector to another element type (pg.cast).
Val convertElements(Emitter &e, Val value, mlir::Type element);
/// f32 numbers that bf16 holds, as bf16: no rounding, every bit is kept.
Val upperHalves(Emitter &e, Val value);
/// Two f32 vectors rounded to bf16, the lanes of one behind those of the other.
Val roundedHalves(Emitter &e, Val first, Val second);
/// Rounds to the nearest value of a narrower float type, keeping the type.
Val roundElements(Emitter &e, Val value, mlir::Type narrow);
/// `element`, or vector of it when `like` is a vector.
mlir::Type withShapeOf(mlir::Type like, mlir::Type element);

} // namespace pg

#endif // PG_PASSES_CPU_ELEMENTEVALUATOR_H
