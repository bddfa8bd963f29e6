//===- RowLoops.cpp
//----------------------------------------------------------===//
#include "passes/cpu/RowLoops.h"

#include <numeric>

using namespace mlir;

namespace pg {
namespace {

/// Stretches of at most this many vectors are emitted without a loop.
constexpr int64_t kStraightVectors = 4;

struct Stretch {
  int64_t begin, end;
};

SmallVector<Stretch> stretchesOf(const Span &span) {
  SmallVector<Stretch> result;
  int64_t begin = 0;
  for (int64_t b : span.breaks)
    if (b > begin && b < span.length) {
      result.push_back({begin, b});
      begin = b;
    }
  result.push_back({begin, span.length});
  return result;
}

/// The coordinate `offset` elements behind the start, `width` lanes wide.
Coord pieceAt(const Coord &start, int64_t offset, int64_t width) {
  Coord c = start.shifted(offset);
  if (!c.base) {
    c.low = c.offset;
    c.high = c.offset + width;
  } else if (c.high != std::numeric_limits<int64_t>::max()) {
    c.high += width - 1;
  }
  c.lanes = width > 1;
  return c;
}

Emitter::Vals loopWith(Emitter &e, int64_t count, int64_t step,
                       Emitter::Vals carried,
                       function_ref<Emitter::Vals(Val, Emitter::Vals)> body) {
  if (carried.empty()) {
    e.loop(e.i(0), e.i(count), step, [&](Val iv) { body(iv, {}); });
    return {};
  }
  return e.loop(e.i(0), e.i(count), step, carried,
                [&](Val iv, ArrayRef<Val> values) {
                  return body(iv, Emitter::Vals(values.begin(), values.end()));
                });
}

} // namespace

Emitter::Vals emitSpan(ElementEvaluator &evaluator, const Span &span,
                       Emitter::Vals carried, SpanBody body) {
  Emitter &e = evaluator.emitter();
  for (auto [begin, end] : stretchesOf(span)) {
    int64_t at = begin, width = span.width;
    // Slots count whole vectors from the start of the span.
    auto slotAt = [&, begin = begin](int64_t vector) {
      return (begin / span.width + vector) % span.unroll;
    };
    int64_t vectors = (end - begin) / width;
    int64_t looped =
        vectors <= kStraightVectors ? 0 : vectors / span.unroll * span.unroll;
    if (looped > 0) {
      int64_t step = width * span.unroll;
      carried = loopWith(
          e, looped * width, step, std::move(carried),
          [&](Val iv, Emitter::Vals values) {
            ElementEvaluator::Scope scope(evaluator,
                                          e.builder().getInsertionBlock());
            Coord start = span.start;
            Val base = start.base ? start.base + iv : iv;
            int64_t divisor = start.base ? std::gcd(start.divisor, step) : step;
            for (int64_t slot = 0; slot < span.unroll; ++slot) {
              Coord c = Coord::at(base, 0, looped * width, divisor);
              c.low = start.low + begin;
              c.high = start.base ? start.high + begin + looped * width
                                  : start.offset + begin + looped * width;
              if (start.base &&
                  start.high == std::numeric_limits<int64_t>::max())
                c.high = start.high;
              c.offset = start.offset + begin + slot * width;
              c.lanes = width > 1;
              values = body(c, width, slotAt(slot), std::move(values));
            }
            return values;
          });
      at += looped * width;
    }
    for (int64_t v = looped; v < vectors; ++v, at += width)
      carried = body(pieceAt(span.start, at, width), width, slotAt(v),
                     std::move(carried));
    while (at < end) {
      while (width > end - at)
        width /= 2;
      carried = body(pieceAt(span.start, at, width), width,
                     slotAt((at - begin) / span.width), std::move(carried));
      at += width;
    }
  }
  return carried;
}

Emitter::Vals emitLoops(ElementEvaluator &evaluator, ArrayRef<int64_t> dims,
                        ArrayRef<int64_t> shape, Coords &at,
                        Emitter::Vals carried,
                        function_ref<Emitter::Vals(Emitter::Vals)> body) {
  if (dims.empty())
    return body(std::move(carried));
  int64_t dim = dims.front(), size = shape[dim];
  if (size == 1) {
    at[dim] = Coord::constant(0);
    return emitLoops(evaluator, dims.drop_front(), shape, at,
                     std::move(carried), body);
  }
  Emitter &e = evaluator.emitter();
  return loopWith(e, size, 1, std::move(carried),
                  [&](Val iv, Emitter::Vals values) {
                    ElementEvaluator::Scope scope(
                        evaluator, e.builder().getInsertionBlock());
                    at[dim] = Coord::at(iv, 0, size);
                    return emitLoops(evaluator, dims.drop_front(), shape, at,
                                     std::move(values), body);
                  });
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

ColumnItems::ColumnItems(ArrayRef<int64_t> shape, int64_t wanted) {
  if (!shape.empty()) {
    lead.assign(shape.begin(), shape.end() - 1);
    length = shape.back();
  }
  block = std::min(wanted, length);
}

int64_t ColumnItems::count() const {
  int64_t items = (length + block - 1) / block;
  for (int64_t size : lead)
    items *= size;
  return items;
}

void ColumnItems::emit(ElementEvaluator &evaluator,
                       function_ref<void(ArrayRef<Coord>, Span)> body) const {
  Emitter &e = evaluator.emitter();
  int64_t blocks = (length + block - 1) / block, rest = length % block;
  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
    Val position = blocks == 1 ? item : item / e.i(blocks);
    Val block = blocks == 1 ? e.i(0) : item % e.i(blocks);
    Coords coords(lead.size());
    for (int64_t d = static_cast<int64_t>(lead.size()) - 1; d >= 0; --d) {
      coords[d] = lead[d] == 1
                      ? Coord::constant(0)
                      : Coord::at(d == 0 ? position : position % e.i(lead[d]),
                                  0, lead[d]);
      if (d > 0 && lead[d] != 1)
        position = position / e.i(lead[d]);
    }
    auto inner = [&](Coord start, int64_t size) {
      ElementEvaluator::Scope branch(evaluator,
                                     e.builder().getInsertionBlock());
      Span span;
      span.start = start;
      span.length = size;
      body(coords, span);
    };
    int64_t whole = length / this->block;
    auto wholeBlock = [&] {
      Val first = block * e.i(this->block);
      // High bounds the first element of a block; the span adds its own length.
      inner(Coord::at(first, 0, (whole - 1) * this->block + 1, this->block),
            this->block);
    };
    if (blocks == 1)
      inner(Coord::constant(0), length);
    else if (rest == 0)
      wholeBlock();
    else
      e.ifElse(block < e.i(whole), wholeBlock,
               [&] { inner(Coord::constant(whole * this->block), rest); });
  });
}

} // namespace pg
