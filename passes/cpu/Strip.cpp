//===- Strip.cpp ------------------------------------------------------------===//
#include "passes/cpu/Strip.h"

using namespace mlir;

namespace pg {

Strip::Strip(Emitter &e, const Kind &kind, Val a, Val row, Val step)
    : e(e), kind(kind), step(step),
      later(row * static_cast<double>(kRowsOfIndex)),
      aheadA(step * static_cast<double>(kStepsAhead)) {
  for (int64_t i = 0; i < std::min(kind.rows, kRowsOfIndex); ++i)
    aRow.push_back(e.opaque(e.addressF(a, row * static_cast<double>(i))));
}

Emitter::Vals Strip::steps(ArrayRef<Val> now, int64_t count) {
  int64_t vectors = kind.vectors, width = e.width();
  int64_t panelVectors = kind.panelVectors ? kind.panelVectors : vectors;
  Emitter::Vals next(now);
  for (int64_t s = 0; s < count; ++s) {
    auto at = [&](int64_t row, int64_t v) {
      return e.i((row * panelVectors + v) * width);
    };
    SmallVector<Val> b;
    for (int64_t v = 0; v < vectors; ++v) {
      b.push_back(e.loadV(now[1], at(s, v)));
      if (v * width * e.floatBytes() % kLineBytes == 0)
        e.prefetch(e.addressF(now[1], at(s + kStepsAhead, v)), Emitter::Near::L1);
    }
    if (kind.stepsAreLines)
      e.prefetch(e.addressF(aRow[0], next[0] + aheadA), Emitter::Near::L1);
    Val second = kind.rows > kRowsOfIndex ? e.opaque(next[0] + later) : Val();
    for (int64_t i = 0; i < kind.rows; ++i) {
      Val index = i < kRowsOfIndex ? next[0] : second;
      Val factor = e.broadcast(e.loadF(aRow[i % kRowsOfIndex], index));
      for (int64_t v = 0; v < vectors; ++v) {
        Val &sum = next[2 + i * vectors + v];
        sum = kind.pairs ? e.dotPairs(factor, b[v], sum) : e.fma(factor, b[v], sum);
      }
    }
    next[0] = e.opaque(next[0] + step);
  }
  next[1] = e.addressF(now[1], e.i(count * panelVectors * width));
  return next;
}

Emitter::Vals Strip::run(Val count, int64_t unroll, Emitter::Vals now) {
  Val u = e.i(unroll), whole = count / u * u;
  now = e.loop(e.i(0), whole, unroll, now,
               [&](Val, ArrayRef<Val> at) { return steps(at, unroll); });
  return e.loop(whole, count, 1, now,
                [&](Val, ArrayRef<Val> at) { return steps(at, 1); });
}

} // namespace pg
