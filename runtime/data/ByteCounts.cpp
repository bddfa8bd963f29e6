//===- ByteCounts.cpp - guarded model reader, piece byte table --------------===//
#include "runtime/data/ByteCounts.h"
#include "runtime/support/File.h"

#include <set>
#include <string_view>

namespace pg::rt {
namespace {

constexpr uint64_t kMaxFileBytes = 16 << 20;
constexpr size_t kMaxPieces = 65'536;
constexpr size_t kMaxPieceBytes = 1'024;
constexpr std::string_view kSpace = "\xE2\x96\x81"; // U+2581

/// Protobuf wire format, one message level.
class Wire {
public:
  explicit Wire(std::string_view bytes) : rest(bytes) {}

  /// Advances to the next field; false at the end or on an error.
  bool next() {
    uint64_t tag;
    if (rest.empty() || !varint(tag))
      return false;
    field = tag >> 3;
    switch (tag & 7) {
    case 0: return varint(number);
    case 1: return skip(8);
    case 2: {
      uint64_t length;
      if (!varint(length) || length > rest.size())
        return fail();
      text = rest.substr(0, length);
      rest.remove_prefix(length);
      return true;
    }
    case 5: return skip(4);
    default: return fail();
    }
  }
  bool isBroken = false;
  uint64_t field = 0, number = 0;
  std::string_view text;

private:
  std::string_view rest;

  bool fail() {
    isBroken = true;
    return false;
  }
  bool skip(size_t bytes) {
    if (rest.size() < bytes)
      return fail();
    rest.remove_prefix(bytes);
    return true;
  }
  bool varint(uint64_t &value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest.empty())
        return fail();
      auto byte = uint8_t(rest.front());
      rest.remove_prefix(1);
      value |= uint64_t(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return fail();
  }
};

bool startsWithSpace(std::string_view text) { return text.substr(0, kSpace.size()) == kSpace; }

} // namespace

StatusOr<PieceTable> parsePieceTable(std::string bytes, const std::string &name, int64_t vocabulary) {
  auto corrupt = [&](const std::string &text) {
    return Status(Code::Corrupt, "tokenizer '" + name + "': " + text);
  };
  if (bytes.size() > kMaxFileBytes)
    return corrupt("larger than 16 MiB");
  PieceTable table;
  Wire file(bytes);
  while (file.next()) {
    if (file.field == 1) { // piece
      Piece piece;
      Wire record(file.text);
      while (record.next()) {
        if (record.field == 1)
          piece.text = std::string(record.text);
        else if (record.field == 3)
          piece.type = int(record.number);
      }
      if (record.isBroken)
        return corrupt("piece " + std::to_string(table.pieces.size()) + " is damaged");
      if (piece.text.empty() || piece.text.size() > kMaxPieceBytes || piece.text.find('\0') != std::string::npos)
        return corrupt("piece " + std::to_string(table.pieces.size()) + " has " +
                       std::to_string(piece.text.size()) + " bytes or a NUL, expected 1 to 1024 bytes without NUL");
      if (piece.type < Piece::Normal || piece.type > Piece::Byte)
        return corrupt("piece " + std::to_string(table.pieces.size()) + " has unknown type " +
                       std::to_string(piece.type));
      table.hasSpacePiece |= piece.text == kSpace && piece.type != Piece::Unused;
      table.pieces.push_back(std::move(piece));
      if (table.pieces.size() > kMaxPieces)
        return corrupt("more than 65536 pieces");
    } else if (file.field == 2) { // trainer spec
      Wire spec(file.text);
      while (spec.next())
        if (spec.field == 35)
          table.hasByteFallback = spec.number != 0;
      if (spec.isBroken)
        return corrupt("the trainer specification is damaged");
    }
  }
  if (file.isBroken || table.pieces.empty())
    return corrupt("not a SentencePiece model (truncated?)");
  if (table.hasByteFallback) {
    std::set<std::string> bytePieces;
    for (const Piece &piece : table.pieces)
      if (piece.type == Piece::Byte)
        bytePieces.insert(piece.text);
    if (bytePieces.size() != 256)
      return corrupt("byte fallback is on but there are " + std::to_string(bytePieces.size()) +
                     " distinct byte pieces, expected 256");
  }
  if (vocabulary > 0 && int64_t(table.pieces.size()) != vocabulary)
    return Status(Code::Invalid, "tokenizer '" + name + "' has " + std::to_string(table.pieces.size()) +
                                     " pieces, the model's vocabulary is " + std::to_string(vocabulary));
  table.serialised = std::move(bytes);
  return table;
}

StatusOr<PieceTable> readPieceTable(const std::string &path, int64_t vocabulary) {
  auto bytes = readFile(path, kMaxFileBytes);
  if (!bytes)
    return bytes.status();
  return parsePieceTable(std::move(*bytes), path, vocabulary);
}

ByteCounts::ByteCounts(const PieceTable &table) {
  for (const Piece &piece : table.pieces) {
    bool isText = piece.type == Piece::Normal || piece.type == Piece::UserDefined;
    bool leads = isText && startsWithSpace(piece.text);
    lead.push_back(leads);
    boundary.push_back(!isText && piece.type != Piece::Byte);
    base.push_back(isText ? int32_t(piece.text.size() - (leads ? kSpace.size() : 0))
                          : int32_t(piece.type == Piece::Byte));
  }
}

} // namespace pg::rt
