//===- Data.cpp - pgrun data --------------------------------------------------===//
#include "runtime/data/Documents.h"
#include "runtime/data/TokenShards.h"
#include "runtime/support/File.h"
#include "runtime/support/Log.h"
#include "tools/pgrun/Verbs.h"

#include <algorithm>
#include <cstdio>

namespace pg::rt {
namespace {

struct Options {
  std::string train, validation, tokenizer, out, name = "fineweb";
  int64_t shardTokens = 100'000'000; // data-format §2
};

/// Encodes one file into `<name>_<split>_NNNNNN.bin` shards.
Status encode(const Options &options, const Tokenizer &tokenizer, const std::string &path,
              const std::string &split) {
  auto documents = readDocuments(path);
  if (!documents)
    return documents.status();
  auto tokens = encodeDocuments(*documents, tokenizer);
  if (!tokens)
    return tokens.status().with(path);
  size_t shards = 0;
  for (size_t begin = 0; begin < tokens->size(); begin += size_t(options.shardTokens), ++shards) {
    size_t end = std::min(tokens->size(), begin + size_t(options.shardTokens));
    char number[32];
    std::snprintf(number, sizeof number, "%06zu", shards);
    std::string file = options.out + "/" + options.name + "_" + split + "_" + number + ".bin";
    std::vector<uint16_t> part(tokens->begin() + int64_t(begin), tokens->begin() + int64_t(end));
    if (Status status = writeFileAtomic(file, serialiseShard(part)); !status)
      return status;
  }
  return print(split + ": " + std::to_string(documents->size()) + " documents, " +
               std::to_string(tokens->size()) + " tokens, " + std::to_string(shards) +
               (shards == 1 ? " shard" : " shards"));
}

Status run(const Options &options) {
  // 65536 is what a shard can hold; the vocabulary is checked against a model later.
  auto tokenizer = Tokenizer::open(options.tokenizer, 0);
  if (!tokenizer)
    return tokenizer.status();
  if (Status status = makeFolder(options.out); !status)
    return status;
  if (Status status = encode(options, *tokenizer, options.train, "train"); !status)
    return status;
  return encode(options, *tokenizer, options.validation, "val");
}

} // namespace

VerbFn addData(CLI::App &app) {
  auto options = std::make_shared<Options>();
  app.add_option("train", options->train, "training documents, JSON Lines with \"text\"")->required();
  app.add_option("validation", options->validation, "validation documents, likewise")->required();
  app.add_option("--tokenizer", options->tokenizer, "SentencePiece model")->required();
  app.add_option("--out", options->out, "folder for the shards")->required();
  app.add_option("--name", options->name, "shards are named NAME_train_000000.bin and so on");
  app.add_option("--shard-tokens", options->shardTokens, "tokens of a shard")
      ->check(CLI::Range(int64_t(1), int64_t(0x7fffffff)));
  return [options](int &) { return run(*options); };
}

} // namespace pg::rt
