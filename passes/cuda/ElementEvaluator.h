//===- ElementEvaluator.h - one element of a tensor value, as CUDA text -------===//
//
// Writes the value of any tensor of a kernel body at given coordinates, by
// walking the value-level ops that define it. Shape ops cost index arithmetic
// only. Row kernels use it for whole bodies, structured kernels for prologues
// (an operand's element at (token, feature)) and epilogues (an element of a
// yield, with the product's element bound to a register).
//
// Every term knows the block of the SourceWriter it lives in: the innermost
// one among those of its coordinates and bound values. Row-invariant work so
// leaves inner loops by itself. A term is written once per block and used
// again by whoever asks for it from inside that block.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CUDA_ELEMENTEVALUATOR_H
#define PG_PASSES_CUDA_ELEMENTEVALUATOR_H

#include "passes/cuda/KernelText.h"

#include <functional>
#include <limits>
#include <optional>

namespace pg::cuda {

/// A C++ expression (a name, an element of an array or a literal) and the depth
/// of the block from which on it may be used.
struct Term {
  std::string text;
  int depth = 0;
};

/// Index along one dimension: base + offset, plus the element number inside
/// openVector when `lanes`. `low <= index < high` for every thread, and the
/// base is a multiple of `divisor`: what is known decides pieces of concat and
/// pad when the text is written, and keeps vectors whole.
struct Coord {
  std::string base; ///< name of an int; empty for a constant
  int depth = 0;    ///< of the base
  int64_t offset = 0;
  int64_t low = 0;
  int64_t high = std::numeric_limits<int64_t>::max();
  int64_t divisor = 1;
  bool lanes = false;

  static Coord constant(int64_t value);
  /// A run-time index in [low, high).
  static Coord at(const Term &base, int64_t low = 0,
                  int64_t high = std::numeric_limits<int64_t>::max(),
                  int64_t divisor = 1);
  /// First index of a vector, all elements of which lie in [low, high).
  static Coord lanesAt(const Term &base, int64_t low, int64_t high,
                       int64_t divisor);
  Coord shifted(int64_t by) const;
  std::string key() const;
};
using Coords = llvm::SmallVector<Coord, 4>;

class ElementEvaluator {
public:
  /// Binds the kernel's arguments to its parameters.
  ElementEvaluator(SourceWriter &writer, KernelText &kernel);

  SourceWriter &writer() { return w; }

  //===--- what values are bound to ---------------------------------------===//

  /// The whole tensor lies row-major at `pointer` (its memory type).
  void bindMemory(mlir::Value tensor, llvm::StringRef pointer,
                  int64_t alignment = 16, int depth = 0);
  /// One row of it (the leading dimension at a fixed index) lies at `pointer`.
  void bindRow(mlir::Value tensor, llvm::StringRef pointer,
               int64_t alignment = 16, int depth = 0);
  /// Until `unbind` the tensor is only asked for at one position, where it is
  /// `value`: the product's element in an epilogue.
  void bindCurrent(mlir::Value tensor, const Term &value);
  void unbind(mlir::Value tensor);
  bool isBound(mlir::Value tensor) const;

  /// Asked before a value is written, told of every value that was: lets an
  /// emitter keep values in registers from one loop to the next.
  struct Reuse {
    virtual ~Reuse() = default;
    virtual std::optional<Term> find(mlir::Value tensor,
                                     llvm::ArrayRef<Coord> at) = 0;
    virtual void computed(mlir::Value tensor, llvm::ArrayRef<Coord> at,
                          const Term &value) = 0;
  };
  Reuse *reuse = nullptr;

  //===--- vectors --------------------------------------------------------===//

  /// Opens `for (w = 0; w < width; ++w)`: coordinates with lanes mean their
  /// base plus w. Consecutive elements are loaded by one access before it.
  void openVector(int64_t width);
  void closeVector();
  int64_t vectorWidth() const { return width; }
  /// Name of w, and the block that is opened around the loop.
  const std::string &lane() const { return laneName; }
  int vectorDepth() const { return laneDepth - 1; }
  /// Vectors loaded so far: what an unrolled loop would have in flight at once.
  int64_t vectorLoads() const { return numVectorLoads; }

  //===--- values ---------------------------------------------------------===//

  /// The element at `at`, in the register type of the tensor's element type.
  Term evaluate(mlir::Value tensor, llvm::ArrayRef<Coord> at);
  /// While `body` runs, loads are made only where `condition` holds (and are 0
  /// elsewhere).
  void guarded(const Term &condition, llvm::function_ref<void()> body);
  /// An element of an array that only Reuse knows, read where the condition of
  /// `guarded` holds.
  Term element(llvm::StringRef array, const Coord &index, mlir::Type type,
               int depth);
  /// int text of a coordinate, and where it may be used.
  Term indexOf(const Coord &coord);
  /// Address of an element of a row-major tensor.
  Term address(mlir::RankedTensorType type, llvm::StringRef pointer,
               llvm::ArrayRef<Coord> at, bool oneRow = false, int depth = 0);
  /// Row-major index over several dimensions, and its parts again: the parts of
  /// a coordinate join to that same coordinate.
  Coord linearise(llvm::ArrayRef<Coord> at, llvm::ArrayRef<int64_t> shape);
  /// What linearise gives when it needs no new index, else nothing.
  std::optional<Coord> known(llvm::ArrayRef<Coord> at,
                             llvm::ArrayRef<int64_t> shape);
  Coords delinearise(const Coord &linear, llvm::ArrayRef<int64_t> shape);

  /// `const type name = text;` at a depth; the name. Literals stay as they are.
  Term define(llvm::StringRef type, llvm::StringRef stem,
              const llvm::Twine &text, int depth);

  /// The same, once for a key as long as the block is open.
  Term defineOnce(const std::string &key, llvm::StringRef type,
                  llvm::StringRef stem, const llvm::Twine &text, int depth);
  /// Quotient of a coordinate by a size.
  Coord quotientOf(const Coord &coord, int64_t size) {
    return divide(coord, size).first;
  }

  /// True after a diagnostic.
  bool failed() const { return hasFailed; }

private:
  struct Binding {
    std::string pointer;
    int64_t alignment = 16;
    int depth = 0;
    bool oneRow = false;
  };

  Term compute(mlir::Value tensor, llvm::ArrayRef<Coord> at);
  Term load(mlir::Value tensor, const Binding &binding,
            llvm::ArrayRef<Coord> at);
  Term unsupported(mlir::Value tensor, llvm::StringRef why);
  std::optional<Term> loadVector(mlir::RankedTensorType type,
                                 llvm::StringRef stem, const Binding &binding,
                                 llvm::ArrayRef<Coord> at);
  Term rowAddress(mlir::RankedTensorType type, llvm::StringRef pointer,
                  const Coord &row, int depth);
  bool byRow(mlir::RankedTensorType type, llvm::ArrayRef<Coord> at) const;
  static std::string keyOf(mlir::Value tensor, llvm::ArrayRef<Coord> at,
                           llvm::StringRef guard);
  std::optional<Term> remembered(const std::string &key) const;
  void remember(const std::string &key, const Term &term);

  // Shape ops (ElementShape.cpp).
  std::pair<Coord, Coord> divide(const Coord &coord, int64_t by);
  Coord join(const Coord &quotient, const Coord &remainder, int64_t size);
  std::optional<Coord> knownJoin(const Coord &quotient, const Coord &remainder,
                                 int64_t size) const;
  /// The coordinate as an index of its own, without lanes.
  Coord scalar(const Coord &coord);
  /// The coordinate itself when no vector crosses a boundary, else scalar.
  Coord whole(const Coord &coord, llvm::ArrayRef<int64_t> boundaries);
  Term inside(const Coord &coord, int64_t low, int64_t high);
  Term choose(const Term &condition, const Term &a, const Term &b,
              mlir::Type element, llvm::StringRef stem);
  Term reshape(ReshapeOp op, llvm::ArrayRef<Coord> at);
  Term pad(PadOp op, llvm::ArrayRef<Coord> at);
  Term concat(ConcatOp op, llvm::ArrayRef<Coord> at);
  Term rotate(RotateOp op, llvm::ArrayRef<Coord> at);
  Term tokenShift(TokenShiftOp op, llvm::ArrayRef<Coord> at);
  Term constant(ConstantOp op, llvm::ArrayRef<Coord> at);
  std::optional<Term> shapeOp(mlir::Operation *op, mlir::Value tensor,
                              llvm::ArrayRef<Coord> at);

  // Elementwise ops (ElementMath.cpp).
  Term mathOp(mlir::Operation *op, mlir::Value tensor,
              llvm::ArrayRef<Term> operands);

  SourceWriter &w;
  KernelText &kernel;
  llvm::DenseMap<mlir::Value, Binding> bindings;
  llvm::DenseMap<mlir::Value, Term> current;
  std::map<SourceWriter::Block *, std::map<std::string, Term>> terms;
  std::map<std::string, std::pair<Coord, Coord>> quotients;
  std::map<std::string, Coord> joins;
  Term guard; ///< empty text: none
  int64_t width = 1;
  std::string laneName;
  int laneDepth = 0;
  int64_t numVectorLoads = 0;
  bool hasFailed = false;
};

/// A value of one register type in another.
std::string converted(llvm::StringRef text, mlir::Type from, mlir::Type to);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_ELEMENTEVALUATOR_H
