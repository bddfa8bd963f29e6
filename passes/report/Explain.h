//===- Explain.h - from a line of the specification to its kernels
//---------===//
#ifndef PG_PASSES_REPORT_EXPLAIN_H
#define PG_PASSES_REPORT_EXPLAIN_H

#include "passes/report/Text.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace pg::report {

/// What to explain: a line, or everything with a name. A name is an op
/// ("rms_norm"), a function of the language ("linear"), a block
/// ("output_gate"), a parameter or a kernel.
struct Question {
  std::string name; ///< "" = by line
  std::string file; ///< as given, or the last components of its path
  unsigned line = 0;
  std::string phase; ///< of training; "" = the first
};

/// One model after three phases.
struct Stages {
  mlir::ModuleOp inlined, derived, planned;
};

/// The answer as text: ops of the forward pass, ops of their derivative, and
/// the kernels that hold them with fused expressions, buffers and cost. False
/// with a message in `text` when nothing matches.
bool explain(const Stages &stages, const Question &question, std::string &text);

} // namespace pg::report

#endif // PG_PASSES_REPORT_EXPLAIN_H
