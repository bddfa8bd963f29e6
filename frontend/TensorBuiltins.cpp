//===- TensorBuiltins.cpp - functions that build ops -----------------------===//
//
// One row per function. A function that also exists on numbers (sqrt, max)
// folds when it gets no tensor.
//
//===----------------------------------------------------------------------===//
#include "frontend/Builtins.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace pg::frontend;
using mlir::RankedTensorType;
using mlir::ShapedType;

/// The tensor of argument `index`; null with an error for anything else.
static mlir::Value tensorAt(const BuiltinCall &call, size_t index) {
  if (call[index].isTensor())
    return call.tensors->tensor(call[index], call.pos, call.name);
  call.error("expects a tensor, got " + call[index].kindName());
  return {};
}

static mlir::Value floatAt(const BuiltinCall &call, size_t index) {
  mlir::Value x = tensorAt(call, index);
  return x ? call.tensors->floatTensor(Value::of(x), call.pos) : x;
}

//===----------------------------------------------------------------------===//
// Maps
//===----------------------------------------------------------------------===//

template <double (*fold)(double), typename Op>
static Value buildUnary(const BuiltinCall &call) {
  if (call[0].isTensor())
    return call.tensors->unary<Op>(call.pos, call[0]);
  if (!call[0].isNumber())
    return call.error("expects a tensor or a number, got " +
                      call[0].kindName());
  double result = fold(call[0].number());
  if (!std::isfinite(result))
    return call.error("of " + call[0].str() + " is not a finite number");
  return Value::of(result);
}

static double foldSigmoid(double x) { return 1 / (1 + std::exp(-x)); }
static double foldRsqrt(double x) { return 1 / std::sqrt(x); }

static Value buildAbs(const BuiltinCall &call) {
  if (call[0].isInt())
    return Value::of(call[0].integer < 0 ? -call[0].integer : call[0].integer);
  return buildUnary<std::fabs, pg::AbsOp>(call);
}

static Value buildSquare(const BuiltinCall &call) {
  if (call[0].isTensor()) {
    Value x = Value::of(tensorAt(call, 0));
    return call.tensors->pair<pg::MulOp>(call.pos, x, x);
  }
  std::string message;
  Value result = staticBinary("*", call[0], call[0], message);
  return result.isPoison() ? call.error(message) : result;
}

static Value buildRelu(const BuiltinCall &call) {
  Value x = Value::of(floatAt(call, 0));
  if (!x.tensor)
    return Value::poison();
  // Not max(x, 0): the gradient at 0 is 0, and NaN stays NaN.
  Value isNegative =
      call.tensors->compare(call.pos, "<=", x, Value::of(0.0));
  return call.tensors->select(call.pos, isNegative, Value::of(0.0), x);
}

static Value buildLeakyRelu(const BuiltinCall &call) {
  mlir::Value tensor = floatAt(call, 0);
  if (!tensor)
    return Value::poison();
  Value x = Value::of(tensor);
  Value isPositive = call.tensors->compare(call.pos, ">", x, Value::of(0.0));
  Value scaled = call.tensors->pair<pg::MulOp>(call.pos, x, call[1]);
  return call.tensors->select(call.pos, isPositive, x, scaled);
}

static Value buildGelu(const BuiltinCall &call) {
  mlir::Value tensor = floatAt(call, 0);
  if (!tensor)
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  Value x = Value::of(tensor);
  Value inner = t.pair<pg::MulOp>(call.pos, x, Value::of(std::sqrt(0.5)));
  Value gate = t.pair<pg::AddOp>(call.pos, t.unary<pg::ErfOp>(call.pos, inner),
                                 Value::of(1.0));
  Value half = t.pair<pg::MulOp>(call.pos, x, Value::of(0.5));
  return t.pair<pg::MulOp>(call.pos, half, gate);
}

static Value buildSilu(const BuiltinCall &call) {
  mlir::Value tensor = floatAt(call, 0);
  if (!tensor)
    return Value::poison();
  Value x = Value::of(tensor);
  return call.tensors->pair<pg::MulOp>(
      call.pos, x, call.tensors->unary<pg::SigmoidOp>(call.pos, x));
}

static Value buildSoftcap(const BuiltinCall &call) {
  if (!call[0].isTensor() || !call[1].isNumber() || call[1].number() <= 0)
    return call.error("expects a tensor and a positive number, got " +
                      call[0].kindName() + " and " + call[1].str());
  TensorBuilder &t = *call.tensors;
  Value cap = Value::of(call[1].number());
  Value ratio = t.binary(call.pos, "/", call[0], cap);
  return t.pair<pg::MulOp>(call.pos, t.unary<pg::TanhOp>(call.pos, ratio), cap);
}

static Value buildWhere(const BuiltinCall &call) {
  if (call[0].isTensor())
    return call.tensors->select(call.pos, call[0], call[1], call[2]);
  std::optional<bool> truth = call[0].truth();
  if (!truth)
    return call.error("expects a condition, got " + call[0].kindName());
  return *truth ? call[1] : call[2];
}

template <typename Op, bool isMax>
static Value buildExtremum(const BuiltinCall &call) {
  if (call[0].isTensor() || call[1].isTensor())
    return call.tensors->pair<Op>(call.pos, call[0], call[1]);
  std::string message;
  Value less = staticCompare("<", call[0], call[1], message);
  if (less.isPoison())
    return call.error(message);
  return less.flag == isMax ? call[1] : call[0];
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

/// Axes of a reduction, increasing; false after an error.
static bool readAxes(const BuiltinCall &call, const Value &axis,
                     RankedTensorType type, llvm::SmallVector<int64_t> &axes) {
  Value::List given = axis.isList() ? *axis.list : Value::List{axis};
  for (const Value &item : given) {
    int64_t rank = type.getRank();
    if (!item.isInt() || item.integer < -rank || item.integer >= rank) {
      call.error("expects axes from " + llvm::Twine(-rank) + " to " +
                 llvm::Twine(rank - 1) + " for shape " +
                 call.tensors->describe(type) + ", got " + item.str());
      return false;
    }
    int64_t at = item.integer < 0 ? item.integer + rank : item.integer;
    if (type.isDynamicDim(at)) {
      call.error("cannot reduce the token axis of " +
                 call.tensors->describe(type) +
                 ": only shift and attention look across tokens");
      return false;
    }
    if (llvm::is_contained(axes, at)) {
      call.error("got the axis " + llvm::Twine(at) + " twice");
      return false;
    }
    axes.push_back(at);
  }
  llvm::sort(axes);
  return true;
}

static Value reduceTensor(const BuiltinCall &call, const Value &operand,
                          const Value &axis, const Value &keep, bool isMax) {
  mlir::Value x = call.tensors->floatTensor(operand, call.pos);
  llvm::SmallVector<int64_t> axes;
  if (!x || !readAxes(call, axis, typeOf(x), axes))
    return Value::poison();
  return Value::of(call.tensors->reduce(call.pos, x, axes, isMax,
                                        keep.truth().value_or(false)));
}

static Value buildSum(const BuiltinCall &call) {
  if (call[0].isTensor())
    return reduceTensor(call, call[0], call[1], call[2], false);
  if (!call[0].isList())
    return call.error("expects a tensor or a list, got " + call[0].kindName());
  Value total = Value::of(int64_t(0));
  std::string message;
  for (const Value &item : *call[0].list) {
    total = staticBinary("+", total, item, message);
    if (total.isPoison())
      return call.error(message);
  }
  return total;
}

static Value buildMean(const BuiltinCall &call) {
  mlir::Value x = floatAt(call, 0);
  llvm::SmallVector<int64_t> axes;
  if (!x || !readAxes(call, call[1], typeOf(x), axes))
    return Value::poison();
  int64_t count = 1;
  for (int64_t axis : axes)
    count *= typeOf(x).getDimSize(axis);
  mlir::Value total = call.tensors->reduce(call.pos, x, axes, false,
                                           call[2].truth().value_or(false));
  return call.tensors->binary(call.pos, "/", Value::of(total),
                              Value::of(static_cast<double>(count)));
}

/// max(x, axis=...) of a tensor; max(a, b, ...) or max(list) of numbers.
template <bool isMax> static Value buildMost(const BuiltinCall &call) {
  Value::List items = *call[0].list;
  if (items.size() == 1 && items[0].isTensor()) {
    if (isMax)
      return reduceTensor(call, items[0], call[1], call[2], true);
    Value turned = call.tensors->negate(call.pos, items[0]);
    Value least = reduceTensor(call, turned, call[1], call[2], true);
    return least.isPoison() ? least : call.tensors->negate(call.pos, least);
  }
  if (items.size() == 1 && items[0].isList())
    items = Value::List(*items[0].list);
  if (items.empty())
    return call.error("expects at least one number");
  Value best = items[0];
  for (const Value &item : items) {
    if (!item.isNumber())
      return call.error("expects numbers or one tensor, got " +
                        item.kindName() + "; use maximum or minimum for the "
                                          "elements of two tensors");
    if (isMax ? item.number() > best.number() : item.number() < best.number())
      best = item;
  }
  return best;
}

static Value buildSoftmax(const BuiltinCall &call) {
  mlir::Value x = floatAt(call, 0);
  llvm::SmallVector<int64_t> axes;
  if (!x || !readAxes(call, call[1], typeOf(x), axes))
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  mlir::Value peak = t.reduce(call.pos, x, axes, true, true);
  // The shift cancels, and so does its gradient.
  mlir::Value shift = pg::StopGradientOp::create(
      t.getBuilder(), t.location(call.pos), peak);
  Value power = t.unary<pg::ExpOp>(
      call.pos, t.pair<pg::SubOp>(call.pos, Value::of(x), Value::of(shift)));
  Value total =
      Value::of(t.reduce(call.pos, power.tensor, axes, false, true));
  return t.binary(call.pos, "/", power, total);
}

static Value buildRmsNorm(const BuiltinCall &call) {
  mlir::Value x = floatAt(call, 0);
  if (!x)
    return Value::poison();
  RankedTensorType type = typeOf(x);
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
    return call.error("expects a last dimension of features, got shape " +
                      call.tensors->describe(type));
  if (!call[1].isNumber() || call[1].number() < 0)
    return call.error("expects a number of at least 0 as eps, got " +
                      call[1].str());
  mlir::OpBuilder &builder = call.tensors->getBuilder();
  return Value::of(pg::RmsNormOp::create(builder,
                                         call.tensors->location(call.pos), x,
                                         builder.getF64FloatAttr(
                                             call[1].number()))
                       .getResult());
}

//===----------------------------------------------------------------------===//
// Products, look-ups, shapes
//===----------------------------------------------------------------------===//

static Value buildLinear(const BuiltinCall &call) {
  for (size_t i : {0, 1})
    if (!tensorAt(call, i))
      return Value::poison();
  return call.tensors->linear(call.pos, call[0], call[1]);
}

static Value buildMatmul(const BuiltinCall &call) {
  mlir::Value a = floatAt(call, 0), b = floatAt(call, 1);
  if (!a || !b)
    return Value::poison();
  bool turnA = call[2].truth().value_or(false);
  bool turnB = call[3].truth().value_or(false);
  RankedTensorType aType = typeOf(a), bType = typeOf(b);
  std::string shapes = call.tensors->describe(aType) + " and " +
                       call.tensors->describe(bType);
  if (aType.getRank() != 2 || bType.getRank() != 2)
    return call.error("expects two tensors of rank 2, got " + shapes);
  int64_t rows = aType.getDimSize(turnA), inner = aType.getDimSize(!turnA);
  int64_t innerB = bType.getDimSize(turnB), columns = bType.getDimSize(!turnB);
  if (ShapedType::isDynamic(inner) || ShapedType::isDynamic(innerB) ||
      ShapedType::isDynamic(columns))
    return call.error("cannot contract or move the token axis of " + shapes +
                      ": only shift and attention look across tokens");
  if (inner != innerB)
    return call.error("expects equal inner sizes, got " + shapes);
  TensorBuilder &t = *call.tensors;
  return Value::of(pg::MatmulOp::create(t.getBuilder(), t.location(call.pos),
                                        t.floatType({rows, columns}), a, b,
                                        turnA, turnB)
                       .getResult());
}

static Value buildGather(const BuiltinCall &call) {
  mlir::Value table = floatAt(call, 0), index = tensorAt(call, 1);
  if (!table || !index)
    return Value::poison();
  RankedTensorType tableType = typeOf(table), indexType = typeOf(index);
  if (tableType.getRank() < 1 || tableType.isDynamicDim(0) ||
      indexType.getRank() != 1 || !indexType.getElementType().isInteger(32))
    return call.error("expects a static table [V, ...] and integers [T], got " +
                      call.tensors->describe(tableType) + " and " +
                      call.tensors->describe(indexType));
  llvm::SmallVector<int64_t> shape(tableType.getShape());
  shape[0] = indexType.getDimSize(0);
  TensorBuilder &t = *call.tensors;
  return Value::of(pg::GatherOp::create(t.getBuilder(), t.location(call.pos),
                                        t.floatType(shape), table, index)
                       .getResult());
}

static Value buildConcat(const BuiltinCall &call) {
  if (!call[0].isList() || call[0].list->empty())
    return call.error("expects a list of tensors, got " + call[0].kindName());
  TensorBuilder &t = *call.tensors;
  llvm::SmallVector<mlir::Value> parts;
  bool isFloat = false;
  for (const Value &item : *call[0].list) {
    if (!item.isTensor())
      return call.error("expects a list of tensors, got " + item.kindName() +
                        " in it");
    mlir::Value part = t.tensor(item, call.pos, call.name);
    if (!part)
      return Value::poison();
    parts.push_back(part);
    isFloat |= mlir::isa<mlir::FloatType>(typeOf(part).getElementType());
  }
  llvm::SmallVector<int64_t> axes;
  if (!call[1].isInt() || !readAxes(call, call[1], typeOf(parts[0]), axes))
    return call[1].isInt() ? Value::poison()
                           : call.error("expects one axis, got " +
                                        call[1].kindName());
  int64_t axis = axes[0];
  llvm::SmallVector<int64_t> shape(typeOf(parts[0]).getShape());
  mlir::Type element =
      isFloat ? mlir::Type(t.getBuilder().getF32Type())
              : typeOf(parts[0]).getElementType();
  shape[axis] = 0;
  for (mlir::Value &part : parts) {
    part = t.cast(call.pos, part, element);
    llvm::SmallVector<int64_t> own(typeOf(part).getShape());
    if (own.size() == shape.size()) {
      shape[axis] += own[axis];
      own[axis] = shape[axis];
    }
    if (own != shape)
      return call.error("expects equal shapes but for axis " +
                        llvm::Twine(axis) + ", got " +
                        t.describe(typeOf(parts[0])) + " and " +
                        t.describe(typeOf(part)));
  }
  if (parts.size() == 1)
    return Value::of(parts[0]);
  return Value::of(pg::ConcatOp::create(t.getBuilder(), t.location(call.pos),
                                        RankedTensorType::get(shape, element),
                                        parts,
                                        t.getBuilder().getI64IntegerAttr(axis))
                       .getResult());
}

static Value buildReshape(const BuiltinCall &call) {
  mlir::Value x = tensorAt(call, 0);
  if (!x)
    return Value::poison();
  if (!call[1].isList())
    return call.error("expects a list of sizes, got " + call[1].kindName());
  RankedTensorType type = typeOf(x);
  llvm::SmallVector<int64_t> shape;
  int64_t known = 1, open = -1;
  for (auto [index, size] : llvm::enumerate(*call[1].list)) {
    if (size.kind == Value::Kind::TokenAxis) {
      if (index != 0)
        return call.error("expects the token axis T as first dimension");
      shape.push_back(ShapedType::kDynamic);
      continue;
    }
    if (!size.isInt() || (size.integer < 1 && size.integer != -1) ||
        (size.integer == -1 && open >= 0))
      return call.error("expects sizes of at least 1 and at most one -1, got " +
                        size.str());
    shape.push_back(size.integer);
    if (size.integer == -1)
      open = static_cast<int64_t>(index);
    else if (__builtin_mul_overflow(known, size.integer, &known))
      return call.error("got sizes that are too large");
  }
  bool hasTokens = pg::isTokenTensor(type);
  bool wantsTokens = !shape.empty() && ShapedType::isDynamic(shape[0]);
  int64_t elements = pg::elementsPerToken(type);
  if (open >= 0)
    shape[open] = elements % known == 0 ? elements / known : -1;
  else if (known != elements)
    open = 0;
  bool fits = open < 0 || (!shape.empty() && shape[open] >= 1 &&
                           shape[open] * known == elements);
  if (hasTokens != wantsTokens || !fits)
    return call.error(
        "expects the same elements" +
        std::string(hasTokens ? " per token and T as first dimension" : "") +
        ", got shape " + call.tensors->describe(type) + " and sizes " +
        call[1].str());
  return Value::of(call.tensors->reshape(call.pos, x, shape));
}

static Value buildTranspose(const BuiltinCall &call) {
  mlir::Value x = tensorAt(call, 0);
  if (!x)
    return Value::poison();
  RankedTensorType type = typeOf(x);
  llvm::SmallVector<int64_t> order, shape;
  if (call[1].isNone())
    for (int64_t i = type.getRank(); i-- > 0;)
      order.push_back(i);
  else if (call[1].isList())
    for (const Value &item : *call[1].list)
      order.push_back(item.isInt() && item.integer < 0
                          ? item.integer + type.getRank()
                          : item.isInt() ? item.integer : -1);
  llvm::SmallVector<int64_t> sorted = order;
  llvm::sort(sorted);
  bool isPermutation = static_cast<int64_t>(sorted.size()) == type.getRank();
  for (auto [index, axis] : llvm::enumerate(sorted))
    isPermutation &= axis == static_cast<int64_t>(index);
  if (!isPermutation)
    return call.error("expects each dimension of " +
                      call.tensors->describe(type) + " once, got " +
                      call[1].str());
  if (pg::isTokenTensor(type) && order[0] != 0)
    return call.error("expects the token axis to stay first, got " +
                      call[1].str());
  for (int64_t axis : order)
    shape.push_back(type.getDimSize(axis));
  TensorBuilder &t = *call.tensors;
  return Value::of(
      pg::TransposeOp::create(
          t.getBuilder(), t.location(call.pos),
          RankedTensorType::get(shape, type.getElementType()), x,
          t.getBuilder().getDenseI64ArrayAttr(order))
          .getResult());
}

//===----------------------------------------------------------------------===//
// Across tokens
//===----------------------------------------------------------------------===//

static std::optional<pg::Within> readWithin(const BuiltinCall &call,
                                            const Value &value) {
  std::optional<pg::Within> within;
  if (value.isString())
    within = pg::symbolizeWithin(value.text);
  if (!within)
    call.error("expects within=row or within=segment, got " + value.str());
  return within;
}

static Value buildShift(const BuiltinCall &call) {
  mlir::Value x = tensorAt(call, 0);
  std::optional<pg::Within> within = readWithin(call, call[2]);
  if (!x || !within)
    return Value::poison();
  if (!pg::isTokenTensor(typeOf(x)))
    return call.error("expects a tensor with the token axis, got shape " +
                      call.tensors->describe(typeOf(x)));
  if (!call[1].isInt() || call[1].integer < 0)
    return call.error("looks back by a static number of tokens, got by=" +
                      call[1].str());
  if (call[1].integer == 0)
    return Value::of(x);
  TensorBuilder &t = *call.tensors;
  return Value::of(pg::TokenShiftOp::create(
                       t.getBuilder(), t.location(call.pos), x,
                       static_cast<uint64_t>(call[1].integer), *within)
                       .getResult());
}

static Value buildRotate(const BuiltinCall &call) {
  mlir::Value x = floatAt(call, 0), cos = floatAt(call, 1),
              sin = floatAt(call, 2);
  if (!x || !cos || !sin)
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  RankedTensorType type = typeOf(x), table = typeOf(cos);
  if (type.getRank() != 3 || !pg::isTokenTensor(type) ||
      table.getRank() != 2 || !pg::isTokenTensor(table) ||
      table != typeOf(sin) || 2 * table.getDimSize(1) > type.getDimSize(2))
    return call.error("expects [T, H, d] and twice [T, r] with 2r <= d, got " +
                      t.describe(type) + ", " + t.describe(table) + " and " +
                      t.describe(typeOf(sin)));
  return Value::of(pg::RotateOp::create(t.getBuilder(), t.location(call.pos), x,
                                        cos, sin)
                       .getResult());
}

static Value buildAttention(const BuiltinCall &call) {
  mlir::Value q = floatAt(call, 0), k = floatAt(call, 1), v = floatAt(call, 2);
  std::optional<pg::Within> within = readWithin(call, call[5]);
  if (!q || !k || !v || !within)
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  RankedTensorType qType = typeOf(q), kType = typeOf(k), vType = typeOf(v);
  for (RankedTensorType type : {qType, kType, vType})
    if (type.getRank() != 3 || !pg::isTokenTensor(type))
      return call.error("expects tensors [T, heads, width], got " +
                        t.describe(type));
  if (qType.getDimSize(2) != kType.getDimSize(2) ||
      kType.getDimSize(1) != vType.getDimSize(1) ||
      qType.getDimSize(1) % kType.getDimSize(1) != 0)
    return call.error("expects q [T, H, d], k [T, G, d], v [T, G, e] with H a "
                      "multiple of G, got " + t.describe(qType) + ", " +
                      t.describe(kType) + " and " + t.describe(vType));
  double scale = 1 / std::sqrt(static_cast<double>(qType.getDimSize(2)));
  if (call[3].isNumber())
    scale = call[3].number();
  else if (!call[3].isNone())
    return call.error("expects a static number as scale, got " +
                      call[3].kindName());
  if (!call[4].isInt() || call[4].integer < 0)
    return call.error("expects an integer of at least 0 as window, got " +
                      call[4].str());
  mlir::Type out = t.floatType(
      {ShapedType::kDynamic, qType.getDimSize(1), vType.getDimSize(2)});
  mlir::Type lse = t.floatType({ShapedType::kDynamic, qType.getDimSize(1)});
  mlir::OpBuilder &b = t.getBuilder();
  auto op = pg::AttentionOp::create(
      b, t.location(call.pos), out, lse, q, k, v, b.getF64FloatAttr(scale),
      b.getI64IntegerAttr(call[4].integer),
      pg::WithinAttr::get(b.getContext(), *within));
  return Value::of(op.getOut());
}

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

static Value buildRound(const BuiltinCall &call) {
  if (call[1].isNone())
    return call[0];
  std::string type = call[1].isString() ? call[1].text : "";
  if (type != "bf16" && type != "f32" && type != "i32")
    return call.error("rounds to bf16, f32 or i32, got " + call[1].str());
  if (call[0].isNumber()) {
    double x = call[0].number();
    return Value::of(type == "bf16"  ? roundToBf16(x)
                     : type == "f32" ? static_cast<double>(static_cast<float>(x))
                                     : std::nearbyint(x)); // ties to even
  }
  mlir::Value x = floatAt(call, 0);
  if (!x)
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  mlir::Builder &b = t.getBuilder();
  mlir::Type to = type == "bf16"  ? mlir::Type(b.getBF16Type())
                  : type == "f32" ? mlir::Type(b.getF32Type())
                                  : mlir::Type(b.getI32Type());
  return Value::of(pg::RoundOp::create(t.getBuilder(), t.location(call.pos),
                                       x.getType(), x, mlir::TypeAttr::get(to))
                       .getResult());
}

static Value buildCast(const BuiltinCall &call) {
  mlir::Value x = tensorAt(call, 0);
  if (!x)
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  bool isFloat = call[1].isString() && call[1].text == "f32";
  if (!isFloat && !(call[1].isString() && call[1].text == "i32"))
    return call.error("converts to f32 or i32, got " + call[1].str());
  mlir::Type to = isFloat ? mlir::Type(t.getBuilder().getF32Type())
                          : mlir::Type(t.getBuilder().getI32Type());
  return Value::of(t.cast(call.pos, x, to));
}

static Value buildArange(const BuiltinCall &call) {
  if (!call[0].isInt() || call[0].integer < 1 || call[0].integer > INT32_MAX)
    return call.error("expects an integer of at least 1, got " +
                      call[0].str());
  TensorBuilder &t = *call.tensors;
  auto type = RankedTensorType::get({call[0].integer},
                                    t.getBuilder().getI32Type());
  return Value::of(pg::IotaOp::create(t.getBuilder(), t.location(call.pos),
                                      type, t.getBuilder().getI64IntegerAttr(0))
                       .getResult());
}

/// Collects the numbers of a nested list and its shape; false when ragged.
static bool flatten(const Value &value, size_t depth,
                    llvm::SmallVector<int64_t> &shape,
                    std::vector<Value> &numbers) {
  if (!value.isList()) {
    numbers.push_back(value);
    return value.isNumber() && depth == shape.size();
  }
  int64_t size = static_cast<int64_t>(value.list->size());
  bool isFirst = numbers.empty() && depth == shape.size();
  if (isFirst)
    shape.push_back(size);
  if (size == 0 || depth >= shape.size() || shape[depth] != size)
    return false;
  for (const Value &item : *value.list)
    if (!flatten(item, depth + 1, shape, numbers))
      return false;
  return true;
}

static Value buildConstant(const BuiltinCall &call) {
  llvm::SmallVector<int64_t> shape;
  std::vector<Value> numbers;
  if (!flatten(call[0], 0, shape, numbers) || shape.empty())
    return call.error("expects a list of numbers, or lists of equal length, "
                      "got " + call[0].str());
  TensorBuilder &t = *call.tensors;
  bool isInt = llvm::all_of(numbers, [](const Value &n) {
    return n.isInt() && n.integer >= INT32_MIN && n.integer <= INT32_MAX;
  });
  mlir::DenseElementsAttr attr;
  if (isInt) {
    std::vector<int32_t> data;
    for (const Value &n : numbers)
      data.push_back(static_cast<int32_t>(n.integer));
    attr = mlir::DenseElementsAttr::get(
        RankedTensorType::get(shape, t.getBuilder().getI32Type()),
        llvm::ArrayRef<int32_t>(data));
  } else {
    std::vector<float> data;
    for (const Value &n : numbers)
      data.push_back(static_cast<float>(n.number()));
    attr = mlir::DenseElementsAttr::get(t.floatType(shape),
                                        llvm::ArrayRef<float>(data));
  }
  return Value::of(pg::ConstantOp::create(t.getBuilder(), t.location(call.pos),
                                          attr.getType(), attr)
                       .getResult());
}

static Value buildStopGradient(const BuiltinCall &call) {
  mlir::Value x = floatAt(call, 0);
  if (!x)
    return Value::poison();
  return Value::of(pg::StopGradientOp::create(call.tensors->getBuilder(),
                                              call.tensors->location(call.pos),
                                              x)
                       .getResult());
}

static Value buildCrossEntropy(const BuiltinCall &call) {
  mlir::Value logits = floatAt(call, 0), targets = tensorAt(call, 1);
  if (!logits || !targets)
    return Value::poison();
  TensorBuilder &t = *call.tensors;
  RankedTensorType type = typeOf(logits), ids = typeOf(targets);
  if (type.getRank() != 2 || !pg::isTokenTensor(type) || ids.getRank() != 1 ||
      !pg::isTokenTensor(ids) || !ids.getElementType().isInteger(32))
    return call.error("expects logits [T, V] and integers [T], got " +
                      t.describe(type) + " and " + t.describe(ids));
  return Value::of(pg::CrossEntropyOp::create(
                       t.getBuilder(), t.location(call.pos),
                       t.floatType({ShapedType::kDynamic}), logits, targets)
                       .getResult());
}

static const Builtin kTable[] = {
    {"linear", "x, w", "x W^T over the last axis; w [outputs, inputs]",
     buildLinear},
    {"matmul", "a, b, transpose_a=false, transpose_b=false",
     "matrix product of tensors of rank 2", buildMatmul},
    {"gather", "table, ids", "rows of a table [V, ...] by integers [T]",
     buildGather},
    {"rms_norm", "x, eps=1.1920928955078125e-07",
     "x / sqrt(mean(x^2) + eps) over the last axis", buildRmsNorm},
    {"sum", "x, axis=-1, keepdims=false",
     "sum over one axis or a list of axes; of a list of numbers", buildSum},
    {"mean", "x, axis=-1, keepdims=false", "mean over axes", buildMean},
    {"max", "*xs, axis=-1, keepdims=false",
     "largest element over axes of a tensor; largest of numbers",
     buildMost<true>},
    {"min", "*xs, axis=-1, keepdims=false",
     "smallest element over axes of a tensor; smallest of numbers",
     buildMost<false>},
    {"softmax", "x, axis=-1", "exp(x) / sum(exp(x))", buildSoftmax},
    {"exp", "x", "e^x", buildUnary<std::exp, pg::ExpOp>},
    {"log", "x", "natural logarithm", buildUnary<std::log, pg::LogOp>},
    {"tanh", "x", "hyperbolic tangent", buildUnary<std::tanh, pg::TanhOp>},
    {"sigmoid", "x", "1 / (1 + e^-x)", buildUnary<foldSigmoid, pg::SigmoidOp>},
    {"sqrt", "x", "square root", buildUnary<std::sqrt, pg::SqrtOp>},
    {"rsqrt", "x", "1 / sqrt(x)", buildUnary<foldRsqrt, pg::RsqrtOp>},
    {"abs", "x", "absolute value", buildAbs},
    {"sin", "x", "sine", buildUnary<std::sin, pg::SinOp>},
    {"cos", "x", "cosine", buildUnary<std::cos, pg::CosOp>},
    {"erf", "x", "error function", buildUnary<std::erf, pg::ErfOp>},
    {"square", "x", "x^2", buildSquare},
    {"relu", "x", "x where x > 0, else 0", buildRelu},
    {"leaky_relu", "x, slope", "x where x > 0, else slope x", buildLeakyRelu},
    {"gelu", "x", "x (1 + erf(x / sqrt(2))) / 2", buildGelu},
    {"silu", "x", "x sigmoid(x)", buildSilu},
    {"softcap", "x, c", "c tanh(x / c)", buildSoftcap},
    {"where", "c, a, b", "a where c holds, else b", buildWhere},
    {"maximum", "a, b", "larger of two, per element",
     buildExtremum<pg::MaxOp, true>},
    {"minimum", "a, b", "smaller of two, per element",
     buildExtremum<pg::MinOp, false>},
    {"concat", "xs, axis=-1", "joins a list of tensors along an axis",
     buildConcat},
    {"reshape", "x, sizes", "the same elements under other sizes; T first",
     buildReshape},
    {"transpose", "x, order=None", "permutes dimensions; T stays first",
     buildTranspose},
    {"shift", "x, by=1, within=row",
     "x of the token `by` before, 0 outside the row or segment", buildShift},
    {"rotate", "x, cos, sin", "rotary embedding of [T, H, d], tables [T, r]",
     buildRotate},
    {"attention", "q, k, v, scale=None, window=0, within=segment",
     "causal softmax attention with grouped heads; scale 1 / sqrt(d)",
     buildAttention},
    {"round", "x, to", "nearest value of bf16, f32 or i32 (an integer), ties to "
                       "even, the type kept and gradient 1; None keeps x",
     buildRound},
    {"cast", "x, to", "converts to f32 or i32", buildCast},
    {"arange", "n", "integers 0 .. n-1", buildArange},
    {"constant", "values", "a tensor of a nested list of numbers",
     buildConstant},
    {"stop_gradient", "x", "x, through which no gradient flows",
     buildStopGradient},
    {"cross_entropy", "logits, targets",
     "negative log-likelihood of each target", buildCrossEntropy},
};

llvm::ArrayRef<Builtin> pg::frontend::tensorBuiltins() { return kTable; }
