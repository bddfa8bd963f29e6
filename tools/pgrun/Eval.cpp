//===- Eval.cpp - pgrun eval ------------------------------------------------------===//
#include "runtime/data/TokenShards.h"
#include "runtime/data/Tokenizer.h"
#include "runtime/eval/Bigram.h"
#include "runtime/eval/Bpb.h"
#include "runtime/support/Log.h"
#include "runtime/weights/Weights.h"
#include "tools/pgrun/Verbs.h"

#include <optional>

namespace pg::rt {
namespace {

struct Options {
  CommonOptions common;
  std::string weights, data, tokenizer, phase;
  int64_t rowLength = 0, limit = 0, maxSegment = -1;
  bool quiet = false, json = false, bigram = false;
};

/// The loss sum of a count model fitted on the training shards, over the same
/// targets as `scored`: something to print beside the model's own figure.
StatusOr<EvalResult> evaluateBigram(const std::string &folder, const Recipe &recipe, int64_t vocabulary,
                                    EvalResult scored) {
  auto read = [&](const char *key) -> StatusOr<std::vector<uint16_t>> {
    auto paths = findShards(folder, recipe.text(key));
    if (!paths)
      return paths.status();
    return readShards(*paths, vocabulary);
  };
  auto train = read("data.train");
  if (!train)
    return train.status();
  auto validation = read("data.validation");
  if (!validation)
    return validation.status();
  BigramModel model(*train, vocabulary);
  scored.nllSum = 0;
  for (int64_t i = 0; i < scored.tokens; ++i)
    scored.nllSum += model.nll((*validation)[size_t(i)], (*validation)[size_t(i) + 1]);
  return scored;
}

std::string line(const std::string &name, const EvalResult &result) {
  return name + "loss " + formatFixed(result.loss(), 6) + "  tokens " + std::to_string(result.tokens) + "  bytes " +
         std::to_string(result.bytes) + "  bpb " + formatFixed(result.bitsPerByte(), 6);
}

Status run(const Options &options) {
  setQuiet(options.quiet);
  auto opened = options.common.open();
  if (!opened)
    return opened.status();
  Executor &executor = **opened;
  auto table = readPieceTable(options.tokenizer, executor.package().vocabulary);
  if (!table)
    return table.status();
  if (!table->hasSpacePiece)
    warn("the tokenizer has no piece for a lone space: every such space costs three byte tokens and inflates the byte count");
  if (Status status = loadWeights(executor, options.weights); !status)
    return status;

  Recipe recipe(executor.package());
  EvalOptions eval;
  eval.pattern = recipe.text("data.validation");
  eval.phase = options.phase;
  eval.rowLength = options.rowLength > 0 ? options.rowLength : recipe.integer("eval.row_length");
  eval.batchTokens = recipe.integer("eval.batch_tokens");
  eval.limitTargets = options.limit;
  eval.documents = recipe.text("batch.packing") == "documents";
  eval.bosId = int32_t(recipe.integer("data.bos_id"));
  eval.maxSegment = options.maxSegment >= 0 ? options.maxSegment : recipe.integer("batch.max_segment");
  if (recipe.integer("eval.stride") != 0)
    return {Code::Invalid, "eval.stride is not supported by this version, expected 0"};
  ByteCounts counts(*table);
  auto result = evaluate(executor, options.data, eval, &counts);
  if (!result)
    return result.status();
  if (result->bytes <= 0)
    return {Code::Invalid, "the scored tokens stand for no bytes of text: wrong tokenizer?"};
  showProfile(executor, options.common.profile);
  double rate = double(result->tokens) / std::max(result->seconds, 1e-9);
  std::optional<EvalResult> bigram;
  if (options.bigram) {
    auto counted = evaluateBigram(options.data, recipe, executor.package().vocabulary, *result);
    if (!counted)
      return counted.status();
    bigram = *counted;
  }
  if (options.json) {
    Json json{{"loss", result->loss()}, {"tokens", result->tokens}, {"bytes", result->bytes},
              {"bpb", result->bitsPerByte()}, {"nll_sum", result->nllSum}, {"row_length", eval.rowLength},
              {"bytes_from", result->fromSidecar ? "sidecar" : "pieces"}, {"seconds", result->seconds},
              {"tokens_per_second", rate}};
    if (bigram)
      json["bigram"] = {{"loss", bigram->loss()}, {"bpb", bigram->bitsPerByte()}};
    return print(json.dump());
  }
  note(std::to_string(result->tokens) + " targets in rows of " + std::to_string(eval.rowLength) + ", " +
       formatFixed(rate, 0) + " tokens/s" + (result->fromSidecar ? ", bytes from the sidecar" : ""));
  if (Status status = print(line("", *result)); !status || !bigram)
    return status;
  return print(line("bigram counts of the training tokens: ", *bigram));
}

} // namespace

VerbFn addEval(CLI::App &app) {
  auto options = std::make_shared<Options>();
  options->common.add(app);
  app.add_option("--weights", options->weights, "parameters, safetensors")->required();
  app.add_option("--data", options->data, "folder with the validation shards")->required();
  app.add_option("--tokenizer", options->tokenizer, "SentencePiece model of the shards")->required();
  app.add_option("--phase", options->phase, "phase of the model; default the last");
  app.add_option("--row-length", options->rowLength, "tokens of a row; default eval.row_length of the recipe")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--tokens", options->limit, "score only the first N targets")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 40));
  app.add_option("--max-segment", options->maxSegment,
                 "cut attention segments at this many tokens; 1 leaves every token alone with itself")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 31));
  app.add_flag("--bigram", options->bigram, "also print a bigram count model of the training shards");
  app.add_flag("-q,--quiet", options->quiet, "no progress");
  app.add_flag("--json", options->json, "result as JSON");
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
