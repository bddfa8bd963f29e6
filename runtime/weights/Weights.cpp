//===- Weights.cpp - safetensors into and out of an executor ----------------===//
#include "runtime/weights/Weights.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/BFloat16.h"
#include "runtime/train/Initialise.h"
#include "runtime/weights/Codes.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace pg::rt {
namespace {

constexpr size_t kMaxProblems = 20;

size_t byteCount(const std::vector<int64_t> &shape, DType dtype) {
  return size_t(elementCount(shape) * dtypeBytes(dtype));
}

/// One value into memory of the parameter's type.
void put(const Parameter &parameter, void *memory, size_t i, double value) {
  switch (parameter.dtype) {
  case DType::F64: static_cast<double *>(memory)[i] = value; break;
  case DType::BF16: static_cast<uint16_t *>(memory)[i] = floatToBf16(float(value)); break;
  default: static_cast<float *>(memory)[i] = float(value); break;
  }
}

Status store(const TensorView &tensor, const Parameter &parameter, void *memory) {
  if (parameter.dtype == DType::I8)
    if (Status status = checkCodes(tensor, parameter.name, parameter.bits); !status)
      return status;
  if (tensor.dtype == dtypeName(parameter.dtype)) {
    std::memcpy(memory, tensor.bytes.data(), tensor.bytes.size());
    return Status::ok();
  }
  if (parameter.dtype == DType::I32 || parameter.dtype == DType::I1)
    return {Code::Internal, "parameter '" + parameter.name + "' is not a float tensor"};
  auto values = toDoubles(tensor, parameter.name);
  if (!values)
    return values.status();
  for (size_t i = 0; i < values->size(); ++i)
    put(parameter, memory, i, (*values)[i]);
  return Status::ok();
}

/// The parameter from wherever the file holds it; false in `isFound` leaves it.
Status read(const SafetensorsFile &file, const Parameter &parameter, void *memory, bool &isFound) {
  isFound = true;
  if (const TensorView *tensor = file.find(parameter.name))
    return store(*tensor, parameter, memory);
  isFound = isStoredAsCodes(file, parameter.name);
  if (!isFound)
    return Status::ok();
  auto values = dequantise(file, parameter.name, parameter.shape);
  if (!values)
    return values.status();
  for (size_t i = 0; i < values->size(); ++i)
    put(parameter, memory, i, (*values)[i]);
  return Status::ok();
}

/// "" when the file has the parameter in a form that it can be read from.
std::string problemOf(const SafetensorsFile &file, const Parameter &parameter) {
  const TensorView *tensor = file.find(parameter.name);
  std::string codes = parameter.name + ".codes";
  if (tensor && parameter.dtype != DType::I8 && file.find(codes))
    return "'" + parameter.name + "' is there twice, as itself and as '" + codes + "'";
  if (!tensor && isStoredAsCodes(file, parameter.name) && parameter.dtype != DType::I8)
    return "";
  if (tensor && tensor->shape != parameter.shape)
    return "'" + parameter.name + "' has shape " + shapeText(tensor->shape) + ", expected " +
           shapeText(parameter.shape);
  if (tensor)
    return "";
  size_t end = parameter.name.rfind('.');
  std::string weight = parameter.name.substr(0, end);
  if (parameter.isOptional) {
    // Both factors of a correction, or neither.
    for (const char *factor : {".left", ".right"})
      if (weight + factor != parameter.name && !partsOf(file, weight + factor).empty())
        return "'" + parameter.name + "' is missing beside '" + weight + factor + "'";
    return "";
  }
  if (parameter.dtype == DType::I8 && file.find(weight))
    return "'" + parameter.name + "' is missing: the file holds '" + weight +
           "' itself, this package reads its codes (compile with quantise.weights: materialise)";
  return "'" + parameter.name + "' is missing (expected " + shapeText(parameter.shape) + ")";
}

} // namespace

Status loadWeights(Executor &executor, const std::string &path) {
  auto file = SafetensorsFile::read(path);
  if (!file)
    return file.status();
  std::vector<std::string> problems;
  std::set<std::string> known;
  const auto &parameters = executor.package().parameters;
  for (const Parameter &parameter : parameters) {
    for (std::string &part : partsOf(*file, parameter.name))
      known.insert(std::move(part));
    if (std::string problem = problemOf(*file, parameter); !problem.empty())
      problems.push_back(std::move(problem));
  }
  for (const auto &[name, tensor] : file->tensors())
    if (!known.count(name) && name.rfind("state/", 0) != 0)
      problems.push_back("'" + name + "' " + shapeText(tensor.shape) + " is no parameter of the model");
  if (!problems.empty()) {
    std::string text = "weights '" + path + "' do not fit model '" + executor.package().model + "':";
    for (size_t i = 0; i < std::min(kMaxProblems, problems.size()); ++i)
      text += "\n  " + problems[i];
    if (problems.size() > kMaxProblems)
      text += "\n  and " + std::to_string(problems.size() - kMaxProblems) + " more";
    return {Code::Invalid, text};
  }
  std::vector<char> values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    values.resize(executor.parameterBytes(i));
    bool isFound = false;
    if (Status status = read(*file, parameters[i], values.data(), isFound); !status)
      return status.with("'" + path + "'");
    if (!isFound) { // optional
      auto initial = initialValues(parameters[i], 0);
      if (!initial)
        return initial.status();
      for (size_t k = 0; k < initial->size(); ++k)
        put(parameters[i], values.data(), k, (*initial)[k]);
    }
    if (Status status = executor.writeParameter(i, values.data()); !status)
      return status;
  }
  return executor.copyParameters();
}

Status saveWeights(const Executor &executor, const std::string &path,
                   const std::map<std::string, std::string> &metadata) {
  std::vector<TensorToWrite> tensors;
  std::vector<std::vector<char>> held;
  const auto &parameters = executor.package().parameters;
  held.reserve(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    std::vector<char> &values = held.emplace_back(executor.parameterBytes(i));
    if (Status status = executor.readParameter(i, values.data()); !status)
      return status;
    tensors.push_back({parameters[i].name, dtypeName(parameters[i].dtype), parameters[i].shape,
                       {values.data(), values.size()}});
  }
  return writeSafetensors(path, std::move(tensors), metadata);
}

bool hasAverages(const Package &package) {
  return std::any_of(package.states.begin(), package.states.end(),
                     [](const State &state) { return state.role == "ema"; });
}

Status saveAverages(const Executor &executor, const std::string &path,
                    const std::map<std::string, std::string> &metadata) {
  const Package &package = executor.package();
  std::vector<TensorToWrite> tensors;
  std::vector<std::vector<char>> held;
  held.reserve(package.parameters.size());
  for (size_t i = 0; i < package.parameters.size(); ++i) {
    const Parameter &parameter = package.parameters[i];
    auto average = std::find_if(package.states.begin(), package.states.end(), [&](const State &state) {
      return state.role == "ema" && state.parameter == parameter.name &&
             elementCount(state.shape) == elementCount(parameter.shape);
    });
    bool isAveraged = average != package.states.end();
    size_t index = isAveraged ? size_t(average - package.states.begin()) : i;
    std::vector<char> &values = held.emplace_back(isAveraged ? executor.stateBytes(index) : executor.parameterBytes(i));
    Status status = isAveraged ? executor.readState(index, values.data()) : executor.readParameter(i, values.data());
    if (!status)
      return status;
    tensors.push_back({parameter.name, dtypeName(isAveraged ? average->dtype : parameter.dtype), parameter.shape,
                       {values.data(), values.size()}});
  }
  return writeSafetensors(path, std::move(tensors), metadata);
}

Status saveGradients(const Executor &executor, const std::string &path) {
  const Package &package = executor.package();
  std::map<std::string, size_t> gradientOf;
  for (size_t i = 0; i < package.states.size(); ++i)
    if (package.states[i].role == "gradient")
      gradientOf[package.states[i].parameter] = i;
  std::vector<TensorToWrite> tensors;
  std::vector<std::string> values; // views of these are written
  values.reserve(package.parameters.size());
  for (const Parameter &parameter : package.parameters) {
    auto found = gradientOf.find(parameter.name);
    if (found == gradientOf.end()) {
      values.emplace_back(byteCount(parameter.shape, parameter.dtype), '\0');
      tensors.push_back({parameter.name, dtypeName(parameter.dtype), parameter.shape, values.back()});
      continue;
    }
    // A state may be stored flattened; the parameter's shape is the one to show.
    const State &state = package.states[found->second];
    if (elementCount(state.shape) != elementCount(parameter.shape))
      return {Code::Internal, "state '" + state.name + "' has shape " + shapeText(state.shape) +
                                  ", its parameter " + shapeText(parameter.shape)};
    values.emplace_back(byteCount(state.shape, state.dtype), '\0');
    if (Status status = executor.readState(found->second, values.back().data()); !status)
      return status;
    tensors.push_back({parameter.name, dtypeName(state.dtype), parameter.shape, values.back()});
  }
  return writeSafetensors(path, std::move(tensors));
}

} // namespace pg::rt
