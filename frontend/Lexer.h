//===- Lexer.h - tokens of the language ------------------------------------===//
#ifndef PG_FRONTEND_LEXER_H
#define PG_FRONTEND_LEXER_H

#include "frontend/Report.h"
#include "frontend/SpecNode.h"

#include <string>
#include <vector>

namespace pg::frontend {

struct Token {
  enum class Kind {
    Name, Int, Float, String, Operator, Newline, Indent, Dedent, End, Invalid
  };
  Kind kind;
  std::string text;
  SpecPos pos;

  bool is(llvm::StringRef word) const {
    return (kind == Kind::Operator || kind == Kind::Name) && text == word;
  }
};

/// Splits the text of `scalar` into tokens. Newlines inside brackets do not
/// count; indentation gives Indent and Dedent tokens; `#` begins a comment. An
/// Invalid token stands where an error was reported.
std::vector<Token> tokenize(const SpecNode &scalar, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_LEXER_H
