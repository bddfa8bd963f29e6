//===- Calibrate.cpp - second moments of what enters the products ------------===//
#include "runtime/eval/Calibrate.h"
#include "runtime/eval/Score.h"
#include "runtime/package/PackageJson.h"
#include "runtime/weights/Safetensors.h"

#include <cmath>

namespace pg::rt {
namespace {

template <typename T> bool scaleInto(const void *from, int64_t count, double factor, std::string &bytes) {
  bytes.resize(size_t(count) * sizeof(T));
  auto *to = reinterpret_cast<T *>(bytes.data());
  bool isFinite = true;
  for (int64_t i = 0; i < count; ++i) {
    to[i] = T(double(static_cast<const T *>(from)[i]) * factor);
    isFinite &= std::isfinite(to[i]);
  }
  return isFinite;
}

} // namespace

StatusOr<int64_t> accumulateMoments(Executor &executor, int entry, const std::vector<TokenRow> &rows,
                                    int64_t batchTokens) {
  if (Status status = executor.resetStates("hessian"); !status)
    return status;
  return runRows(executor, entry, rows, batchTokens);
}

Status saveMoments(const Executor &executor, const std::string &path, double factor) {
  const Package &package = executor.package();
  std::vector<TensorToWrite> tensors;
  std::vector<std::string> bytes;
  bytes.reserve(package.states.size());
  for (size_t i = 0; i < package.states.size(); ++i) {
    const State &state = package.states[i];
    if (state.role != "hessian")
      continue;
    bytes.emplace_back();
    std::string values(size_t(executor.stateBytes(i)), '\0');
    if (Status read = executor.readState(i, values.data()); !read)
      return read;
    int64_t count = elementCount(state.shape);
    bool isFinite = state.dtype == DType::F64 ? scaleInto<double>(values.data(), count, factor, bytes.back())
                                              : scaleInto<float>(values.data(), count, factor, bytes.back());
    if (!isFinite)
      return {Code::Numerical, "the second moment of '" + state.parameter + "' is not finite"};
    tensors.push_back({state.parameter, dtypeName(state.dtype), state.shape, bytes.back()});
  }
  if (tensors.empty())
    return {Code::Invalid, "no parameter of the model has a quantisation label, so there is nothing to calibrate"};
  return writeSafetensors(path, std::move(tensors));
}

} // namespace pg::rt
