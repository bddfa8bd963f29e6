//===- ElementShape.cpp - ops that move elements, as index arithmetic ---------===//
#include "passes/cuda/ElementEvaluator.h"

#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;

namespace pg::cuda {
namespace {

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

int64_t floorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

std::string joinKey(const Coord &quotient, const Coord &remainder,
                    int64_t size) {
  return quotient.key() + "|" + remainder.key() + "|" + std::to_string(size);
}

} // namespace

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

Coord ElementEvaluator::scalar(const Coord &c) {
  if (!c.lanes)
    return c;
  std::string key = "scalar " + c.key();
  std::optional<Term> index = remembered(key);
  if (!index) {
    Term text = indexOf(c);
    index = define("int", "at", text.text, text.depth);
    remember(key, *index);
  }
  return Coord::at(*index, c.low, c.high);
}

Coord ElementEvaluator::whole(const Coord &c, ArrayRef<int64_t> boundaries) {
  bool aligned = c.base.empty() || c.divisor % width == 0;
  for (int64_t boundary : boundaries)
    aligned &= (c.offset - boundary) % width == 0;
  return !c.lanes || aligned ? c : scalar(c);
}

std::pair<Coord, Coord> ElementEvaluator::divide(const Coord &given,
                                                 int64_t n) {
  if (n == 1)
    return {scalar(given), Coord::constant(0)};
  Coord c = given;
  bool bounded = c.high != kUnbounded;
  int64_t first = floorDiv(c.low, n);
  if (bounded && first == floorDiv(c.high - 1, n))
    return {Coord::constant(first), c.shifted(-first * n)};
  if (c.lanes) {
    // Whole vectors inside one multiple of n, or none.
    int64_t step = c.base.empty() ? n : std::gcd(c.divisor, n);
    int64_t within = c.offset - floorDiv(c.offset, step) * step;
    if (within + width > step)
      c = scalar(c);
  }
  std::string key = c.key() + "/" + std::to_string(n) + " " +
                    std::to_string(c.low) + " " + std::to_string(c.high);
  if (auto found = quotients.find(key); found != quotients.end())
    return found->second;

  Coord quotient, remainder;
  quotient.low = first;
  if (bounded)
    quotient.high = floorDiv(c.high - 1, n) + 1;
  remainder.lanes = c.lanes;
  if (c.base.empty() || c.divisor % n == 0) {
    int64_t whole = floorDiv(c.offset, n);
    if (!c.base.empty()) {
      Term base = define("int", "q", c.base + " / " + Twine(n), c.depth);
      quotient.base = base.text;
      quotient.depth = base.depth;
      quotient.divisor = c.divisor / n;
    }
    quotient.offset = whole;
    remainder.offset = remainder.low = c.offset - whole * n;
    remainder.high = remainder.low + (c.lanes ? width : 1);
  } else {
    Coord start = c;
    start.lanes = false;
    Term index = indexOf(start);
    Term q = define("int", "q", index.text + " / " + Twine(n), index.depth);
    Term r = define("int", "r", index.text + " % " + Twine(n), index.depth);
    quotient.base = q.text;
    remainder.base = r.text;
    quotient.depth = remainder.depth = index.depth;
    remainder.low = 0;
    remainder.high = n;
    remainder.divisor = std::max<int64_t>(
        1, std::gcd(std::gcd(c.divisor, n), std::abs(c.offset)));
  }
  joins[joinKey(quotient, remainder, n)] = c;
  return quotients[key] = {quotient, remainder};
}

std::optional<Coord>
ElementEvaluator::knownJoin(const Coord &quotient, const Coord &remainder,
                            int64_t size) const {
  if (size == 1)
    return quotient;
  if (quotient.base.empty() && !quotient.lanes)
    return remainder.shifted(quotient.offset * size);
  if (auto found = joins.find(joinKey(quotient, remainder, size));
      found != joins.end())
    return found->second;
  return std::nullopt;
}

Coord ElementEvaluator::join(const Coord &given, const Coord &remainder,
                             int64_t size) {
  if (std::optional<Coord> known = knownJoin(given, remainder, size))
    return *known;
  Coord quotient = scalar(given);
  if (std::optional<Coord> known = knownJoin(quotient, remainder, size))
    return *known;
  Coord c;
  c.offset = quotient.offset * size + remainder.offset;
  c.lanes = remainder.lanes;
  std::string text = quotient.base + " * " + std::to_string(size);
  int depth = quotient.depth;
  c.divisor = quotient.divisor * size;
  if (!remainder.base.empty()) {
    text += " + " + remainder.base;
    depth = std::max(depth, remainder.depth);
    c.divisor = std::gcd(c.divisor, remainder.divisor);
  }
  Term base = define("int", "p", text, depth);
  c.base = base.text;
  c.depth = base.depth;
  c.low = quotient.low * size + remainder.low;
  if (quotient.high != kUnbounded)
    c.high = (quotient.high - 1) * size + std::min(remainder.high, size);
  joins[joinKey(quotient, remainder, size)] = c;
  quotients[c.key() + "/" + std::to_string(size) + " " + std::to_string(c.low) +
            " " + std::to_string(c.high)] = {quotient, remainder};
  return c;
}

Coord ElementEvaluator::linearise(ArrayRef<Coord> at, ArrayRef<int64_t> shape) {
  if (at.empty())
    return Coord::constant(0);
  Coord linear = at[0];
  for (size_t d = 1; d < at.size(); ++d)
    linear = join(linear, at[d], shape[d]);
  return linear;
}

std::optional<Coord> ElementEvaluator::known(ArrayRef<Coord> at,
                                             ArrayRef<int64_t> shape) {
  if (at.empty())
    return Coord::constant(0);
  Coord linear = at[0];
  for (size_t d = 1; d < at.size(); ++d) {
    std::optional<Coord> next = knownJoin(linear, at[d], shape[d]);
    if (!next)
      return std::nullopt;
    linear = *next;
  }
  return linear;
}

Coords ElementEvaluator::delinearise(const Coord &given,
                                     ArrayRef<int64_t> shape) {
  Coords at(shape.size());
  Coord linear = given;
  for (size_t d = shape.size(); d-- > 1;) {
    auto [quotient, remainder] = divide(linear, shape[d]);
    at[d] = remainder;
    linear = quotient;
  }
  if (!shape.empty())
    at[0] = linear;
  return at;
}

Term ElementEvaluator::inside(const Coord &given, int64_t low, int64_t high) {
  Coord c = given;
  c.lanes = false; // whole vectors lie on one side
  Term index = indexOf(c);
  std::string text;
  if (c.low < low)
    text = index.text + " >= " + std::to_string(low);
  if (given.high > high)
    text += (text.empty() ? "" : " && ") + index.text + " < " +
            std::to_string(high);
  if (text.empty())
    return {"true", 0};
  std::string key = "inside " + text;
  std::optional<Term> term = remembered(key);
  if (!term) {
    term = define("bool", "inside", text, index.depth);
    remember(key, *term);
  }
  return *term;
}

Term ElementEvaluator::choose(const Term &condition, const Term &a,
                              const Term &b, Type element, StringRef stem) {
  if (condition.text == "true")
    return a;
  return define(registerType(element), stem,
                condition.text + " ? " + a.text + " : " + b.text,
                std::max({condition.depth, a.depth, b.depth}));
}

/// The coordinate narrowed to a range outside which its value is not used.
static Coord narrowed(Coord c, int64_t low, int64_t high) {
  c.low = std::max(c.low, low);
  c.high = std::min(c.high, high);
  return c;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

Term ElementEvaluator::reshape(ReshapeOp op, ArrayRef<Coord> at) {
  RankedTensorType result = op.getType(), operand = tensorType(op.getX());
  Coords from;
  size_t r = 0, o = 0;
  // Dimension by dimension: runs with equal numbers of elements correspond.
  while (r < size_t(result.getRank()) || o < size_t(operand.getRank())) {
    size_t rEnd = r, oEnd = o;
    int64_t rSize = 1, oSize = 1;
    auto sizeOf = [](RankedTensorType type, size_t d) {
      return type.isDynamicDim(d) ? int64_t(1) << 40 : type.getDimSize(d);
    };
    do {
      bool takeResult = rEnd < size_t(result.getRank()) &&
                        (rSize <= oSize || oEnd == size_t(operand.getRank()));
      if (takeResult)
        rSize *= sizeOf(result, rEnd++);
      else
        oSize *= sizeOf(operand, oEnd++);
    } while (rSize != oSize);
    // Unit dimensions behind a run belong to it.
    if (rEnd == r)
      rSize = oSize = 1;
    ArrayRef<Coord> run = at.slice(r, rEnd - r);
    if (rEnd - r == 1 && oEnd - o == 1) {
      from.push_back(run[0]);
    } else {
      Coord linear =
          linearise(run, result.getShape().slice(r, rEnd - r));
      Coords parts =
          delinearise(linear, operand.getShape().slice(o, oEnd - o));
      from.append(parts.begin(), parts.end());
    }
    r = rEnd;
    o = oEnd;
  }
  return evaluate(op.getX(), from);
}

Term ElementEvaluator::pad(PadOp op, ArrayRef<Coord> at) {
  int64_t axis = op.getAxis(), low = op.getLow();
  int64_t high = low + tensorType(op.getX()).getDimSize(axis);
  Type element = op.getType().getElementType();
  Term zero{literal(element, 0), 0};
  Coords from(at.begin(), at.end());
  if (at[axis].high <= low || at[axis].low >= high)
    return zero;
  if (at[axis].low >= low && at[axis].high <= high) {
    from[axis] = at[axis].shifted(-low);
    return evaluate(op.getX(), from);
  }
  Coord c = whole(at[axis], {low, high});
  Term condition = inside(c, low, high);
  from[axis] = narrowed(c, low, high).shifted(-low);
  Term value;
  guarded(condition, [&] { value = evaluate(op.getX(), from); });
  return choose(condition, value, zero, element, "padded");
}

Term ElementEvaluator::concat(ConcatOp op, ArrayRef<Coord> at) {
  int64_t axis = op.getAxis(), low = 0;
  struct Piece {
    Value x;
    int64_t low, high;
  };
  SmallVector<Piece> pieces;
  SmallVector<int64_t> boundaries;
  for (Value x : op.getXs()) {
    int64_t high = low + tensorType(x).getDimSize(axis);
    if (at[axis].low < high && at[axis].high > low && low < high)
      pieces.push_back({x, low, high});
    boundaries.push_back(high);
    low = high;
  }
  boundaries.pop_back(); // vectors end inside the result
  Coords from(at.begin(), at.end());
  if (pieces.size() == 1) {
    from[axis] = at[axis].shifted(-pieces[0].low);
    return evaluate(pieces[0].x, from);
  }
  Coord c = whole(at[axis], boundaries);
  Type element = op.getType().getElementType();
  Term value;
  for (const Piece &piece : llvm::reverse(pieces)) {
    Term condition = inside(c, piece.low, piece.high), part;
    from[axis] = narrowed(c, piece.low, piece.high).shifted(-piece.low);
    guarded(condition, [&] { part = evaluate(piece.x, from); });
    value = value.text.empty() ? part
                               : choose(condition, part, value, element, "piece");
  }
  return value;
}

Term ElementEvaluator::rotate(RotateOp op, ArrayRef<Coord> at) {
  int64_t r = tensorType(op.getCos()).getDimSize(1);
  Type element = op.getType().getElementType();
  Term x = evaluate(op.getX(), at);
  if (at[2].low >= 2 * r)
    return x;
  // j < r: x[j] cos[j] + x[j + r] sin[j]; j < 2r: x[j] cos[k] - x[k] sin[k]
  // with k = j - r; else x[j].
  Coord j = whole(at[2], {r, 2 * r});
  Term rotates = inside(j, 0, 2 * r), lower = inside(j, 0, r);
  Coord start = j;
  start.lanes = false;
  Term index = indexOf(start);
  auto chosen = [&](StringRef stem, int64_t ifLower, int64_t ifUpper,
                    int64_t high) {
    if (lower.text == "true")
      return j.shifted(ifLower);
    auto moved = [&](int64_t by) {
      return index.text + (by < 0 ? " - " : " + ") +
             std::to_string(std::abs(by));
    };
    std::string key = (stem + " " + index.text + " " + Twine(r)).str();
    std::optional<Term> term = remembered(key);
    if (!term) {
      term = define("int", stem,
                    lower.text + " ? " + moved(ifLower) + " : " +
                        moved(ifUpper),
                    std::max(index.depth, lower.depth));
      remember(key, *term);
    }
    Coord c = Coord::at(*term, 0, high);
    c.lanes = j.lanes;
    c.divisor = j.lanes ? width : 1;
    return c;
  };
  Coord partner = chosen("partner", r, -r, 2 * r);
  Coord k = chosen("angle", 0, -r, r);
  Term cosine, sine, other;
  auto read = [&] {
    cosine = evaluate(op.getCos(), Coords{at[0], k});
    sine = evaluate(op.getSin(), Coords{at[0], k});
    other = evaluate(op.getX(), Coords{at[0], at[1], partner});
  };
  if (rotates.text == "true")
    read();
  else
    guarded(rotates, read);
  int depth = std::max({x.depth, cosine.depth, sine.depth, other.depth,
                        rotates.depth, lower.depth});
  std::string type = registerType(element);
  Term turned = define(type, "turned", other.text + " * " + sine.text, depth);
  std::string text = x.text + " * " + cosine.text + " + (" + lower.text +
                     " ? " + turned.text + " : -" + turned.text + ")";
  if (element.isBF16())
    text = "pg_round_bf16(" + text + ")";
  Term value = define(type, "rotated", text, depth);
  return choose(rotates, value, x, element, "rotate");
}

Term ElementEvaluator::tokenShift(TokenShiftOp op, ArrayRef<Coord> at) {
  int64_t distance = op.getDistance();
  Term t = indexOf(at[0]);
  bool row = op.getWithin() == Within::row;
  std::string key = "shift " + t.text + " " + std::to_string(distance) +
                    (row ? " row" : " segment");
  std::optional<Term> from = remembered(key), exists = remembered(key + "?");
  if (!from) {
    std::string other = t.text + (distance > 0 ? " - " : " + ") +
                        std::to_string(std::abs(distance));
    std::string table = std::string("batch.") + (row ? "row_" : "segment_") +
                        (distance > 0 ? "begin" : "end");
    exists = define("bool", "exists",
                    other + (distance > 0 ? " >= " : " < ") + table + "[" +
                        t.text + "]",
                    t.depth);
    // The token itself stands in for one that does not exist.
    from = define("int", "from",
                  exists->text + " ? " + other + " : " + t.text, t.depth);
    remember(key, *from);
    remember(key + "?", *exists);
  }
  Coords moved(at.begin(), at.end());
  moved[0] = Coord::at(*from);
  Type element = op.getType().getElementType();
  return choose(*exists, evaluate(op.getX(), moved), {literal(element, 0), 0},
                element, "shifted");
}

Term ElementEvaluator::constant(ConstantOp op, ArrayRef<Coord> at) {
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!dense)
    return unsupported(op.getResult(), "it is not dense");
  auto type = cast<RankedTensorType>(dense.getType());
  Type element = type.getElementType();
  auto text = [&](Attribute value) {
    if (auto real = dyn_cast<FloatAttr>(value))
      return literal(element, real.getValueAsDouble());
    auto integer = cast<IntegerAttr>(value).getValue();
    return literal(element, element.isInteger(1)
                                ? double(!integer.isZero())
                                : double(integer.getSExtValue()));
  };
  if (dense.isSplat())
    return {text(dense.getSplatValue<Attribute>()), 0};
  Coord linear = linearise(at, type.getShape());
  if (linear.base.empty() && !linear.lanes)
    return {text(dense.getValues<Attribute>()[linear.offset]), 0};
  Term index = indexOf(linear);
  return define(registerType(element), "table",
                "pg_get(" + kernel.table(dense) + " + " + index.text + ")",
                index.depth);
}

std::optional<Term> ElementEvaluator::shapeOp(Operation *op, Value tensor,
                                              ArrayRef<Coord> at) {
  Type element = tensorType(tensor).getElementType();
  // An index outside the table stands for the nearest row.
  auto tableRow = [&](Value index, const Coord &position, int64_t size) {
    Coord where = scalar(position);
    std::string key = keyOf(index, {where}, guard.text) + " clamped " +
                      std::to_string(size);
    std::optional<Term> row = remembered(key);
    if (!row) {
      Term read = evaluate(index, {where});
      row = define("int", "index",
                   "pg_max(pg_min(" + read.text + ", " + Twine(size - 1) +
                       "), 0)",
                   read.depth);
      remember(key, *row);
    }
    return Coord::at(*row, 0, size);
  };
  using Result = std::optional<Term>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](FillOp fill) {
        return Term{literal(element, fill.getValue().convertToDouble()), 0};
      })
      .Case([&](ConstantOp c) { return constant(c, at); })
      .Case([&](IotaOp iota) {
        Term index = indexOf(at[iota.getAxis()]);
        Type i32 = IntegerType::get(op->getContext(), 32);
        std::string text = converted(index.text, i32, element);
        return Term{text == index.text ? text : "(" + text + ")", index.depth};
      })
      .Case([&](BroadcastOp broadcast) {
        Coords from;
        RankedTensorType operand = tensorType(broadcast.getX());
        for (auto [d, dim] : llvm::enumerate(broadcast.getDims())) {
          bool repeated = operand.getDimSize(d) == 1 &&
                          broadcast.getType().getDimSize(dim) != 1;
          from.push_back(repeated ? Coord::constant(0) : at[dim]);
        }
        return evaluate(broadcast.getX(), from);
      })
      .Case([&](ReshapeOp r) { return reshape(r, at); })
      .Case([&](TransposeOp transpose) {
        Coords from(at.size());
        for (auto [d, dim] : llvm::enumerate(transpose.getPermutation()))
          from[dim] = at[d];
        return evaluate(transpose.getX(), from);
      })
      .Case([&](SliceOp slice) {
        Coords from(at.begin(), at.end());
        Coord &c = from[slice.getAxis()];
        c = c.shifted(slice.getStart());
        return evaluate(slice.getX(), from);
      })
      .Case([&](PadOp p) { return pad(p, at); })
      .Case([&](ConcatOp c) { return concat(c, at); })
      .Case([&](RotateOp r) { return rotate(r, at); })
      .Case([&](TokenShiftOp s) { return tokenShift(s, at); })
      .Case([&](GatherOp gather) {
        Coords from(at.begin(), at.end());
        from[0] = tableRow(gather.getIndex(), at[0],
                           tensorType(gather.getTable()).getDimSize(0));
        return evaluate(gather.getTable(), from);
      })
      .Case([&](PickOp pick) {
        Coord where = scalar(at[0]);
        Coord column = tableRow(pick.getIndex(), where,
                                tensorType(pick.getX()).getDimSize(1));
        return evaluate(pick.getX(), Coords{where, column});
      })
      .Case([&](TakeRowsOp take) {
        Coords from(at.begin(), at.end());
        from[0] = Coord::at(evaluate(take.getIndex(), {scalar(at[0])}));
        return evaluate(take.getX(), from);
      })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace pg::cuda
