//===- Adapt.cpp - pgrun adapt -------------------------------------------------===//
#include "runtime/eval/Adapt.h"
#include "runtime/data/ByteCounts.h"
#include "runtime/data/TokenFile.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/Log.h"
#include "runtime/train/Initialise.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

#include <cmath>
#include <list>
#include <optional>

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string weights, tokens, data, tokenizer, output, phase, initial, save;
  std::vector<std::string> overrides;
  int64_t limit = 0;
  bool json = false;
};

struct Stream {
  std::vector<int32_t> tokens;
  std::vector<uint16_t> bytes; ///< of the sidecar, per token; may be empty
};

StatusOr<Stream> readStream(const Options &options, const Recipe &recipe, int64_t vocabulary) {
  Stream stream;
  if (!options.tokens.empty()) {
    TokenFileOptions file;
    file.vocabulary = vocabulary;
    file.rowLength = int64_t(1) << 40;
    auto read = readTokenFile(options.tokens, file);
    if (!read)
      return read.status();
    if (read->rows.size() != 1)
      return Status(Code::Invalid, "'" + options.tokens + "' holds " + std::to_string(read->rows.size()) +
                                       " rows, expected one stream of tokens [T+1]");
    stream.tokens = std::move(read->rows[0].tokens);
    stream.tokens.push_back(read->rows[0].targets.back());
    return stream;
  }
  auto paths = findShards(options.data, recipe.text("data.validation"));
  if (!paths)
    return paths.status();
  auto read = readShards(*paths, vocabulary);
  if (!read)
    return read.status();
  stream.tokens.assign(read->begin(), read->end());
  auto sidecars = findSidecars(options.data);
  if (!sidecars)
    return sidecars.status();
  if (sidecars->empty())
    return stream;
  auto bytes = readShards(*sidecars, 0);
  if (!bytes)
    return bytes.status();
  if (bytes->size() < stream.tokens.size())
    return Status(Code::Invalid, "the byte sidecar in '" + options.data + "' has " + std::to_string(bytes->size()) +
                                     " entries for " + std::to_string(stream.tokens.size()) + " tokens");
  stream.bytes = std::move(*bytes);
  return stream;
}

/// Reads and writes adapters of one group under "group<g>.<state>".
class AdapterFiles {
public:
  AdapterFiles(Executor &executor, const Options &options) : executor(executor), output(options.save) {}

  Status open(const std::string &path) {
    auto read = SafetensorsFile::read(path);
    if (!read)
      return read.status();
    initial = std::move(*read);
    return Status::ok();
  }

  /// Overwrites the adapters the file has for this group.
  Status load(int64_t group, size_t documents) {
    if (!initial)
      return Status::ok();
    const auto &states = executor.package().states;
    for (size_t i = 0; i < states.size(); ++i) {
      const State &state = states[i];
      std::string name = "group" + std::to_string(group) + "." + state.name;
      const TensorView *tensor = state.role == "adapter" ? initial->find(name) : nullptr;
      if (!tensor)
        continue;
      std::vector<int64_t> shape = state.shape;
      shape[0] = int64_t(documents);
      auto values = toDoubles(*tensor, name);
      if (!values)
        return values.status();
      if (tensor->shape != shape)
        return {Code::Invalid, "'" + name + "' has shape " + shapeText(tensor->shape) + ", expected " + shapeText(shape)};
      // The file may hold fewer documents than the state has room for.
      std::string bytes(size_t(executor.stateBytes(i)), '\0');
      if (Status status = executor.readState(i, bytes.data()); !status)
        return status;
      std::string front = parameterBytes(*values, state.dtype);
      std::copy(front.begin(), front.end(), bytes.begin());
      if (Status status = executor.writeState(i, bytes.data()); !status)
        return status;
    }
    return Status::ok();
  }

  /// Keeps the adapters of the group's documents.
  Status keep(int64_t group, size_t documents) {
    const auto &states = executor.package().states;
    for (size_t i = 0; !output.empty() && i < states.size(); ++i) {
      const State &state = states[i];
      if (state.role != "adapter")
        continue;
      std::vector<int64_t> shape = state.shape;
      shape[0] = int64_t(documents);
      auto bytes = size_t(dtypeBytes(state.dtype));
      for (int64_t dim : shape)
        bytes *= size_t(dim);
      std::string &values = held.emplace_back(size_t(executor.stateBytes(i)), '\0');
      if (Status status = executor.readState(i, values.data()); !status)
        return status;
      values.resize(bytes);
      tensors.push_back({"group" + std::to_string(group) + "." + state.name, dtypeName(state.dtype), shape, held.back()});
    }
    return Status::ok();
  }

  Status write() { return output.empty() ? Status::ok() : writeSafetensors(output, std::move(tensors)); }

private:
  Executor &executor;
  std::string output;
  std::optional<SafetensorsFile> initial;
  std::list<std::string> held; ///< addresses stay
  std::vector<TensorToWrite> tensors;
};

Status writeScores(const Executor &executor, const std::string &path, const std::vector<std::vector<double>> &nll) {
  bool isDouble = executor.package().precision == "f64";
  std::string values, lengths;
  int64_t total = 0;
  for (const std::vector<double> &document : nll) {
    total += int64_t(document.size());
    auto count = int32_t(document.size());
    lengths.append(reinterpret_cast<const char *>(&count), sizeof count);
    for (double value : document) {
      auto narrow = float(value);
      if (isDouble)
        values.append(reinterpret_cast<const char *>(&value), sizeof value);
      else
        values.append(reinterpret_cast<const char *>(&narrow), sizeof narrow);
    }
  }
  return writeSafetensors(path, {{"nll", isDouble ? "F64" : "F32", {total}, values},
                                 {"document_targets", "I32", {int64_t(nll.size())}, lengths}});
}

Status run(const Options &options) {
  if (options.tokens.empty() == options.data.empty())
    return {Code::Usage, "adapt needs either --tokens or --data"};
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  Recipe recipe(executor.package());
  for (const std::string &assignment : options.overrides)
    if (Status status = recipe.set(assignment, "--set"); !status)
      return status;
  int64_t vocabulary = executor.package().vocabulary;
  std::optional<ByteCounts> counts;
  if (!options.tokenizer.empty()) {
    auto table = readPieceTable(options.tokenizer, vocabulary);
    if (!table)
      return table.status();
    counts.emplace(*table);
  }
  if (Status status = loadWeights(executor, options.weights); !status)
    return status;
  auto stream = readStream(options, recipe, vocabulary);
  if (!stream)
    return stream.status();
  auto bos = int32_t(recipe.integer("data.bos_id"));
  std::vector<Document> documents = splitDocuments(stream->tokens, bos);
  if (documents.empty())
    return {Code::Invalid, "the tokens hold no document: none of them is BOS (id " + std::to_string(bos) + ")"};
  if (options.limit > 0 && size_t(options.limit) < documents.size())
    documents.resize(size_t(options.limit));

  AdaptOptions adapt = adaptOptions(recipe);
  adapt.phase = options.phase;
  AdapterFiles files(executor, options);
  if (!options.initial.empty())
    if (Status status = files.open(options.initial); !status)
      return status;
  adapt.onStart = [&](int64_t group, const std::vector<size_t> &members) { return files.load(group, members.size()); };
  adapt.onEnd = [&](int64_t group, const std::vector<size_t> &members) { return files.keep(group, members.size()); };
  double start = monotonicSeconds();
  auto nll = adaptDocuments(executor, stream->tokens, documents, adapt);
  if (!nll)
    return nll.status();
  double seconds = monotonicSeconds() - start;
  if (!options.output.empty())
    if (Status status = writeScores(executor, options.output, *nll); !status)
      return status;
  if (Status status = files.write(); !status)
    return status;
  showProfile(executor, options.common.profile);

  double sum = 0;
  int64_t targets = 0, bytes = 0;
  for (size_t d = 0; d < documents.size(); ++d)
    for (size_t i = 0; i < (*nll)[d].size(); ++i) {
      size_t at = documents[d].begin + i + 1;
      sum += (*nll)[d][i];
      ++targets;
      if (!stream->bytes.empty())
        bytes += stream->bytes[at];
      else if (counts)
        bytes += counts->bytes(stream->tokens[at - 1], stream->tokens[at]);
    }
  double loss = sum / double(targets), bpb = bytes > 0 ? sum / std::log(2.0) / double(bytes) : 0;
  if (options.json) {
    Json json{{"loss", loss}, {"nll_sum", sum}, {"tokens", targets}, {"documents", documents.size()}, {"seconds", seconds}};
    if (bytes > 0) {
      json["bytes"] = bytes;
      json["bpb"] = bpb;
    }
    return print(json.dump());
  }
  return print("loss " + formatFixed(loss, 6) + "  tokens " + std::to_string(targets) + "  documents " +
               std::to_string(documents.size()) +
               (bytes > 0 ? "  bytes " + std::to_string(bytes) + "  bpb " + formatFixed(bpb, 6) : ""));
}

} // namespace

VerbFn addAdapt(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--weights", options->weights, "parameters, safetensors")->required();
  app.add_option("--tokens", options->tokens, ".bin shard, or safetensors with 'tokens' [T+1]: one stream of documents");
  app.add_option("--data", options->data, "folder with the validation shards");
  app.add_option("--tokenizer", options->tokenizer, "SentencePiece model of the tokens, for bits per byte");
  app.add_option("-o,--output", options->output,
                 "safetensors file to write: 'nll' of every target, document by document, and 'document_targets'");
  app.add_option("--phase", options->phase, "phase of the model; default the last");
  app.add_option("--set", options->overrides, "recipe value, path=value (repeatable): adapt.chunk=32")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--documents", options->limit, "only the first N documents")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40));
  app.add_option("--initial-adapters", options->initial, "start the groups from these, 'group<g>.<state>' [documents, ., .]");
  app.add_option("--save-adapters", options->save, "write the adapters of every group at its end");
  app.add_flag("--json", options->json, "result as JSON");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
