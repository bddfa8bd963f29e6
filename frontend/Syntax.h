//===- Syntax.h - the tree of expressions and statements -------------------===//
#ifndef PG_FRONTEND_SYNTAX_H
#define PG_FRONTEND_SYNTAX_H

#include "frontend/SpecNode.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace pg::frontend {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

/// An expression. `kids` by kind:
///   Attribute  base                      (name in text)
///   Call       callee, arguments...      (keywords in `keywords`, "" = by place)
///   Index      base, one per dimension
///   Slice      start, stop, step; null where left out
///   Unary Not  operand                   (operator in text)
///   Binary And Or Compare  left, right   (operator in text)
///   Conditional  value, condition, otherwise
///   List       items
///   Comprehension  item, list, filter or null (names in `keywords`)
struct Expr {
  enum class Kind {
    Int, Float, String, Bool, None, Ellipsis, Name, Attribute, Call, Index,
    Slice, Unary, Not, Binary, And, Or, Compare, Conditional, List,
    Comprehension
  };

  Kind kind;
  SpecPos pos;
  std::string text;
  int64_t integer = 0;
  double real = 0;
  bool flag = false;
  std::vector<ExprPtr> kids;
  std::vector<std::string> keywords;
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

/// A statement.
///   Assign   names, values
///   Evaluate values[0] (a method call)
///   Return   values
///   For      names, values[0], blocks[0]
///   If       values = conditions, blocks = one per condition, then `else`
struct Stmt {
  enum class Kind { Assign, Evaluate, Return, For, If };

  Kind kind;
  SpecPos pos;
  std::vector<std::string> names;
  std::vector<ExprPtr> values;
  std::vector<Block> blocks;
};

} // namespace pg::frontend

#endif // PG_FRONTEND_SYNTAX_H
