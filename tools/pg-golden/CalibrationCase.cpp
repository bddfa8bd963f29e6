//===- CalibrationCase.cpp - second moments against recorded ones ----------===//
//
// 1. pgc compiles the program `calibrate` alone.
// 2. The recorded batches [rows, length] hold inputs only; they become one file
//    of rows with an unused last token, whose sum is divided by their number.
// 3. Every recorded moment is compared; none may be missing or left over.
//
//===----------------------------------------------------------------------===//
#include "tools/pg-golden/Case.h"
#include "tools/pg-golden/CaseMap.h"
#include "tools/pg-golden/Compare.h"
#include "tools/pg-golden/Process.h"

using namespace pg;
using namespace pg::golden;

/// Prefix of the recorded moments.
static const std::string kMoment = "H.";

/// Writes batch0, batch1, ... as `tokens`; their number.
static rt::StatusOr<int64_t> writeTokens(const rt::SafetensorsFile &recorded,
                                         const std::string &path) {
  std::vector<int32_t> tokens;
  int64_t batches = 0, rows = 0, length = 0;
  for (;; ++batches) {
    std::string name = "batch" + std::to_string(batches);
    const rt::TensorView *batch = recorded.find(name);
    if (!batch)
      break;
    auto values = rt::toIntegers(*batch, name);
    if (!values)
      return values.status();
    if (batch->shape.size() != 2 || (length && batch->shape[1] != length))
      return rt::Status(rt::Code::Invalid, "'" + name + "' has the shape " +
                                               rt::shapeText(batch->shape));
    length = batch->shape[1];
    rows += batch->shape[0];
    for (size_t i = 0; i < values->size(); ++i) {
      tokens.push_back(static_cast<int32_t>((*values)[i]));
      if ((i + 1) % static_cast<size_t>(length) == 0)
        tokens.push_back(0);
    }
  }
  if (batches == 0)
    return rt::Status(rt::Code::Invalid, "no tensor 'batch0'");
  rt::Status written = rt::writeSafetensors(
      path, {{"tokens",
              "I32",
              {rows, length + 1},
              {reinterpret_cast<const char *>(tokens.data()),
               tokens.size() * sizeof(int32_t)}}});
  if (!written)
    return written;
  return batches;
}

static rt::Status runCalibration(const Case &golden,
                                 const Environment &environment,
                                 const CaseMap &map,
                                 std::vector<Check> &checks) {
  std::string package = environment.scratch + "/model.pgx",
              tokens = environment.scratch + "/tokens.safetensors",
              moments = environment.scratch + "/moments.safetensors";
  rt::StatusOr<ModelChoice> choice = map.apply(golden.spec);
  if (!choice)
    return choice.status();
  std::vector<std::string> compile = {environment.tools + "/pgc", "compile",
                                      choice->modelPath, "--programs",
                                      "calibrate"};
  for (const std::string &item : choice->overrides)
    compile.insert(compile.end(), {"--set", item});
  compile.insert(compile.end(), {"-o", package});
  if (rt::Status ran = runProcess(compile, environment.scratch + "/pgc.log");
      !ran)
    return ran;

  auto recorded = rt::SafetensorsFile::read(golden.file("io.safetensors"));
  if (!recorded)
    return recorded.status();
  rt::StatusOr<int64_t> batches = writeTokens(*recorded, tokens);
  if (!batches)
    return batches.status();
  std::vector<std::string> command = {
      environment.tools + "/pgrun", "calibrate", package, "--weights",
      golden.file("weights.safetensors"), "--tokens", tokens, "--batches",
      std::to_string(*batches), "-o", moments};
  if (!choice->phase.empty())
    command.insert(command.end(), {"--phase", choice->phase});
  if (rt::Status ran =
          runProcess(command, environment.scratch + "/calibrate.log");
      !ran)
    return ran;

  auto computed = rt::SafetensorsFile::read(moments);
  if (!computed)
    return computed.status();
  for (const auto &[name, view] : computed->tensors())
    if (!recorded->find(kMoment + name))
      return {rt::Code::Invalid, "a moment of '" + name + "' is not expected"};
  for (const auto &[name, view] : recorded->tensors()) {
    if (name.rfind(kMoment, 0) != 0)
      continue;
    auto wanted = tensorOf(*recorded, name);
    auto own = tensorOf(*computed, name.substr(kMoment.size()));
    if (!wanted || !own)
      return wanted ? own.status() : wanted.status();
    checks.push_back({name, relativeL2(*own, *wanted),
                      golden.tolerance("rel_l2_per_tensor")});
  }
  return rt::Status::ok();
}

Outcome golden::runCalibrationCase(const Case &golden,
                                   const Environment &environment) {
  return runWithMap(golden, environment, runCalibration);
}
