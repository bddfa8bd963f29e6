//===- Tokenizer.h - text to tokens and back ---------------------------------===//
#ifndef PG_RUNTIME_DATA_TOKENIZER_H
#define PG_RUNTIME_DATA_TOKENIZER_H

#include "runtime/data/ByteCounts.h"

#include <memory>

namespace pg::rt {

/// A SentencePiece model behind its guard.
class Tokenizer {
public:
  static StatusOr<Tokenizer> open(const std::string &path, int64_t vocabulary);
  Tokenizer(Tokenizer &&) noexcept;
  Tokenizer &operator=(Tokenizer &&) noexcept;
  ~Tokenizer();

  /// Without BOS or EOS.
  StatusOr<std::vector<int32_t>> encode(const std::string &text) const;
  StatusOr<std::string> decode(const std::vector<int32_t> &ids) const;
  const PieceTable &pieces() const { return table; }
  /// Id of the first control piece "<s>", -1 when there is none.
  int32_t bosId() const;

private:
  Tokenizer();
  struct Library;
  PieceTable table;
  std::unique_ptr<Library> library;
};

} // namespace pg::rt

#endif // PG_RUNTIME_DATA_TOKENIZER_H
