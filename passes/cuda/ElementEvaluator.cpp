//===- ElementEvaluator.cpp - bindings, memory, terms -------------------------===//
#include "passes/cuda/ElementEvaluator.h"

using namespace mlir;

namespace pg::cuda {

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

Coord Coord::constant(int64_t value) {
  Coord c;
  c.offset = c.low = value;
  c.high = value + 1;
  return c;
}

Coord Coord::at(const Term &base, int64_t low, int64_t high, int64_t divisor) {
  Coord c;
  c.base = base.text;
  c.depth = base.depth;
  c.low = low;
  c.high = high;
  c.divisor = divisor;
  return c;
}

Coord Coord::lanesAt(const Term &base, int64_t low, int64_t high,
                     int64_t divisor) {
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

std::string Coord::key() const {
  return base + "+" + std::to_string(offset) + (lanes ? "+w" : "");
}

//===----------------------------------------------------------------------===//
// Terms
//===----------------------------------------------------------------------===//

ElementEvaluator::ElementEvaluator(SourceWriter &writer, KernelText &kernel)
    : w(writer), kernel(kernel) {
  for (BlockArgument argument :
       kernel.def().getBody().front().getArguments())
    if (isa<RankedTensorType>(argument.getType()))
      bindMemory(argument, kernel.argument(argument),
                 kernel.alignment(argument));
}

void ElementEvaluator::bindMemory(Value tensor, StringRef pointer,
                                  int64_t alignment, int depth) {
  bindings[tensor] = {pointer.str(), alignment, depth, false};
}
void ElementEvaluator::bindRow(Value tensor, StringRef pointer,
                               int64_t alignment, int depth) {
  bindings[tensor] = {pointer.str(), alignment, depth, true};
}
void ElementEvaluator::bindCurrent(Value tensor, const Term &value) {
  current[tensor] = value;
}
void ElementEvaluator::unbind(Value tensor) {
  current.erase(tensor);
  bindings.erase(tensor);
}
bool ElementEvaluator::isBound(Value tensor) const {
  return current.contains(tensor) || bindings.contains(tensor);
}

Term ElementEvaluator::define(StringRef type, StringRef stem, const Twine &text,
                              int depth) {
  std::string name = w.fresh(stem == "and" || stem == "xor"
                                 ? (stem + "_of").str()
                                 : stem.str());
  w.line(w.at(depth), "const " + type + " " + name + " = " + text + ";");
  return {name, depth};
}

Term ElementEvaluator::defineOnce(const std::string &key, StringRef type,
                                  StringRef stem, const Twine &text,
                                  int depth) {
  if (std::optional<Term> known = remembered(key))
    return *known;
  Term term = define(type, stem, text, depth);
  remember(key, term);
  return term;
}

Term ElementEvaluator::element(StringRef array, const Coord &index, Type type,
                               int depth) {
  Term where = indexOf(index);
  // Widening a float or an int leaves it as it is.
  std::string read = ("pg_widen(" + array + "[" + where.text + "])").str();
  if (!guard.text.empty())
    read = guard.text + " ? " + read + " : " + literal(type, 0);
  return defineOnce("element " + read, registerType(type), "result", read,
                    std::max({where.depth, guard.depth, depth}));
}

std::string ElementEvaluator::keyOf(Value tensor, ArrayRef<Coord> at,
                                    StringRef guard) {
  std::string key =
      std::to_string(reinterpret_cast<uintptr_t>(tensor.getAsOpaquePointer()));
  for (const Coord &c : at)
    key += "," + c.key();
  return key + "|" + guard.str();
}

std::optional<Term>
ElementEvaluator::remembered(const std::string &key) const {
  for (int d = w.depth(); d >= 0; --d)
    if (auto block = terms.find(w.at(d)); block != terms.end())
      if (auto found = block->second.find(key); found != block->second.end())
        return found->second;
  return std::nullopt;
}

void ElementEvaluator::remember(const std::string &key, const Term &term) {
  terms[w.at(term.depth)][key] = term;
}

Term ElementEvaluator::unsupported(Value tensor, StringRef why) {
  if (!hasFailed) {
    if (Operation *op = tensor.getDefiningOp())
      op->emitError() << "cannot emit '" << op->getName() << "': " << why;
    else
      emitError(tensor.getLoc()) << "cannot emit a kernel argument: " << why;
  }
  hasFailed = true;
  return {literal(cast<RankedTensorType>(tensor.getType()).getElementType(), 0),
          0};
}

Term ElementEvaluator::evaluate(Value tensor, ArrayRef<Coord> at) {
  if (auto found = current.find(tensor); found != current.end())
    return found->second;
  if (reuse)
    if (std::optional<Term> kept = reuse->find(tensor, at))
      return *kept;
  std::string key = keyOf(tensor, at, guard.text);
  if (std::optional<Term> known = remembered(key))
    return *known;
  // What was computed everywhere holds here too.
  if (!guard.text.empty())
    if (std::optional<Term> known = remembered(keyOf(tensor, at, "")))
      return *known;
  Term value = compute(tensor, at);
  remember(key, value);
  if (reuse && guard.text.empty())
    reuse->computed(tensor, at, value);
  return value;
}

Term ElementEvaluator::compute(Value tensor, ArrayRef<Coord> at) {
  if (auto bound = bindings.find(tensor); bound != bindings.end()) {
    Binding binding = bound->second;
    return load(tensor, binding, at);
  }
  Operation *op = tensor.getDefiningOp();
  if (!op)
    return unsupported(tensor, "the argument has no buffer");
  auto type = cast<RankedTensorType>(tensor.getType());
  if (auto splat = dyn_cast<SplatOp>(op)) {
    auto argument = dyn_cast<BlockArgument>(splat.getValue());
    if (!argument)
      return unsupported(tensor, "its scalar is no argument");
    Type f64 = Float64Type::get(op->getContext());
    std::string name = kernel.argument(argument);
    std::string text = converted(name, f64, type.getElementType());
    return text == name
               ? Term{name, 0}
               : define(registerType(type.getElementType()), "scalar", text, 0);
  }
  if (std::optional<Term> moved = shapeOp(op, tensor, at))
    return *moved;

  // Elementwise: operands at the same coordinates.
  SmallVector<Term, 4> operands;
  for (Value operand : op->getOperands()) {
    auto operandType = dyn_cast<RankedTensorType>(operand.getType());
    if (!operandType || operandType.getShape() != type.getShape() ||
        op->getNumResults() != 1)
      return unsupported(tensor, "it has no value element by element here");
    operands.push_back(evaluate(operand, at));
  }
  return mathOp(op, tensor, operands);
}

void ElementEvaluator::guarded(const Term &condition,
                               llvm::function_ref<void()> body) {
  Term before = guard;
  guard = before.text.empty()
              ? condition
              : define("bool", "guard", before.text + " && " + condition.text,
                       std::max(before.depth, condition.depth));
  body();
  guard = before;
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

void ElementEvaluator::openVector(int64_t newWidth) {
  width = newWidth;
  laneName = w.fresh("w");
  w.open("#pragma unroll\nfor (int " + laneName + " = 0; " + laneName + " < " +
         Twine(width) + "; ++" + laneName + ")");
  laneDepth = w.depth();
}

void ElementEvaluator::closeVector() {
  w.close();
  width = 1;
  laneName.clear();
  laneDepth = 0;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Term ElementEvaluator::indexOf(const Coord &c) {
  if (c.base.empty() && !c.lanes)
    return {std::to_string(c.offset), 0};
  std::string text = c.base;
  if (c.offset != 0 || c.base.empty())
    text += (c.base.empty() ? "" : c.offset < 0 ? " - " : " + ") +
            std::to_string(c.base.empty() ? c.offset : std::abs(c.offset));
  if (c.lanes)
    text += " + " + laneName;
  bool simple = !c.lanes && c.offset == 0;
  return {simple ? text : "(" + text + ")",
          c.lanes ? std::max(c.depth, laneDepth) : c.depth};
}

/// Elements behind one index of the leading dimension.
static int64_t pitchOf(RankedTensorType type) {
  int64_t pitch = 1;
  for (int64_t d = 1; d < type.getRank(); ++d)
    pitch *= type.getDimSize(d);
  return pitch;
}

Term ElementEvaluator::rowAddress(RankedTensorType type, StringRef pointer,
                                  const Coord &row, int depth) {
  int64_t pitch = pitchOf(type);
  if (row.base.empty()) {
    int64_t offset = pitch * row.offset;
    return {offset == 0 ? pointer.str()
                        : (pointer + " + " + Twine(offset)).str(),
            depth};
  }
  Term index = indexOf(row);
  depth = std::max(depth, index.depth);
  if (pitch == 1)
    return {(pointer + " + " + index.text).str(), depth};
  std::string key = (pointer + " row " + row.key()).str();
  if (std::optional<Term> known = remembered(key))
    return *known;
  // In 64 bits: N rows may be more than 2^31 elements.
  Term address{w.fresh((pointer + "_row").str()), depth};
  w.line(w.at(depth), "auto *const " + address.text + " = " + pointer + " + " +
                          Twine(pitch) + "ll * " + index.text + ";");
  remember(key, address);
  return address;
}

Term ElementEvaluator::address(RankedTensorType type, StringRef pointer,
                               ArrayRef<Coord> at, bool oneRow, int depth) {
  Term base{pointer.str(), depth};
  ArrayRef<int64_t> shape = type.getShape();
  if (oneRow) {
    at = at.drop_front();
    shape = shape.drop_front();
  } else if (byRow(type, at)) {
    base = rowAddress(type, pointer, at[0], depth);
    at = at.drop_front();
    shape = shape.drop_front();
  }
  Term index = indexOf(linearise(at, shape));
  return {index.text == "0" ? base.text : base.text + " + " + index.text,
          std::max(base.depth, index.depth)};
}

/// True when the leading index has an address of its own: it is the token's, or
/// it changes less often than the others.
bool ElementEvaluator::byRow(RankedTensorType type, ArrayRef<Coord> at) const {
  if (at.empty() || at[0].lanes)
    return false;
  if (type.isDynamicDim(0))
    return true;
  int inner = 0;
  for (const Coord &c : at.drop_front())
    inner = std::max(inner, c.lanes ? std::max(c.depth, laneDepth) : c.depth);
  return !at[0].base.empty() && at[0].depth < inner;
}

Term ElementEvaluator::load(Value tensor, const Binding &binding,
                            ArrayRef<Coord> at) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Type element = type.getElementType();
  std::string stem = "kept";
  if (auto argument = dyn_cast<BlockArgument>(tensor))
    stem = "x" + std::to_string(argument.getArgNumber());
  if (std::optional<Term> vector = loadVector(type, stem, binding, at))
    return *vector;
  Term where =
      address(type, binding.pointer, at, binding.oneRow, binding.depth);
  std::string read = "pg_get(" + where.text + ")";
  if (!guard.text.empty())
    read = guard.text + " ? " + read + " : " + literal(element, 0);
  return define(registerType(element), stem, read,
                std::max(where.depth, guard.depth));
}

/// Lanes that are consecutive and aligned in memory come with one access,
/// before the loop over them.
std::optional<Term> ElementEvaluator::loadVector(RankedTensorType type,
                                                 StringRef stem,
                                                 const Binding &binding,
                                                 ArrayRef<Coord> at) {
  if (width == 1 || (!guard.text.empty() && guard.depth >= laneDepth) ||
      llvm::none_of(at, [](const Coord &c) { return c.lanes; }))
    return std::nullopt;
  bool row = binding.oneRow || byRow(type, at);
  Type element = type.getElementType();
  int64_t bytes = elementBytes(element);
  int64_t access = std::min<int64_t>(16, width * bytes);
  if (binding.alignment % access != 0 ||
      (row && !binding.oneRow && pitchOf(type) * bytes % access != 0))
    return std::nullopt;
  Coord linear =
      linearise(row ? at.drop_front() : at,
                row ? type.getShape().drop_front() : type.getShape());
  if (!linear.lanes || linear.depth >= laneDepth ||
      linear.offset % width != 0 ||
      (!linear.base.empty() && linear.divisor % width != 0))
    return std::nullopt;
  linear.lanes = false;
  Term base{binding.pointer, binding.depth};
  if (row && !binding.oneRow)
    base = rowAddress(type, binding.pointer, at[0], binding.depth);
  Term index = indexOf(linear);
  std::string key = "vector " + base.text + " " + index.text + "|" + guard.text;
  std::optional<Term> vector = remembered(key);
  if (!vector) {
    std::string vectorType = "pg_vec<" + registerType(element) + ", " +
                             std::to_string(width) + ">";
    std::string read = "pg_load<" + std::to_string(width) + ">(" + base.text +
                       (index.text == "0" ? "" : " + " + index.text) + ")";
    if (!guard.text.empty())
      read = guard.text + " ? " + read + " : " + vectorType + "{}";
    vector = define(vectorType, stem, read,
                    std::max({base.depth, index.depth, guard.depth}));
    remember(key, *vector);
    ++numVectorLoads;
  }
  return Term{vector->text + "[" + laneName + "]", laneDepth};
}

} // namespace pg::cuda
