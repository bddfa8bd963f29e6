//===- SpecNode.cpp - the located tree of a specification ------------------===//
#include "frontend/SpecNode.h"

#include <algorithm>

using namespace pg::frontend;

llvm::StringRef SourceFile::line(int number) const {
  llvm::StringRef rest(text);
  for (int i = 1; i < number; ++i) {
    size_t end = rest.find('\n');
    if (end == llvm::StringRef::npos)
      return {};
    rest = rest.drop_front(end + 1);
  }
  return rest.take_until([](char c) { return c == '\n'; }).rtrim('\r');
}

const SpecNode *SpecNode::find(llvm::StringRef key) const {
  for (const SpecEntry &entry : entries)
    if (entry.key == key)
      return &entry.value;
  return nullptr;
}

SpecNode *SpecNode::find(llvm::StringRef key) {
  return const_cast<SpecNode *>(std::as_const(*this).find(key));
}

const std::vector<SpecEntry> &pg::frontend::entriesOf(const SpecNode *node) {
  static const std::vector<SpecEntry> kNone;
  return node ? node->entries : kNone;
}

const std::vector<SpecNode> &pg::frontend::itemsOf(const SpecNode *node) {
  static const std::vector<SpecNode> kNone;
  return node ? node->items : kNone;
}

std::string SpecNode::describe() const {
  switch (kind) {
  case Kind::Null:
    return "nothing";
  case Kind::Map:
    return "a map";
  case Kind::List:
    return "a list";
  case Kind::Scalar:
    break;
  }
  if (text.find('\n') != std::string::npos)
    return "a text of several lines";
  return (isQuoted ? "the string '" : "'") + text + "'";
}

TextMap::TextMap(const SpecNode &scalar) : start(scalar.pos) {
  if (!start.isValid())
    return;
  llvm::StringRef text(scalar.text);
  llvm::StringRef first = start.file->line(start.line);
  llvm::StringRef here = first.drop_front(
      std::min<size_t>(std::max(start.column - 1, 0), first.size()));
  if (here.starts_with("|")) {
    // Line k of the text is source line start + 1 + k; the indentation is what
    // the source line has in front of it.
    int number = start.line + 1;
    size_t offset = 0;
    while (offset <= text.size()) {
      llvm::StringRef line = text.drop_front(offset).take_until(
          [](char c) { return c == '\n'; });
      llvm::StringRef source = start.file->line(number++);
      int indent = source.ends_with(line)
                       ? static_cast<int>(source.size() - line.size())
                       : 0;
      lineStarts.push_back(offset);
      indents.push_back(indent);
      offset += line.size() + 1;
    }
    form = Form::Block;
    return;
  }
  if (here.starts_with("\"") || here.starts_with("'")) {
    here = here.drop_front();
    if (here.starts_with(text))
      ++start.column, form = Form::Line;
    return;
  }
  if (here.starts_with(text))
    form = Form::Line;
}

SpecPos TextMap::at(size_t offset) const {
  SpecPos pos = start;
  if (form == Form::Line)
    pos.column += static_cast<int>(offset);
  if (form == Form::Block) {
    auto next = std::upper_bound(lineStarts.begin(), lineStarts.end(), offset);
    size_t line = std::distance(lineStarts.begin(), next) - 1;
    pos.line += static_cast<int>(line) + 1;
    pos.column = indents[line] + static_cast<int>(offset - lineStarts[line]) + 1;
  }
  return pos;
}
