//===- RowKernel.cpp - one loop over rows, loop groups inside
//----------------===//
#include "passes/cpu/RowKernel.h"

#include "passes/kernel/RowDomain.h"
#include "passes/cpu/RowLoops.h"
#include "passes/cpu/StructuredKernels.h"

using namespace mlir;

namespace pg {
namespace {

/// Independent accumulators of a reduction over the last dimension, so that
/// consecutive additions do not wait for each other.
constexpr int64_t kAccumulators = 4;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

class RowEmitter {
public:
  RowEmitter(KernelDefOp def, Emitter &e, RowPlan plan)
      : def(def), e(e), evaluator(e), plan(std::move(plan)),
        yields(
            cast<YieldOp>(def.getBody().front().getTerminator()).getValues()) {
    evaluator.bindArguments(def);
  }

  LogicalResult run() {
    // Scratch is per thread: every row uses the same place.
    for (const LoopGroup &group : plan.groups) {
      for (Value v : group.kept)
        home(v);
      for (Value v : group.reductions)
        if (elementsPerRow(v) > 1 && freshYield(v) < 0)
          home(v);
    }
    e.loop(e.begin(), e.end(), 1, [&](Val item) {
      ElementEvaluator::Scope scope(evaluator, e.builder().getInsertionBlock());
      row = item;
      // Without a row in their coordinates, results of one loop would be read
      // before it has run.
      if (whole())
        evaluator.pin();
      if (plan.domain.kind == RowDomain::Kind::Taken) {
        Coord position = Coord::at(row, 0, plan.domain.rows);
        token = e.toI64(
            evaluator.evaluate(plan.domain.takeIndex, Coords{position}));
      }
      for (const LoopGroup &group : plan.groups)
        emitGroup(group);
    });
    return failure(evaluator.failed());
  }

private:
  bool whole() const { return plan.domain.kind == RowDomain::Kind::Whole; }

  int64_t elementsPerRow(Value v) const {
    auto type = tensorType(v);
    int64_t count = 1;
    for (int64_t d = whole() ? 0 : 1; d < type.getRank(); ++d)
      count *= type.getDimSize(d);
    return count;
  }

  /// The leading coordinate of a value of this type.
  Coord leading(RankedTensorType type) const {
    if (plan.domain.kind == RowDomain::Kind::Taken && isTokenTensor(type))
      return Coord::at(token);
    if (plan.domain.kind == RowDomain::Kind::Tokens)
      return Coord::at(row);
    return Coord::at(row, 0, plan.domain.rows);
  }

  /// Coordinates of a position in `type` with the row set, the rest open.
  Coords openCoords(RankedTensorType type) const {
    Coords at(type.getRank());
    if (!whole())
      at[0] = leading(type);
    return at;
  }

  /// Scratch of one row (or of the whole tensor) of a value.
  Val home(Value v) {
    Val &pointer = homes[v];
    if (!pointer)
      pointer = e.scratch(elementsPerRow(v) *
                          elementBytes(tensorType(v).getElementType()));
    return pointer;
  }
  void bindHome(Value v) {
    if (whole())
      evaluator.bindMemory(v, home(v));
    else
      evaluator.bindRow(v, home(v), leading(tensorType(v)).base);
  }

  /// Yield that stores this value as it is, or -1.
  int64_t freshYield(Value v) {
    for (auto [index, y] : llvm::enumerate(yields))
      if (y == v && def.getModes()[index] == 0)
        return index;
    return -1;
  }

  /// Later groups read a yielded value from its buffer.
  void bindYield(Value v, unsigned index) {
    Val buffer = e.buffer(yieldBuffer(def, index));
    if (whole()) {
      evaluator.bindMemory(v, buffer);
      return;
    }
    Type stored = tensorType(v).getElementType();
    if (stored.isInteger(1))
      stored = e.builder().getI8Type();
    Coord at = leading(tensorType(v));
    evaluator.bindRow(
        v, e.address(stored, buffer, at.base * e.i(elementsPerRow(v))),
        at.base);
  }

  //===--- stores ---------------------------------------------------------===//

  /// Stores of a group at one position: all values first, then all writes, so
  /// that an update in place sees only old values.
  void emitStores(const LoopGroup &group, const Coords &at, int64_t width) {
    SmallVector<Val> values;
    for (Value v : group.kept)
      values.push_back(evaluator.evaluate(v, at, width));
    for (unsigned index : group.yields)
      if (!llvm::is_contained(group.reductions, yields[index]))
        values.push_back(evaluator.evaluate(storedValue(index), at, width));
    auto next = values.begin();
    for (Value v : group.kept)
      evaluator.store(*next++, tensorType(v), home(v), at, !whole());
    for (unsigned index : group.yields)
      if (!llvm::is_contained(group.reductions, yields[index]))
        storeYield(*next++, index, at, width);
  }

  Value storedValue(unsigned index) const {
    auto partial = yields[index].getDefiningOp<PartialSumOp>();
    return partial ? partial.getX() : yields[index];
  }

  void storeYield(Val value, unsigned index, const Coords &at, int64_t width) {
    Val buffer = e.buffer(yieldBuffer(def, index));
    RankedTensorType type = tensorType(yields[index]);
    if (!yields[index].getDefiningOp<PartialSumOp>()) {
      evaluator.storeYield(value, type, buffer, at, def.getModes()[index]);
      return;
    }
    // The chunk's sum grows in place; its first row starts it.
    int64_t grain = cast<ChunksAttr>(type.getEncoding()).getGrain();
    Coords chunk(at);
    chunk[0] = Coord::at(row / e.i(grain));
    Val old = evaluator.load(type, buffer, chunk, width);
    Val first = (row % grain) == 0;
    Val start = e.select(first, e.constant(old.type(), 0), old);
    evaluator.store(start + value, type, buffer, chunk);
  }

  //===--- reductions -----------------------------------------------------===//

  struct Accumulator {
    ReduceSumOp sum; ///< null: maximum
    Type element;    ///< f32 for bf16
  };

  Accumulator accumulatorOf(Value v) {
    Type element = tensorType(v).getElementType();
    return {v.getDefiningOp<ReduceSumOp>(),
            element.isBF16() ? Type(e.builder().getF32Type()) : element};
  }
  Val identity(const Accumulator &a, int64_t width) {
    Type type =
        width > 1 ? Type(VectorType::get({width}, a.element)) : a.element;
    return e.constant(type,
                      a.sum ? 0.0 : -std::numeric_limits<double>::infinity());
  }
  Val join(const Accumulator &a, Val x, Val y) {
    return a.sum ? x + y : e.max(x, y);
  }
  Val joinLanes(const Accumulator &a, Val x) {
    if (!x.isVector())
      return x;
    return a.sum ? e.reduceSum(x) : e.reduceMax(x);
  }

  /// Writes the result of a reduction at the kept position.
  void finishReduction(Value v, const Accumulator &a, Val value,
                       const Coords &at, int64_t width) {
    RankedTensorType type = tensorType(v);
    value = convertElements(e, value, type.getElementType());
    for (auto [index, y] : llvm::enumerate(yields))
      if (y == v && def.getModes()[index] == 0)
        storeYield(value, index, at, width);
    if (elementsPerRow(v) == 1)
      evaluator.bindCurrent(v, value, whole() ? Val() : leading(type).base);
    else if (freshYield(v) < 0)
      evaluator.store(value, type, home(v), at, !whole());
  }

  //===--- loop nests -----------------------------------------------------===//

  Span spanOf(const LoopGroup &group, int64_t last) {
    Span span;
    span.start = Coord::constant(0);
    span.length = group.space.getDimSize(last);
    span.width = e.width();
    auto add = [&](Value v) { span.breaks.merge(evaluator.breakpoints(v)); };
    for (Value v : group.reductions)
      add(v.getDefiningOp()->getOperand(0));
    for (Value v : group.kept)
      add(v);
    for (unsigned index : group.yields)
      if (!llvm::is_contained(group.reductions, yields[index]))
        add(storedValue(index));
    return span;
  }

  /// Coordinates of the result of a reduction at a position of its operand.
  static Coords withoutAxes(const Coords &at, ArrayRef<int64_t> axes) {
    Coords kept;
    for (auto [d, c] : llvm::enumerate(at))
      if (!llvm::is_contained(axes, static_cast<int64_t>(d)))
        kept.push_back(c);
    return kept;
  }

  void emitGroup(const LoopGroup &group) {
    Coords at = openCoords(group.space);
    int64_t rank = group.space.getRank(), first = whole() ? 0 : 1;
    if (rank == first) {
      // One element a row (or a scalar): nothing to loop over.
      emitStores(group, at, 1);
    } else if (group.axes.empty()) {
      emitMap(group, at);
    } else if (group.axes.back() == rank - 1) {
      reduceLast(group, at);
    } else {
      reduceOuter(group, at);
    }
    for (Value v : group.kept)
      bindHome(v);
    for (Value v : group.reductions)
      if (elementsPerRow(v) > 1) {
        if (int64_t index = freshYield(v); index >= 0)
          bindYield(v, index);
        else
          bindHome(v);
      }
    for (unsigned index : group.yields) {
      Value v = yields[index];
      if (def.getModes()[index] == 0 && v.getDefiningOp() &&
          !v.getDefiningOp<PartialSumOp>() && !evaluator.isBound(v) &&
          !llvm::is_contained(group.reductions, v))
        bindYield(v, index);
    }
  }

  /// Dimensions looped over before the last one, reduced ones or kept ones.
  SmallVector<int64_t> outerDims(const LoopGroup &group, bool reduced) const {
    SmallVector<int64_t> dims;
    for (int64_t d = whole() ? 0 : 1; d + 1 < group.space.getRank(); ++d)
      if (llvm::is_contained(group.axes, d) == reduced)
        dims.push_back(d);
    return dims;
  }

  void emitMap(const LoopGroup &group, Coords &at) {
    int64_t last = group.space.getRank() - 1;
    Span span = spanOf(group, last);
    emitLoops(evaluator, outerDims(group, false), group.space.getShape(), at,
              {}, [&](Emitter::Vals) {
                return emitSpan(
                    evaluator, span, {},
                    [&](const Coord &c, int64_t width, int64_t, Emitter::Vals) {
                      at[last] = c;
                      emitStores(group, at, width);
                      return Emitter::Vals();
                    });
              });
  }

  /// The span of a reduced last dimension. Element p belongs to lane p % width
  /// of accumulator (p / width) % unroll whatever else is in the kernel, so a
  /// sum does not depend on what it was fused with: around a break the span is
  /// cut at whole vectors too, and pieces keep their lanes.
  Span reducedSpan(const LoopGroup &group, int64_t last) {
    Span span = spanOf(group, last);
    std::set<int64_t> aligned;
    for (int64_t b : span.breaks) {
      aligned.insert(b / span.width * span.width);
      aligned.insert((b + span.width - 1) / span.width * span.width);
    }
    span.breaks.merge(aligned);
    span.unroll = std::clamp<int64_t>(span.length / span.width, 1, kAccumulators);
    return span;
  }

  /// A piece of a vector as a whole one, at its lanes; the others are neutral.
  Val atLanes(const Accumulator &a, Val x, int64_t width, int64_t lane,
              int64_t lanes) {
    Val neutral = identity(a, lanes);
    if (width == lanes)
      return x;
    if (width == 1)
      return e.insertLane(neutral, x, lane);
    SmallVector<int64_t> mask;
    for (int64_t l = 0; l < lanes; ++l)
      mask.push_back(l >= lane && l < lane + width ? l - lane : width + l);
    return e.shuffle(x, neutral, mask);
  }

  /// The last dimension is reduced: vector accumulators, joined at the end in a
  /// fixed order.
  void reduceLast(const LoopGroup &group, Coords &at) {
    int64_t last = group.space.getRank() - 1;
    Span span = reducedSpan(group, last);
    int64_t slots = span.unroll;
    SmallVector<Accumulator> accumulators;
    for (Value v : group.reductions)
      accumulators.push_back(accumulatorOf(v));

    auto leaf = [&](const Coord &c, int64_t width, int64_t slot,
                    Emitter::Vals carried) {
      at[last] = c;
      for (auto [k, v] : llvm::enumerate(group.reductions)) {
        const Accumulator &a = accumulators[k];
        Val x = convertElements(
            e, evaluator.evaluate(v.getDefiningOp()->getOperand(0), at, width),
            a.element);
        Val &target = carried[k * slots + slot];
        // Only whole vectors come from loops: a piece's place is known here.
        target = join(a, target,
                      atLanes(a, x, width, c.offset % span.width, span.width));
      }
      emitStores(group, at, width);
      return carried;
    };
    emitLoops(evaluator, outerDims(group, false), group.space.getShape(), at,
              {}, [&](Emitter::Vals) {
                Emitter::Vals carried;
                for (const Accumulator &a : accumulators)
                  for (int64_t slot = 0; slot < slots; ++slot)
                    carried.push_back(identity(a, span.width));
                carried = emitLoops(
                    evaluator, outerDims(group, true), group.space.getShape(),
                    at, carried, [&](Emitter::Vals inner) {
                      return emitSpan(evaluator, span, std::move(inner), leaf);
                    });
                Coords result = withoutAxes(at, group.axes);
                for (auto [k, v] : llvm::enumerate(group.reductions)) {
                  const Accumulator &a = accumulators[k];
                  Val total = carried[k * slots];
                  for (int64_t slot = 1; slot < slots; ++slot)
                    total = join(a, total, carried[k * slots + slot]);
                  finishReduction(v, a, joinLanes(a, total), result, 1);
                }
                return Emitter::Vals();
              });
  }

  /// The last dimension stays: its lanes are independent sums.
  void reduceOuter(const LoopGroup &group, Coords &at) {
    int64_t last = group.space.getRank() - 1;
    Span span = spanOf(group, last);
    SmallVector<Accumulator> accumulators;
    for (Value v : group.reductions)
      accumulators.push_back(accumulatorOf(v));
    auto column = [&](const Coord &c, int64_t width, int64_t, Emitter::Vals) {
      at[last] = c;
      Emitter::Vals carried;
      for (const Accumulator &a : accumulators)
        carried.push_back(identity(a, width));
      carried =
          emitLoops(evaluator, outerDims(group, true), group.space.getShape(),
                    at, carried, [&](Emitter::Vals sums) {
                      for (auto [k, v] : llvm::enumerate(group.reductions)) {
                        Value x = v.getDefiningOp()->getOperand(0);
                        sums[k] = join(
                            accumulators[k], sums[k],
                            convertElements(e, evaluator.evaluate(x, at, width),
                                            accumulators[k].element));
                      }
                      emitStores(group, at, width);
                      return sums;
                    });
      Coords result = withoutAxes(at, group.axes);
      for (auto [k, v] : llvm::enumerate(group.reductions))
        finishReduction(v, accumulators[k], carried[k], result, width);
      return Emitter::Vals();
    };
    emitLoops(
        evaluator, outerDims(group, false), group.space.getShape(), at, {},
        [&](Emitter::Vals) { return emitSpan(evaluator, span, {}, column); });
  }

  KernelDefOp def;
  Emitter &e;
  ElementEvaluator evaluator;
  RowPlan plan;
  ValueRange yields;
  llvm::DenseMap<Value, Val> homes;
  Val row, token;
};

} // namespace

Type kernelFloatType(KernelDefOp def) {
  OpBuilder b(def.getContext());
  bool wide = false;
  auto see = [&](Value v) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    wide |= type && type.getElementType().isF64();
  };
  for (BlockArgument argument : def.getBody().front().getArguments())
    see(argument);
  def.walk([&](Operation *op) {
    for (Value v : op->getResults())
      see(v);
  });
  return wide ? Type(b.getF64Type()) : Type(b.getF32Type());
}

int64_t yieldBuffer(KernelDefOp def, unsigned index) {
  return llvm::count_if(def.getBody().front().getArguments(),
                        [](BlockArgument argument) {
                          return isa<RankedTensorType>(argument.getType());
                        }) +
         index;
}

FailureOr<KernelShape> emitRowKernel(KernelDefOp def, ModuleOp module,
                                     const CpuTarget &target) {
  FailureOr<RowPlan> plan = planRows(def);
  if (failed(plan))
    return failure();
  KernelShape shape;
  shape.category = "row";
  const RowDomain &domain = plan->domain;
  shape.items.tokensPerItem = domain.kind == RowDomain::Kind::Tokens ? 1 : 0;
  shape.items.multiplier = domain.rows;
  shape.items.grain = domain.grain;
  Emitter e(module, def.getSymName(), def.getLoc(), kernelFloatType(def),
            target);
  if (failed(RowEmitter(def, e, std::move(*plan)).run()))
    return failure();
  shape.scratchBytes = e.finish();
  return shape;
}

FailureOr<KernelShape> emitKernel(KernelDefOp def, ModuleOp module,
                                  const CpuTarget &target) {
  for (Operation &op : def.getBody().front()) {
    if (isa<CombineOp>(op))
      return emitCombineKernel(def, module, target);
    if (isa<GatherGradOp>(op))
      return emitGatherGradKernel(def, module, target);
  }
  if (findStructuredOp(def))
    return emitStructuredKernel(def, module, target);
  return emitRowKernel(def, module, target);
}

} // namespace pg
