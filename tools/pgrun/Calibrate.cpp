//===- Calibrate.cpp - pgrun calibrate ----------------------------------------===//
#include "runtime/eval/Calibrate.h"
#include "runtime/data/TokenFile.h"
#include "runtime/data/TokenShards.h"
#include "runtime/eval/Score.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string weights, tokens, data, output, phase;
  int64_t rowLength = 0, batches = 0, batchTokens = 0;
};

/// The first `count` tokens of the training shards as rows without segments:
/// attention runs over whole rows (stack-1693 §4.1).
StatusOr<std::vector<TokenRow>> readRows(const std::string &folder, const std::string &pattern, int64_t vocabulary,
                                         int64_t rowLength, int64_t count) {
  auto paths = findShards(folder, pattern);
  if (!paths)
    return paths.status();
  std::vector<TokenRow> rows;
  int64_t left = count;
  for (const std::string &path : *paths) {
    auto tokens = readShard(path, vocabulary);
    if (!tokens)
      return tokens.status();
    for (int64_t at = 0; at + rowLength <= int64_t(tokens->size()) && left > 0; at += rowLength, left -= rowLength) {
      TokenRow row;
      row.tokens.assign(tokens->begin() + at, tokens->begin() + at + rowLength);
      row.targets.assign(size_t(rowLength), 0);
      rows.push_back(std::move(row));
    }
    if (left <= 0)
      return rows;
  }
  return Status(Code::Invalid, "the shards '" + pattern + "' in '" + folder + "' hold " +
                                   std::to_string(count - left) + " tokens in whole rows of " +
                                   std::to_string(rowLength) + ", " + std::to_string(count) + " are needed");
}

Status run(const Options &options) {
  if (options.tokens.empty() == options.data.empty())
    return {Code::Usage, "calibrate needs either --tokens or --data"};
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  auto entry = findRole(executor, "calibrate", options.phase);
  if (!entry)
    return entry.status();
  if (Status status = loadWeights(executor, options.weights); !status)
    return status;
  Recipe recipe(executor.package());
  int64_t vocabulary = executor.package().vocabulary;
  int64_t rowLength = options.rowLength > 0 ? options.rowLength : recipe.integer("eval.row_length");
  int64_t batchTokens = options.batchTokens, batches = options.batches;
  std::vector<TokenRow> rows;
  if (!options.tokens.empty()) {
    TokenFileOptions file;
    file.vocabulary = vocabulary;
    file.rowLength = rowLength;
    auto read = readTokenFile(options.tokens, file);
    if (!read)
      return read.status();
    rows = std::move(read->rows);
  } else {
    batches = batches > 0 ? batches : 16;
    if (batchTokens == 0)
      batchTokens = std::max(executor.package().entries[size_t(*entry)].maxTokens / rowLength, int64_t(1)) * rowLength;
    if (batchTokens % rowLength != 0)
      return {Code::Usage, "--batch-tokens must be a multiple of the row length " + std::to_string(rowLength) + ", got " +
                               std::to_string(batchTokens)};
    auto read = readRows(options.data, recipe.text("data.train"), vocabulary, rowLength, batches * batchTokens);
    if (!read)
      return read.status();
    rows = std::move(*read);
  }
  auto runs = accumulateMoments(executor, *entry, rows, batchTokens);
  if (!runs)
    return runs.status();
  int64_t divisor = batches > 0 ? batches : *runs;
  if (Status status = saveMoments(executor, options.output, 1.0 / double(divisor)); !status)
    return status;
  showProfile(executor, options.common.profile);
  int64_t tokens = 0;
  for (const TokenRow &row : rows)
    tokens += row.size();
  return print("tokens " + std::to_string(tokens) + "  batches " + std::to_string(divisor) + "  moments " + options.output);
}

} // namespace

VerbFn addCalibrate(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--weights", options->weights, "parameters, safetensors")->required();
  app.add_option("--tokens", options->tokens,
                 ".bin shard, or safetensors with 'tokens' [T+1] or [B, T+1]; the last token of a row is not used");
  app.add_option("--data", options->data, "folder with the training shards");
  app.add_option("-o,--output", options->output, "safetensors file to write: (1/batches) sum of X^T X per parameter")
      ->required();
  app.add_option("--phase", options->phase, "phase of the model; default the last");
  app.add_option("--row-length", options->rowLength, "row length of shards; default eval.row_length of the recipe")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--batches", options->batches, "what the sum is divided by; with --data also how many are read (16)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--batch-tokens", options->batchTokens, "tokens of one run; default as many rows as are planned for")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
