//===- Builtins.cpp - look-up and calls of the functions -------------------===//
#include "frontend/Builtins.h"

#include "frontend/Scalar.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace pg::frontend;

Value BuiltinCall::error(const llvm::Twine &message) const {
  reporter.error(pos, name + " " + message);
  return Value::poison();
}

const Builtin *pg::frontend::findBuiltin(llvm::StringRef name) {
  for (llvm::ArrayRef<Builtin> table : {staticBuiltins(), tensorBuiltins()})
    for (const Builtin &row : table)
      if (name == row.name)
        return &row;
  return nullptr;
}

std::vector<std::string> pg::frontend::builtinNames() {
  std::vector<std::string> names;
  for (llvm::ArrayRef<Builtin> table : {staticBuiltins(), tensorBuiltins()})
    for (const Builtin &row : table)
      names.push_back(row.name);
  return names;
}

namespace {
struct Slot {
  std::string name;
  bool isRest = false;
  std::optional<Value> fallback;
};
} // namespace

static Value parseDefault(llvm::StringRef text) {
  if (text == "None")
    return Value::none();
  if (auto flag = parseBool(text))
    return Value::of(*flag);
  if (auto whole = parseInt(text))
    return Value::of(*whole);
  if (auto real = parseFloat(text))
    return Value::of(*real);
  return Value::of(text.str());
}

static std::vector<Slot> parseSignature(llvm::StringRef signature) {
  std::vector<Slot> slots;
  while (!signature.empty()) {
    auto [part, rest] = signature.split(',');
    auto [name, fallback] = part.trim().split('=');
    Slot slot;
    slot.isRest = name.consume_front("*");
    slot.name = name.str();
    if (!fallback.empty())
      slot.fallback = parseDefault(fallback);
    slots.push_back(std::move(slot));
    signature = rest;
  }
  return slots;
}

Value pg::frontend::callBuiltin(const Builtin &builtin,
                                const std::vector<Argument> &arguments,
                                SpecPos pos, Reporter &reporter,
                                TensorBuilder *tensors) {
  BuiltinCall call{builtin.name, {}, pos, reporter, tensors};
  std::string form =
      std::string(builtin.name) + "(" + builtin.signature + ")";
  std::vector<Slot> slots = parseSignature(builtin.signature);
  std::vector<std::optional<Value>> values(slots.size());
  std::vector<std::string> names;
  for (const Slot &slot : slots)
    names.push_back(slot.name);
  size_t place = 0;
  for (const Argument &argument : arguments) {
    if (argument.keyword.empty()) {
      if (place < slots.size() && slots[place].isRest) {
        if (!values[place])
          values[place] = Value::of(Value::List());
        values[place]->list->push_back(argument.value);
        continue;
      }
      if (place >= slots.size()) {
        reporter.error(argument.pos, "too many arguments: " + form);
        return Value::poison();
      }
      values[place++] = argument.value;
      continue;
    }
    auto slot = llvm::find(names, argument.keyword);
    size_t index = slot - names.begin();
    if (slot == names.end() || slots[index].isRest) {
      reporter.error(argument.pos, "'" + argument.keyword +
                                       "' is no argument of " + form +
                                       suggest(argument.keyword, names));
      return Value::poison();
    }
    if (values[index]) {
      reporter.error(argument.pos,
                     "'" + argument.keyword + "' is given twice: " + form);
      return Value::poison();
    }
    values[index] = argument.value;
  }
  for (auto [slot, value] : llvm::zip(slots, values)) {
    if (!value && slot.isRest)
      value = Value::of(Value::List());
    if (!value)
      value = slot.fallback;
    if (!value) {
      reporter.error(pos, "missing argument '" + slot.name + "': " + form);
      return Value::poison();
    }
    call.values.push_back(*value);
  }
  return builtin.build(call);
}

std::string pg::frontend::builtinsJson() {
  llvm::json::Array rows;
  for (llvm::ArrayRef<Builtin> table : {staticBuiltins(), tensorBuiltins()})
    for (const Builtin &row : table)
      rows.push_back(llvm::json::Object{{"name", row.name},
                                        {"signature", row.signature},
                                        {"doc", row.doc}});
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << llvm::formatv("{0:2}", llvm::json::Value(std::move(rows))) << "\n";
  return text;
}
