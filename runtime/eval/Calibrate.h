//===- Calibrate.h - second moments of what enters the products --------------===//
#ifndef PG_RUNTIME_EVAL_CALIBRATE_H
#define PG_RUNTIME_EVAL_CALIBRATE_H

#include "runtime/data/BatchTables.h"
#include "runtime/exec/Executor.h"

namespace pg::rt {

/// Clears every state of role "hessian" and adds X^T X of all rows to them.
/// Returns the number of runs it took. `entry` has the role "calibrate".
StatusOr<int64_t> accumulateMoments(Executor &executor, int entry, const std::vector<TokenRow> &rows,
                                    int64_t batchTokens = 0);

/// Writes every moment times `factor` under the name of its parameter, in the
/// package's float type. Numerical when one is not finite, naming it.
Status saveMoments(const Executor &executor, const std::string &path, double factor);

} // namespace pg::rt

#endif // PG_RUNTIME_EVAL_CALIBRATE_H
