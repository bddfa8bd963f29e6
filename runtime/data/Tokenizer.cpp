//===- Tokenizer.cpp - the only user of libsentencepiece --------------------===//
#include "runtime/data/Tokenizer.h"

#include <sentencepiece_processor.h>

namespace pg::rt {

struct Tokenizer::Library {
  sentencepiece::SentencePieceProcessor processor;
};

Tokenizer::Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer &&) noexcept = default;
Tokenizer &Tokenizer::operator=(Tokenizer &&) noexcept = default;
Tokenizer::~Tokenizer() = default;

StatusOr<Tokenizer> Tokenizer::open(const std::string &path, int64_t vocabulary) {
  auto table = readPieceTable(path, vocabulary);
  if (!table)
    return table.status();
  Tokenizer tokenizer;
  tokenizer.table = std::move(*table);
  tokenizer.library = std::make_unique<Library>();
  try {
    auto status = tokenizer.library->processor.LoadFromSerializedProto(tokenizer.table.serialised);
    if (!status.ok())
      return Status(Code::Corrupt, "tokenizer '" + path + "': " + status.ToString());
  } catch (const std::exception &error) {
    return Status(Code::Corrupt, "tokenizer '" + path + "': " + error.what());
  }
  return tokenizer;
}

StatusOr<std::vector<int32_t>> Tokenizer::encode(const std::string &text) const {
  std::vector<int> ids;
  auto status = library->processor.Encode(text, &ids);
  if (!status.ok())
    return Status(Code::Invalid, "cannot encode the text: " + status.ToString());
  return std::vector<int32_t>(ids.begin(), ids.end());
}

StatusOr<std::string> Tokenizer::decode(const std::vector<int32_t> &ids) const {
  std::string text;
  auto status = library->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
  if (!status.ok())
    return Status(Code::Invalid, "cannot decode the tokens: " + status.ToString());
  return text;
}

int32_t Tokenizer::bosId() const {
  for (size_t i = 0; i < table.pieces.size(); ++i)
    if (table.pieces[i].type == Piece::Control && table.pieces[i].text == "<s>")
      return int32_t(i);
  return -1;
}

} // namespace pg::rt
