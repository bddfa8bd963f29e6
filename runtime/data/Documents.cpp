//===- Documents.cpp - text documents to one token stream -------------------===//
#include "runtime/data/Documents.h"

#include "runtime/support/File.h"
#include "runtime/support/Json.h"

#include <string_view>

namespace pg::rt {

StatusOr<std::vector<std::string>> readDocuments(const std::string &path) {
  StatusOr<std::string> bytes = readFile(path, uint64_t(1) << 33);
  if (!bytes)
    return bytes.status();
  std::vector<std::string> documents;
  std::string_view rest = bytes.value();
  for (int64_t line = 1; !rest.empty(); ++line) {
    size_t end = rest.find('\n');
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    std::string where = path + ":" + std::to_string(line);
    StatusOr<Json> object = parseJson(text);
    if (!object)
      return object.status().with(where);
    auto field = object->is_object() ? object->find("text") : object->end();
    if (!object->is_object() || field == object->end() || !field->is_string())
      return Status(Code::Corrupt,
                    where + ": expected an object with a string \"text\" on each line");
    documents.push_back(field->get<std::string>());
  }
  if (documents.empty())
    return Status(Code::Invalid, path + ": no documents");
  return documents;
}

StatusOr<std::vector<uint16_t>> encodeDocuments(const std::vector<std::string> &documents,
                                                const Tokenizer &tokenizer) {
  int32_t bos = tokenizer.bosId();
  if (bos < 0)
    return Status(Code::Invalid, "the tokenizer has no beginning-of-text piece <s>");
  std::vector<uint16_t> tokens;
  for (const std::string &document : documents) {
    StatusOr<std::vector<int32_t>> ids = tokenizer.encode(document);
    if (!ids)
      return ids.status();
    tokens.push_back(static_cast<uint16_t>(bos));
    for (int32_t id : ids.value()) {
      if (id < 0 || id > UINT16_MAX)
        return Status(Code::Invalid, "token id " + std::to_string(id) +
                                         " does not fit a shard (at most 65535)");
      tokens.push_back(static_cast<uint16_t>(id));
    }
  }
  return tokens;
}

} // namespace pg::rt
