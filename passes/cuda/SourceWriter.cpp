//===- SourceWriter.cpp - CUDA text as a tree of blocks -----------------------===//
#include "passes/cuda/SourceWriter.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

namespace pg::cuda {

SourceWriter::SourceWriter() : root(std::make_unique<Block>()) {
  root->braces = false;
  opened.push_back(root.get());
}

SourceWriter::Block *SourceWriter::open(const llvm::Twine &header) {
  Block *parent = current();
  auto block = std::make_unique<Block>();
  block->header = header.str();
  block->parent = parent;
  block->depth = parent->depth + 1;
  parent->children.push_back(std::move(block));
  opened.push_back(parent->children.back().get());
  return current();
}

void SourceWriter::close() { opened.pop_back(); }

SourceWriter::Block *SourceWriter::add(Block *block,
                                       std::unique_ptr<Block> child) {
  child->parent = block;
  Block *added = child.get();
  auto place = block->children.end();
  // Before the block that is open inside it, whose text needs the line.
  for (size_t d = 0; d + 1 < opened.size(); ++d)
    if (opened[d] == block)
      place = llvm::find_if(block->children, [&](const auto &other) {
        return other.get() == opened[d + 1];
      });
  block->children.insert(place, std::move(child));
  return added;
}

void SourceWriter::line(Block *block, const llvm::Twine &text) {
  auto leaf = std::make_unique<Block>();
  leaf->braces = false;
  leaf->line = text.str();
  add(block, std::move(leaf));
}

SourceWriter::Block *SourceWriter::slot(Block *block) {
  auto place = std::make_unique<Block>();
  place->braces = false;
  place->depth = block->depth;
  return add(block, std::move(place));
}

std::string SourceWriter::fresh(llvm::StringRef stem) {
  int &count = names[stem.str()];
  if (++count == 1)
    return stem.str();
  std::string name = (stem + "_" + llvm::Twine(count)).str();
  return names.count(name) ? fresh(stem) : (names[name] = 1, name);
}

static void print(const SourceWriter::Block &block, int level,
                  std::string &out) {
  auto indented = [&](llvm::StringRef text, int by) {
    llvm::SmallVector<llvm::StringRef> lines;
    text.split(lines, '\n');
    for (llvm::StringRef line : lines) {
      if (!line.empty())
        out += std::string(4 * by, ' ') + line.str();
      out += '\n';
    }
  };
  if (!block.line.empty())
    indented(block.line, level);
  if (block.braces)
    indented(block.header + (block.header.empty() ? "{" : " {"), level);
  for (const auto &child : block.children)
    print(*child, block.braces ? level + 1 : level, out);
  if (block.braces)
    indented("}", level);
}

std::string SourceWriter::text() const {
  std::string out;
  print(*root, 0, out);
  return out;
}

} // namespace pg::cuda
