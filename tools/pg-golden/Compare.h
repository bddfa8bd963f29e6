//===- Compare.h - measured differences between tensors
//--------------------===//
#ifndef PG_TOOLS_PGGOLDEN_COMPARE_H
#define PG_TOOLS_PGGOLDEN_COMPARE_H

#include "runtime/weights/Safetensors.h"

#include <string>
#include <vector>

namespace pg::golden {

/// A tensor of a file as doubles; Invalid when it is not there.
rt::StatusOr<std::vector<double>> tensorOf(const rt::SafetensorsFile &file,
                                           const std::string &name);

/// Largest |a - b|; NaN when either holds one, infinity for unequal sizes.
double maxAbsDifference(const std::vector<double> &a,
                        const std::vector<double> &b);

/// Mean of |a - b|; infinity for unequal or no sizes.
double meanAbsDifference(const std::vector<double> &a,
                         const std::vector<double> &b);

/// ||a - b|| / ||b||; for b = 0, 0 when a = 0 and infinity else.
double relativeL2(const std::vector<double> &a, const std::vector<double> &b);

} // namespace pg::golden

#endif // PG_TOOLS_PGGOLDEN_COMPARE_H
