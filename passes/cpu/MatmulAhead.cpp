//===- MatmulAhead.cpp - what a product asks for ahead of its use -----------===//
//
// A micro-tile asks for some lines while it multiplies, as many rows of one tensor at a
// time as it has itself; the micro-tiles of a row or of a block of k share what comes
// next. A line asked for holds a fill buffer until it comes, which the multiplication needs
// too: that is shortest where the machine, seeing lines in order, fetches them itself.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/MatmulKernel.h"

#include "passes/cpu/Strip.h"

using namespace mlir;

namespace pg {

LinesAhead MatmulKernel::nextRows(Val row, Val column0, Val columns, Val panel, Val k0,
                                  Val k) {
  // Panels take turns at the tensors behind A and, in the last block of k, at the
  // rows that the epilogue writes and reads: as many for each as it has lines.
  struct Part {
    Val memory;
    bool isA;
    int64_t lines, panels = 0;
  };
  SmallVector<Part> parts;
  for (Val memory : memoryBehind(factor(Left)))
    parts.push_back({memory, true, blockDepth});
  size_t tensorsOfA = parts.size();
  for (Val memory : memoryOfEpilogue())
    parts.push_back({memory, false, blockColumns});
  int64_t panels = roundUp(blockColumns, b.columns) / b.columns;
  Val next = row + tile.microRowsOf(b);
  // What panel p asks for if only the first `count` parts take turns.
  auto share = [&](size_t count) {
    MutableArrayRef<Part> asked = MutableArrayRef<Part>(parts).take_front(
        std::min(count, static_cast<size_t>(panels)));
    for (Part &part : asked)
      part.panels = 1;
    for (int64_t rest = panels - asked.size(); rest > 0; --rest)
      ++std::max_element(asked.begin(), asked.end(), [](const Part &x, const Part &y) {
          return x.lines * y.panels < y.lines * x.panels;
        })->panels;
    LinesAhead found;
    int64_t first = 0;
    for (const Part &part : asked) {
      Val extent = e.i(part.isA ? staticDepth : columnCount), length = part.isA ? k : columns;
      Val start = next * extent + (part.isA ? k0 : column0);
      Val turn = panel - static_cast<double>(first), turns = e.i(part.panels);
      LinesAhead one = tile.shareOfRows(e.addressF(part.memory, start + length * turn / turns),
                                        extent, length, e.i(0), turns);
      one.steps = e.max(e.i(1), one.steps * k / e.max(length, e.i(1)));
      Val isThis = panel >= static_cast<double>(first);
      found = !found.at ? one
                        : LinesAhead{e.select(isThis, one.at, found.at),
                                     e.select(isThis, one.row, found.row),
                                     e.select(isThis, one.steps, found.steps), one.next};
      first += part.panels;
    }
    return found;
  };
  if (oneBlock || tensorsOfA == parts.size())
    return parts.empty() ? LinesAhead() : share(parts.size());
  LinesAhead last = share(parts.size());
  if (tensorsOfA == 0)
    return last;
  LinesAhead others = share(tensorsOfA);
  Val isLast = k0 + k >= depthCount;
  return {e.select(isLast, last.at, others.at), e.select(isLast, last.row, others.row),
          e.select(isLast, last.steps, others.steps), last.next};
}

LinesAhead MatmulKernel::nextBlock(Val row0, Val rows, Val column0, Val columns,
                                   Val turn, Val turns, Val next, Val k) {
  // A micro-tile's share is some steps of one tensor's part, line by line along the
  // rows of memory, which the machine then fetches ahead of what is asked for.
  int64_t line = Strip::kLineBytes / e.floatBytes(), width = tile.microRowsOf(b) * line;
  struct Part {
    Val memory, extent, first, count;
  };
  SmallVector<Part> parts;
  for (Side side : {Left, Right}) {
    bool isLeft = side == Left;
    if (!isLeft && op.getTransposeB())
      continue;
    for (Val memory : memoryBehind(factor(side)))
      parts.push_back({memory, e.i(isLeft ? staticRows : columnCount),
                       isLeft ? row0 : column0, isLeft ? rows : columns});
  }
  int64_t tensors = std::max<int64_t>(1, parts.size());
  Val slot = turn * k * static_cast<double>(tensors) / turns;
  Val step = next + slot / static_cast<double>(tensors);
  Val part = slot % tensors, at = a.ptr, count = e.i(width);
  for (auto [index, one] : llvm::enumerate(parts)) {
    Val isThis = part == static_cast<double>(index);
    Val here = e.addressF(one.memory, step * one.extent + one.first);
    at = e.select(isThis, here, at);
    count = e.select(isThis, one.count, count);
  }
  Val bursts = e.ceilDiv(count, width);
  return {at, e.i(line), e.max(e.i(1), (k + (bursts - 1.0)) / bursts), e.i(width)};
}

LinesAhead MatmulKernel::nextResults(Val row, Val column, Val k) {
  int64_t line = Strip::kLineBytes / e.floatBytes();
  Val lines = e.i(std::max<int64_t>(1, b.columns / line)), at = a.ptr;
  SmallVector<Val> lies = memoryOfEpilogue();
  if (!lies.empty())
    at = e.addressF(lies.front(), row * columnCount + column);
  return {at, e.i(columnCount), e.max(e.i(1), k / lines), e.i(line)};
}

bool MatmulKernel::isFloat(Value value) {
  return getElementTypeOrSelf(value.getType()) == e.floatType();
}

SmallVector<Val> MatmulKernel::memoryOfEpilogue() {
  auto yield = cast<YieldOp>(def.getBody().front().getTerminator());
  SmallVector<Val> found;
  for (auto [k, value] : llvm::enumerate(yield.getValues()))
    if (isFloat(value))
      found.push_back(e.buffer(firstYield() + k));
  SmallVector<Value> read;
  for (Value value : yield.getValues())
    findTensors(value, read);
  for (Value argument : read)
    found.push_back(e.buffer(bufferOf(cast<BlockArgument>(argument))));
  return found;
}

void MatmulKernel::findTensors(Value root, SmallVector<Value> &found) {
  SmallVector<Value> open = {root};
  auto wanted = cast<RankedTensorType>(root.getType());
  for (size_t at = 0; at < open.size(); ++at) {
    Value value = throughReshapes(open[at]);
    auto type = cast<RankedTensorType>(value.getType());
    if (value == op.getResult() || elementsPerToken(type) != elementsPerToken(wanted) ||
        type.getDimSize(0) != wanted.getDimSize(0))
      continue;
    if (isa<BlockArgument>(value)) {
      if (isFloat(value) && !llvm::is_contained(found, value))
        found.push_back(value);
    } else {
      for (Value operand : value.getDefiningOp()->getOperands())
        if (isa<RankedTensorType>(operand.getType()) && !llvm::is_contained(open, operand))
          open.push_back(operand);
    }
  }
}

SmallVector<Val> MatmulKernel::memoryBehind(Value factor) {
  SmallVector<Value> read;
  findTensors(factor, read);
  SmallVector<Val> found;
  for (Value argument : read)
    found.push_back(e.buffer(bufferOf(cast<BlockArgument>(argument))));
  return found;
}

} // namespace pg
