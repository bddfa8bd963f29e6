//===- SourceWriter.h - CUDA text as a tree of blocks -------------------------===//
//
// Lines and nested blocks, indented when printed. Text may be added to any
// block at any time, closed ones too: what an inner loop needs computed once
// goes to an outer block, and what turns out to be needed later is kept where
// it was computed. Nothing here knows tensors.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CUDA_SOURCEWRITER_H
#define PG_PASSES_CUDA_SOURCEWRITER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pg::cuda {

class SourceWriter {
public:
  /// A block of the text; stays valid as long as the writer.
  struct Block {
    std::string header;   ///< "for (...)"; may have lines of its own before
    bool braces = true;   ///< false: only a place for lines
    std::string line;     ///< a leaf
    std::vector<std::unique_ptr<Block>> children;
    Block *parent = nullptr;
    int depth = 0;
  };

  SourceWriter();

  /// Opens `header {` inside the current block and stands in it.
  Block *open(const llvm::Twine &header);
  void close();
  /// The innermost open block and its distance from the outermost.
  Block *current() const { return opened.back(); }
  int depth() const { return static_cast<int>(opened.size()) - 1; }
  /// The open block at a depth.
  Block *at(int depth) const { return opened[depth]; }

  /// Adds a line (";" and all) to the current block; or to another, there at
  /// the end or, while a block inside it is open, before that one.
  void line(const llvm::Twine &text) { line(current(), text); }
  void line(Block *block, const llvm::Twine &text);
  /// A place in `block`, where a line would go, to which lines may be added
  /// later.
  Block *slot(Block *block);
  Block *slot() { return slot(current()); }

  /// `stem`, or stem_2, stem_3, ...: a name not given out before.
  std::string fresh(llvm::StringRef stem);

  /// The text, four spaces per level.
  std::string text() const;

private:
  Block *add(Block *block, std::unique_ptr<Block> child);

  std::unique_ptr<Block> root;
  std::vector<Block *> opened;
  std::map<std::string, int> names;
};

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_SOURCEWRITER_H
