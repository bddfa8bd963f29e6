//===- Interpreter.cpp - evaluates expressions and bodies ------------------===//
#include "frontend/Interpreter.h"

#include "frontend/Builtins.h"
#include "frontend/Parser.h"
#include "frontend/Sites.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace pg::frontend;
using mlir::ShapedType;

/// Expressions evaluated by one interpreter before it gives up: static loops
/// have no other bound.
static constexpr int64_t kMaxSteps = 2000000;

const Value *Scope::find(const std::string &name) const {
  for (const Scope *scope = this; scope; scope = scope->parent) {
    auto found = scope->names.find(name);
    if (found != scope->names.end())
      return &found->second;
  }
  return nullptr;
}

std::vector<std::string> Scope::allNames() const {
  std::vector<std::string> all;
  for (const Scope *scope = this; scope; scope = scope->parent)
    for (const auto &[name, value] : scope->names)
      all.push_back(name);
  return all;
}

Value Interpreter::error(SpecPos pos, const llvm::Twine &message) {
  reporter.error(pos, message);
  return Value::poison();
}

/// "a.b.c" for a chain of attributes on a name, "" for anything else.
static std::string dottedName(const Expr &expr) {
  if (expr.kind == Expr::Kind::Name)
    return expr.text;
  if (expr.kind != Expr::Kind::Attribute)
    return "";
  std::string base = dottedName(*expr.kids[0]);
  return base.empty() ? "" : base + "." + expr.text;
}

Value Interpreter::evaluate(const Expr &expr) {
  if (steps > kMaxSteps)
    return Value::poison(); // reported when it happened
  if (++steps > kMaxSteps)
    return error(expr.pos, "the evaluation takes too many steps");
  return evaluateInner(expr);
}

Value Interpreter::evaluateInner(const Expr &expr) {
  switch (expr.kind) {
  case Expr::Kind::Int:
    return Value::of(expr.integer);
  case Expr::Kind::Float:
    return Value::of(expr.real);
  case Expr::Kind::String:
    return Value::of(expr.text);
  case Expr::Kind::Bool:
    return Value::of(expr.flag);
  case Expr::Kind::None:
    return Value::none();
  case Expr::Kind::Name:
    return name(expr, expr.text);
  case Expr::Kind::Attribute:
    return attribute(expr);
  case Expr::Kind::Call:
    return call(expr);
  case Expr::Kind::Index:
    return index(expr);
  case Expr::Kind::Unary:
    return unary(expr);
  case Expr::Kind::Binary:
    return binary(expr);
  case Expr::Kind::Compare:
    return compare(expr);
  case Expr::Kind::Comprehension:
    return comprehension(expr);
  case Expr::Kind::Not: {
    std::optional<bool> truth = condition(*expr.kids[0]);
    return truth ? Value::of(!*truth) : Value::poison();
  }
  case Expr::Kind::And:
  case Expr::Kind::Or: {
    Value left = evaluate(*expr.kids[0]);
    if (left.isPoison())
      return left;
    std::optional<bool> truth = left.truth();
    if (!truth)
      return error(expr.pos, "'" + expr.text + "' needs static values, got " +
                                 left.kindName() + "; use where on tensors");
    bool isDecided = *truth == (expr.kind == Expr::Kind::Or);
    return isDecided ? left : evaluate(*expr.kids[1]);
  }
  case Expr::Kind::Conditional: {
    std::optional<bool> truth = condition(*expr.kids[1]);
    if (!truth)
      return Value::poison();
    return evaluate(*expr.kids[*truth ? 0 : 2]);
  }
  case Expr::Kind::List: {
    Value::List items;
    for (const ExprPtr &kid : expr.kids) {
      items.push_back(evaluate(*kid));
      if (items.back().isPoison())
        return Value::poison();
    }
    return Value::of(std::move(items));
  }
  case Expr::Kind::Slice:
  case Expr::Kind::Ellipsis:
    break;
  }
  return error(expr.pos, "this is only possible inside [ ]");
}

//===----------------------------------------------------------------------===//
// Names and calls
//===----------------------------------------------------------------------===//

Value Interpreter::name(const Expr &expr, const std::string &dotted) {
  if (const Value *value = scope.find(dotted))
    return *value;
  if (findBuiltin(dotted))
    return error(expr.pos, "'" + dotted + "' is a function; call it");
  return error(expr.pos, "unknown name '" + dotted + "'" +
                             suggest(dotted, scope.allNames()));
}

Value Interpreter::attribute(const Expr &expr) {
  std::string dotted = dottedName(expr);
  if (dotted.empty())
    return error(expr.pos, "'." + expr.text + "' needs a name in front of it");
  return name(expr, dotted);
}

bool Interpreter::arguments(const Expr &expr, std::vector<Argument> &out) {
  bool sound = true;
  for (auto [index, keyword] : llvm::enumerate(expr.keywords)) {
    const Expr &kid = *expr.kids[index + 1];
    Argument argument{keyword, evaluate(kid), kid.pos};
    sound &= !argument.value.isPoison();
    out.push_back(std::move(argument));
  }
  return sound;
}

Value Interpreter::call(const Expr &expr) {
  const Expr &callee = *expr.kids[0];
  // Arguments first: their errors do not depend on the function.
  std::vector<Argument> args;
  bool sound = arguments(expr, args);
  std::string dotted = dottedName(callee);
  const Value *named = dotted.empty() ? nullptr : scope.find(dotted);
  if (named && named->isPoison())
    return Value::poison();
  bool isCallable = named && named->kind == Value::Kind::Callable;
  if (!isCallable && callee.kind == Expr::Kind::Attribute)
    return sound ? method(callee, std::move(args)) : Value::poison();
  if (!isCallable && callee.kind == Expr::Kind::Name) {
    if (const Builtin *builtin = findBuiltin(callee.text))
      return sound ? callBuiltin(*builtin, args, expr.pos, reporter, tensors)
                   : Value::poison();
    if (!named) {
      std::vector<std::string> known = builtinNames();
      for (const std::string &candidate : scope.allNames())
        if (scope.find(candidate)->kind == Value::Kind::Callable)
          known.push_back(candidate);
      return error(callee.pos, "unknown function '" + callee.text + "'" +
                                   suggest(callee.text, known));
    }
  }
  Value target = evaluate(callee);
  if (target.isPoison() || !sound)
    return Value::poison();
  if (target.kind != Value::Kind::Callable)
    return error(callee.pos, target.kindName() + " cannot be called");
  return target.callable->call(args, expr.pos, *tensors);
}

Value Interpreter::method(const Expr &callee, std::vector<Argument> args) {
  Value base = evaluate(*callee.kids[0]);
  if (base.isPoison())
    return base;
  if (!base.isList())
    return error(callee.pos, base.kindName() + " has no method '" +
                                 callee.text + "'");
  Value::List &items = *base.list;
  if (callee.text == "append" && args.size() == 1) {
    if (static_cast<int64_t>(items.size()) >= kMaxListLength)
      return error(callee.pos, "the list is too long");
    // A list inside a list is copied, so that no list contains itself.
    Value item = args[0].value;
    items.push_back(item.isList() ? Value::of(*item.list) : item);
    return Value::none();
  }
  if (callee.text == "pop" && args.empty()) {
    if (items.empty())
      return error(callee.pos, "pop from an empty list");
    Value last = items.back();
    items.pop_back();
    return last;
  }
  if (callee.text == "append" || callee.text == "pop")
    return error(callee.pos, "'" + callee.text + "' expects " +
                                 (callee.text == "pop" ? "no argument"
                                                       : "one argument") +
                                 ", got " + llvm::Twine(args.size()));
  return error(callee.pos, "a list has no method '" + callee.text + "'" +
                               suggest(callee.text, {"append", "pop"}));
}

//===----------------------------------------------------------------------===//
// Indexing
//===----------------------------------------------------------------------===//

Value Interpreter::index(const Expr &expr) {
  Value base = evaluate(*expr.kids[0]);
  if (base.isPoison())
    return base;
  if (base.isTensor())
    return indexTensor(expr, base);
  if (base.isList())
    return indexList(expr, base);
  if (base.kind != Value::Kind::Family)
    return error(expr.pos, base.kindName() + " cannot be indexed");
  Value at = evaluate(*expr.kids[1]);
  if (at.isPoison())
    return at;
  int64_t size = base.family->size();
  if (!at.isInt() || expr.kids.size() != 2)
    return error(expr.pos, "a layer is chosen by one integer, got " +
                               at.kindName());
  if (at.integer < 0 || at.integer >= size)
    return error(expr.pos, "layer " + at.str() + " is out of range: there are " +
                               std::to_string(size) + " layers, from 0");
  return base.family->at(at.integer);
}

Value Interpreter::indexList(const Expr &expr, const Value &base) {
  if (expr.kids.size() != 2)
    return error(expr.pos, "a list has one dimension, got " +
                               llvm::Twine(expr.kids.size() - 1) + " indices");
  const Expr &item = *expr.kids[1];
  if (item.kind == Expr::Kind::Slice) {
    Value bounds[3];
    for (auto [bound, kid] : llvm::zip(bounds, item.kids)) {
      bound = kid ? evaluate(*kid) : Value::none();
      if (bound.isPoison())
        return bound;
    }
    std::string message;
    Value result = staticSlice(base, bounds[0], bounds[1], bounds[2], message);
    return result.isPoison() ? error(item.pos, message) : result;
  }
  Value at = evaluate(item);
  if (at.isPoison())
    return at;
  if (!at.isInt())
    return error(item.pos, "a list index must be an integer, got " +
                               at.kindName());
  int64_t size = static_cast<int64_t>(base.list->size());
  if (at.integer < -size || at.integer >= size)
    return error(item.pos, "index " + at.str() +
                               " is out of range of a list of " +
                               std::to_string(size));
  return (*base.list)[at.integer < 0 ? at.integer + size : at.integer];
}

Value Interpreter::indexTensor(const Expr &expr, const Value &base) {
  mlir::Value x = tensors->tensor(base, expr.pos, "'[ ]'");
  if (!x)
    return Value::poison();
  llvm::ArrayRef<int64_t> shape = typeOf(x).getShape();
  std::string shapeText = tensors->describe(typeOf(x));
  int64_t rank = static_cast<int64_t>(shape.size()), used = 0, axis = 0;
  for (size_t i = 1; i < expr.kids.size(); ++i)
    used += expr.kids[i]->kind != Expr::Kind::None &&
            expr.kids[i]->kind != Expr::Kind::Ellipsis;
  if (used > rank)
    return error(expr.pos, "too many indices: " + std::to_string(used) +
                               " for a tensor of shape " + shapeText);
  llvm::SmallVector<int64_t> result;
  bool sawEllipsis = false;
  auto keep = [&] { result.push_back(typeOf(x).getDimSize(axis++)); };
  for (size_t i = 1; i < expr.kids.size(); ++i) {
    const Expr &item = *expr.kids[i];
    if (item.kind == Expr::Kind::None) {
      if (result.empty() && rank > 0 && ShapedType::isDynamic(shape[0]))
        return error(item.pos, "the token axis T must stay the first dimension");
      result.push_back(1);
      continue;
    }
    if (item.kind == Expr::Kind::Ellipsis) {
      if (sawEllipsis)
        return error(item.pos, "only one '...' is possible");
      sawEllipsis = true;
      for (int64_t rest = rank - used; rest > 0; --rest)
        keep();
      continue;
    }
    bool isSlice = item.kind == Expr::Kind::Slice;
    Value bounds[3];
    if (isSlice) {
      for (auto [bound, kid] : llvm::zip(bounds, item.kids)) {
        bound = kid ? evaluate(*kid) : Value::none();
        if (bound.isPoison())
          return bound;
      }
      if (bounds[0].isNone() && bounds[1].isNone() && bounds[2].isNone()) {
        keep();
        continue;
      }
    } else {
      bounds[0] = evaluate(item);
      if (bounds[0].isPoison())
        return bounds[0];
    }
    int64_t size = shape[axis];
    if (ShapedType::isDynamic(size))
      return error(item.pos, "the token axis cannot be indexed: only shift and "
                             "attention look across tokens");
    for (Value &bound : bounds)
      if (!bound.isInt() && (!bound.isNone() || !isSlice) && !bound.isPoison())
        return error(item.pos, "an index must be an integer, got " +
                                   bound.kindName());
    if (isSlice && bounds[2].isInt() && bounds[2].integer != 1)
      return error(item.pos, "a slice of a tensor has step 1");
    auto wrap = [&](int64_t at) { return at < 0 ? at + size : at; };
    int64_t from = bounds[0].isInt() ? wrap(bounds[0].integer) : 0;
    int64_t to = !isSlice ? from + 1
                 : bounds[1].isInt() ? wrap(bounds[1].integer) : size;
    if (from < 0 || to > size || from >= to)
      return error(item.pos,
                   (isSlice ? "slice " + std::to_string(from) + ":" +
                                  std::to_string(to)
                            : "index " + bounds[0].str()) +
                       " is out of range of dimension " + std::to_string(axis) +
                       " of shape " + shapeText);
    x = tensors->slice(expr.pos, x, axis, from, to - from);
    if (isSlice)
      keep();
    else
      ++axis;
  }
  while (axis < rank)
    keep();
  return Value::of(tensors->reshape(expr.pos, x, result));
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

Value Interpreter::unary(const Expr &expr) {
  Value operand = evaluate(*expr.kids[0]);
  if (operand.isPoison() || (expr.text == "+" && operand.isNumber()))
    return operand;
  if (operand.isTensor())
    return expr.text == "-" ? tensors->negate(expr.pos, operand) : operand;
  if (!operand.isNumber())
    return error(expr.pos, "'" + expr.text + "' needs a number or a tensor, "
                                             "got " + operand.kindName());
  if (!operand.isInt())
    return Value::of(-operand.real);
  std::string message;
  Value result =
      staticBinary("-", Value::of(int64_t(0)), operand, message);
  return result.isPoison() ? error(expr.pos, message) : result;
}

Value Interpreter::binary(const Expr &expr) {
  Value left = evaluate(*expr.kids[0]);
  Value right = evaluate(*expr.kids[1]);
  if (left.isPoison() || right.isPoison())
    return Value::poison();
  bool isTensor = left.isTensor() || right.isTensor();
  if (isTensor) {
    for (const Value *side : {&left, &right})
      if (!side->isTensor() && !side->isNumber())
        return error(expr.pos, "'" + expr.text + "' cannot join a tensor and " +
                                   side->kindName());
    return tensors->binary(expr.pos, expr.text, left, right);
  }
  std::string message;
  Value result = staticBinary(expr.text, left, right, message);
  return result.isPoison() ? error(expr.pos, message) : result;
}

Value Interpreter::compare(const Expr &expr) {
  Value left = evaluate(*expr.kids[0]);
  Value right = evaluate(*expr.kids[1]);
  if (left.isPoison() || right.isPoison())
    return Value::poison();
  bool isTensor = (left.isTensor() && (right.isTensor() || right.isNumber())) ||
                  (right.isTensor() && left.isNumber());
  if (isTensor && expr.text.substr(0, 2) != "is")
    return tensors->compare(expr.pos, expr.text, left, right);
  std::string message;
  Value result = staticCompare(expr.text, left, right, message);
  return result.isPoison() ? error(expr.pos, message) : result;
}

Value Interpreter::comprehension(const Expr &expr) {
  Value list = evaluate(*expr.kids[1]);
  if (list.isPoison())
    return list;
  if (!list.isList())
    return error(expr.kids[1]->pos,
                 "'for' needs a list, got " + list.kindName());
  // The names live in the comprehension alone.
  Scope inner;
  inner.parent = &scope;
  Interpreter nested(inner, reporter, tensors);
  Value::List items;
  for (const Value &item : Value::List(*list.list)) {
    if (!nested.bind(expr.keywords, item, expr.pos))
      return Value::poison();
    if (expr.kids[2]) {
      std::optional<bool> truth = nested.condition(*expr.kids[2]);
      if (!truth)
        return Value::poison();
      if (!*truth)
        continue;
    }
    items.push_back(nested.evaluate(*expr.kids[0]));
    if (items.back().isPoison())
      return Value::poison();
  }
  steps = std::min(steps + nested.steps, kMaxSteps);
  return Value::of(std::move(items));
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

std::optional<bool> Interpreter::condition(const Expr &expr) {
  Value value = evaluate(expr);
  if (value.isPoison())
    return std::nullopt;
  std::optional<bool> truth = value.truth();
  if (!truth)
    error(expr.pos, "a condition must be static, got " + value.kindName() +
                        "; use where(condition, a, b) on tensors");
  return truth;
}

bool Interpreter::bind(const std::vector<std::string> &names,
                       const Value &value, SpecPos pos) {
  if (names.size() == 1) {
    scope.names[names[0]] = value;
    return true;
  }
  bool fits = value.isList() && value.list->size() == names.size();
  for (auto [index, name] : llvm::enumerate(names))
    scope.names[name] = fits ? (*value.list)[index] : Value::poison();
  if (!fits && !value.isPoison())
    error(pos, "expected " + std::to_string(names.size()) + " values, got " +
                   (value.isList() ? std::to_string(value.list->size())
                                   : value.kindName()));
  return fits;
}

void Interpreter::assign(const Stmt &stmt) {
  Value::List values;
  bool sound = true;
  for (const ExprPtr &expr : stmt.values) {
    values.push_back(evaluate(*expr));
    sound &= !values.back().isPoison();
  }
  if (values.size() == 1)
    bind(stmt.names, values[0], stmt.pos);
  else
    bind(stmt.names, sound ? Value::of(std::move(values)) : Value::poison(),
         stmt.pos);
  if (sites)
    for (const std::string &name : stmt.names)
      sites->assigned(name, scope, *tensors);
}

void Interpreter::poisonAssigned(const Block &block) {
  for (const auto &stmt : block) {
    for (const std::string &name : stmt->names)
      scope.names[name] = Value::poison();
    for (const Block &inner : stmt->blocks)
      poisonAssigned(inner);
  }
}

std::optional<std::vector<Value>> Interpreter::run(const Block &block) {
  for (const auto &stmt : block) {
    switch (stmt->kind) {
    case Stmt::Kind::Assign:
      assign(*stmt);
      break;
    case Stmt::Kind::Evaluate:
      evaluate(*stmt->values[0]);
      break;
    case Stmt::Kind::Return: {
      std::vector<Value> values;
      for (const ExprPtr &expr : stmt->values)
        values.push_back(evaluate(*expr));
      return values;
    }
    case Stmt::Kind::For: {
      Value list = evaluate(*stmt->values[0]);
      if (!list.isList()) {
        if (!list.isPoison())
          error(stmt->values[0]->pos,
                "'for' needs a list, got " + list.kindName());
        scope.names[stmt->names[0]] = Value::poison();
        poisonAssigned(stmt->blocks[0]);
        break;
      }
      for (const Value &item : Value::List(*list.list)) {
        if (steps > kMaxSteps)
          break;
        bind(stmt->names, item, stmt->pos);
        if (auto returned = run(stmt->blocks[0]))
          return returned;
      }
      break;
    }
    case Stmt::Kind::If: {
      size_t taken = 0;
      std::optional<bool> truth = false;
      for (; taken < stmt->values.size(); ++taken) {
        truth = condition(*stmt->values[taken]);
        if (!truth || *truth)
          break;
      }
      if (!truth) {
        for (const Block &inner : stmt->blocks)
          poisonAssigned(inner);
        break;
      }
      if (taken < stmt->blocks.size())
        if (auto returned = run(stmt->blocks[taken]))
          return returned;
      break;
    }
    }
  }
  return std::nullopt;
}

Value pg::frontend::evaluateNode(const SpecNode &node, Scope &scope,
                                 Reporter &reporter) {
  ExprPtr expr = parseExpression(node, reporter);
  return expr ? Interpreter(scope, reporter).evaluate(*expr) : Value::poison();
}
