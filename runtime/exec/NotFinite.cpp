//===- NotFinite.cpp - where a NaN or an infinity comes from ----------------===//
#include "runtime/exec/NotFinite.h"
#include "runtime/package/PackageJson.h"

#include <algorithm>

namespace pg::rt {
namespace {

template <typename T> bool allFinite(const T *values, int64_t count) {
  // x - x is 0 for a finite x and NaN for any other: one test at the end.
  T sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += values[i] - values[i];
  return sum == 0;
}

std::string placed(const std::string &what, const std::string &location) {
  return location.empty() ? what : what + " (" + location + ")";
}

} // namespace

bool isFinite(DType dtype, const void *values, int64_t count) {
  switch (dtype) {
  case DType::F32: return allFinite(static_cast<const float *>(values), count);
  case DType::F64: return allFinite(static_cast<const double *>(values), count);
  case DType::BF16: {
    auto *bits = static_cast<const uint16_t *>(values);
    return std::none_of(bits, bits + count, [](uint16_t b) { return (b & 0x7f80) == 0x7f80; });
  }
  default: return true;
  }
}

std::string parameterNotFinite(const Executor &executor) {
  const Package &package = executor.package();
  std::vector<char> values;
  for (size_t i = 0; i < package.parameters.size(); ++i) {
    const Parameter &parameter = package.parameters[i];
    values.resize(executor.parameterBytes(i));
    if (!executor.readParameter(i, values.data()))
      return "";
    if (!isFinite(parameter.dtype, values.data(), elementCount(parameter.shape)))
      return placed("parameter '" + parameter.name + "'", parameter.location);
  }
  return "";
}

std::string stateNotFinite(const Executor &executor) {
  const Package &package = executor.package();
  std::vector<char> values;
  for (size_t i = 0; i < package.states.size(); ++i) {
    const State &state = package.states[i];
    values.resize(executor.stateBytes(i));
    if (!executor.readState(i, values.data()))
      return "";
    if (isFinite(state.dtype, values.data(), elementCount(state.shape)))
      continue;
    std::string location;
    for (const Parameter &parameter : package.parameters)
      if (parameter.name == state.parameter)
        location = parameter.location;
    return placed(state.role == "gradient" ? "the gradient of '" + state.parameter + "'" : "state '" + state.name + "'",
                  location);
  }
  return "";
}

StatusOr<std::string> launchNotFinite(Executor &executor, int index, const Batch *batch) {
  const Package &package = executor.package();
  const Entry &entry = package.entries[size_t(index)];
  int64_t tokens = batch ? batch->numTokens : 0;
  if (Status status = executor.begin(index, batch); !status)
    return status;
  std::vector<char> values;
  for (size_t i = 0; i < entry.launches.size(); ++i) {
    const Launch &launch = entry.launches[i];
    if (Status status = executor.runLaunch(index, i, batch); !status)
      return status;
    for (const Written &written : launch.writes) {
      int64_t count = written.count(tokens);
      values.resize(size_t(count * dtypeBytes(written.dtype)));
      if (Status status = executor.readWritten(index, i, written, tokens, values.data()); !status)
        return status;
      if (isFinite(written.dtype, values.data(), count))
        continue;
      const BufferRef &place = launch.buffers[written.buffer];
      std::string what = "the result of " + package.kernels[launch.kernel].summary;
      if (place.kind == BufferRef::Kind::State)
        what = "state '" + package.states[place.index].name + "' after " + package.kernels[launch.kernel].summary;
      else if (place.kind == BufferRef::Kind::Parameter)
        what = "parameter '" + package.parameters[place.index].name + "' after " +
               package.kernels[launch.kernel].summary;
      return placed(what, launch.location) + " in " + entry.name + ", launch " + std::to_string(i + 1) + " of " +
             std::to_string(entry.launches.size());
    }
  }
  return std::string();
}

} // namespace pg::rt
