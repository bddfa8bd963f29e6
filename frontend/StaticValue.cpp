//===- StaticValue.cpp - what an expression can mean -----------------------===//
#include "frontend/StaticValue.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cmath>

using namespace pg::frontend;
using Kind = Value::Kind;

static Value make(Kind kind) {
  Value value;
  value.kind = kind;
  return value;
}

Value Value::none() { return make(Kind::None); }
Value Value::of(bool flag) {
  Value value = make(Kind::Bool);
  value.flag = flag;
  return value;
}
Value Value::of(int64_t integer) {
  Value value = make(Kind::Int);
  value.integer = integer;
  return value;
}
Value Value::of(double real) {
  Value value = make(Kind::Float);
  value.real = real;
  return value;
}
Value Value::of(std::string text) {
  Value value = make(Kind::String);
  value.text = std::move(text);
  return value;
}
Value Value::of(List items) {
  Value value = make(Kind::List);
  value.list = std::make_shared<List>(std::move(items));
  return value;
}
Value Value::of(mlir::Value tensor) {
  Value value = make(Kind::Tensor);
  value.tensor = tensor;
  value.type = mlir::cast<mlir::RankedTensorType>(tensor.getType());
  return value;
}
Value Value::tokenAxis() { return make(Kind::TokenAxis); }
Value Value::parameter(std::string name, mlir::RankedTensorType type) {
  Value value = make(Kind::Parameter);
  value.text = std::move(name);
  value.type = type;
  return value;
}
Value Value::of(const Callable *callable) {
  Value value = make(Kind::Callable);
  value.callable = callable;
  return value;
}
Value Value::of(const Family *family) {
  Value value = make(Kind::Family);
  value.family = family;
  return value;
}

std::optional<bool> Value::truth() const {
  switch (kind) {
  case Kind::None:
    return false;
  case Kind::Bool:
    return flag;
  case Kind::Int:
    return integer != 0;
  case Kind::Float:
    return real != 0;
  case Kind::String:
    return !text.empty();
  case Kind::List:
    return !list->empty();
  default:
    return std::nullopt;
  }
}

bool Value::equals(const Value &other) const {
  if (isNumber() && other.isNumber())
    return isInt() && other.isInt() ? integer == other.integer
                                    : number() == other.number();
  if (kind != other.kind)
    return false;
  switch (kind) {
  case Kind::None:
  case Kind::TokenAxis:
    return true;
  case Kind::Bool:
    return flag == other.flag;
  case Kind::String:
  case Kind::Parameter:
    return text == other.text;
  case Kind::List:
    return llvm::equal(*list, *other.list, [](const Value &a, const Value &b) {
      return a.equals(b);
    });
  case Kind::Tensor:
    return tensor == other.tensor;
  case Kind::Callable:
    return callable == other.callable;
  case Kind::Family:
    return family == other.family;
  default:
    return false;
  }
}

std::string Value::str() const {
  std::string out;
  llvm::raw_string_ostream stream(out);
  switch (kind) {
  case Kind::None:
    return "None";
  case Kind::Bool:
    return flag ? "true" : "false";
  case Kind::Int:
    return std::to_string(integer);
  case Kind::Float:
    stream << llvm::format("%.17g", real);
    // 2.0 and 2 are different arguments.
    if (out.find_first_not_of("-0123456789") == std::string::npos)
      out += ".0";
    return out;
  case Kind::String:
    return "'" + text + "'";
  case Kind::List:
    stream << "[";
    llvm::interleaveComma(*list, stream,
                          [&](const Value &item) { stream << item.str(); });
    stream << "]";
    return out;
  default:
    return kindName();
  }
}

std::string Value::kindName() const {
  switch (kind) {
  case Kind::Poison:
    return "an error";
  case Kind::None:
    return "None";
  case Kind::Bool:
    return "true or false";
  case Kind::Int:
    return "an integer";
  case Kind::Float:
    return "a number";
  case Kind::String:
    return "a string";
  case Kind::List:
    return "a list";
  case Kind::TokenAxis:
    return "the token axis T";
  case Kind::Tensor:
    return "a tensor";
  case Kind::Parameter:
    return "a parameter";
  case Kind::Callable:
    return "a block";
  case Kind::Family:
    return "a family of layers";
  }
  return "";
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

static Value fail(std::string &error, std::string message) {
  error = std::move(message);
  return Value::poison();
}

static Value overflow(std::string &error) {
  return fail(error, "the integer result does not fit 64 bits");
}

static Value integerPower(int64_t base, int64_t exponent, std::string &error) {
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1 && __builtin_mul_overflow(result, base, &result))
      return overflow(error);
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base))
      return overflow(error);
  }
  return Value::of(result);
}

static Value integerBinary(const std::string &op, int64_t a, int64_t b,
                           std::string &error) {
  int64_t result = 0;
  if (op == "+")
    return __builtin_add_overflow(a, b, &result) ? overflow(error)
                                                 : Value::of(result);
  if (op == "-")
    return __builtin_sub_overflow(a, b, &result) ? overflow(error)
                                                 : Value::of(result);
  if (op == "*")
    return __builtin_mul_overflow(a, b, &result) ? overflow(error)
                                                 : Value::of(result);
  if (op == "^")
    return Value::of(a ^ b);
  if (op == "&")
    return Value::of(a & b);
  if (op == "**")
    return b >= 0 ? integerPower(a, b, error)
                  : Value::of(std::pow(static_cast<double>(a),
                                       static_cast<double>(b)));
  if (b == 0)
    return fail(error, "division by zero");
  if (op == "/")
    return Value::of(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1)
    return op == "%" ? Value::of(int64_t(0)) : integerBinary("-", 0, a, error);
  int64_t quotient = a / b, remainder = a % b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) { // Python rounds down
    --quotient;
    remainder += b;
  }
  return Value::of(op == "//" ? quotient : remainder);
}

static Value floatBinary(const std::string &op, double a, double b,
                         std::string &error) {
  double result = 0;
  if (op == "+")
    result = a + b;
  else if (op == "-")
    result = a - b;
  else if (op == "*")
    result = a * b;
  else if (op == "**")
    result = std::pow(a, b);
  else if (op == "^" || op == "&")
    return fail(error, "'" + op + "' needs integers");
  else if (b == 0)
    return fail(error, "division by zero");
  else if (op == "/")
    result = a / b;
  else if (op == "//")
    result = std::floor(a / b);
  else
    result = a - b * std::floor(a / b);
  if (!std::isfinite(result))
    return fail(error, "the result is not a finite number");
  return Value::of(result);
}

Value pg::frontend::staticBinary(const std::string &op, const Value &left,
                                 const Value &right, std::string &error) {
  if (left.isInt() && right.isInt())
    return integerBinary(op, left.integer, right.integer, error);
  if (left.isNumber() && right.isNumber())
    return floatBinary(op, left.number(), right.number(), error);
  if (op == "+" && left.isString() && right.isString())
    return Value::of(left.text + right.text);
  if (op == "+" && left.isList() && right.isList()) {
    Value::List items = *left.list;
    items.insert(items.end(), right.list->begin(), right.list->end());
    if (static_cast<int64_t>(items.size()) > kMaxListLength)
      return fail(error, "the list is too long");
    return Value::of(std::move(items));
  }
  if (op == "*" && left.isInt() && right.isList())
    return staticBinary(op, right, left, error);
  if (op == "*" && left.isList() && right.isInt()) {
    int64_t size = static_cast<int64_t>(left.list->size()), total = 0;
    int64_t times = std::max<int64_t>(right.integer, 0);
    if (__builtin_mul_overflow(size, times, &total) || total > kMaxListLength)
      return fail(error, "the list is too long");
    Value::List items;
    for (int64_t i = 0; size > 0 && i < times; ++i)
      items.insert(items.end(), left.list->begin(), left.list->end());
    return Value::of(std::move(items));
  }
  return fail(error, "'" + op + "' cannot join " + left.kindName() + " and " +
                         right.kindName());
}

Value pg::frontend::staticCompare(const std::string &op, const Value &left,
                                  const Value &right, std::string &error) {
  if (op == "==" || op == "is")
    return Value::of(left.equals(right));
  if (op == "!=" || op == "is not")
    return Value::of(!left.equals(right));
  if (op == "in" || op == "not in") {
    if (!right.isList())
      return fail(error, "'" + op + "' needs a list, got " + right.kindName());
    bool found = llvm::any_of(
        *right.list, [&](const Value &item) { return item.equals(left); });
    return Value::of(found == (op == "in"));
  }
  if (!left.isNumber() || !right.isNumber())
    return fail(error, "'" + op + "' cannot compare " + left.kindName() +
                           " and " + right.kindName());
  int order = 0;
  if (left.isInt() && right.isInt())
    order = left.integer < right.integer ? -1 : left.integer > right.integer;
  else
    order = left.number() < right.number() ? -1
                                           : left.number() > right.number();
  return Value::of(op == "<"    ? order < 0
                   : op == "<=" ? order <= 0
                   : op == ">"  ? order > 0
                                : order >= 0);
}

Value pg::frontend::staticSlice(const Value &list, const Value &start,
                                const Value &stop, const Value &step,
                                std::string &error) {
  for (const Value *bound : {&start, &stop, &step})
    if (!bound->isNone() && !bound->isInt())
      return fail(error, "a slice needs integers, got " + bound->kindName());
  int64_t size = static_cast<int64_t>(list.list->size());
  int64_t by = step.isNone() ? 1 : step.integer;
  if (by == 0)
    return fail(error, "the step of a slice is 0");
  // Python's rule: negative bounds count from the end, then clamp.
  auto clamp = [&](const Value &bound, int64_t otherwise) {
    if (bound.isNone())
      return otherwise;
    int64_t at = bound.integer < 0 ? std::max(bound.integer, -size - 1) + size
                                   : bound.integer;
    return by > 0 ? std::clamp<int64_t>(at, 0, size)
                  : std::clamp<int64_t>(at, -1, size - 1);
  };
  int64_t from = clamp(start, by > 0 ? 0 : size - 1);
  int64_t to = clamp(stop, by > 0 ? size : -1);
  by = std::clamp<int64_t>(by, -kMaxListLength, kMaxListLength);
  Value::List items;
  for (int64_t i = from; by > 0 ? i < to : i > to; i += by)
    items.push_back((*list.list)[i]);
  return Value::of(std::move(items));
}

double pg::frontend::roundToBf16(double value) {
  llvm::APFloat number(value);
  bool losesInfo = false;
  number.convert(llvm::APFloat::BFloat(), llvm::APFloat::rmNearestTiesToEven,
                 &losesInfo);
  number.convert(llvm::APFloat::IEEEdouble(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}
