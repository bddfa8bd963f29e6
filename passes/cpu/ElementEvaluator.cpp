//===- ElementEvaluator.cpp - bindings, scopes, memory, dispatch
//-------------===//
#include "passes/cpu/ElementEvaluator.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;

namespace pg {

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

Coord Coord::constant(int64_t value) {
  Coord c;
  c.offset = c.low = value;
  c.high = value + 1;
  return c;
}

Coord Coord::constantLanes(int64_t first, int64_t width) {
  Coord c = constant(first);
  c.high = first + width;
  c.lanes = true;
  return c;
}

Coord Coord::at(Val base, int64_t low, int64_t high, int64_t divisor) {
  Coord c;
  c.base = base;
  c.low = low;
  c.high = high;
  c.divisor = divisor;
  return c;
}

Coord Coord::lanesAt(Val base, int64_t low, int64_t high, int64_t divisor) {
  Coord c = at(base, low, high, divisor);
  c.lanes = true;
  return c;
}

Coord Coord::shifted(int64_t by) const {
  Coord c = *this;
  c.offset += by;
  c.low += by;
  if (c.high != std::numeric_limits<int64_t>::max())
    c.high += by;
  return c;
}

static bool anyLanes(ArrayRef<Coord> at) {
  return llvm::any_of(at, [](const Coord &c) { return c.lanes; });
}

/// Row-major strides in elements; a dynamic leading dimension needs no size.
static SmallVector<int64_t, 4> stridesOf(RankedTensorType type) {
  SmallVector<int64_t, 4> strides(type.getRank());
  int64_t stride = 1;
  for (int64_t d = type.getRank() - 1; d >= 0; --d) {
    strides[d] = stride;
    if (d > 0)
      stride *= type.getDimSize(d);
  }
  return strides;
}

//===----------------------------------------------------------------------===//
// Bindings and scopes
//===----------------------------------------------------------------------===//

ElementEvaluator::ElementEvaluator(Emitter &emitter) : e(emitter) {
  scopes.emplace_back();
  scopes.back().block = e.builder().getInsertionBlock();
}

void ElementEvaluator::bindArguments(KernelDefOp kernel) {
  int64_t buffer = 0, scalar = 0;
  for (BlockArgument argument : kernel.getBody().front().getArguments()) {
    if (isa<RankedTensorType>(argument.getType()))
      bindMemory(argument, e.buffer(buffer++));
    else
      scalars[argument] = e.scalarF64(scalar++);
  }
}

void ElementEvaluator::bindMemory(Value tensor, Val pointer) {
  bindings[tensor] = {pointer, Val()};
}
void ElementEvaluator::bindRow(Value tensor, Val pointer, Val row) {
  bindings[tensor] = {pointer, row};
}
void ElementEvaluator::bindCurrent(Value tensor, Val value, Val row) {
  scopes.back().current[tensor.getAsOpaquePointer()] = {value, row};
}
void ElementEvaluator::unbind(Value tensor) { bindings.erase(tensor); }
bool ElementEvaluator::isBound(Value tensor) const {
  return bindings.contains(tensor);
}

ElementEvaluator::Scope::Scope(ElementEvaluator &evaluator, Block *block)
    : evaluator(evaluator) {
  evaluator.scopes.emplace_back();
  evaluator.scopes.back().block = block;
}
ElementEvaluator::Scope::~Scope() { evaluator.scopes.pop_back(); }

int ElementEvaluator::depthOf(Val base) const {
  int last = static_cast<int>(scopes.size()) - 1;
  if (!base)
    return 0;
  Region *defined = base.get().getParentRegion();
  for (int k = 0; k < last; ++k)
    if (defined->isAncestor(scopes[k].block->getParent()))
      return k;
  return last;
}

ElementEvaluator::Key ElementEvaluator::keyOf(Value tensor, ArrayRef<Coord> at,
                                              int64_t width) const {
  std::vector<int64_t> words{width};
  for (const Coord &c : at) {
    words.push_back(
        c.base ? reinterpret_cast<int64_t>(c.base.get().getAsOpaquePointer())
               : 0);
    words.push_back(c.offset);
    words.push_back(c.lanes);
  }
  return {tensor.getAsOpaquePointer(), std::move(words)};
}

Val ElementEvaluator::evaluate(Value tensor, ArrayRef<Coord> at,
                               int64_t width) {
  if (!anyLanes(at))
    width = 1;
  int last = static_cast<int>(scopes.size()) - 1;
  int depth = 0;
  for (const Coord &c : at)
    depth = std::max(depth, depthOf(c.base));
  // What is bound to the position of a scope may not leave that scope.
  for (int k = last; k > depth; --k)
    if (!scopes[k].current.empty() || scopes[k].pinned)
      depth = k;
  // Two scopes may share a block: there is no loop to leave between them.
  while (depth < last && scopes[depth + 1].block == scopes[depth].block)
    ++depth;
  for (int k = depth; k >= 0; --k) {
    auto found = scopes[k].current.find(tensor.getAsOpaquePointer());
    if (found == scopes[k].current.end())
      continue;
    auto [value, row] = found->second;
    if (!isAtRow(at, row))
      return unsupported(tensor.getDefiningOp(), tensor, at, width,
                         "its value at another row is not in memory");
    return spread(value, at, width);
  }
  Key key = keyOf(tensor, at, width);
  if (auto found = scopes[depth].values.find(key);
      found != scopes[depth].values.end())
    return found->second;

  Val value;
  if (depth < last) {
    // Emit in the outer scope, before the loop that leads here, with the inner
    // scopes out of sight.
    OpBuilder::InsertionGuard guard(e.builder());
    Operation *inner = scopes[depth + 1].block->getParentOp();
    while (inner->getBlock() != scopes[depth].block)
      inner = inner->getParentOp();
    e.builder().setInsertionPoint(inner);
    std::vector<ScopeData> hidden(
        std::make_move_iterator(scopes.begin() + depth + 1),
        std::make_move_iterator(scopes.end()));
    scopes.resize(depth + 1);
    value = compute(tensor, at, width);
    scopes[depth].values[key] = value;
    scopes.insert(scopes.end(), std::make_move_iterator(hidden.begin()),
                  std::make_move_iterator(hidden.end()));
    return value;
  }
  value = compute(tensor, at, width);
  scopes[depth].values[key] = value;
  return value;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Val ElementEvaluator::indexOf(const Coord &coord) {
  if (!coord.base)
    return e.i(coord.offset);
  return coord.offset == 0 ? coord.base : coord.base + e.i(coord.offset);
}

Val ElementEvaluator::indexArith(IndexKind kind, Val base, int64_t by) {
  if (by == 1)
    return kind == IndexKind::Rem ? e.i(0) : base;
  std::vector<int64_t> key{
      static_cast<int64_t>(kind),
      reinterpret_cast<int64_t>(base.get().getAsOpaquePointer()), by};
  Val &value = scopes.back().indices[key];
  if (!value) {
    if (kind == IndexKind::Times)
      value = base * e.i(by);
    else
      value = kind == IndexKind::Div ? base / e.i(by) : base % e.i(by);
  }
  return value;
}

/// Memory form of an element type: i1 takes a byte.
static Type storedType(Type element) {
  return element.isInteger(1) ? IntegerType::get(element.getContext(), 8)
                              : element;
}

Type withShapeOf(Type like, Type element) {
  if (auto vector = dyn_cast<VectorType>(like))
    return VectorType::get(vector.getShape(), element);
  return element;
}

Val ElementEvaluator::load(RankedTensorType type, Val pointer,
                           ArrayRef<Coord> at, int64_t width, bool oneRow) {
  if (!anyLanes(at))
    width = 1;
  SmallVector<int64_t, 4> strides = stridesOf(type);
  Val index;
  int64_t offset = 0, laneStride = 0;
  for (auto [d, c] : llvm::enumerate(at)) {
    if (oneRow && d == 0)
      continue;
    if (c.base) {
      Val term = indexArith(IndexKind::Times, c.base, strides[d]);
      index = index ? index + term : term;
    }
    offset += c.offset * strides[d];
    if (c.lanes)
      laneStride += strides[d];
  }
  Type element = storedType(type.getElementType());
  auto indexPlus = [&](int64_t more) {
    int64_t constant = offset + more;
    if (!index)
      return e.i(constant);
    return constant == 0 ? index : index + e.i(constant);
  };
  auto fromStored = [&](Val v) {
    if (!type.getElementType().isInteger(1))
      return v;
    return e.wrap(arith::CmpIOp::create(e.builder(), e.loc(),
                                        arith::CmpIPredicate::ne, v,
                                        e.constant(v.type(), 0)));
  };
  if (width == 1 || laneStride == 0)
    return spread(fromStored(e.load(element, pointer, indexPlus(0))), at,
                  width);
  auto vectorType = VectorType::get({width}, element);
  if (laneStride == 1)
    return fromStored(e.load(vectorType, pointer, indexPlus(0)));
  Val vector = e.constant(vectorType, 0);
  for (int64_t lane = 0; lane < width; ++lane)
    vector = e.insertLane(
        vector, e.load(element, pointer, indexPlus(lane * laneStride)), lane);
  return fromStored(vector);
}

void ElementEvaluator::store(Val value, RankedTensorType type, Val pointer,
                             ArrayRef<Coord> at, bool oneRow) {
  SmallVector<int64_t, 4> strides = stridesOf(type);
  Val index;
  int64_t offset = 0, laneStride = 0;
  for (auto [d, c] : llvm::enumerate(at)) {
    if (oneRow && d == 0)
      continue;
    if (c.base) {
      Val term = indexArith(IndexKind::Times, c.base, strides[d]);
      index = index ? index + term : term;
    }
    offset += c.offset * strides[d];
    if (c.lanes)
      laneStride += strides[d];
  }
  if (type.getElementType().isInteger(1))
    value = e.wrap(arith::ExtUIOp::create(
        e.builder(), e.loc(),
        withShapeOf(value.type(), e.builder().getI8Type()), value));
  auto indexPlus = [&](int64_t more) {
    int64_t constant = offset + more;
    if (!index)
      return e.i(constant);
    return constant == 0 ? index : index + e.i(constant);
  };
  if (!value.isVector() || laneStride == 1) {
    e.store(value, pointer, indexPlus(0));
    return;
  }
  int64_t width = cast<VectorType>(value.type()).getNumElements();
  for (int64_t lane = 0; lane < width; ++lane)
    e.store(e.lane(value, lane), pointer, indexPlus(lane * laneStride));
}

void ElementEvaluator::storeYield(Val value, RankedTensorType type, Val pointer,
                                  ArrayRef<Coord> at, int64_t mode) {
  if (mode == 2) {
    int64_t width =
        value.isVector() ? cast<VectorType>(value.type()).getNumElements() : 1;
    Val old = load(type, pointer, at, width);
    if (type.getElementType().isBF16()) {
      Type f32 = e.builder().getF32Type();
      Val sum = convertElements(e, old, f32) + convertElements(e, value, f32);
      value = convertElements(e, sum, type.getElementType());
    } else {
      value = old + value;
    }
  }
  store(value, type, pointer, at);
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

Val ElementEvaluator::spread(Val value, ArrayRef<Coord> at, int64_t width) {
  if (width == 1 || value.isVector() || !anyLanes(at))
    return value;
  return e.broadcast(value, width);
}

Val ElementEvaluator::zero(Type element, ArrayRef<Coord> at, int64_t width) {
  if (width == 1 || !anyLanes(at))
    return e.constant(element, 0);
  return e.constant(VectorType::get({width}, element), 0);
}

Val ElementEvaluator::unsupported(Operation *op, Value tensor,
                                  ArrayRef<Coord> at, int64_t width,
                                  StringRef why) {
  if (!hasFailed) {
    if (op)
      op->emitError() << "cannot emit '" << op->getName() << "': " << why;
    else
      emitError(tensor.getLoc()) << "cannot emit a kernel argument: " << why;
  }
  hasFailed = true;
  return zero(cast<RankedTensorType>(tensor.getType()).getElementType(), at,
              width);
}

Val ElementEvaluator::scalarised(Value tensor, ArrayRef<Coord> at,
                                 int64_t width) {
  Val vector;
  for (int64_t lane = 0; lane < width; ++lane) {
    Coords one(at.begin(), at.end());
    for (Coord &c : one) {
      if (!c.lanes)
        continue;
      c.lanes = false;
      c.offset += lane;
      c.low += lane;
      c.high = c.base ? c.high - (width - 1 - lane) : c.offset + 1;
    }
    Val element = evaluate(tensor, one, 1);
    if (!vector)
      vector = e.constant(VectorType::get({width}, element.type()), 0);
    vector = e.insertLane(vector, element, lane);
  }
  return vector;
}

bool ElementEvaluator::isAtRow(ArrayRef<Coord> at, Val row) {
  return !row || (!at.empty() && at[0].base && at[0].offset == 0 &&
                  at[0].base.get() == row.get());
}

Val ElementEvaluator::computeBound(Value tensor, const Binding &binding,
                                   ArrayRef<Coord> at, int64_t width) {
  auto type = cast<RankedTensorType>(tensor.getType());
  bool oneRow = static_cast<bool>(binding.row);
  if (!isAtRow(at, binding.row))
    return unsupported(tensor.getDefiningOp(), tensor, at, width,
                       "its value at another row is not in memory");
  return load(type, binding.pointer, at, width, oneRow);
}

Val ElementEvaluator::compute(Value tensor, ArrayRef<Coord> at, int64_t width) {
  if (auto bound = bindings.find(tensor); bound != bindings.end()) {
    Binding binding = bound->second;
    return computeBound(tensor, binding, at, width);
  }
  Operation *op = tensor.getDefiningOp();
  if (!op)
    return unsupported(op, tensor, at, width, "the argument has no buffer");
  if (auto splat = dyn_cast<SplatOp>(op)) {
    auto found = scalars.find(splat.getValue());
    if (found == scalars.end())
      return unsupported(op, tensor, at, width, "its scalar is no argument");
    Type element = splat.getType().getElementType();
    Val scalar = found->second;
    if (element == e.floatType() && !element.isF64()) {
      auto argument = cast<BlockArgument>(splat.getValue());
      int64_t slot = 0;
      for (BlockArgument other : argument.getOwner()->getArguments())
        if (other.getArgNumber() < argument.getArgNumber() &&
            !isa<RankedTensorType>(other.getType()))
          ++slot;
      scalar = e.scalar(slot);
    } else {
      scalar = convertElements(e, scalar, element);
    }
    return spread(scalar, at, width);
  }
  if (Val value = shapeOp(op, at, width))
    return value;

  // Elementwise: operands at the same coordinates.
  bool elementwise =
      op->getNumResults() == 1 &&
      op->getDialect() == op->getContext()->getLoadedDialect("pg");
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    elementwise &=
        type &&
        type.getShape() == cast<RankedTensorType>(tensor.getType()).getShape();
  }
  if (!elementwise)
    return unsupported(op, tensor, at, width,
                       "it has no value element by element here");
  SmallVector<Val, 4> operands;
  for (Value operand : op->getOperands())
    operands.push_back(evaluate(operand, at, width));
  Val value = mathOp(op, operands);
  if (!value)
    return unsupported(op, tensor, at, width,
                       "it has no value element by element here");
  return value;
}

} // namespace pg
