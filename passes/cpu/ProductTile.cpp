//===- ProductTile.cpp ------------------------------------------------------===//
#include "passes/cpu/ProductTile.h"

#include "passes/cpu/ElementEvaluator.h"
#include "passes/cpu/Strip.h"

using namespace mlir;

namespace pg {

/// A panel as large as this stays in the L1 cache while rows pass by it.
constexpr int64_t kSmallPanelBytes = 20 << 10;

ProductTile::ProductTile(Emitter &e) : e(e) {
  // Of 32 registers with 512-bit vectors, of 16 with 256-bit ones; without fused
  // multiply-add a product takes a register of its own.
  int64_t bytes = e.width() * e.floatBytes();
  accumulators = bytes >= 64 ? 24 : bytes >= 32 ? 12 : 8;
}

int64_t ProductTile::panelColumns(int64_t columns) const {
  int64_t narrow = 2 * e.width(), wide = 4 * e.width();
  bool isWide = accumulators == 24 &&
                roundUp(columns, wide) == roundUp(columns, narrow);
  return isWide ? wide : narrow;
}

TileA ProductTile::allocateRows(int64_t rows, int64_t k) {
  int64_t stride = rowStride(k);
  return {e.scratch(roundUp(rows, microRows()) * stride * e.floatBytes()),
          stride, 1};
}

TileA ProductTile::allocateStrips(int64_t k, int64_t rows, int64_t strip) {
  // A vector is written at every step of k; the last one reaches further.
  int64_t stride = k * strip + e.width();
  int64_t strips = roundUp(rows, strip) / strip;
  line = e.scratch((roundUp(rows, e.width()) + 2 * e.width()) * e.floatBytes());
  return {e.scratch(strips * stride * e.floatBytes()), 1, strip, strip, stride};
}

TileB ProductTile::allocatePanels(int64_t k, int64_t columns) {
  // One extra row keeps panels from lying a power of two apart.
  int64_t panel = panelColumns(columns);
  int64_t stride = (roundUp(k, e.width()) + 1) * panel;
  int64_t panels = roundUp(columns, panel) / panel;
  return {e.scratch(panels * stride * e.floatBytes()), stride, panel};
}

TileC ProductTile::allocateC(int64_t rows, int64_t columns) {
  int64_t stride = roundUp(columns, panelColumns(columns)) + e.width();
  return {e.scratch(roundUp(rows, microRows()) * stride * e.floatBytes()),
          stride};
}

ProductTile::Source ProductTile::matrix(Val ptr, Val rowStride, Type element) {
  return [=, &e = e](Val row, Val column, int64_t lanes) {
    Val stored = e.load(VectorType::get({lanes}, element), ptr,
                        row * rowStride + column);
    return convertElements(e, stored, e.floatType());
  };
}

ProductTile::Source ProductTile::pairsInRows(Source numbers, int64_t extent) {
  return [=, this, &e = e](Val row, Val column, int64_t lanes) {
    int64_t width = e.width(), count = (extent + 1) / 2;
    Val first = column * 2.0;
    auto pairsOf = [&](int64_t elements) {
      int64_t low = std::min(elements, width), high = elements - low;
      Val a = widen(numbers(row, first, low));
      Val b = high ? widen(numbers(row, first + static_cast<double>(width), high))
                   : e.vec(0);
      SmallVector<int64_t> even, odd;
      for (int64_t lane = 0; lane < 2 * width; lane += 2) {
        even.push_back(lane);
        odd.push_back(lane + 1);
      }
      return e.pairs(e.shuffle(a, b, even), e.shuffle(a, b, odd));
    };
    bool isOdd = extent % 2, isPartial = lanes < width;
    if (!isOdd || isPartial || count % width != 0)
      return pairsOf(2 * lanes - (isOdd && isPartial));
    // The last vector of a row is whole and ends with half a pair.
    SmallVector<Type, 1> types = {e.vectorType()};
    return e.ifElse(
        column + static_cast<double>(lanes) == count, types,
        [&]() -> Emitter::Vals { return {pairsOf(2 * lanes - 1)}; },
        [&]() -> Emitter::Vals { return {pairsOf(2 * lanes)}; })[0];
  };
}

ProductTile::Source ProductTile::pairsOfRows(Source numbers, Val extent,
                                             bool isEven) {
  return [=, &e = e](Val row, Val column, int64_t lanes) {
    Val first = numbers(row * 2.0, column, lanes);
    Val next = row * 2.0 + 1.0;
    Val second = numbers(isEven ? next : e.min(next, extent - 1.0), column, lanes);
    if (!isEven)
      second = e.select(next < extent, second, e.constant(second.type(), 0));
    if (!getElementTypeOrSelf(first.type()).isBF16())
      return e.pairs(first, second);
    if (lanes < e.width()) // of any width there are pairs of f32 vectors
      return e.pairs(convertElements(e, first, e.floatType()), convertElements(e, second, e.floatType()));
    return e.pairsOfHalves(e.joined(first, second));
  };
}

ProductTile::Source ProductTile::storedHalves(Val ptr, Val rowStride) {
  return [=, &e = e](Val row, Val column, int64_t lanes) {
    return e.load(VectorType::get({lanes}, e.builder().getBF16Type()), ptr, row * rowStride + column);
  };
}

void ProductTile::columnsLoop(Val columns, int64_t tail,
                              function_ref<void(Val, int64_t)> body) {
  int64_t width = e.width();
  if (tail == 0) {
    e.loop(e.i(0), columns, width, [&](Val c) { body(c, width); });
    return;
  }
  Val whole = columns / width * width;
  e.loop(e.i(0), whole, width, [&](Val c) { body(c, width); });
  e.ifThen(whole < columns, [&] { body(whole, tail); });
}

Val ProductTile::widen(Val vector) {
  int64_t lanes = cast<VectorType>(vector.type()).getNumElements();
  if (lanes == e.width())
    return vector;
  SmallVector<int64_t> mask;
  for (int64_t lane = 0; lane < e.width(); ++lane)
    mask.push_back(std::min(lane, lanes));
  return e.shuffle(vector, e.constant(vector.type(), 0), mask);
}

void ProductTile::packRows(const Source &source, Val row0, Val rows, Val k0,
                           Val k, int64_t tail, TileA to, int64_t padTo) {
  e.loop(e.i(0), rows, 1, [&](Val r) {
    columnsLoop(k, tail, [&](Val c, int64_t lanes) {
      e.store(widen(source(row0 + r, k0 + c, lanes)), to.ptr, r * to.row + c);
    });
  });
  int64_t multiple = padTo ? padTo : microRows();
  Val padded = e.ceilDiv(rows, multiple) * static_cast<double>(multiple);
  e.loop(rows, padded, 1, [&](Val r) {
    e.loop(e.i(0), k, e.width(), [&](Val c) {
      e.store(e.vec(0), to.ptr, r * to.row + c);
    });
  });
}

void ProductTile::packStrips(const Source &source, Val k0, Val k, Val row0,
                             Val rows, int64_t tail, TileA to) {
  // stripRows() rows are some vectors of the source and some strips, cut from them
  // in registers: as many steps at a time as fill whole vectors of a strip, then
  // step by step. Then whole vectors are written too: what they hold past a strip's
  // rows belongs to the next step, which comes later. The rest of the rows goes
  // through a line in scratch.
  int64_t width = e.width(), unit = stripRows();
  int64_t together = width / std::gcd(width, to.strip);
  Val whole = rows / unit * unit;
  Val filled = e.ceilDiv(rows - whole, width) * width;
  e.loop(filled, filled + 2.0 * width, width,
         [&](Val c) { e.store(e.vec(0), line, c); });
  auto packUnit = [&](Val step, Val row, int64_t count) {
    SmallVector<SmallVector<Val, 4>, 4> v(count);
    for (int64_t s = 0; s < count; ++s)
      for (int64_t c = 0; c < unit; c += width)
        v[s].push_back(source(k0 + step + s, row0 + row + c, width));
    for (int64_t s = 0; s < unit / to.strip; ++s)
      for (int64_t first = 0; first < count * to.strip; first += width) {
        SmallVector<std::pair<Val, int64_t>> lanes;
        for (int64_t at = first; at < first + width; ++at) {
          int64_t column = s * to.strip + at % to.strip;
          if (at < count * to.strip)
            lanes.push_back({v[at / to.strip][column / width], column % width});
        }
        e.store(collect(lanes), to.ptr,
                (row / to.strip + s) * to.stripStride + step * to.step + first);
      }
  };
  Val groups = k / static_cast<double>(together) * static_cast<double>(together);
  e.loop(e.i(0), groups, together, [&](Val step) {
    e.loop(e.i(0), whole, unit, [&](Val row) { packUnit(step, row, together); });
  });
  e.loop(groups, k, 1, [&](Val step) {
    e.loop(e.i(0), whole, unit, [&](Val row) { packUnit(step, row, 1); });
  });
  e.loop(e.i(0), k, 1, [&](Val step) {
    e.ifThen(whole < rows, [&] {
      columnsLoop(rows - whole, tail, [&](Val c, int64_t lanes) {
        e.store(widen(source(k0 + step, row0 + whole + c, lanes)), line, c);
      });
      e.loop(e.i(0), e.ceilDiv(rows - whole, to.strip), 1, [&](Val s) {
        Val at = (whole / to.strip + s) * to.stripStride + step * to.step;
        for (int64_t r = 0; r < to.strip; r += width)
          e.store(e.loadV(line, s * to.strip + r), to.ptr, at + r);
      });
    });
  });
}

void ProductTile::packPanels(const Source &source, Val k0, Val k, Val column0,
                             Val columns, int64_t tail, TileB to) {
  // Whole panels row by row; the vectors of the last, partial one one by one.
  int64_t panel = to.columns, width = e.width();
  Val whole = columns / panel * panel;
  e.loop(e.i(0), k, 1, [&](Val row) {
    // Along the rows of memory, which the machine then fetches ahead.
    e.loop(e.i(0), whole, panel, [&](Val c) {
      Val start = c / panel * to.panelStride + row * panel;
      for (int64_t v = 0; v < panel; v += width)
        e.store(source(k0 + row, column0 + c + v, width), to.ptr, start + v);
    });
  });
  e.ifThen(whole < columns, [&] {
    Val start = e.addressF(to.ptr, whole / panel * to.panelStride);
    Val rest = columns - whole;
    e.loop(e.i(0), k, 1, [&](Val row) {
      columnsLoop(rest, tail, [&](Val c, int64_t lanes) {
        e.store(widen(source(k0 + row, column0 + whole + c, lanes)), start,
                row * panel + c);
      });
      e.loop(e.ceilDiv(rest, width) * width, e.i(panel), width,
             [&](Val c) { e.store(e.vec(0), start, row * panel + c); });
    });
  });
}

Val ProductTile::collect(SmallVector<std::pair<Val, int64_t>> lanes) {
  lanes.resize(e.width(), lanes.back());
  SmallVector<Value> sources;
  for (auto [vector, lane] : lanes)
    if (!llvm::is_contained(sources, vector.get()))
      sources.push_back(vector.get());
  // The first two sources together, then what comes from each of the others.
  Val result = e.wrap(sources[0]);
  for (size_t k = 1; k < std::max<size_t>(sources.size(), 2); ++k) {
    Value next = sources[std::min(k, sources.size() - 1)];
    SmallVector<int64_t> mask;
    for (auto [at, from] : llvm::enumerate(lanes)) {
      auto [vector, lane] = from;
      bool isNext = vector.get() == next && sources.size() > 1;
      mask.push_back(isNext ? e.width() + lane : k == 1 ? lane : int64_t(at));
    }
    result = e.shuffle(result, e.wrap(next), mask);
  }
  return result;
}

SmallVector<Val, 16> ProductTile::transposeBlock(SmallVector<Val, 16> v) {
  int64_t width = e.width();
  // Stage d swaps the off-diagonal d x d blocks of every 2d x 2d block.
  for (int64_t d = 1; d < width; d *= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < width; ++lane) {
      low.push_back(lane & d ? width + lane - d : lane);
      high.push_back(lane & d ? width + lane : lane + d);
    }
    for (int64_t r = 0; r < width; ++r) {
      if (r & d)
        continue;
      Val a = v[r], b = v[r + d];
      v[r] = e.shuffle(a, b, low);
      v[r + d] = e.shuffle(a, b, high);
    }
  }
  return v;
}

void ProductTile::packPanelsTransposed(const Source &source, Val k0, Val k,
                                       Val column0, Val columns, int64_t tail,
                                       TileB to) {
  int64_t width = e.width(), panel = to.columns;
  Val padded = e.ceilDiv(columns, panel) * panel;
  e.loop(e.i(0), padded, width, [&](Val c) {
    columnsLoop(k, tail, [&](Val row, int64_t lanes) {
      SmallVector<Val, 16> v;
      for (int64_t j = 0; j < width; ++j)
        v.push_back(widen(
            source(column0 + e.min(c + j, columns - 1), k0 + row, lanes)));
      v = transposeBlock(v);
      Val at = c / panel * to.panelStride + row * panel + c % panel;
      for (int64_t j = 0; j < width; ++j)
        e.store(v[j], to.ptr, at + j * panel);
    });
  });
}

void ProductTile::clear(TileC c, Val rows) {
  Val end = e.ceilDiv(rows, microRows()) * (microRows() * c.stride);
  e.loop(e.i(0), end, e.width(),
         [&](Val at) { e.store(e.vec(0), c.ptr, at); });
}

void ProductTile::multiply(TileA a, TileB b, TileC c, Val rows, Val columns,
                           Val k, const Accumulation &how) {
  int64_t micro = microRowsOf(b);
  Val panels = e.ceilDiv(columns, b.columns);
  auto one = [&](Val r, Val p) {
    Val aRows = e.addressF(
        a.ptr, a.strip ? r / a.strip * a.stripStride + r % a.strip * a.row
                       : r * a.row);
    TileC at{e.addressF(c.ptr, r * c.stride + p * b.columns), c.stride};
    multiplyMicro(aRows, e.i(a.row), e.i(a.step), b, p, at, k,
                  how, how.ahead ? how.ahead(r, p) : LinesAhead());
  };
  // A small panel stays in L1 while the rows stream; else the rows of one
  // micro-kernel stay there while the panels stream.
  if (b.panelStride * e.floatBytes() <= kSmallPanelBytes)
    e.loop(e.i(0), panels, 1, [&](Val p) {
      e.loop(e.i(0), rows, micro, [&](Val r) { one(r, p); });
    });
  else
    e.loop(e.i(0), rows, micro, [&](Val r) {
      e.loop(e.i(0), panels, 1, [&](Val p) { one(r, p); });
    });
}

LinesAhead ProductTile::shareOfRows(Val at, Val row, Val k, Val panel,
                                    Val panels) {
  int64_t line = Strip::kLineBytes / e.floatBytes();
  return {e.addressF(at, panel * (k / panels)), row, panels * static_cast<double>(line),
          e.i(line)};
}

void ProductTile::multiplyMicro(Val a, Val row, Val step, const TileB &b,
                                Val panel, TileC c, Val k,
                                const Accumulation &how,
                                const LinesAhead &ahead, int64_t vectors) {
  int64_t whole = b.columns / e.width();
  MicroKernel kernel{microRowsOf(b), whole, b.pairs};
  if (vectors && vectors < whole) {
    kernel.vectors = vectors;
    kernel.panelVectors = whole;
  }
  Val adds = how.adds ? how.adds
                      : e.constant(e.builder().getI1Type(), 1);
  callMicroKernel(e, kernel,
                  {a, row, step, e.addressF(b.ptr, panel * b.panelStride), c.ptr,
                   e.i(c.stride), k, adds, ahead});
}

} // namespace pg
