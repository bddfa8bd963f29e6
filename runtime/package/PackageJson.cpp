//===- PackageJson.cpp - structs to JSON and back ---------------------------===//
//
// One pair of functions per struct, in the order of Package.h. Launches are by
// far the most numerous records, so their buffers are short arrays.
//
//===----------------------------------------------------------------------===//
#include "runtime/package/PackageJson.h"

#include <limits>

namespace pg::rt {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxIndex = 1 << 24;
constexpr int64_t kMaxBytes = int64_t(1) << 46;

const char *const kDTypes[] = {"F32", "F64", "BF16", "I32", "BOOL", "I8"};
const char *const kBufferKinds[] = {"arena", "parameter", "state", "input", "scalar", "output"};
const char *const kValueKinds[] = {"int", "float", "bool", "string"};

template <typename Enum, size_t count>
Enum readEnum(JsonFields &fields, const char *key, const char *const (&names)[count]) {
  std::string text = fields.string(key);
  for (size_t i = 0; i < count; ++i)
    if (text == names[i])
      return Enum(i);
  fields.fail(std::string("'") + key + "' has unknown value '" + text + "'");
  return Enum(0);
}

// Declared first so that the list template finds every one of them.
Json toJson(const Parameter &parameter);
Json toJson(const State &state);
Json toJson(const BufferRef &buffer);
Json toJson(const Launch &launch);
Json toJson(const Port &port);
Json toJson(const Entry &entry);
Json toJson(const Kernel &kernel);
Json toJson(const CodeTarget &target);
Json toJson(const Phase &phase);
Json toJson(const PlannedValue &value);
Json toJson(const CudaStage &stage);
Json toJson(const CudaKernel &kernel);
Json toJson(const CudaImage &image);

template <typename T> Json listToJson(const std::vector<T> &list) {
  Json result = Json::array();
  for (const T &item : list)
    result.push_back(toJson(item));
  return result;
}

Json numbersToJson(const std::vector<double> &numbers) {
  Json list = Json::array();
  for (double number : numbers)
    list.push_back(numberToJson(number));
  return list;
}

std::vector<int64_t> readShape(JsonFields &fields, const char *key) {
  std::vector<int64_t> shape;
  for (const Json &dim : fields.array(key)) {
    if (!dim.is_number_integer() || dim.get<double>() < 0 || dim.get<double>() > double(kMaxBytes)) {
      fields.fail(std::string("'") + key + "' holds " + dim.dump() + ", expected a dimension");
      return {};
    }
    shape.push_back(dim.get<int64_t>());
  }
  return shape;
}

std::vector<std::string> readStrings(JsonFields &fields, const char *key) {
  std::vector<std::string> list;
  for (const Json &text : fields.array(key)) {
    if (!text.is_string()) {
      fields.fail(std::string("'") + key + "' holds something that is not a string");
      return {};
    }
    list.push_back(text.get<std::string>());
  }
  return list;
}

/// Reads every object of an array through one function.
template <typename T, typename Read>
std::vector<T> readList(JsonFields &fields, const char *key, Status &status, Read read) {
  std::vector<T> list;
  size_t index = 0;
  for (const Json &item : fields.array(key)) {
    JsonFields itemFields(item, fields.path(key, index++), status);
    list.push_back(read(itemFields));
    if (!status)
      break;
  }
  return list;
}

Json toJson(const InitSpec &init) {
  Json numbers = Json::object();
  for (const auto &[name, value] : init.numbers)
    numbers[name] = numberToJson(value);
  return {{"kind", init.kind}, {"numbers", numbers}};
}

InitSpec readInit(JsonFields &fields, const char *key, Status &status) {
  InitSpec spec;
  JsonFields init(fields.object(key), fields.path(key), status);
  spec.kind = init.string("kind");
  for (const auto &[name, value] : init.object("numbers").items())
    if (!readNumber(value, spec.numbers[name]))
      init.fail("'" + name + "' is not a number");
  return spec;
}

Json toJson(const Parameter &parameter) {
  Json json = {{"name", parameter.name},
               {"dtype", dtypeName(parameter.dtype)},
               {"shape", parameter.shape},
               {"init", toJson(parameter.init)},
               {"group", parameter.group},
               {"quant", parameter.quant},
               {"location", parameter.location}};
  if (parameter.bits)
    json["bits"] = parameter.bits;
  if (parameter.isOptional)
    json["optional"] = true;
  return json;
}

Parameter readParameter(JsonFields &fields, Status &status) {
  Parameter parameter;
  parameter.name = fields.string("name");
  parameter.dtype = readEnum<DType>(fields, "dtype", kDTypes);
  parameter.shape = readShape(fields, "shape");
  parameter.init = readInit(fields, "init", status);
  parameter.group = fields.string("group");
  parameter.quant = fields.string("quant");
  parameter.location = fields.string("location");
  if (fields.has("bits"))
    parameter.bits = fields.integer("bits", 1, 8);
  if (fields.has("optional"))
    parameter.isOptional = fields.boolean("optional");
  return parameter;
}

Json toJson(const State &state) {
  Json json = {{"name", state.name},   {"role", state.role},
               {"parameter", state.parameter}, {"dtype", dtypeName(state.dtype)},
               {"shape", state.shape}, {"init", numberToJson(state.init)},
               {"from_parameter", state.fromParameter}};
  if (!state.draw.kind.empty())
    json["draw"] = toJson(state.draw);
  return json;
}

State readState(JsonFields &fields, Status &status) {
  State state;
  state.name = fields.string("name");
  state.role = fields.string("role");
  state.parameter = fields.string("parameter");
  state.dtype = readEnum<DType>(fields, "dtype", kDTypes);
  state.shape = readShape(fields, "shape");
  state.init = fields.number("init");
  state.fromParameter = fields.boolean("from_parameter");
  if (fields.has("draw"))
    state.draw = readInit(fields, "draw", status);
  return state;
}

/// [kind, index, offset]
Json toJson(const BufferRef &buffer) {
  return Json::array({kBufferKinds[size_t(buffer.kind)], buffer.index, buffer.offset});
}

BufferRef readBuffer(const Json &value, JsonFields &owner) {
  BufferRef buffer;
  if (!value.is_array() || value.size() != 3 || !value[0].is_string() ||
      !value[1].is_number_unsigned() || !value[2].is_number_unsigned() ||
      value[1].get<uint64_t>() > uint64_t(kMaxIndex) || value[2].get<uint64_t>() > uint64_t(kMaxBytes)) {
    owner.fail("a buffer is " + value.dump() + ", expected [kind, index, offset]");
    return buffer;
  }
  for (size_t i = 0; i < std::size(kBufferKinds); ++i)
    if (value[0] == kBufferKinds[i]) {
      buffer.kind = BufferRef::Kind(i);
      buffer.index = value[1].get<uint32_t>();
      buffer.offset = value[2].get<uint64_t>();
      return buffer;
    }
  owner.fail("a buffer has unknown kind " + value[0].dump());
  return buffer;
}

/// [buffer, dtype, tokens per row, elements of a row]
Json toJson(const Written &written) {
  return Json::array({written.buffer, dtypeName(written.dtype), written.tokensPerRow, written.rowElements});
}

Written readWritten(const Json &value, JsonFields &owner) {
  Written written;
  bool isRecord = value.is_array() && value.size() == 4 && value[0].is_number_unsigned() && value[1].is_string() &&
                  value[2].is_number_unsigned() && value[3].is_number_unsigned();
  auto dtype = isRecord ? std::find(std::begin(kDTypes), std::end(kDTypes), value[1]) : std::end(kDTypes);
  if (dtype != std::end(kDTypes) && value[0].get<uint64_t>() <= uint64_t(kMaxIndex) &&
      value[2].get<uint64_t>() <= uint64_t(kMaxInt) && value[3].get<uint64_t>() <= uint64_t(kMaxInt)) {
    written.buffer = value[0].get<uint32_t>();
    written.dtype = DType(dtype - std::begin(kDTypes));
    written.tokensPerRow = value[2].get<int64_t>();
    written.rowElements = value[3].get<int64_t>();
    return written;
  }
  owner.fail("a written value is " + value.dump() + ", expected [buffer, dtype, tokens per row, elements]");
  return written;
}

/// [tokens per item, multiplier, grain, wants runs]
Json toJson(const WorkItems &items) {
  return Json::array({items.tokensPerItem, items.multiplier, items.grain, items.wantsRuns});
}

WorkItems readItems(const std::string &field, const Json &value, JsonFields &owner) {
  auto isCount = [&](size_t at, int64_t least) {
    return value[at].is_number_integer() && value[at].get<int64_t>() >= least && value[at].get<int64_t>() <= kMaxInt;
  };
  if (value.is_array() && value.size() == 4 && isCount(0, 0) && isCount(1, 0) && isCount(2, 1) && value[3].is_boolean())
    return {value[0].get<int64_t>(), value[1].get<int64_t>(), value[2].get<int64_t>(), value[3].get<bool>()};
  owner.fail(field + " are " + value.dump() + ", expected [tokens per item, multiplier, grain of 1 or more, wants runs]");
  return {};
}

Json toJson(const Launch &launch) {
  Json writes = Json::array();
  for (const Written &written : launch.writes)
    writes.push_back(toJson(written));
  Json json = {{"kernel", launch.kernel},
               {"buffers", listToJson(launch.buffers)},
               {"scalars", numbersToJson(launch.scalars)},
               {"items", toJson(launch.items)},
               {"writes", std::move(writes)},
               {"location", launch.location}};
  if (launch.versionItems)
    json["version_items"] = toJson(*launch.versionItems);
  return json;
}

Launch readLaunch(JsonFields &fields) {
  Launch launch;
  launch.kernel = uint32_t(fields.integer("kernel", 0, kMaxIndex));
  for (const Json &buffer : fields.array("buffers"))
    launch.buffers.push_back(readBuffer(buffer, fields));
  for (const Json &value : fields.array("scalars")) {
    launch.scalars.push_back(0);
    if (!readNumber(value, launch.scalars.back()))
      fields.fail("'scalars' holds " + value.dump() + ", expected a number");
  }
  launch.items = readItems("items", fields.array("items"), fields);
  if (fields.has("version_items"))
    launch.versionItems = readItems("version_items", fields.array("version_items"), fields);
  for (const Json &value : fields.array("writes"))
    launch.writes.push_back(readWritten(value, fields));
  launch.location = fields.string("location");
  return launch;
}

Json toJson(const Port &port) {
  return {{"name", port.name},
          {"dtype", dtypeName(port.dtype)},
          {"per_token", port.perToken},
          {"shape", port.shape},
          {"buffer", toJson(port.buffer)}};
}

Port readPort(JsonFields &fields) {
  Port port;
  port.name = fields.string("name");
  port.dtype = readEnum<DType>(fields, "dtype", kDTypes);
  port.perToken = fields.boolean("per_token");
  port.shape = readShape(fields, "shape");
  const Json &buffer = fields.array("buffer");
  if (fields.isOk())
    port.buffer = readBuffer(buffer, fields);
  return port;
}

Json toJson(const PlannedValue &value) {
  return {{"bytes", value.bytes}, {"kernel", value.kernel}, {"location", value.location}};
}

PlannedValue readPlannedValue(JsonFields &fields) {
  return {uint64_t(fields.integer("bytes", 0, kMaxBytes)), fields.string("kernel"), fields.string("location")};
}

Json toJson(const Entry &entry) {
  return {{"name", entry.name},
          {"role", entry.role},
          {"phase", entry.phase},
          {"max_tokens", entry.maxTokens},
          {"arena_bytes", entry.arenaBytes},
          {"inputs", listToJson(entry.inputs)},
          {"scalars", entry.scalars},
          {"outputs", listToJson(entry.outputs)},
          {"launches", listToJson(entry.launches)},
          {"largest", listToJson(entry.largest)}};
}

Entry readEntry(JsonFields &fields, Status &status) {
  Entry entry;
  entry.name = fields.string("name");
  entry.role = fields.string("role");
  entry.phase = fields.string("phase");
  entry.maxTokens = fields.integer("max_tokens", 0, (int64_t(1) << 31) - 1);
  entry.arenaBytes = uint64_t(fields.integer("arena_bytes", 0, kMaxBytes));
  entry.inputs = readList<Port>(fields, "inputs", status, readPort);
  entry.scalars = readStrings(fields, "scalars");
  entry.outputs = readList<Port>(fields, "outputs", status, readPort);
  entry.launches = readList<Launch>(fields, "launches", status, readLaunch);
  entry.largest = readList<PlannedValue>(fields, "largest", status, readPlannedValue);
  return entry;
}

Json toJson(const Kernel &kernel) {
  return {{"symbol", kernel.symbol},
          {"scratch_bytes", kernel.scratchBytes},
          {"summary", kernel.summary},
          {"category", kernel.category},
          {"multiplies_pairs", kernel.multipliesPairs},
          {"flops_per_token", numberToJson(kernel.flopsPerToken)},
          {"bytes_per_token", numberToJson(kernel.bytesPerToken)},
          {"flops_fixed", numberToJson(kernel.flopsFixed)},
          {"bytes_fixed", numberToJson(kernel.bytesFixed)},
          {"flops_per_key", numberToJson(kernel.flopsPerKey)},
          {"key_limit", kernel.keyLimit}};
}

Kernel readKernel(JsonFields &fields) {
  Kernel kernel;
  kernel.symbol = fields.string("symbol");
  kernel.scratchBytes = uint64_t(fields.integer("scratch_bytes", 0, int64_t(1) << 32));
  kernel.summary = fields.string("summary");
  kernel.category = fields.string("category");
  kernel.multipliesPairs = fields.boolean("multiplies_pairs");
  kernel.flopsPerToken = fields.number("flops_per_token");
  kernel.bytesPerToken = fields.number("bytes_per_token");
  kernel.flopsFixed = fields.number("flops_fixed");
  kernel.bytesFixed = fields.number("bytes_fixed");
  kernel.flopsPerKey = fields.number("flops_per_key");
  kernel.keyLimit = fields.integer("key_limit", 0, kMaxInt);
  return kernel;
}

Json toJson(const CodeTarget &target) {
  return {{"target", target.target},
          {"cpu", target.cpu},
          {"level", target.level},
          {"features", target.features}};
}

CodeTarget readTarget(JsonFields &fields) {
  return {fields.string("target"), fields.string("cpu"), fields.string("level"),
          readStrings(fields, "features")};
}

Json toJson(const CudaStage &stage) {
  return {{"symbol", stage.symbol},
          {"threads", stage.threads},
          {"shared_bytes", stage.sharedBytes},
          {"tokens_per_block", stage.blocks.tokensPerItem},
          {"multiplier", stage.blocks.multiplier}};
}

CudaStage readStage(JsonFields &fields) {
  CudaStage stage;
  stage.symbol = fields.string("symbol");
  stage.threads = fields.integer("threads", 1, kMaxInt);
  stage.sharedBytes = uint64_t(fields.integer("shared_bytes", 0, kMaxBytes));
  stage.blocks.tokensPerItem = fields.integer("tokens_per_block", 0, kMaxInt);
  stage.blocks.multiplier = fields.integer("multiplier", 0, kMaxInt);
  return stage;
}

Json toJson(const CudaProduct &product) {
  return {{"a", product.a},
          {"b", product.b},
          {"c", product.c},
          {"transpose_a", product.transposeA},
          {"transpose_b", product.transposeB},
          {"accumulates", product.accumulates},
          {"operands", dtypeName(product.operands)},
          {"result", dtypeName(product.result)},
          {"rows", product.rows},
          {"columns", product.columns},
          {"depth", product.depth}};
}

CudaProduct readProduct(JsonFields &fields) {
  CudaProduct product;
  product.a = uint32_t(fields.integer("a", 0, std::numeric_limits<uint32_t>::max()));
  product.b = uint32_t(fields.integer("b", 0, std::numeric_limits<uint32_t>::max()));
  product.c = uint32_t(fields.integer("c", 0, std::numeric_limits<uint32_t>::max()));
  product.transposeA = fields.boolean("transpose_a");
  product.transposeB = fields.boolean("transpose_b");
  product.accumulates = fields.boolean("accumulates");
  product.operands = readEnum<DType>(fields, "operands", kDTypes);
  product.result = readEnum<DType>(fields, "result", kDTypes);
  product.rows = fields.integer("rows", 0, kMaxInt);
  product.columns = fields.integer("columns", 1, kMaxInt);
  product.depth = fields.integer("depth", 0, kMaxInt);
  return product;
}

Json toJson(const CudaKernel &kernel) {
  Json json = {{"stages", listToJson(kernel.stages)},
               {"workspace_fixed", kernel.workspaceFixed},
               {"workspace_per_token", kernel.workspacePerToken},
               {"source_bytes", kernel.sourceBytes},
               {"buffer_bytes", kernel.bufferBytes}};
  if (kernel.product)
    json["product"] = toJson(*kernel.product);
  return json;
}

CudaKernel readCudaKernel(JsonFields &fields, Status &status) {
  CudaKernel kernel;
  kernel.stages = readList<CudaStage>(fields, "stages", status, readStage);
  kernel.workspaceFixed = uint64_t(fields.integer("workspace_fixed", 0, kMaxBytes));
  kernel.workspacePerToken = uint64_t(fields.integer("workspace_per_token", 0, kMaxBytes));
  kernel.sourceBytes = uint64_t(fields.integer("source_bytes", 0, kMaxBytes));
  for (const Json &bytes : fields.array("buffer_bytes")) {
    if (!bytes.is_number_unsigned() || bytes.get<uint64_t>() > uint64_t(kMaxBytes)) {
      fields.fail("'buffer_bytes' holds " + bytes.dump() + ", expected a size");
      break;
    }
    kernel.bufferBytes.push_back(bytes.get<uint64_t>());
  }
  if (fields.has("product")) {
    JsonFields product(fields.object("product"), fields.path("product"), status);
    kernel.product = readProduct(product);
  }
  return kernel;
}

Json toJson(const CudaImage &image) {
  Json lengths = Json::array();
  for (const std::string &module : image.modules)
    lengths.push_back(module.size());
  return {{"arch", image.arch}, {"module_bytes", lengths}};
}

Json toJson(const CudaCode &cuda) {
  return {{"prelude_bytes", cuda.prelude.size()},
          {"source_bytes", cuda.source.size()},
          {"images", listToJson(cuda.images)},
          {"kernels", listToJson(cuda.kernels)},
          {"support", listToJson(cuda.support)}};
}

CudaCode readCuda(JsonFields &fields, CudaLengths &lengths, Status &status) {
  CudaCode cuda;
  lengths.prelude = uint64_t(fields.integer("prelude_bytes", 0, kMaxBytes));
  lengths.source = uint64_t(fields.integer("source_bytes", 0, kMaxBytes));
  cuda.images = readList<CudaImage>(fields, "images", status, [&](JsonFields &image) {
    lengths.modules.emplace_back();
    for (const Json &bytes : image.array("module_bytes")) {
      if (!bytes.is_number_unsigned() || bytes.get<uint64_t>() > uint64_t(kMaxBytes)) {
        image.fail("'module_bytes' holds " + bytes.dump() + ", expected a length");
        break;
      }
      lengths.modules.back().push_back(bytes.get<uint64_t>());
    }
    return CudaImage{image.string("arch"), {}};
  });
  cuda.kernels = readList<CudaKernel>(fields, "kernels", status,
                                      [&](JsonFields &kernel) { return readCudaKernel(kernel, status); });
  cuda.support = readList<CudaStage>(fields, "support", status, readStage);
  return cuda;
}

Json toJson(const Phase &phase) {
  return {{"name", phase.name}, {"start_fraction", numberToJson(phase.startFraction)}};
}

Phase readPhase(JsonFields &fields) {
  return {fields.string("name"), fields.number("start_fraction")};
}

Json toJson(const RecipeValue &value) {
  Json result = {{"kind", kValueKinds[size_t(value.kind)]}, {"location", value.location}};
  switch (value.kind) {
  case RecipeValue::Kind::Int: result["value"] = value.i; break;
  case RecipeValue::Kind::Float: result["value"] = numberToJson(value.f); break;
  case RecipeValue::Kind::Bool: result["value"] = value.b; break;
  case RecipeValue::Kind::String: result["value"] = value.s; break;
  }
  return result;
}

RecipeValue readRecipeValue(JsonFields &fields) {
  RecipeValue value;
  value.kind = readEnum<RecipeValue::Kind>(fields, "kind", kValueKinds);
  value.location = fields.string("location");
  switch (value.kind) {
  case RecipeValue::Kind::Int:
    value.i = fields.integer("value", std::numeric_limits<int64_t>::min(), kMaxInt);
    break;
  case RecipeValue::Kind::Float: value.f = fields.number("value"); break;
  case RecipeValue::Kind::Bool: value.b = fields.boolean("value"); break;
  case RecipeValue::Kind::String: value.s = fields.string("value"); break;
  }
  return value;
}

} // namespace

Json manifestToJson(const Package &package) {
  Json recipe = Json::object();
  for (const auto &[path, value] : package.recipe)
    recipe[path] = toJson(value);
  return {{"model", package.model},
          {"compiler", package.compiler},
          {"program_hash", package.programHash},
          {"precision", package.precision},
          {"vocabulary", package.vocabulary},
          {"parameters", listToJson(package.parameters)},
          {"states", listToJson(package.states)},
          {"phases", listToJson(package.phases)},
          {"entries", listToJson(package.entries)},
          {"kernels", listToJson(package.kernels)},
          {"targets", listToJson(package.targets)},
          {"cuda", toJson(package.cuda)},
          {"recipe", recipe}};
}

Status manifestFromJson(const Json &manifest, Package &package, CudaLengths *lengths) {
  Status status;
  CudaLengths unused;
  JsonFields fields(manifest, "", status);
  package.model = fields.string("model");
  package.compiler = fields.string("compiler");
  package.programHash = fields.string("program_hash");
  package.precision = fields.string("precision");
  package.vocabulary = fields.integer("vocabulary", 0, (int64_t(1) << 31) - 1);
  package.parameters = readList<Parameter>(fields, "parameters", status,
                                           [&](JsonFields &f) { return readParameter(f, status); });
  package.states = readList<State>(fields, "states", status,
                                   [&](JsonFields &f) { return readState(f, status); });
  package.phases = readList<Phase>(fields, "phases", status, readPhase);
  package.entries =
      readList<Entry>(fields, "entries", status, [&](JsonFields &f) { return readEntry(f, status); });
  package.kernels = readList<Kernel>(fields, "kernels", status, readKernel);
  package.targets = readList<CodeTarget>(fields, "targets", status, readTarget);
  JsonFields cuda(fields.object("cuda"), "cuda", status);
  package.cuda = readCuda(cuda, lengths ? *lengths : unused, status);
  for (const auto &[path, value] : fields.object("recipe").items()) {
    JsonFields item(value, "recipe." + path, status);
    package.recipe[path] = readRecipeValue(item);
  }
  return status;
}

} // namespace pg::rt
