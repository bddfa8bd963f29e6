//===- Weights.h - safetensors into and out of an executor -------------------===//
#ifndef PG_RUNTIME_WEIGHTS_WEIGHTS_H
#define PG_RUNTIME_WEIGHTS_WEIGHTS_H

#include "runtime/exec/Executor.h"
#include "runtime/weights/Safetensors.h"

namespace pg::rt {

/// Fills every parameter, converting to its dtype; one that the file holds as codes
/// (Codes.h) gets their values. The tensors of a checkpoint
/// will do: its "state/..." are left out. Invalid lists all missing, unknown
/// and mis-shaped tensors (at most 20) in one message. States that start as
/// copies of parameters follow.
Status loadWeights(Executor &executor, const std::string &path);

/// Writes every parameter under its name, in its own dtype.
Status saveWeights(const Executor &executor, const std::string &path,
                   const std::map<std::string, std::string> &metadata = {});

/// Whether the package keeps averaged weights (states of role "ema").
bool hasAverages(const Package &package);
/// Writes the average of every parameter under the parameter's name; a
/// parameter without one as it is.
Status saveAverages(const Executor &executor, const std::string &path,
                    const std::map<std::string, std::string> &metadata = {});

/// Writes the gradient of every parameter under the parameter's name; exact
/// zeros for one without a gradient state.
Status saveGradients(const Executor &executor, const std::string &path);

} // namespace pg::rt

#endif // PG_RUNTIME_WEIGHTS_WEIGHTS_H
