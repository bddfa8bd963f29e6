//===- TransposeKernel.cpp - a static matrix transposed --------------------===//
//
// bf16 numbers are widened on the way and keep every bit.
// An item is a 64 x 64 tile, moved as width x width blocks transposed in
// registers; edges that are no whole block go element by element.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/ElementEvaluator.h"
#include "passes/cpu/ProductTile.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {

FailureOr<KernelShape> emitTranspose(StructuredKernel kernel) {
  constexpr int64_t kTile = 64;
  Emitter &e = kernel.e;
  auto op = cast<TransposeOp>(kernel.op);
  auto type = cast<RankedTensorType>(op.getX().getType());
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  int64_t width = e.width();
  int64_t columnTiles = (columns + kTile - 1) / kTile;
  ProductTile tile(e);
  StoredTensor from{e.buffer(0), type.getElementType()};
  StoredTensor to{e.buffer(1), type.getElementType(), kernel.def.getModes()[0] == 2};
  auto get = [&](Val at, int64_t lanes) {
    Type stored = lanes > 1 ? Type(VectorType::get({lanes}, from.element)) : from.element;
    return convertElements(e, e.load(stored, from.pointer, at), e.floatType());
  };
  auto put = [&](Val value, Val at) {
    if (to.element.isBF16() && !to.accumulates)
      e.store(upperHalves(e, value), to.pointer, at);
    else
      to.put(e, value, at);
  };

  e.loop(e.begin(), e.end(), 1, [&](Val item) {
    Val row0 = item / columnTiles * kTile, column0 = item % columnTiles * kTile;
    Val rowEnd = e.min(row0 + kTile, e.i(rows));
    Val columnEnd = e.min(column0 + kTile, e.i(columns));
    e.loop(row0, rowEnd, width, [&](Val r) {
      e.loop(column0, columnEnd, width, [&](Val c) {
        auto block = [&] {
          SmallVector<Val, 16> v;
          for (int64_t j = 0; j < width; ++j)
            v.push_back(get((r + j) * columns + c, width));
          v = tile.transposeBlock(v);
          for (int64_t j = 0; j < width; ++j)
            put(v[j], (c + j) * rows + r);
        };
        auto edge = [&] {
          e.loop(r, e.min(r + width, rowEnd), 1, [&](Val i) {
            e.loop(c, e.min(c + width, columnEnd), 1, [&](Val j) {
              put(get(i * columns + j, 1), j * rows + i);
            });
          });
        };
        if (rows % width == 0 && columns % width == 0)
          block();
        else
          e.ifElse((r + width <= rowEnd) & (c + width <= columnEnd), block,
                   edge);
      });
    });
  });

  KernelShape shape;
  shape.items.multiplier = (rows + kTile - 1) / kTile * columnTiles;
  shape.category = "transpose";
  return shape;
}

} // namespace pg
