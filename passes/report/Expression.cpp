//===- Expression.cpp - a fused kernel in infix form ----------------------===//
#include "passes/report/Expression.h"

#include "passes/fuse/Tensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace pg::report {

//===----------------------------------------------------------------------===//
// EntryNames
//===----------------------------------------------------------------------===//

EntryNames::EntryNames(func::FuncOp entry, SourceText &source)
    : source(source) {
  for (Operation &op : entry.getBody().front()) {
    auto scalar = dyn_cast<ScalarOp>(op);
    bool isGradient = (scalar && scalar.getName() == "loss_scale") ||
                      llvm::any_of(op.getOperands(), [&](Value operand) {
                        return gradients.contains(operand);
                      });
    if (isGradient)
      for (Value result : op.getResults())
        gradients.insert(result);
  }
}

std::string EntryNames::unique(const std::string &name) {
  if (taken.insert(name).second)
    return name;
  for (int i = 2;; ++i)
    if (std::string next = name + "_" + std::to_string(i);
        taken.insert(next).second)
      return next;
}

/// "name = f(...)" with one call and nothing around it.
static bool isBareCall(StringRef line) {
  size_t equals = line.find(" = ");
  if (equals == StringRef::npos || !line.ends_with(")"))
    return false;
  StringRef call = line.drop_front(equals + 3);
  size_t open = call.find('(');
  if (open == StringRef::npos ||
      !llvm::all_of(call.take_front(open), [](char c) {
        return llvm::isAlnum(c) || llvm::StringRef("_.[]").contains(c);
      }))
    return false;
  int depth = 0;
  for (size_t i = open; i < call.size(); ++i) {
    depth += call[i] == '(' ? 1 : call[i] == ')' ? -1 : 0;
    if (depth == 0)
      return i + 1 == call.size();
  }
  return false;
}

static void collectReaders(Value value, llvm::SetVector<Operation *> &found) {
  for (Operation *user : value.getUsers()) {
    if (isIndexOp(user))
      collectReaders(user->getResult(0), found);
    else if (!isa<YieldOp>(user))
      found.insert(user);
  }
}

llvm::SetVector<Operation *> readersOf(Value value) {
  llvm::SetVector<Operation *> found;
  collectReaders(value, found);
  return found;
}

std::string EntryNames::variableOf(Value value) {
  Location loc = value.getDefiningOp()->getLoc();
  Place place = placeOf(loc);
  bool goesOn = llvm::any_of(readersOf(value), [&](Operation *reader) {
    return placeOf(reader->getLoc()).sameLine(place);
  });
  return goesOn ? "" : variableAt(loc);
}

std::string EntryNames::variableAt(Location loc) {
  // A result of a block is named by its caller where that does nothing else.
  bool isInner = true;
  for (const Place &place : placesOf(loc)) {
    std::string line = source.line(place);
    if (!isInner && !isBareCall(line))
      return "";
    isInner = false;
    std::vector<std::string> names = source.assigned(place);
    if (names.size() == 1)
      return names.front();
    if (!StringRef(line).starts_with("return "))
      return "";
  }
  return "";
}

std::string EntryNames::nameOf(Value value) {
  if (auto it = names.find(value); it != names.end())
    return it->second;
  std::string name;
  Operation *op = value.getDefiningOp();
  if (auto param = dyn_cast_or_null<ParamOp>(op))
    return names[value] = param.getName().str();
  if (auto state = dyn_cast_or_null<ReadStateOp>(op))
    return names[value] = state.getName().str();
  if (auto input = dyn_cast_or_null<InputOp>(op))
    return names[value] = input.getName().str();
  if (auto scalar = dyn_cast_or_null<ScalarOp>(op))
    return names[value] = scalar.getName().str();
  if (auto view = dyn_cast_or_null<ReshapeOp>(op))
    return names[value] = nameOf(view.getX());
  if (isGradient(value))
    return names[value] = unique("g" + std::to_string(++numGradients));
  if (auto launch = dyn_cast_or_null<LaunchOp>(op)) {
    auto def = SymbolTable::lookupNearestSymbolFrom<KernelDefOp>(
        op, launch.getKernelAttr());
    unsigned index = cast<OpResult>(value).getResultNumber(), fresh = 0;
    Operation *yield = def.getBody().front().getTerminator();
    for (auto [mode, yielded] : llvm::zip(def.getModes(), yield->getOperands()))
      if (mode == 0 && fresh++ == index && yielded.getDefiningOp())
        name = variableOf(yielded);
  }
  return names[value] =
             unique(name.empty() ? "t" + std::to_string(++numOthers) : name);
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

namespace {

struct Infix {
  const char *sign = nullptr;
  int precedence = 0;
};

Infix infixOf(StringRef op) {
  return llvm::StringSwitch<Infix>(op)
      .Case("xor", {"^", 2})
      .Case("and", {"&", 3})
      .Case("add", {"+", 4})
      .Case("sub", {"-", 4})
      .Case("mul", {"*", 5})
      .Case("div", {"/", 5})
      .Case("rem", {"%", 5})
      .Default({});
}

constexpr int kChoice = 0, kCompare = 1, kUnary = 6, kProduct = 5, kAtom = 9;

std::string attributeText(Attribute attr) {
  if (auto integer = dyn_cast<IntegerAttr>(attr))
    return isa<BoolAttr>(attr)
               ? (integer.getValue().isZero() ? "false" : "true")
               : std::to_string(integer.getInt());
  if (auto real = dyn_cast<FloatAttr>(attr))
    return numberText(real.getValueAsDouble());
  if (auto list = dyn_cast<DenseI64ArrayAttr>(attr)) {
    std::string text = "[";
    for (auto [i, value] : llvm::enumerate(list.asArrayRef()))
      text += (i ? ", " : "") + std::to_string(value);
    return text + "]";
  }
  if (auto text = dyn_cast<StringAttr>(attr))
    return text.getValue().str();
  if (auto type = dyn_cast<TypeAttr>(attr))
    return elementText(type.getValue());
  if (auto within = dyn_cast<WithinAttr>(attr))
    return stringifyWithin(within.getValue()).str();
  std::string text;
  llvm::raw_string_ostream os(text);
  os << attr;
  return text;
}

class Writer {
public:
  Writer(KernelDefOp def, LaunchOp launch, EntryNames &names)
      : body(def.getBody().front()), def(def), launch(launch), names(names) {}

  std::vector<Statement> write() {
    nameArguments();
    bind();
    std::vector<Statement> statements;
    Operation *yield = body.getTerminator();
    for (Operation &op : body.without_terminator()) {
      Value value = op.getResult(op.getNumResults() - 1);
      for (Value result : op.getResults())
        if (bound.count(result))
          value = result;
      auto it = bound.find(value);
      if (it == bound.end())
        continue;
      std::string text = write(&op, value).first;
      statements.push_back({it->second + " = " + text, placeOf(op.getLoc())});
    }
    for (auto [index, mode, value] :
         llvm::enumerate(def.getModes(), yield->getOperands())) {
      if (mode == 0)
        continue;
      statements.push_back(
          {targetName(index) + (mode == 2 ? " += " : " = ") + text(value, 0),
           Place{}});
    }
    return statements;
  }

private:
  void nameArguments() {
    size_t scalar = 0;
    for (BlockArgument argument : body.getArguments()) {
      if (isa<FloatType>(argument.getType())) {
        bound[argument] = numberText(launch.getScalars()[scalar++]);
        continue;
      }
      Value operand = launch.getInputs()[argument.getArgNumber()];
      bound[argument] = names.nameOf(operand);
      local.insert(bound[argument]);
      if (names.isGradient(operand))
        gradients.insert(argument);
    }
  }

  std::string targetName(size_t yieldIndex) {
    size_t target = 0;
    for (size_t i = 0; i < yieldIndex; ++i)
      target += def.getModes()[i] != 0;
    auto attr = cast<TargetAttr>((*launch.getTargets())[target]);
    return attr.getSymbol().getValue().str();
  }

  /// Decides which values get statements, in program order.
  void bind() {
    llvm::DenseMap<Value, Value> yielded; // value -> result of the launch
    size_t fresh = 0;
    for (auto [mode, value] :
         llvm::zip(def.getModes(), body.getTerminator()->getOperands()))
      if (mode == 0)
        yielded.try_emplace(value, launch.getResults()[fresh++]);
    for (Value result : launch.getResults())
      local.insert(names.nameOf(result));
    int temporaries = 0;
    for (Operation &op : body.without_terminator()) {
      for (Value operand : op.getOperands())
        if (gradients.contains(operand))
          for (Value result : op.getResults())
            gradients.insert(result);
      for (Value result : op.getResults()) {
        if (auto it = yielded.find(result); it != yielded.end()) {
          bound[result] = names.nameOf(it->second);
          continue;
        }
        if (isIndexOp(&op) || result.use_empty())
          continue;
        bool isGradient = gradients.contains(result);
        std::string name = isGradient ? "" : names.variableOf(result);
        if (name.empty() && readersOf(result).size() < 2)
          continue;
        if (name.empty())
          name = (isGradient ? "d" : "s") + std::to_string(++temporaries);
        while (!local.insert(name).second)
          name += "'";
        bound[result] = name;
      }
    }
  }

  std::string text(Value value, int precedence) {
    if (auto it = bound.find(value); it != bound.end())
      return it->second;
    auto [text, own] = write(value.getDefiningOp(), value);
    return own < precedence ? "(" + text + ")" : text;
  }

  std::string sizes(Type type) { return "[" + shapeText(type, ", ") + "]"; }

  std::pair<std::string, int> write(Operation *op, Value value) {
    StringRef name = shortName(op);
    if (Infix infix = infixOf(name); infix.sign)
      return {text(op->getOperand(0), infix.precedence) + " " + infix.sign +
                  " " + text(op->getOperand(1), infix.precedence + 1),
              infix.precedence};
    if (auto product = dyn_cast<MatmulOp>(op))
      return {text(product.getA(), kProduct) +
                  (product.getTransposeA() ? ".T" : "") + " @ " +
                  text(product.getB(), kProduct + 1) +
                  (product.getTransposeB() ? ".T" : ""),
              kProduct};
    if (auto product = dyn_cast<GroupedMatmulOp>(op))
      return {text(product.getX(), kProduct) + " @ " +
                  text(product.getW(), kAtom) + "[slot]" +
                  (product.getTransposeW() ? ".T" : ""),
              kProduct};
    if (auto compare = dyn_cast<CompareOp>(op)) {
      const char *signs[] = {"==", "!=", "<", "<=", ">", ">="};
      return {text(compare.getLhs(), kCompare + 1) + " " +
                  signs[int(compare.getPredicate())] + " " +
                  text(compare.getRhs(), kCompare + 1),
              kCompare};
    }
    if (auto select = dyn_cast<SelectOp>(op))
      return {text(select.getLhs(), kCompare) + " if " +
                  text(select.getCondition(), kCompare) + " else " +
                  text(select.getRhs(), kCompare),
              kChoice};
    if (isa<NegOp>(op))
      return {"-" + text(op->getOperand(0), kUnary), kUnary};
    if (auto gather = dyn_cast<GatherOp>(op))
      return {text(gather.getTable(), kAtom) + "[" +
                  text(gather.getIndex(), 0) + "]",
              kAtom};
    if (auto slice = dyn_cast<SliceOp>(op)) {
      std::string axes;
      for (uint64_t i = 0; i < slice.getAxis(); ++i)
        axes += ":, ";
      auto type = cast<RankedTensorType>(slice.getType());
      int64_t start = slice.getStart();
      int64_t stop = start + type.getDimSize(slice.getAxis());
      return {text(slice.getX(), kAtom) + "[" + axes +
                  (start ? std::to_string(start) : "") + ":" +
                  std::to_string(stop) + "]",
              kAtom};
    }
    if (isa<BroadcastOp, SplatOp>(op)) {
      auto [inner, own] = inside(op->getOperand(0));
      return {inner, own};
    }
    if (auto view = dyn_cast<ReshapeOp>(op)) {
      if (isUnitReshape(view)) {
        auto [inner, own] = inside(view.getX());
        return {inner, own};
      }
      return {"reshape(" + text(view.getX(), 0) + ", " + sizes(view.getType()) +
                  ")",
              kAtom};
    }
    if (auto fill = dyn_cast<FillOp>(op))
      return {numberText(fill.getValue().convertToDouble()), kAtom};
    if (auto constant = dyn_cast<ConstantOp>(op)) {
      auto values = dyn_cast<DenseFPElementsAttr>(constant.getValue());
      if (values && values.isSplat())
        return {numberText(values.getSplatValue<APFloat>().convertToDouble()),
                kAtom};
      return {"constant" + sizes(constant.getType()), kAtom};
    }
    return {call(op), kAtom};
  }

  std::pair<std::string, int> inside(Value value) {
    if (auto it = bound.find(value); it != bound.end())
      return {it->second, kAtom};
    return write(value.getDefiningOp(), value);
  }

  /// Only unit dimensions come or go: nothing a reader of broadcasts misses.
  static bool isUnitReshape(ReshapeOp view) {
    auto proper = [](Type type) {
      SmallVector<int64_t> sizes;
      for (int64_t size : cast<RankedTensorType>(type).getShape())
        if (size != 1)
          sizes.push_back(size);
      return sizes;
    };
    return proper(view.getX().getType()) == proper(view.getType());
  }

  /// mnemonic(operands, attribute=value): any op without a sign of its own.
  std::string call(Operation *op) {
    StringRef name = shortName(op);
    if (name == "reduce_sum")
      name = "sum";
    else if (name == "reduce_max")
      name = "max";
    std::vector<std::string> parts;
    for (Value operand : op->getOperands())
      parts.push_back(text(operand, 0));
    for (NamedAttribute attr : op->getAttrs()) {
      StringRef key = attr.getName().getValue();
      if (key.starts_with("pg."))
        continue;
      parts.push_back((key == "axes" ? "axis" : key.str()) + "=" +
                      attributeText(attr.getValue()));
    }
    return name.str() + "(" + llvm::join(parts, ", ") + ")";
  }

  Block &body;
  KernelDefOp def;
  LaunchOp launch;
  EntryNames &names;
  llvm::DenseMap<Value, std::string> bound;
  llvm::DenseSet<Value> gradients;
  std::set<std::string> local;
};

} // namespace

std::vector<Statement> fusedExpression(KernelDefOp def, LaunchOp launch,
                                       EntryNames &names) {
  return Writer(def, launch, names).write();
}

} // namespace pg::report
