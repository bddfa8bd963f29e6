//===- Lexer.cpp - tokens of the language ----------------------------------===//
#include "frontend/Lexer.h"

#include "frontend/Scalar.h"

#include "llvm/ADT/StringExtras.h"

using namespace pg::frontend;
using Kind = Token::Kind;

namespace {

class Lexer {
public:
  Lexer(const SpecNode &scalar, Reporter &reporter)
      : text(scalar.text), map(scalar), reporter(reporter) {}

  std::vector<Token> run() {
    while (at < text.size())
      lexLine();
    size_t end = text.rtrim(" \n").size(); // behind the last token
    if (!tokens.empty() && tokens.back().kind != Kind::Newline)
      push(Kind::Newline, "", end);
    for (; indents.size() > 1; indents.pop_back())
      push(Kind::Dedent, "", end);
    push(Kind::End, "", end);
    return std::move(tokens);
  }

private:
  void push(Kind kind, llvm::StringRef word, size_t offset) {
    tokens.push_back({kind, word.str(), map.at(offset)});
  }

  char peek(size_t ahead = 0) const {
    return at + ahead < text.size() ? text[at + ahead] : '\0';
  }

  /// One logical line, which ends at a line break outside brackets.
  void lexLine() {
    size_t lineStart = at;
    while (peek() == ' ')
      ++at;
    if (peek() == '\t') {
      reporter.error(map.at(at), "indent with spaces, not tabs");
      while (peek() == '\t' || peek() == ' ')
        ++at;
    }
    if (peek() == '\n' || peek() == '#' || at >= text.size())
      return skipLine();
    indentTo(at - lineStart);
    depth = 0;
    while (at < text.size()) {
      char c = peek();
      if (c == '\n') {
        ++at;
        if (depth > 0)
          continue;
        push(Kind::Newline, "", at - 1);
        return;
      }
      if (c == '#')
        at = std::min(text.find('\n', at), text.size());
      else if (c == ' ' || c == '\t' || c == '\r')
        ++at;
      else
        lexToken();
    }
  }

  void skipLine() {
    at = std::min(text.find('\n', at), text.size());
    if (at < text.size())
      ++at;
  }

  void indentTo(size_t width) {
    // The first statement sets the margin.
    if (tokens.empty())
      indents.front() = width;
    if (width > indents.back()) {
      indents.push_back(width);
      push(Kind::Indent, "", at);
      return;
    }
    while (indents.size() > 1 && width < indents.back()) {
      indents.pop_back();
      push(Kind::Dedent, "", at);
    }
    if (width != indents.back())
      reporter.error(map.at(at), "the indentation fits no line above");
  }

  void lexToken() {
    char c = peek();
    if (llvm::isDigit(c) || (c == '.' && llvm::isDigit(peek(1))))
      return lexNumber();
    if (llvm::isAlpha(c) || c == '_') {
      size_t start = at;
      while (llvm::isAlnum(peek()) || peek() == '_')
        ++at;
      return push(Kind::Name, text.slice(start, at), start);
    }
    if (c == '"' || c == '\'')
      return lexString(c);
    static const llvm::StringRef kOperators[] = {
        "...", "**", "//", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=",
        "+",   "-",  "*",  "/",  "%",  "(",  ")",  "[",  "]",  ",",  ":",
        ".",   "=",  "<",  ">",  "^",  "&"};
    for (llvm::StringRef op : kOperators)
      if (text.drop_front(at).starts_with(op)) {
        depth += op == "(" || op == "[";
        depth -= depth > 0 && (op == ")" || op == "]");
        push(Kind::Operator, op, at);
        at += op.size();
        return;
      }
    size_t length = 1; // one UTF-8 character
    while ((static_cast<unsigned char>(peek(length)) & 0xC0) == 0x80)
      ++length;
    reporter.error(map.at(at), "unexpected character '" +
                                   text.substr(at, length) + "'");
    push(Kind::Invalid, "", at);
    at += length;
  }

  void lexNumber() {
    size_t start = at;
    while (llvm::isAlnum(peek()) || peek() == '_' || peek() == '.' ||
           ((peek() == '-' || peek() == '+') && at > start &&
            (text[at - 1] == 'e' || text[at - 1] == 'E')))
      ++at;
    llvm::StringRef word = text.slice(start, at);
    if (parseInt(word))
      return push(Kind::Int, word, start);
    if (parseFloat(word))
      return push(Kind::Float, word, start);
    reporter.error(map.at(start),
                   "'" + word + "' is not a number; write decimal digits such "
                                "as 12, 0.5 or 1.0e-8");
    push(Kind::Invalid, "", start);
  }

  void lexString(char quote) {
    size_t start = at++;
    while (at < text.size() && peek() != quote && peek() != '\n')
      ++at;
    if (peek() != quote) {
      reporter.error(map.at(start), "the string has no closing quote");
      return push(Kind::Invalid, "", start);
    }
    push(Kind::String, text.slice(start + 1, at), start);
    ++at;
  }

  llvm::StringRef text;
  TextMap map;
  Reporter &reporter;
  size_t at = 0;
  int depth = 0;
  std::vector<size_t> indents{0};
  std::vector<Token> tokens;
};

} // namespace

std::vector<Token> pg::frontend::tokenize(const SpecNode &scalar,
                                          Reporter &reporter) {
  return Lexer(scalar, reporter).run();
}
