//===- Parser.cpp - expressions and bodies ---------------------------------===//
//
// Recursive descent. A function returns null after it has reported an error;
// the statement level then skips to the next line and goes on.
//
//===----------------------------------------------------------------------===//
#include "frontend/Parser.h"

#include "frontend/Lexer.h"
#include "frontend/Scalar.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"

#include <algorithm>

using namespace pg::frontend;

/// Deeper nesting is refused before it can exhaust the stack.
static constexpr int kMaxNesting = 100;
/// Longest chain of operators of one level, which becomes a tree as deep.
static constexpr int kMaxChain = 1000;

static bool isKeyword(llvm::StringRef word) {
  static const llvm::StringRef kWords[] = {
      "and",  "or",   "not", "if",     "elif", "else", "for", "in",
      "True", "False", "true", "false", "None", "return", "is"};
  return llvm::is_contained(kWords, word);
}

namespace {

class Parser {
public:
  Parser(std::vector<Token> tokens, Reporter &reporter)
      : tokens(std::move(tokens)), reporter(reporter) {}

  ExprPtr wholeExpression() {
    ExprPtr expr = expression();
    while (expr && current().kind == Token::Kind::Newline)
      ++at;
    if (expr && current().kind != Token::Kind::End)
      return unexpected("the end of the expression");
    return expr;
  }

  Block statements(bool nested) {
    Block block;
    while (current().kind != Token::Kind::End) {
      if (current().kind == Token::Kind::Dedent && nested) {
        ++at;
        break;
      }
      if (current().kind == Token::Kind::Indent) {
        reporter.error(current().pos, "unexpected indentation");
        sound = false;
        ++at;
        for (auto &stmt : statements(true))
          block.push_back(std::move(stmt));
        continue;
      }
      std::unique_ptr<Stmt> stmt = statement();
      if (stmt) {
        block.push_back(std::move(stmt));
        continue;
      }
      sound = false;
      recover();
    }
    return block;
  }

  bool isSound() const { return sound; }

private:
  //===-- tokens ----------------------------------------------------------===//

  const Token &current() const { return tokens[at]; }
  const Token &ahead(size_t count) const {
    return tokens[std::min(at + count, tokens.size() - 1)];
  }
  bool accept(llvm::StringRef word) {
    if (!current().is(word))
      return false;
    ++at;
    return true;
  }
  bool expect(llvm::StringRef word) {
    if (accept(word))
      return true;
    unexpected(("'" + word + "'").str());
    return false;
  }

  std::nullptr_t unexpected(const std::string &wanted) {
    const Token &token = current();
    switch (token.kind) {
    case Token::Kind::Invalid:
      break; // reported by the lexer
    case Token::Kind::Newline:
    case Token::Kind::End:
    case Token::Kind::Indent:
    case Token::Kind::Dedent:
      reporter.error(token.pos, "expected " + wanted +
                                    ", got the end of the line");
      break;
    default:
      reporter.error(token.pos,
                     "expected " + wanted + ", got '" + token.text + "'");
    }
    return nullptr;
  }

  /// Skips the rest of a faulty line and the block that hangs on it.
  void recover() {
    while (current().kind != Token::Kind::Newline &&
           current().kind != Token::Kind::End)
      ++at;
    if (current().kind == Token::Kind::Newline)
      ++at;
    if (current().kind != Token::Kind::Indent)
      return;
    ++at;
    statements(/*nested=*/true);
  }

  ExprPtr make(Expr::Kind kind, SpecPos pos, std::string text = "") {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->pos = pos;
    expr->text = std::move(text);
    return expr;
  }

  //===-- statements ------------------------------------------------------===//

  bool endOfLine() {
    if (current().kind == Token::Kind::Newline) {
      ++at;
      return true;
    }
    if (current().kind == Token::Kind::End)
      return true;
    unexpected("the end of the line");
    return false;
  }

  bool suite(Block &block) {
    if (!expect(":"))
      return false;
    // A short suite may stand on the line itself.
    if (current().kind != Token::Kind::Newline) {
      std::unique_ptr<Stmt> stmt = statement();
      if (!stmt)
        return false;
      block.push_back(std::move(stmt));
      return true;
    }
    ++at;
    if (current().kind != Token::Kind::Indent) {
      reporter.error(current().pos, "expected an indented block");
      return false;
    }
    ++at;
    block = statements(/*nested=*/true);
    return true;
  }

  bool names(std::vector<std::string> &out) {
    do {
      const Token &token = current();
      if (token.kind != Token::Kind::Name || isKeyword(token.text)) {
        unexpected("a name");
        return false;
      }
      out.push_back(token.text);
      ++at;
    } while (accept(","));
    return true;
  }

  std::unique_ptr<Stmt> newStmt(Stmt::Kind kind) {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->pos = current().pos;
    return stmt;
  }

  std::unique_ptr<Stmt> statement() {
    if (++nesting > kMaxNesting) {
      reporter.error(current().pos, "statements nest too deeply");
      --nesting;
      return nullptr;
    }
    llvm::scope_exit leave([&] { --nesting; });
    if (current().is("return"))
      return returnStatement();
    if (current().is("for"))
      return forStatement();
    if (current().is("if"))
      return ifStatement();
    if (isAssignment())
      return assignment();
    auto stmt = newStmt(Stmt::Kind::Evaluate);
    ExprPtr value = expression();
    if (!value)
      return nullptr;
    if (value->kind != Expr::Kind::Call ||
        value->kids[0]->kind != Expr::Kind::Attribute) {
      reporter.error(stmt->pos, "the value is not used; assign it to a name");
      return nullptr;
    }
    stmt->values.push_back(std::move(value));
    return endOfLine() ? std::move(stmt) : nullptr;
  }

  bool isAssignment() const {
    for (size_t i = 0; ahead(i).kind == Token::Kind::Name; i += 2) {
      const Token &next = ahead(i + 1);
      if (next.is("=") || next.is("+=") || next.is("-=") || next.is("*=") ||
          next.is("/="))
        return true;
      if (!next.is(","))
        return false;
    }
    return false;
  }

  std::unique_ptr<Stmt> assignment() {
    auto stmt = newStmt(Stmt::Kind::Assign);
    if (!names(stmt->names))
      return nullptr;
    Token op = current();
    ++at;
    if (!expressions(stmt->values))
      return nullptr;
    if (op.text != "=") {
      if (stmt->names.size() != 1 || stmt->values.size() != 1) {
        reporter.error(op.pos, "'" + op.text + "' takes one name and one value");
        return nullptr;
      }
      ExprPtr sum = make(Expr::Kind::Binary, op.pos, op.text.substr(0, 1));
      sum->kids.push_back(make(Expr::Kind::Name, stmt->pos, stmt->names[0]));
      sum->kids.push_back(std::move(stmt->values[0]));
      stmt->values[0] = std::move(sum);
    }
    return endOfLine() ? std::move(stmt) : nullptr;
  }

  std::unique_ptr<Stmt> returnStatement() {
    auto stmt = newStmt(Stmt::Kind::Return);
    ++at;
    if (!expressions(stmt->values))
      return nullptr;
    return endOfLine() ? std::move(stmt) : nullptr;
  }

  std::unique_ptr<Stmt> forStatement() {
    auto stmt = newStmt(Stmt::Kind::For);
    ++at;
    if (!names(stmt->names) || !expect("in"))
      return nullptr;
    ExprPtr list = expression();
    if (!list)
      return nullptr;
    stmt->values.push_back(std::move(list));
    stmt->blocks.emplace_back();
    return suite(stmt->blocks[0]) ? std::move(stmt) : nullptr;
  }

  std::unique_ptr<Stmt> ifStatement() {
    auto stmt = newStmt(Stmt::Kind::If);
    do {
      ++at; // `if` or `elif`
      ExprPtr condition = expression();
      if (!condition)
        return nullptr;
      stmt->values.push_back(std::move(condition));
      stmt->blocks.emplace_back();
      if (!suite(stmt->blocks.back()))
        return nullptr;
    } while (current().is("elif"));
    if (accept("else")) {
      stmt->blocks.emplace_back();
      if (!suite(stmt->blocks.back()))
        return nullptr;
    }
    return stmt;
  }

  bool expressions(std::vector<ExprPtr> &out) {
    do {
      ExprPtr value = expression();
      if (!value)
        return false;
      out.push_back(std::move(value));
    } while (accept(","));
    return true;
  }

  //===-- expressions, loosest binding first ------------------------------===//

  ExprPtr expression() {
    if (++nesting > kMaxNesting) {
      reporter.error(current().pos, "the expression nests too deeply");
      --nesting;
      return nullptr;
    }
    llvm::scope_exit leave([&] { --nesting; });
    ExprPtr value = disjunction();
    if (!value || !current().is("if"))
      return value;
    ExprPtr result = make(Expr::Kind::Conditional, current().pos);
    ++at;
    ExprPtr condition = disjunction();
    if (!condition || !expect("else"))
      return nullptr;
    ExprPtr otherwise = expression();
    if (!otherwise)
      return nullptr;
    result->kids.push_back(std::move(value));
    result->kids.push_back(std::move(condition));
    result->kids.push_back(std::move(otherwise));
    return result;
  }

  ExprPtr join(Expr::Kind kind, SpecPos pos, std::string op, ExprPtr left,
               ExprPtr right) {
    if (!left || !right)
      return nullptr;
    ExprPtr result = make(kind, pos, std::move(op));
    result->kids.push_back(std::move(left));
    result->kids.push_back(std::move(right));
    return result;
  }

  bool isTooLong(int length) {
    if (length > kMaxChain)
      reporter.error(current().pos, "the expression is too long");
    return length > kMaxChain;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    for (int length = 0; left && current().is("or"); ++length) {
      if (isTooLong(length))
        return nullptr;
      SpecPos pos = tokens[at++].pos;
      left = join(Expr::Kind::Or, pos, "or", std::move(left), conjunction());
    }
    return left;
  }

  ExprPtr conjunction() {
    ExprPtr left = negation();
    for (int length = 0; left && current().is("and"); ++length) {
      if (isTooLong(length))
        return nullptr;
      SpecPos pos = tokens[at++].pos;
      left = join(Expr::Kind::And, pos, "and", std::move(left), negation());
    }
    return left;
  }

  ExprPtr negation() {
    if (!current().is("not"))
      return comparison();
    ExprPtr result = make(Expr::Kind::Not, current().pos, "not");
    ++at;
    if (++nesting > kMaxNesting) {
      reporter.error(result->pos, "the expression nests too deeply");
      --nesting;
      return nullptr;
    }
    llvm::scope_exit leave([&] { --nesting; });
    ExprPtr operand = negation();
    if (!operand)
      return nullptr;
    result->kids.push_back(std::move(operand));
    return result;
  }

  /// The comparison operator at the cursor, consumed; "" when there is none.
  std::string comparator() {
    for (llvm::StringRef op : {"==", "!=", "<=", ">=", "<", ">", "in"})
      if (accept(op))
        return op.str();
    if (current().is("not") && ahead(1).is("in")) {
      at += 2;
      return "not in";
    }
    if (accept("is"))
      return accept("not") ? "is not" : "is";
    return "";
  }

  ExprPtr comparison() {
    ExprPtr left = bits();
    SpecPos pos = current().pos;
    std::string op = left ? comparator() : "";
    if (op.empty())
      return left;
    left = join(Expr::Kind::Compare, pos, op, std::move(left), bits());
    pos = current().pos;
    if (left && !comparator().empty()) {
      reporter.error(pos, "comparisons do not chain; join them with 'and'");
      return nullptr;
    }
    return left;
  }

  /// Left-associative operators of one level.
  template <typename Next>
  ExprPtr chainOf(std::initializer_list<llvm::StringRef> ops, Next next) {
    ExprPtr left = next();
    for (int length = 0; left; ++length) {
      const Token &token = current();
      if (isTooLong(length))
        return nullptr;
      if (token.kind != Token::Kind::Operator ||
          !llvm::is_contained(ops, llvm::StringRef(token.text)))
        return left;
      std::string op = token.text;
      SpecPos pos = token.pos;
      ++at;
      left = join(Expr::Kind::Binary, pos, op, std::move(left), next());
    }
    return left;
  }

  ExprPtr bits() {
    return chainOf({"^"}, [&] {
      return chainOf({"&"}, [&] { return sum(); });
    });
  }
  ExprPtr sum() {
    return chainOf({"+", "-"}, [&] { return product(); });
  }
  ExprPtr product() {
    return chainOf({"*", "/", "//", "%"}, [&] { return unary(); });
  }

  ExprPtr unary() {
    if (!current().is("-") && !current().is("+"))
      return power();
    ExprPtr result = make(Expr::Kind::Unary, current().pos, current().text);
    ++at;
    if (++nesting > kMaxNesting) {
      reporter.error(result->pos, "the expression nests too deeply");
      --nesting;
      return nullptr;
    }
    llvm::scope_exit leave([&] { --nesting; });
    ExprPtr operand = unary();
    if (!operand)
      return nullptr;
    result->kids.push_back(std::move(operand));
    return result;
  }

  ExprPtr power() {
    ExprPtr base = postfix();
    if (!base || !current().is("**"))
      return base;
    SpecPos pos = tokens[at++].pos;
    return join(Expr::Kind::Binary, pos, "**", std::move(base), unary());
  }

  ExprPtr postfix() {
    ExprPtr value = atom();
    for (int length = 0; value; ++length) {
      if (isTooLong(length))
        return nullptr;
      SpecPos pos = current().pos;
      if (accept(".")) {
        // Layer numbers may be parts of a parameter's dotted name.
        if (current().kind != Token::Kind::Name &&
            current().kind != Token::Kind::Int)
          return unexpected("a name");
        ExprPtr access =
            make(Expr::Kind::Attribute, value->pos, current().text);
        ++at;
        access->kids.push_back(std::move(value));
        value = std::move(access);
      } else if (accept("(")) {
        value = call(std::move(value));
      } else if (accept("[")) {
        value = index(std::move(value), pos);
      } else {
        return value;
      }
    }
    return nullptr;
  }

  ExprPtr call(ExprPtr callee) {
    ExprPtr result = make(Expr::Kind::Call, callee->pos);
    result->kids.push_back(std::move(callee));
    while (!accept(")")) {
      std::string keyword;
      if (current().kind == Token::Kind::Name && ahead(1).is("=")) {
        keyword = current().text;
        at += 2;
      } else if (!result->keywords.empty() && !result->keywords.back().empty()) {
        reporter.error(current().pos,
                       "an argument by place cannot follow one by name");
        return nullptr;
      }
      ExprPtr argument = expression();
      if (!argument)
        return nullptr;
      result->kids.push_back(std::move(argument));
      result->keywords.push_back(keyword);
      if (!current().is(")") && !expect(","))
        return nullptr;
    }
    return result;
  }

  ExprPtr index(ExprPtr base, SpecPos pos) {
    ExprPtr result = make(Expr::Kind::Index, pos);
    result->kids.push_back(std::move(base));
    do {
      if (current().is("]") && result->kids.size() > 1)
        break; // a trailing comma
      ExprPtr item = subscript();
      if (!item)
        return nullptr;
      result->kids.push_back(std::move(item));
    } while (accept(","));
    return expect("]") ? std::move(result) : nullptr;
  }

  ExprPtr subscript() {
    SpecPos pos = current().pos;
    if (accept("..."))
      return make(Expr::Kind::Ellipsis, pos);
    ExprPtr start;
    if (!current().is(":")) {
      start = expression();
      if (!start || !current().is(":"))
        return start;
    }
    ExprPtr result = make(Expr::Kind::Slice, pos);
    result->kids.push_back(std::move(start));
    for (int part = 0; part < 2; ++part) {
      ExprPtr value;
      if (accept(":") && !current().is(":") && !current().is("]") &&
          !current().is(",")) {
        value = expression();
        if (!value)
          return nullptr;
      }
      result->kids.push_back(std::move(value));
    }
    return result;
  }

  ExprPtr atom() {
    Token token = current();
    switch (token.kind) {
    case Token::Kind::Int: {
      ++at;
      ExprPtr result = make(Expr::Kind::Int, token.pos, token.text);
      result->integer = *parseInt(token.text);
      return result;
    }
    case Token::Kind::Float: {
      ++at;
      ExprPtr result = make(Expr::Kind::Float, token.pos, token.text);
      result->real = *parseFloat(token.text);
      return result;
    }
    case Token::Kind::String:
      ++at;
      return make(Expr::Kind::String, token.pos, token.text);
    case Token::Kind::Name:
      return nameOrConstant(token);
    default:
      break;
    }
    if (accept("(")) {
      ExprPtr inner = expression();
      if (inner && current().is(",")) { // a tuple is a list
        ExprPtr list = make(Expr::Kind::List, token.pos);
        list->kids.push_back(std::move(inner));
        while (accept(",") && !current().is(")")) {
          ExprPtr item = expression();
          if (!item)
            return nullptr;
          list->kids.push_back(std::move(item));
        }
        inner = std::move(list);
      }
      return inner && expect(")") ? std::move(inner) : nullptr;
    }
    if (accept("["))
      return listDisplay(token.pos);
    return unexpected("an expression");
  }

  ExprPtr nameOrConstant(const Token &token) {
    if (token.text == "true" || token.text == "false") {
      ++at;
      ExprPtr result = make(Expr::Kind::Bool, token.pos, token.text);
      result->flag = token.text == "true";
      return result;
    }
    if (token.text == "True" || token.text == "False") {
      reporter.error(token.pos, "write true and false in lower case, got '" +
                                    token.text + "'");
      return nullptr;
    }
    if (token.text == "None") {
      ++at;
      return make(Expr::Kind::None, token.pos);
    }
    if (isKeyword(token.text))
      return unexpected("an expression");
    ++at;
    return make(Expr::Kind::Name, token.pos, token.text);
  }

  ExprPtr listDisplay(SpecPos pos) {
    ExprPtr list = make(Expr::Kind::List, pos);
    while (!accept("]")) {
      ExprPtr item = expression();
      if (!item)
        return nullptr;
      if (list->kids.empty() && accept("for"))
        return comprehension(pos, std::move(item));
      list->kids.push_back(std::move(item));
      if (!current().is("]") && !expect(","))
        return nullptr;
    }
    return list;
  }

  ExprPtr comprehension(SpecPos pos, ExprPtr item) {
    ExprPtr result = make(Expr::Kind::Comprehension, pos);
    if (!names(result->keywords) || !expect("in"))
      return nullptr;
    ExprPtr list = disjunction();
    ExprPtr filter;
    if (list && accept("if")) {
      filter = disjunction();
      if (!filter)
        return nullptr;
    }
    if (!list || !expect("]"))
      return nullptr;
    result->kids.push_back(std::move(item));
    result->kids.push_back(std::move(list));
    result->kids.push_back(std::move(filter));
    return result;
  }

  std::vector<Token> tokens;
  Reporter &reporter;
  size_t at = 0;
  int nesting = 0;
  bool sound = true;
};

} // namespace

ExprPtr pg::frontend::parseExpression(const SpecNode &node,
                                      Reporter &reporter) {
  if (!node.isList())
    return Parser(tokenize(node, reporter), reporter).wholeExpression();
  auto list = std::make_unique<Expr>();
  list->kind = Expr::Kind::List;
  list->pos = node.pos;
  for (const SpecNode &item : node.items) {
    ExprPtr value = parseExpression(item, reporter);
    if (!value)
      return nullptr;
    list->kids.push_back(std::move(value));
  }
  return list;
}

Block pg::frontend::parseBody(const SpecNode &scalar, Reporter &reporter,
                              bool &sound) {
  int before = reporter.errorCount();
  Parser parser(tokenize(scalar, reporter), reporter);
  Block block = parser.statements(/*nested=*/false);
  sound = parser.isSound() && reporter.errorCount() == before;
  return block;
}
