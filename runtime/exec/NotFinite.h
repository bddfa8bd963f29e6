//===- NotFinite.h - where a NaN or an infinity comes from ------------------===//
#ifndef PG_RUNTIME_EXEC_NOTFINITE_H
#define PG_RUNTIME_EXEC_NOTFINITE_H

#include "runtime/exec/Executor.h"

namespace pg::rt {

/// Whether all values of a float tensor are finite; other types always are.
bool isFinite(DType dtype, const void *values, int64_t count);

/// "parameter 'a.weight' (model.yaml:3:5)": the first parameter of the executor that holds a NaN or an infinity; "" when
/// none does.
std::string parameterNotFinite(const Executor &executor);

/// The same for states: "the gradient of 'a.weight' (...)", "state 'adam_m.a.weight' (...)".
std::string stateNotFinite(const Executor &executor);

/// Runs an entry launch by launch and looks at all that each one writes. "the result of softcap linear_cross_entropy
/// (blocks.yaml:9:7) in accumulate@plain, launch 71 of 90": the first that leaves a NaN or an infinity, "" when none
/// does. Slow, and allocates: for runs that have failed. Leaves outputs and states half-written.
StatusOr<std::string> launchNotFinite(Executor &executor, int entry, const Batch *batch);

} // namespace pg::rt

#endif // PG_RUNTIME_EXEC_NOTFINITE_H
