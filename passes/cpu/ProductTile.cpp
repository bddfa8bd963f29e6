//===- ProductTile.cpp ------------------------------------------------------===//
#include "passes/cpu/ProductTile.h"

#include "passes/cpu/ElementEvaluator.h"

using namespace mlir;

namespace pg {

ProductTile::ProductTile(Emitter &e) : e(e) {
  // 8 x 2 accumulators need the 32 registers that come with 512-bit vectors.
  rowsPerMicro = e.width() * e.floatBytes() >= 64 ? 8 : 4;
}

TileA ProductTile::allocateRows(int64_t rows, int64_t k) {
  int64_t stride = rowStride(k);
  return {e.scratch(roundUp(rows, rowsPerMicro) * stride * e.floatBytes()),
          stride, 1};
}

TileB ProductTile::allocateColumns(int64_t k, int64_t columns, int64_t panel) {
  // One extra row keeps panels from lying a power of two apart.
  int64_t stride = (roundUp(k, e.width()) + 1) * panel;
  int64_t panels = roundUp(columns, panel) / panel;
  return {e.scratch(panels * stride * e.floatBytes()), stride, panel};
}

TileB ProductTile::allocatePanels(int64_t k, int64_t columns) {
  return allocateColumns(k, columns, panelColumns());
}

TileB ProductTile::allocateStrips(int64_t k, int64_t rows) {
  return allocateColumns(k, rows, std::max(e.width(), rowsPerMicro));
}

TileC ProductTile::allocateC(int64_t rows, int64_t columns) {
  int64_t stride = roundUp(columns, panelColumns()) + e.width();
  return {e.scratch(roundUp(rows, rowsPerMicro) * stride * e.floatBytes()),
          stride};
}

ProductTile::Source ProductTile::matrix(Val ptr, Val rowStride, Type element) {
  return [=, &e = e](Val row, Val column, int64_t lanes) {
    Val stored = e.load(VectorType::get({lanes}, element), ptr,
                        row * rowStride + column);
    return convertElements(e, stored, e.floatType());
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
                           Val k, int64_t tail, TileA to) {
  e.loop(e.i(0), rows, 1, [&](Val r) {
    columnsLoop(k, tail, [&](Val c, int64_t lanes) {
      e.store(widen(source(row0 + r, k0 + c, lanes)), to.ptr, r * to.row + c);
    });
  });
  Val padded = e.ceilDiv(rows, rowsPerMicro) * rowsPerMicro;
  e.loop(rows, padded, 1, [&](Val r) {
    e.loop(e.i(0), k, e.width(), [&](Val c) {
      e.store(e.vec(0), to.ptr, r * to.row + c);
    });
  });
}

void ProductTile::packPanels(const Source &source, Val k0, Val k, Val column0,
                             Val columns, int64_t tail, TileB to) {
  int64_t panel = to.columns;
  auto place = [&](Val row, Val c) {
    return c / panel * to.panelStride + row * panel + c % panel;
  };
  Val filled = e.ceilDiv(columns, e.width()) * e.width();
  Val padded = e.ceilDiv(columns, panel) * panel;
  e.loop(e.i(0), k, 1, [&](Val row) {
    columnsLoop(columns, tail, [&](Val c, int64_t lanes) {
      e.store(widen(source(k0 + row, column0 + c, lanes)), to.ptr,
              place(row, c));
    });
    e.loop(filled, padded, e.width(),
           [&](Val c) { e.store(e.vec(0), to.ptr, place(row, c)); });
  });
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

void ProductTile::clear(TileC c, Val rows, Val columns) {
  Val paddedRows = e.ceilDiv(rows, rowsPerMicro) * rowsPerMicro;
  Val paddedColumns = e.ceilDiv(columns, panelColumns()) * panelColumns();
  e.loop(e.i(0), paddedRows, 1, [&](Val r) {
    e.loop(e.i(0), paddedColumns, e.width(), [&](Val column) {
      e.store(e.vec(0), c.ptr, r * c.stride + column);
    });
  });
}

void ProductTile::multiply(TileA a, TileB b, TileC c, Val rows, Val columns,
                           Val k) {
  int64_t width = e.width(), panel = panelColumns();
  Val panels = e.ceilDiv(columns, panel);
  // Panels outside, rows inside: the panel stays in L1 while A streams.
  e.loop(e.i(0), panels, 1, [&](Val p) {
    Val bPanel = e.addressF(b.ptr, p * b.panelStride);
    e.loop(e.i(0), rows, rowsPerMicro, [&](Val r) {
      Val aRows = e.addressF(
          a.ptr, a.strip ? r / a.strip * a.stripStride + r % a.strip * a.row
                         : r * a.row);
      Val cTile = e.addressF(c.ptr, r * c.stride + p * panel);
      SmallVector<Val, 16> sums;
      for (int64_t i = 0; i < rowsPerMicro; ++i)
        for (int64_t v = 0; v < 2; ++v)
          sums.push_back(e.loadV(cTile, e.i(i * c.stride + v * width)));
      sums = e.loop(e.i(0), k, 1, sums, [&](Val step, ArrayRef<Val> carried) {
        Val b0 = e.loadV(bPanel, step * panel);
        Val b1 = e.loadV(bPanel, step * panel + width);
        Val aStep = e.addressF(aRows, step * a.step);
        Emitter::Vals next;
        for (int64_t i = 0; i < rowsPerMicro; ++i) {
          Val scale = e.broadcast(e.loadF(aStep, e.i(i * a.row)));
          next.push_back(e.fma(scale, b0, carried[2 * i]));
          next.push_back(e.fma(scale, b1, carried[2 * i + 1]));
        }
        return next;
      });
      for (int64_t i = 0; i < rowsPerMicro; ++i)
        for (int64_t v = 0; v < 2; ++v)
          e.store(sums[2 * i + v], cTile, e.i(i * c.stride + v * width));
    });
  });
}

} // namespace pg
