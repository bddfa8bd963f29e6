//===- Documents.h - text documents to one token stream ---------------------===//
#ifndef PG_RUNTIME_DATA_DOCUMENTS_H
#define PG_RUNTIME_DATA_DOCUMENTS_H

#include "runtime/data/Tokenizer.h"
#include "runtime/support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace pg::rt {

/// Documents of a JSON Lines file: one object a line, its text under "text".
/// Corrupt names the line.
StatusOr<std::vector<std::string>> readDocuments(const std::string &path);

/// BOS before every document, no EOS (data-format §2). Invalid when an id does
/// not fit a shard's u16 or the tokenizer has no BOS piece.
StatusOr<std::vector<uint16_t>> encodeDocuments(const std::vector<std::string> &documents,
                                                const Tokenizer &tokenizer);

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_DOCUMENTS_H
