//===- Report.h - the front end's one channel for errors -------------------===//
#ifndef PG_FRONTEND_REPORT_H
#define PG_FRONTEND_REPORT_H

#include "frontend/SpecNode.h"

#include "mlir/IR/Location.h"
#include "llvm/ADT/Twine.h"

#include <set>
#include <string>
#include <vector>

namespace pg::frontend {

/// Turns positions into MLIR diagnostics. Collects: callers go on after an
/// error and ask `hasFailed` at the end. A message that was already given for
/// the same place (a block used in many layers) is not repeated; after
/// kMaxErrors one last message says that there are more.
class Reporter {
public:
  static constexpr int kMaxErrors = 50;

  explicit Reporter(mlir::MLIRContext *context) : context(context) {}

  void error(SpecPos pos, const llvm::Twine &message);
  /// With a second position as an attached note.
  void error(SpecPos pos, const llvm::Twine &message, SpecPos notePos,
             const llvm::Twine &note);
  bool hasFailed() const { return count > 0; }
  int errorCount() const { return count; }

  mlir::Location location(SpecPos pos) const;
  mlir::MLIRContext *getContext() const { return context; }

private:
  bool admit(SpecPos pos, const std::string &message);

  mlir::MLIRContext *context;
  std::set<std::string> given;
  int count = 0;
};

/// "; did you mean 'x'?" with the candidate nearest to `name`, or "" when none
/// is near.
std::string suggest(llvm::StringRef name,
                    const std::vector<std::string> &candidates);
/// "file:line:column".
std::string toString(SpecPos pos);

} // namespace pg::frontend

#endif // PG_FRONTEND_REPORT_H
