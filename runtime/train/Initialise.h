//===- Initialise.h - the closed set of parameter initialisers ---------------===//
//
// zeros; ones; constant{value}; normal{std}; uniform{low, high};
// orthogonal{gain}: semi-orthogonal rows or columns from the QR decomposition
// of a Gaussian; rows{0, 1, ...}: one value per leading row. Keyed by seed and
// parameter name: order and threads cannot change a bit.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_TRAIN_INITIALISE_H
#define PG_RUNTIME_TRAIN_INITIALISE_H

#include "runtime/exec/Executor.h"

namespace pg::rt {

/// The values of one parameter, row-major. Invalid for an unknown kind or
/// missing numbers.
StatusOr<std::vector<double>> initialValues(const Parameter &parameter, uint64_t seed);

/// Values as the bytes of a parameter of float type.
std::string parameterBytes(const std::vector<double> &values, DType dtype);

/// Every parameter of the executor; states to their initial values.
Status initialise(Executor &executor, uint64_t seed);

/// One state from its `draw`, or its initial value when it has none. `use` keys
/// the random numbers besides the seed and the state's name.
Status drawState(Executor &executor, size_t state, uint64_t seed, const std::string &use);

} // namespace pg::rt

#endif // PG_RUNTIME_TRAIN_INITIALISE_H
