//===- ElementShape.cpp - ops that move elements, as index arithmetic
//--------===//
#include "passes/cpu/ElementEvaluator.h"

#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;

namespace pg {
namespace {

/// More pieces than this are not worth cutting a loop for.
constexpr size_t kMaxBreakpoints = 48;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

int64_t floorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

/// i64 of an index. The widening that stands beside the index is used again:
/// rows are told apart by their SSA value, and one row must have one.
Val widened(Emitter &e, Val index) {
  for (Operation *user : index.get().getUsers())
    if (auto widening = dyn_cast<arith::ExtSIOp>(user))
      if (widening.getType().isInteger(64) &&
          user->getBlock() == index.get().getParentBlock())
        return e.wrap(widening);
  return e.toI64(index);
}

/// Largest known divisor of base + offset, bounded by n; n for zero.
int64_t knownDivisor(const Coord &c, int64_t n) {
  int64_t divisor = c.base ? c.divisor : 0;
  return std::gcd(std::gcd(divisor, n), std::abs(c.offset));
}

} // namespace

std::optional<std::pair<Coord, Coord>>
ElementEvaluator::divide(const Coord &c, int64_t n, int64_t width) {
  if (n == 1)
    return std::pair(c, Coord::constant(0));
  int64_t first = floorDiv(c.low, n);
  bool bounded = c.high != std::numeric_limits<int64_t>::max();
  if (bounded && first == floorDiv(c.high - 1, n)) {
    // Always the same quotient.
    return std::pair(Coord::constant(first), c.shifted(-first * n));
  }
  if (c.lanes) {
    // Whole vectors inside one multiple of n, or none.
    int64_t step = c.base ? std::gcd(c.divisor, n) : n;
    int64_t within = c.offset - floorDiv(c.offset, step) * step;
    if (within + width > step)
      return std::nullopt;
  }
  Coord quotient, remainder;
  quotient.low = first;
  if (bounded)
    quotient.high = floorDiv(c.high - 1, n) + 1;
  remainder.low = 0;
  remainder.high = n;
  remainder.lanes = c.lanes;
  if (!c.base || c.divisor % n == 0) {
    int64_t whole = floorDiv(c.offset, n);
    if (c.base)
      quotient.base = indexArith(IndexKind::Div, c.base, n);
    quotient.offset = whole;
    quotient.divisor = c.base ? std::max<int64_t>(1, c.divisor / n) : 1;
    remainder.offset = c.offset - whole * n;
    remainder.low = remainder.offset;
    remainder.high = remainder.offset + (c.lanes ? width : 1);
    return std::pair(quotient, remainder);
  }
  Val index = c.base;
  if (c.offset != 0) {
    std::vector<int64_t> key{
        -1, reinterpret_cast<int64_t>(c.base.get().getAsOpaquePointer()),
        c.offset};
    Val &sum = scopes.back().indices[key];
    if (!sum)
      sum = c.base + e.i(c.offset);
    index = sum;
  }
  quotient.base = indexArith(IndexKind::Div, index, n);
  remainder.base = indexArith(IndexKind::Rem, index, n);
  remainder.divisor = std::max<int64_t>(1, knownDivisor(c, n));
  return std::pair(quotient, remainder);
}

std::optional<Coord> ElementEvaluator::linearise(ArrayRef<Coord> at,
                                                 ArrayRef<int64_t> shape,
                                                 int64_t width) {
  Coord linear = Coord::constant(0);
  linear.high = 1;
  int64_t stride = 1, divisor = 0;
  std::vector<int64_t> key{-2};
  SmallVector<std::pair<Val, int64_t>> terms;
  for (int64_t d = static_cast<int64_t>(at.size()) - 1; d >= 0; --d) {
    const Coord &c = at[d];
    if (shape[d] != 1) {
      if (c.lanes) {
        if (stride != 1)
          return std::nullopt;
        linear.lanes = true;
      }
      int64_t high = std::min(c.high, shape[d]);
      linear.offset += c.offset * stride;
      linear.low += c.low * stride;
      linear.high += (high - 1) * stride;
      if (c.base) {
        divisor = std::gcd(divisor, c.divisor * stride);
        terms.push_back({c.base, stride});
        key.push_back(
            reinterpret_cast<int64_t>(c.base.get().getAsOpaquePointer()));
        key.push_back(stride);
      }
      stride *= shape[d];
    }
  }
  if (terms.empty())
    return linear;
  Val &sum = scopes.back().indices[key];
  if (!sum)
    for (auto [base, by] : terms) {
      Val term = indexArith(IndexKind::Times, base, by);
      sum = sum ? sum + term : term;
    }
  linear.base = sum;
  linear.divisor = std::max<int64_t>(1, divisor);
  return linear;
}

Val ElementEvaluator::reshape(ReshapeOp op, ArrayRef<Coord> at, int64_t width) {
  RankedTensorType result = op.getType(), operand = tensorType(op.getX());
  Coords from;
  // Cut both shapes into groups of equal products, from the front.
  int64_t r = 0, o = 0, rank = result.getRank(),
          operandRank = operand.getRank();
  if (isTokenTensor(result)) {
    from.push_back(at[0]);
    r = o = 1;
  }
  while (r < rank || o < operandRank) {
    int64_t rEnd = r, oEnd = o, rSize = 1, oSize = 1;
    do {
      if (oEnd == operandRank || (rSize <= oSize && rEnd < rank))
        rSize *= result.getDimSize(rEnd++);
      else
        oSize *= operand.getDimSize(oEnd++);
    } while (rSize != oSize);
    if (rEnd - r == 1 && oEnd - o == 1) {
      from.push_back(at[r]);
    } else {
      std::optional<Coord> linear = linearise(
          at.slice(r, rEnd - r), result.getShape().slice(r, rEnd - r), width);
      if (!linear)
        return scalarised(op.getResult(), at, width);
      SmallVector<Coord> reversed;
      for (int64_t d = oEnd - 1; d >= o; --d) {
        if (d == o) {
          reversed.push_back(*linear);
          break;
        }
        auto parts = divide(*linear, operand.getDimSize(d), width);
        if (!parts)
          return scalarised(op.getResult(), at, width);
        reversed.push_back(parts->second);
        linear = parts->first;
      }
      from.append(reversed.rbegin(), reversed.rend());
    }
    r = rEnd;
    o = oEnd;
  }
  return spread(evaluate(op.getX(), from, width), at, width);
}

std::pair<Coord, Val> ElementEvaluator::clampInto(const Coord &c, int64_t low,
                                                  int64_t high) {
  Val index = indexOf(c);
  Val inside = (index >= low) & (index < e.i(high));
  Val clamped = e.select(inside, index, e.i(low));
  return {Coord::at(clamped, low, high), inside};
}

Val ElementEvaluator::pad(PadOp op, ArrayRef<Coord> at, int64_t width) {
  int64_t axis = op.getAxis(), low = op.getLow();
  int64_t high = low + tensorType(op.getX()).getDimSize(axis);
  const Coord &c = at[axis];
  Type element = op.getType().getElementType();
  Coords from(at.begin(), at.end());
  if (c.high <= low || c.low >= high)
    return zero(element, at, width);
  if (c.low >= low && c.high <= high) {
    from[axis] = c.shifted(-low);
    return evaluate(op.getX(), from, width);
  }
  if (c.lanes)
    return scalarised(op.getResult(), at, width);
  auto [clamped, inside] = clampInto(c, low, high);
  from[axis] = clamped.shifted(-low);
  return e.select(inside, evaluate(op.getX(), from, width),
                  zero(element, at, width));
}

Val ElementEvaluator::concat(ConcatOp op, ArrayRef<Coord> at, int64_t width) {
  int64_t axis = op.getAxis(), low = 0;
  const Coord &c = at[axis];
  struct Piece {
    Value x;
    int64_t low, high;
  };
  SmallVector<Piece> pieces;
  for (Value x : op.getXs()) {
    int64_t high = low + tensorType(x).getDimSize(axis);
    if (c.low < high && c.high > low && low < high)
      pieces.push_back({x, low, high});
    low = high;
  }
  Coords from(at.begin(), at.end());
  if (pieces.size() == 1) {
    from[axis] = c.shifted(-pieces[0].low);
    return evaluate(pieces[0].x, from, width);
  }
  if (c.lanes)
    return scalarised(op.getResult(), at, width);
  Val value;
  for (const Piece &piece : pieces) {
    auto [clamped, inside] = clampInto(c, piece.low, piece.high);
    from[axis] = clamped.shifted(-piece.low);
    Val part = evaluate(piece.x, from, width);
    value = value ? e.select(inside, part, value) : part;
  }
  return value;
}

Val ElementEvaluator::rotate(RotateOp op, ArrayRef<Coord> at, int64_t width) {
  int64_t r = tensorType(op.getCos()).getDimSize(1);
  const Coord &c = at[2];
  // Position j of x, k of the tables.
  auto x = [&](const Coord &j) {
    return evaluate(op.getX(), Coords{at[0], at[1], j}, width);
  };
  auto table = [&](Value v, const Coord &k) {
    return evaluate(v, Coords{at[0], k}, width);
  };
  auto lowHalf = [&](const Coord &j) {
    return x(j) * table(op.getCos(), j) +
           x(j.shifted(r)) * table(op.getSin(), j);
  };
  auto highHalf = [&](const Coord &j) {
    Coord k = j.shifted(-r);
    return x(j) * table(op.getCos(), k) - x(k) * table(op.getSin(), k);
  };
  if (op.getType().getElementType().isBF16())
    return unsupported(op, op.getResult(), at, width, "bf16 rotation");
  if (c.high <= r)
    return lowHalf(c);
  if (c.low >= r && c.high <= 2 * r)
    return highHalf(c);
  if (c.low >= 2 * r)
    return x(c);
  if (c.lanes)
    return scalarised(op.getResult(), at, width);
  auto [first, inLow] = clampInto(c, 0, r);
  auto [second, inHigh] = clampInto(c, r, 2 * r);
  return e.select(inLow, lowHalf(first),
                  e.select(inHigh, highHalf(second), x(c)));
}

Val ElementEvaluator::tokenShift(TokenShiftOp op, ArrayRef<Coord> at,
                                 int64_t width) {
  int64_t distance = op.getDistance();
  bool row = op.getWithin() == Within::row;
  Val t = indexOf(at[0]);
  Val from = t - e.i(distance);
  Val inside;
  Type i32 = e.builder().getI32Type();
  if (distance > 0) {
    Val table = row ? e.rowBegin() : e.segmentBegin();
    inside = from >= e.toI64(e.load(i32, table, t));
  } else {
    Val table = row ? e.rowEnd() : e.segmentEnd();
    inside = from < e.toI64(e.load(i32, table, t));
  }
  Coords moved(at.begin(), at.end());
  moved[0] = Coord::at(e.select(inside, from, t));
  return e.select(inside, evaluate(op.getX(), moved, width),
                  zero(op.getType().getElementType(), at, width));
}

Val ElementEvaluator::constant(ConstantOp op, ArrayRef<Coord> at,
                               int64_t width) {
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!dense)
    return unsupported(op, op.getResult(), at, width, "it is not dense");
  auto type = cast<RankedTensorType>(dense.getType());
  Type element = type.getElementType();
  OpBuilder &b = e.builder();
  auto scalar = [&](Attribute attr) {
    return spread(
        e.wrap(arith::ConstantOp::create(b, e.loc(), cast<TypedAttr>(attr))),
        at, width);
  };
  if (dense.isSplat())
    return scalar(dense.getSplatValue<Attribute>());
  if (llvm::all_of(at, [](const Coord &c) { return !c.base && !c.lanes; })) {
    int64_t index = 0;
    for (auto [c, size] : llvm::zip(at, type.getShape()))
      index = index * size + c.offset;
    return scalar(dense.getValues<Attribute>()[index]);
  }
  Val &pointer = globals[dense];
  if (!pointer) {
    // A read-only table in the object, i1 as bytes.
    int64_t count = dense.getNumElements();
    DenseElementsAttr flat;
    Type stored = element;
    if (element.isInteger(1)) {
      stored = b.getI8Type();
      SmallVector<int8_t> bytes;
      for (bool bit : dense.getValues<bool>())
        bytes.push_back(bit);
      flat = DenseElementsAttr::get(RankedTensorType::get({count}, stored),
                                    ArrayRef<int8_t>(bytes));
    } else {
      flat = dense.reshape(RankedTensorType::get({count}, element));
    }
    std::string name =
        (e.function().getSymName() + "_table_" + Twine(globals.size())).str();
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(e.function());
    auto global = LLVM::GlobalOp::create(
        b, e.loc(), LLVM::LLVMArrayType::get(stored, count),
        /*isConstant=*/true, LLVM::Linkage::Private, name, flat,
        /*alignment=*/64);
    b.setInsertionPointToStart(&e.function().getBody().front());
    pointer = e.wrap(LLVM::AddressOfOp::create(b, e.loc(), global));
  }
  return load(type, pointer, at, width);
}

Val ElementEvaluator::iota(IotaOp op, ArrayRef<Coord> at, int64_t width) {
  const Coord &c = at[op.getAxis()];
  Val index = indexOf(c);
  if (c.lanes && width > 1)
    index = e.broadcast(index, width) + e.iota(e.builder().getI64Type(), width);
  return spread(convertElements(e, index, op.getType().getElementType()), at,
                width);
}

Val ElementEvaluator::shapeOp(Operation *op, ArrayRef<Coord> at,
                              int64_t width) {
  // An index read from a tensor moves a whole row: lanes stay in the row.
  auto rowFrom = [&](Value index, const Coord &position, int64_t size) {
    return Coord::at(widened(e, evaluate(index, Coords{position}, 1)), 0, size);
  };
  // An index outside the table reads the nearest row, never other memory.
  auto tableRow = [&](Value index, const Coord &position, int64_t size) {
    Coord row = rowFrom(index, position, size);
    row.base = e.max(e.min(row.base, e.i(size - 1)), e.i(0));
    return row;
  };
  return llvm::TypeSwitch<Operation *, Val>(op)
      .Case<FillOp>([&](FillOp fill) {
        Type element = cast<RankedTensorType>(fill.getType()).getElementType();
        return spread(e.constant(element, fill.getValue().convertToDouble()),
                      at, width);
      })
      .Case<ConstantOp>([&](ConstantOp c) { return constant(c, at, width); })
      .Case<IotaOp>([&](IotaOp i) { return iota(i, at, width); })
      .Case<BroadcastOp>([&](BroadcastOp broadcast) {
        Coords from;
        RankedTensorType operand = tensorType(broadcast.getX());
        for (auto [d, dim] : llvm::enumerate(broadcast.getDims())) {
          bool repeated = operand.getDimSize(d) == 1 &&
                          broadcast.getType().getDimSize(dim) != 1;
          from.push_back(repeated ? Coord::constant(0) : at[dim]);
        }
        return spread(evaluate(broadcast.getX(), from, width), at, width);
      })
      .Case<ReshapeOp>([&](ReshapeOp r) { return reshape(r, at, width); })
      .Case<TransposeOp>([&](TransposeOp transpose) {
        Coords from(at.size());
        for (auto [d, dim] : llvm::enumerate(transpose.getPermutation()))
          from[dim] = at[d];
        return evaluate(transpose.getX(), from, width);
      })
      .Case<SliceOp>([&](SliceOp slice) {
        Coords from(at.begin(), at.end());
        Coord &c = from[slice.getAxis()];
        c = c.shifted(slice.getStart());
        return evaluate(slice.getX(), from, width);
      })
      .Case<PadOp>([&](PadOp p) { return pad(p, at, width); })
      .Case<ConcatOp>([&](ConcatOp c) { return concat(c, at, width); })
      .Case<RotateOp>([&](RotateOp r) { return rotate(r, at, width); })
      .Case<TokenShiftOp>(
          [&](TokenShiftOp s) { return tokenShift(s, at, width); })
      .Case<GatherOp>([&](GatherOp gather) {
        if (at[0].lanes)
          return scalarised(gather.getResult(), at, width);
        Coords from(at.begin(), at.end());
        from[0] = tableRow(gather.getIndex(), at[0],
                           tensorType(gather.getTable()).getDimSize(0));
        return evaluate(gather.getTable(), from, width);
      })
      .Case<PickOp>([&](PickOp pick) {
        if (at[0].lanes)
          return scalarised(pick.getResult(), at, width);
        Coord column = tableRow(pick.getIndex(), at[0],
                                tensorType(pick.getX()).getDimSize(1));
        return evaluate(pick.getX(), Coords{at[0], column}, width);
      })
      .Case<TakeRowsOp>([&](TakeRowsOp take) {
        if (at[0].lanes)
          return scalarised(take.getResult(), at, width);
        Coords from(at.begin(), at.end());
        from[0] = rowFrom(take.getIndex(), at[0],
                          std::numeric_limits<int64_t>::max());
        return evaluate(take.getX(), from, width);
      })
      .Default([](Operation *) { return Val(); });
}

//===----------------------------------------------------------------------===//
// Pieces
//===----------------------------------------------------------------------===//

namespace {

struct BreakpointFinder {
  explicit BreakpointFinder(const ElementEvaluator &evaluator)
      : evaluator(evaluator) {}

  const ElementEvaluator &evaluator;
  llvm::DenseMap<Value, std::set<int64_t>> known;

  std::set<int64_t> find(Value v) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    if (!type || type.getRank() == 0 || evaluator.isBound(v) ||
        !v.getDefiningOp())
      return {};
    if (auto found = known.find(v); found != known.end())
      return found->second;
    std::set<int64_t> all = ofOp(v.getDefiningOp(), type), inside;
    int64_t size = type.getShape().back();
    for (int64_t b : all)
      if (b > 0 && b < size && inside.size() < kMaxBreakpoints)
        inside.insert(b);
    return known[v] = inside;
  }

  std::set<int64_t> moved(Value v, int64_t by) {
    std::set<int64_t> result;
    for (int64_t b : find(v))
      result.insert(b + by);
    return result;
  }

  std::set<int64_t> ofOp(Operation *op, RankedTensorType type) {
    int64_t last = type.getRank() - 1;
    if (auto slice = dyn_cast<SliceOp>(op))
      return moved(slice.getX(), int64_t(slice.getAxis()) == last
                                     ? -int64_t(slice.getStart())
                                     : 0);
    if (auto pad = dyn_cast<PadOp>(op)) {
      if (int64_t(pad.getAxis()) != last)
        return find(pad.getX());
      int64_t low = pad.getLow();
      std::set<int64_t> result = moved(pad.getX(), low);
      result.insert(low);
      result.insert(low + tensorType(pad.getX()).getShape().back());
      return result;
    }
    if (auto concat = dyn_cast<ConcatOp>(op)) {
      bool along = int64_t(concat.getAxis()) == last;
      std::set<int64_t> result;
      int64_t low = 0;
      for (Value x : concat.getXs()) {
        result.merge(moved(x, along ? low : 0));
        if (along)
          result.insert(low += tensorType(x).getShape().back());
      }
      return result;
    }
    if (auto rotate = dyn_cast<RotateOp>(op)) {
      int64_t r = tensorType(rotate.getCos()).getShape().back();
      std::set<int64_t> result = find(rotate.getX());
      result.insert(r);
      result.insert(2 * r);
      return result;
    }
    if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
      RankedTensorType from = tensorType(broadcast.getX());
      ArrayRef<int64_t> dims = broadcast.getDims();
      bool keepsLast = !dims.empty() && dims.back() == last &&
                       from.getShape().back() == type.getShape().back();
      return keepsLast ? find(broadcast.getX()) : std::set<int64_t>();
    }
    if (auto reshape = dyn_cast<ReshapeOp>(op)) {
      RankedTensorType from = tensorType(reshape.getX());
      if (from.getRank() == 0)
        return {};
      int64_t size = type.getShape().back(), period = from.getShape().back();
      std::set<int64_t> inner = find(reshape.getX()), result;
      if (period == size)
        return inner;
      if (ShapedType::isDynamic(size) || ShapedType::isDynamic(period) ||
          size % period != 0 || inner.empty() ||
          size / period * inner.size() > kMaxBreakpoints)
        return {};
      for (int64_t start = 0; start < size; start += period) {
        result.insert(start);
        for (int64_t b : inner)
          result.insert(start + b);
      }
      return result;
    }
    if (auto transpose = dyn_cast<TransposeOp>(op))
      return transpose.getPermutation().back() == last ? find(transpose.getX())
                                                       : std::set<int64_t>();
    if (auto gather = dyn_cast<GatherOp>(op))
      return last > 0 ? find(gather.getTable()) : std::set<int64_t>();
    if (auto take = dyn_cast<TakeRowsOp>(op))
      return last > 0 ? find(take.getX()) : std::set<int64_t>();
    std::set<int64_t> result;
    for (Value operand : op->getOperands()) {
      auto operandType = dyn_cast<RankedTensorType>(operand.getType());
      if (operandType && operandType.getShape() == type.getShape())
        result.merge(find(operand));
    }
    return result;
  }
};

} // namespace

std::set<int64_t> ElementEvaluator::breakpoints(Value tensor) {
  return BreakpointFinder(*this).find(tensor);
}

} // namespace pg
