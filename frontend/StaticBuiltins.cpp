//===- StaticBuiltins.cpp - functions folded at compile time ---------------===//
#include "frontend/Builtins.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace pg::frontend;

static Value buildLen(const BuiltinCall &call) {
  if (call[0].kind == Value::Kind::Family)
    return Value::of(call[0].family->size());
  if (!call[0].isList())
    return call.error("expects a list, got " + call[0].kindName());
  return Value::of(static_cast<int64_t>(call[0].list->size()));
}

static Value buildRange(const BuiltinCall &call) {
  const Value::List &given = *call[0].list;
  if (given.empty() || given.size() > 3)
    return call.error("expects 1 to 3 integers, got " +
                      llvm::Twine(given.size()));
  for (const Value &bound : given)
    if (!bound.isInt())
      return call.error("expects integers, got " + bound.kindName());
  int64_t from = given.size() > 1 ? given[0].integer : 0;
  int64_t to = given.size() > 1 ? given[1].integer : given[0].integer;
  int64_t by = given.size() > 2 ? given[2].integer : 1;
  if (by == 0)
    return call.error("expects a step other than 0");
  Value::List items;
  for (int64_t i = from; by > 0 ? i < to : i > to;) {
    if (static_cast<int64_t>(items.size()) >= kMaxListLength)
      return call.error("makes a list of more than " +
                        llvm::Twine(kMaxListLength) + " items");
    items.push_back(Value::of(i));
    if (__builtin_add_overflow(i, by, &i))
      break;
  }
  return Value::of(std::move(items));
}

static Value buildEnumerate(const BuiltinCall &call) {
  if (!call[0].isList() || !call[1].isInt())
    return call.error("expects a list and an integer, got " +
                      call[0].kindName() + " and " + call[1].kindName());
  Value::List pairs;
  for (auto [index, item] : llvm::enumerate(*call[0].list))
    pairs.push_back(Value::of(Value::List{
        Value::of(static_cast<int64_t>(index) + call[1].integer), item}));
  return Value::of(std::move(pairs));
}

static Value buildZip(const BuiltinCall &call) {
  Value::List rows;
  size_t length = SIZE_MAX;
  for (const Value &list : *call[0].list) {
    if (!list.isList())
      return call.error("expects lists, got " + list.kindName());
    length = std::min(length, list.list->size());
  }
  for (size_t i = 0; i < length && !call[0].list->empty(); ++i) {
    Value::List row;
    for (const Value &list : *call[0].list)
      row.push_back((*list.list)[i]);
    rows.push_back(Value::of(std::move(row)));
  }
  return Value::of(std::move(rows));
}

static Value buildReversed(const BuiltinCall &call) {
  if (!call[0].isList())
    return call.error("expects a list, got " + call[0].kindName());
  return Value::of(Value::List(call[0].list->rbegin(), call[0].list->rend()));
}

static Value buildInt(const BuiltinCall &call) {
  const Value &value = call[0];
  if (value.kind == Value::Kind::Bool)
    return Value::of(int64_t(value.flag));
  if (value.isInt())
    return value;
  if (!value.isNumber() || std::abs(value.real) > 9e18)
    return call.error("expects a static number, got " + value.kindName());
  return Value::of(static_cast<int64_t>(value.real)); // towards 0, as Python
}

static Value buildFloat(const BuiltinCall &call) {
  if (!call[0].isNumber())
    return call.error("expects a static number, got " + call[0].kindName());
  return Value::of(call[0].number());
}

static const Builtin kTable[] = {
    {"len", "xs", "number of items of a list or layers of a family", buildLen},
    {"range", "*bounds", "range(stop), range(start, stop[, step]): a list of "
                         "integers", buildRange},
    {"enumerate", "xs, start=0", "list of [index, item]", buildEnumerate},
    {"zip", "*lists", "list of lists of the items at one place", buildZip},
    {"reversed", "xs", "the list backwards", buildReversed},
    {"int", "x", "integer part of a static number", buildInt},
    {"float", "x", "a static number as a float", buildFloat},
};

llvm::ArrayRef<Builtin> pg::frontend::staticBuiltins() { return kTable; }
