//===- AttentionCommon.cpp --------------------------------------------------===//
#include "passes/cpu/AttentionCommon.h"

#include "passes/cpu/ElementEvaluator.h"

using namespace mlir;

namespace pg {

Val firstKey(Emitter &e, const AttentionGeometry &g, Val token) {
  Val table = g.bySegment ? e.segmentBegin() : e.rowBegin();
  Val first = e.toI64(e.load(e.builder().getI32Type(), table, token));
  if (g.window > 0)
    first = e.max(first, token - (g.window - 1));
  return first;
}

Val queriesEnd(Emitter &e, const AttentionGeometry &g, Val token) {
  Val table = g.bySegment ? e.segmentEnd() : e.rowEnd();
  Val end = e.toI64(e.load(e.builder().getI32Type(), table, token));
  if (g.window > 0)
    end = e.min(end, token + g.window);
  return end;
}

Val keyMask(Emitter &e, Val key, Val first, Val last) {
  // Relative to the vector's first key, so that i32 lanes suffice.
  Val lanes = e.iota(e.builder().getI32Type(), e.width());
  return (lanes >= e.toI32(first - key)) & (lanes <= e.toI32(last - key));
}

void StoredTensor::put(Emitter &e, Val value, Val index) const {
  if (accumulates) {
    Val old = e.load(withShapeOf(value.type(), element), pointer, index);
    value = convertElements(e, old, e.floatType()) + value;
  }
  e.store(convertElements(e, value, element), pointer, index);
}

ProductTile::Source headMatrix(ProductTile &tile, Emitter &e,
                               const StoredTensor &from, int64_t heads,
                               int64_t width, Val head) {
  return tile.matrix(e.address(from.element, from.pointer, head * width),
                     e.i(heads * width), from.element);
}

DirectBuffers::DirectBuffers(KernelDefOp def, Operation *op, Emitter &e) {
  Block &body = def.getBody().front();
  SmallVector<int64_t> bufferOf;
  int64_t count = 0;
  for (BlockArgument argument : body.getArguments())
    bufferOf.push_back(isa<RankedTensorType>(argument.getType()) ? count++
                                                                 : -1);
  // A reshape only renames the same memory.
  auto throughReshapes = [](Value value) {
    while (auto reshape = value.getDefiningOp<ReshapeOp>())
      value = reshape.getX();
    return value;
  };
  for (Value operand : op->getOperands()) {
    auto argument = dyn_cast<BlockArgument>(throughReshapes(operand));
    if (!argument) {
      op->emitOpError("expected operands that are arguments of the kernel");
      valid = false;
      return;
    }
    operands.push_back({e.buffer(bufferOf[argument.getArgNumber()]),
                        getElementTypeOrSelf(argument.getType())});
  }
  results.resize(op->getNumResults());
  for (auto [k, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    Value source = throughReshapes(value);
    if (auto cast = source.getDefiningOp<CastOp>())
      source = throughReshapes(cast.getX());
    auto result = dyn_cast<OpResult>(source);
    if (!result || result.getOwner() != op ||
        results[result.getResultNumber()]) {
      op->emitOpError("expected the kernel to hand out its results and nothing else");
      valid = false;
      return;
    }
    results[result.getResultNumber()] = {e.buffer(count + k),
                                         getElementTypeOrSelf(value.getType()),
                                         def.getModes()[k] == 2};
  }
}

void storeTile(ProductTile &tile, Emitter &e, TileC from, Val rows,
               int64_t columns, const StoredTensor &to, Val toIndex,
               Val toStride) {
  e.loop(e.i(0), rows, 1, [&](Val r) {
    Val line = toIndex + r * toStride;
    tile.columnsLoop(e.i(columns), columns % e.width(), [&](Val c, int64_t lanes) {
      to.put(e, e.load(e.vecType(lanes), from.ptr, r * from.stride + c),
             line + c);
    });
  });
}

} // namespace pg
