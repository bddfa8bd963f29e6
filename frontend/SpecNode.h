//===- SpecNode.h - the located tree of a specification --------------------===//
//
// What the YAML reader makes and every later step of the front end reads. Each
// key and value knows the file, line and column it came from, so that every
// message and every op can point back to the text.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_SPECNODE_H
#define PG_FRONTEND_SPECNODE_H

#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace pg::frontend {

/// One text read from disk (or given by `--set`); outlives every position.
struct SourceFile {
  std::string path; ///< as given on the command line, or relative to that
  std::string text;

  /// Line `number` (from 1) without its line break; empty when there is none.
  llvm::StringRef line(int number) const;
};

/// A place in a source file; lines and columns count from 1, columns in bytes.
struct SpecPos {
  const SourceFile *file = nullptr;
  int line = 0;
  int column = 0;

  bool isValid() const { return file != nullptr; }
};

struct SpecEntry;

/// A null, scalar, map or list with its position. Scalars keep their text:
/// what it means is decided by the schema, never by YAML's implicit typing.
struct SpecNode {
  enum class Kind { Null, Scalar, Map, List };

  Kind kind = Kind::Null;
  SpecPos pos;
  std::string text;                ///< Scalar
  bool isQuoted = false;           ///< Scalar written in quotes or as a block
  std::vector<SpecEntry> entries;  ///< Map, in the order of the file
  std::vector<SpecNode> items;     ///< List

  bool isScalar() const { return kind == Kind::Scalar; }
  bool isMap() const { return kind == Kind::Map; }
  bool isList() const { return kind == Kind::List; }

  /// The value of `key`, or null when this is no map or has no such key.
  const SpecNode *find(llvm::StringRef key) const;
  SpecNode *find(llvm::StringRef key);
  /// "a map", "a list", "null", "'text'": for messages.
  std::string describe() const;
};

struct SpecEntry {
  std::string key;
  SpecPos keyPos;
  SpecNode value;
};

/// The entries or items of a node that may be missing.
const std::vector<SpecEntry> &entriesOf(const SpecNode *node);
const std::vector<SpecNode> &itemsOf(const SpecNode *node);

/// Maps an offset into a scalar's text back to the source. Exact for plain and
/// quoted scalars on one line and for `|` blocks; folded or escaped text maps
/// to the start of the scalar.
class TextMap {
public:
  explicit TextMap(const SpecNode &scalar);
  SpecPos at(size_t offset) const;

private:
  enum class Form { Start, Line, Block };

  SpecPos start;
  Form form = Form::Start;
  std::vector<size_t> lineStarts; ///< Block: offset of each line of the text
  std::vector<int> indents;       ///< Block: columns cut off in each line
};

} // namespace pg::frontend

#endif // PG_FRONTEND_SPECNODE_H
