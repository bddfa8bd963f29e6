//===- Expression.h - a fused kernel in infix form
//--------------------------===//
#ifndef PG_PASSES_REPORT_EXPRESSION_H
#define PG_PASSES_REPORT_EXPRESSION_H

#include "dialect/Pg.h"
#include "passes/report/Text.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"

#include <set>
#include <string>
#include <vector>

namespace pg::report {

/// Names for the values of an entry and of the kernels it launches: symbols
/// and inputs by their own names, other values by the variable of the
/// specification line they come from, gradients as g1, g2, ...
class EntryNames {
public:
  EntryNames(mlir::func::FuncOp entry, SourceText &source);

  /// Name of a value of the entry; the same value has the same name for ever.
  std::string nameOf(mlir::Value value);
  /// True when the value depends on the loss: it is part of the derivative.
  bool isGradient(mlir::Value value) const { return gradients.count(value); }
  /// Variable that a value of a kernel is assigned to, or "" when its line goes
  /// on: when one of its readers, seen through views, is of the same line.
  std::string variableOf(mlir::Value value);

private:
  std::string unique(const std::string &name);
  std::string variableAt(mlir::Location loc);

  SourceText &source;
  llvm::DenseSet<mlir::Value> gradients;
  llvm::DenseMap<mlir::Value, std::string> names;
  std::set<std::string> taken;
  int numGradients = 0, numOthers = 0;
};

/// Readers of a value in its kernel, seen through ops that only move indices.
llvm::SetVector<mlir::Operation *> readersOf(mlir::Value value);

/// One statement of a kernel: "gate = 2 * sigmoid(x)" and where it comes from.
struct Statement {
  std::string text;
  Place place;
};

/// The body of `def` as seen by `launch`: constants, parameters and results
/// appear under the launch's names. Broadcasts are implicit, as in the
/// language; a value that is used twice, handed out or named by its line gets
/// a statement of its own.
std::vector<Statement> fusedExpression(KernelDefOp def, LaunchOp launch,
                                       EntryNames &names);

} // namespace pg::report

#endif // PG_PASSES_REPORT_EXPRESSION_H
