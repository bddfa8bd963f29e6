//===- Program.h - a small case as a whole program, at every stage
//---------===//
//
// Turns an op case into a model: operands become parameters (per-token ones are
// gathered by token id), the result becomes a loss per token through random
// weights. The passes then make score and gradient entries out of it.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TEST_NUMERICS_PROGRAM_H
#define PG_TEST_NUMERICS_PROGRAM_H

#include "test/numerics/OpCases.h"

#include <map>
#include <string>

namespace pg::numerics {

/// Text of a module (phase "spec", one phase "main") whose loss depends on the
/// op of `c`; token ids run from 0 to `tokens` - 1.
std::string modelText(const OpCase &c, int64_t tokens);

/// Values of every parameter of modelText, of the inputs and of loss_scale.
reference::Memory drawMemory(const OpCase &c,
                             const reference::PackedBatch &batch);

/// Loads the dialects a program needs.
void loadDialects(mlir::MLIRContext &context);

/// Parses `text` and runs the passes that lead to phase "derived", without the
/// check of causality (a reduction over tokens is a case too).
mlir::OwningOpRef<mlir::ModuleOp> derive(mlir::MLIRContext &context,
                                         const std::string &text,
                                         const std::string &precision);

/// Largest ||a - b|| / max(||b||, 1e-30) over the tensors of `b`; names the
/// tensor. Infinity when one is missing or has another size.
struct Difference {
  double error = 0;
  std::string name;
};
Difference compare(const std::map<std::string, reference::Tensor> &a,
                   const std::map<std::string, reference::Tensor> &b);

/// The results of an entry: "nll" of score, "nll" and "grad.*" of accumulate.
std::map<std::string, reference::Tensor> resultsOf(const reference::Memory &m);

} // namespace pg::numerics

#endif // PG_TEST_NUMERICS_PROGRAM_H
