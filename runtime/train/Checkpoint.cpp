//===- Checkpoint.cpp - a run's state on disk -------------------------------===//
#include "runtime/train/Checkpoint.h"
#include "runtime/exec/NotFinite.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/Hash64.h"
#include "runtime/support/Log.h"
#include "runtime/weights/Safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace pg::rt {
namespace {

constexpr int64_t kFormat = 1;
constexpr const char *kStatePrefix = "state/";
constexpr const char *kTensorsSuffix = ".safetensors";
constexpr const char *kRecordSuffix = ".json";

/// Check sum of a record without its own "check" field.
std::string checkOf(Json record) {
  record.erase("check");
  Hash64 hash;
  hash.add(record.dump());
  return hash.hex();
}

Json toRecord(const TrainState &state) {
  Json seconds = Json::object();
  for (size_t i = 0; i < kStages; ++i)
    seconds[stageName(Stage(i))] = state.seconds[i];
  return {{"step", state.step},
          {"tokens", state.tokens},
          {"phase", state.phase},
          {"seed", state.seed},
          {"loader", {{"shard", state.loader.shard}, {"token", state.loader.token}, {"epochs", state.loader.epochs}}},
          {"validated_step", state.validatedStep},
          {"best_step", state.bestStep},
          {"best_loss", numberToJson(state.bestLoss)},
          {"last_loss", numberToJson(state.lastLoss)},
          {"seconds", seconds}};
}

TrainState fromRecord(const Json &record, Status &status) {
  constexpr int64_t kMost = int64_t(1) << 53;
  TrainState state;
  JsonFields fields(record, "", status);
  state.step = fields.integer("step", 0, kMost);
  state.tokens = fields.integer("tokens", 0, kMost);
  state.phase = int(fields.integer("phase", -1, 1 << 20));
  state.seed = fields.integer("seed", 0, std::numeric_limits<int64_t>::max());
  JsonFields loader(fields.object("loader"), "loader", status);
  state.loader = {loader.integer("shard", 0, kMost), loader.integer("token", 0, kMost),
                  loader.integer("epochs", 0, kMost)};
  state.validatedStep = fields.integer("validated_step", -1, kMost);
  state.bestStep = fields.integer("best_step", -1, kMost);
  state.bestLoss = fields.number("best_loss");
  state.lastLoss = fields.number("last_loss");
  JsonFields seconds(fields.object("seconds"), "seconds", status);
  for (size_t i = 0; i < kStages; ++i)
    state.seconds[i] = seconds.number(stageName(Stage(i)));
  return state;
}

} // namespace

Checkpoints::Checkpoints(Executor &executor, std::string folder, RunIdentity identity, int64_t keep, bool keepBest)
    : executor(executor), folder(std::move(folder)), identity(std::move(identity)), keep(std::max<int64_t>(keep, 1)),
      keepBest(keepBest) {
  const Package &package = executor.package();
  uint64_t largest = 0;
  auto add = [&](std::string name, DType dtype, const std::vector<int64_t> &shape, uint64_t bytes, size_t source) {
    largest = std::max(largest, bytes);
    tensors.push_back({std::move(name), dtypeName(dtype), shape, bytes, source});
  };
  for (size_t i = 0; i < package.parameters.size(); ++i)
    add(package.parameters[i].name, package.parameters[i].dtype, package.parameters[i].shape,
        executor.parameterBytes(i), i);
  for (size_t i = 0; i < package.states.size(); ++i)
    if (package.states[i].role != "gradient")
      add(kStatePrefix + package.states[i].name, package.states[i].dtype, package.states[i].shape,
          executor.stateBytes(i), package.parameters.size() + i);
  sortTensors(tensors);
  header = safetensorsHeader(tensors, {{"model", package.model}, {"program", package.programHash}});
  staging.resize(largest);
}

std::string Checkpoints::stem(int64_t step) const {
  std::string digits = std::to_string(step);
  return folder + "/step-" + std::string(digits.size() < 8 ? 8 - digits.size() : 0, '0') + digits;
}

std::vector<int64_t> Checkpoints::steps() const {
  std::vector<int64_t> found;
  auto names = listFolder(folder);
  if (!names)
    return found;
  for (const std::string &name : *names) {
    size_t dot = name.find('.');
    if (name.rfind("step-", 0) != 0 || dot == std::string::npos || name.substr(dot) != kRecordSuffix)
      continue;
    std::string digits = name.substr(5, dot - 5);
    if (!digits.empty() && digits.size() < 18 && digits.find_first_not_of("0123456789") == std::string::npos)
      found.push_back(std::stoll(digits));
  }
  std::sort(found.begin(), found.end());
  return found;
}

Status Checkpoints::read(const TensorShape &tensor) {
  const Package &package = executor.package();
  size_t parameters = package.parameters.size();
  bool isParameter = tensor.source < parameters;
  Status status = isParameter ? executor.readParameter(tensor.source, staging.data())
                              : executor.readState(tensor.source - parameters, staging.data());
  if (!status)
    return status;
  DType dtype = isParameter ? package.parameters[tensor.source].dtype : package.states[tensor.source - parameters].dtype;
  if (isFinite(dtype, staging.data(), elementCount(tensor.shape)))
    return Status::ok();
  std::string of = isParameter ? tensor.name : package.states[tensor.source - parameters].parameter, place;
  for (const Parameter &parameter : package.parameters)
    if (parameter.name == of)
      place = " (" + parameter.location + ")";
  return {Code::Numerical, "no checkpoint is written: '" + tensor.name + "'" + place + " is not finite"};
}

Status Checkpoints::writeTensors(const std::string &path, uint64_t &bytes, std::string &hash) {
  auto file = AtomicFile::create(path);
  if (!file)
    return file.status();
  Hash64 sum;
  auto append = [&](std::string_view piece) {
    sum.add(piece);
    bytes += piece.size();
    return file->append(piece);
  };
  if (Status status = append(header); !status)
    return status;
  for (const TensorShape &tensor : tensors) {
    if (Status status = read(tensor); !status)
      return status;
    if (Status status = append({staging.data(), size_t(tensor.bytes)}); !status)
      return status;
  }
  hash = sum.hex();
  return file->commit();
}

Status Checkpoints::write(const TrainState &state) {
  uint64_t bytes = 0;
  std::string hash;
  std::string at = stem(state.step);
  // A record that is there already must not make half of another one valid.
  if (Status status = removeFile(at + kRecordSuffix); !status)
    return status;
  if (Status status = writeTensors(at + kTensorsSuffix, bytes, hash); !status)
    return status;
  const Package &package = executor.package();
  Json record = {{"format", kFormat},      {"model", package.model},       {"program", package.programHash},
                 {"compiler", package.compiler}, {"code", executor.device().codeText()}, {"data", identity.data},
                 {"bytes", bytes},         {"hash", hash},                 {"state", toRecord(state)}};
  record["check"] = checkOf(record);
  if (Status status = writeFileAtomic(at + kRecordSuffix, record.dump(2) + "\n"); !status)
    return status;
  prune(state);
  return Status::ok();
}

void Checkpoints::prune(const TrainState &state) {
  std::vector<int64_t> all = steps();
  for (size_t i = 0; i < all.size(); ++i) {
    bool isRecent = i + size_t(keep) >= all.size();
    bool isBest = keepBest && all[i] == state.bestStep;
    if (isRecent || isBest || all[i] == state.step)
      continue;
    // The record first: without it the tensors count for nothing.
    for (const char *suffix : {kRecordSuffix, kTensorsSuffix})
      if (Status status = removeFile(stem(all[i]) + suffix); !status) {
        warn(status.message());
        break;
      }
  }
}

StatusOr<TrainState> Checkpoints::restore(int64_t step) {
  std::string at = stem(step), path = at + kTensorsSuffix;
  auto corrupt = [&](const std::string &text) { return Status(Code::Corrupt, "checkpoint '" + at + "': " + text); };
  auto text = readFile(at + kRecordSuffix, uint64_t(1) << 24);
  if (!text)
    return text.status();
  auto record = parseJson(*text);
  if (!record)
    return corrupt(record.status().message());
  if (!record->is_object() || !record->contains("check") || (*record)["check"] != checkOf(*record))
    return corrupt("the record's check sum is wrong");
  Status status;
  JsonFields fields(*record, "", status);
  int64_t format = fields.integer("format", 0, 1 << 20);
  std::string program = fields.string("program"), data = fields.string("data"), hash = fields.string("hash");
  std::string compiler = fields.string("compiler"), code = fields.string("code");
  int64_t bytes = fields.integer("bytes", 0, int64_t(1) << 53);
  TrainState state = fromRecord(fields.object("state"), status);
  if (!status)
    return corrupt(status.message());
  if (format != kFormat)
    return corrupt("has format " + std::to_string(format) + ", this program reads " + std::to_string(kFormat));
  const Package &package = executor.package();
  if (program != package.programHash)
    return Status(Code::Invalid, "checkpoint '" + at + "' is of another program than this package: model or structure of the "
                                 "recipe changed; use the package the run was started with, or start a run in another "
                                 "folder with --weights");
  if (data != identity.data)
    return Status(Code::Invalid, "checkpoint '" + at + "' was trained on other shards than these: names, sizes or "
                                 "contents changed; restore them, or start a run in another folder with --weights");

  auto held = readFile(path);
  if (!held)
    return held.status();
  Hash64 sum;
  sum.add(*held);
  if (int64_t(held->size()) != bytes || sum.hex() != hash)
    return corrupt("its tensors are damaged (" + std::to_string(held->size()) + " of " + std::to_string(bytes) + " bytes)");
  auto file = SafetensorsFile::parse(std::move(*held));
  if (!file)
    return corrupt(file.status().message());
  // All or nothing: a checkpoint that does not fit must leave the executor alone.
  for (const TensorShape &tensor : tensors) {
    const TensorView *found = file->find(tensor.name);
    if (!found || found->dtype != tensor.dtype || found->shape != tensor.shape)
      return corrupt("tensor '" + tensor.name + "' is missing or has another shape or type");
  }
  for (const TensorShape &tensor : tensors) {
    const char *values = file->find(tensor.name)->bytes.data();
    Status status = tensor.source < package.parameters.size()
                        ? executor.writeParameter(tensor.source, values)
                        : executor.writeState(tensor.source - package.parameters.size(), values);
    if (!status)
      return status;
  }
  auto runs = [](const std::string &compiler, const std::string &code) { return code + ", compiled by " + compiler; };
  if (std::string now = executor.device().codeText(); compiler != package.compiler || code != now)
    note("checkpoint '" + at + "' was written by other code (" + runs(compiler, code) + "; now " +
         runs(package.compiler, now) + "): the run goes on, but may differ in the last bits from one that was not "
         "interrupted; resume with the package and on the kind of machine it was started with to avoid that");
  return state;
}

StatusOr<std::optional<TrainState>> Checkpoints::restoreNewest() {
  std::vector<int64_t> all = steps();
  Status last;
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    auto state = restore(*step);
    if (state)
      return std::optional<TrainState>(*state);
    last = state.status();
    if (last.code() == Code::Invalid)
      return last;
    warn(last.message() + (step + 1 == all.rend() ? "" : "; trying an older one"));
  }
  if (!all.empty())
    return Status(Code::Corrupt, "none of the " + std::to_string(all.size()) + " checkpoints in '" + folder +
                                     "' can be read: " + last.message());
  return std::optional<TrainState>();
}

} // namespace pg::rt
