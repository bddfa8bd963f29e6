//===- Interpreter.h - runs pg programs in double
//--------------------------===//
//
// Evaluates an entry at any stage: value-level ops before fusion, `pg.kernel`
// regions after it, launches of kernel definitions after outlining. Every op is
// computed in double whatever its element type, so the result is the truth a
// compiled program is measured against, and two stages of one program must
// agree to rounding of doubles.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_REFERENCE_INTERPRETER_H
#define PG_TEST_REFERENCE_INTERPRETER_H

#include "dialect/Pg.h"
#include "test/reference/Ops.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <string>

namespace pg::reference {

/// A packed batch that owns its tables. Rows and segments are offset lists
/// {0, ..., N}; a row start is also a segment start; `slots` has one adapter
/// slot per row, or none for slot 0 everywhere.
class PackedBatch {
public:
  PackedBatch(const std::vector<int32_t> &rows,
              const std::vector<int32_t> &segments,
              const std::vector<int32_t> &slots = {});
  /// One row that is one segment.
  explicit PackedBatch(int32_t tokens)
      : PackedBatch({0, tokens}, {0, tokens}) {}
  rt::Batch view() const;
  int64_t tokens() const { return static_cast<int64_t>(slot.size()); }
  /// Index of each token in its row.
  Tensor position() const;

private:
  std::vector<int32_t> rowBegin, rowEnd, segmentBegin, segmentEnd, slot;
};

/// What an entry reads and leaves.
struct Memory {
  std::map<std::string, Tensor> inputs;  ///< "tokens", "targets", ...
  std::map<std::string, double> scalars; ///< "loss_scale", "step", ...
  std::map<std::string, Tensor> symbols; ///< parameters and states
  std::map<std::string, Tensor> outputs; ///< filled by pg.output
};

/// Runs function `entry` of `module`. States absent from `memory.symbols` are
/// created with their initial value. An op the interpreter does not know is an
/// error at its location.
llvm::LogicalResult run(mlir::ModuleOp module, llvm::StringRef entry,
                        const PackedBatch &batch, Memory &memory);

} // namespace pg::reference

#endif // PG_TEST_REFERENCE_INTERPRETER_H
