//===- ElementMath.cpp - elementwise ops as C++ expressions -------------------===//
//
// The same semantics as the CPU target (passes/cpu/ElementMath.cpp): bf16
// values are computed in float and rounded after every op.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/ElementEvaluator.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace pg::cuda {
namespace {

Type elementOf(Value v) {
  return cast<RankedTensorType>(v.getType()).getElementType();
}

/// Operators by mnemonic; empty for calls.
StringRef signOf(StringRef name) {
  return llvm::StringSwitch<StringRef>(name)
      .Case("add", "+")
      .Case("sub", "-")
      .Case("mul", "*")
      .Case("div", "/")
      .Case("xor", "^")
      .Case("and", "&")
      .Case("rem", "%")
      .Default("");
}

const char *signOf(Predicate predicate) {
  const char *signs[] = {"==", "!=", "<", "<=", ">", ">="};
  return signs[static_cast<int>(predicate)];
}

std::string rounded(const std::string &text, Type element) {
  return element.isBF16() ? "pg_round_bf16(" + text + ")" : text;
}

} // namespace

std::string converted(StringRef text, Type from, Type to) {
  if (from == to)
    return text.str();
  std::string name = text.str();
  if (to.isInteger(1))
    return name + " != 0";
  if (to.isBF16()) {
    if (from.isF64())
      return "(float)pg_round_bf16(" + name + ")";
    return isa<FloatType>(from) ? "pg_round_bf16(" + name + ")"
                                : "pg_round_bf16((float)" + name + ")";
  }
  if (registerType(from) == registerType(to))
    return name;
  return "(" + registerType(to) + ")" + name;
}

Term ElementEvaluator::mathOp(Operation *op, Value tensor,
                              ArrayRef<Term> operands) {
  StringRef name = op->getName().stripDialect();
  Type element = elementOf(tensor);
  int depth = 0;
  for (const Term &operand : operands)
    depth = std::max(depth, operand.depth);
  auto x = [&](unsigned k) -> const std::string & { return operands[k].text; };
  auto give = [&](const std::string &text) {
    return define(registerType(element), name, rounded(text, element), depth);
  };

  if (isa<StopGradientOp>(op))
    return operands[0];
  if (isa<CastOp>(op)) {
    std::string text = converted(x(0), elementOf(op->getOperand(0)), element);
    return text == x(0) ? operands[0]
                        : define(registerType(element), name, text, depth);
  }
  if (isa<SelectOp>(op))
    return define(registerType(element), name,
                  x(0) + " ? " + x(1) + " : " + x(2), depth);
  if (auto compare = dyn_cast<CompareOp>(op))
    return define("bool", name,
                  x(0) + " " + signOf(compare.getPredicate()) + " " + x(1),
                  depth);
  if (auto round = dyn_cast<RoundOp>(op)) {
    Type narrow = round.getTo();
    if (narrow.isInteger(32))
      return define(registerType(element), name, "pg_round_int(" + x(0) + ")",
                    depth);
    if (narrow.getIntOrFloatBitWidth() >= element.getIntOrFloatBitWidth())
      return operands[0];
    return define(registerType(element), name,
                  narrow.isBF16() ? "pg_round_bf16(" + x(0) + ")"
                                  : "(double)(float)" + x(0),
                  depth);
  }
  if (isa<NegOp>(op))
    return give(StringRef(x(0)).starts_with("-") ? "-(" + x(0) + ")"
                                                 : "-" + x(0));
  if (isa<MaxOp, MinOp>(op))
    return give("pg_" + name.str() + "(" + x(0) + ", " + x(1) + ")");
  // 32-bit integers wrap round; in C++ they must not.
  if (element.isInteger(32) && isa<AddOp, SubOp, MulOp>(op))
    return give("pg_wrap_" + name.str() + "(" + x(0) + ", " + x(1) + ")");
  if (StringRef sign = signOf(name); !sign.empty() && operands.size() == 2)
    return give(x(0) + " " + sign.str() + " " + x(1));
  if (isa<ExpOp, LogOp, TanhOp, SigmoidOp, SqrtOp, RsqrtOp, AbsOp, SinOp, CosOp,
          ErfOp>(op))
    return give("pg_" + name.str() + "(" + x(0) + ")");
  return unsupported(tensor, "it has no value element by element here");
}

} // namespace pg::cuda
