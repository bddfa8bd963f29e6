//===- RowEmitter.cpp - rows, loops, stores -----------------------------------===//
#include "passes/cuda/RowEmitter.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pg::cuda {
namespace {

/// Steps up to which a loop is unrolled, so that arrays live in registers.
constexpr int64_t kUnrolledSteps = 16;
/// Loaded elements a thread may have in flight before they crowd out registers.
constexpr int64_t kElementsInFlight = 64;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

/// The type with its row as one dimension.
RankedTensorType flat(RankedTensorType type) {
  return RankedTensorType::get({type.getDimSize(0), elementsPerRow(type, true)},
                               type.getElementType());
}

} // namespace

RowEmitter::RowEmitter(KernelText &kernel, RowPlan given)
    : kernel(kernel), plan(std::move(given)), evaluator(w, kernel),
      yields(kernel.yields()) {
  int64_t partialBytes = 0;
  for (Value v : yields)
    if (v.getDefiningOp<PartialSumOp>())
      partialBytes += elementsPerRow(tensorType(v), true) *
                      std::max<int64_t>(4, elementBytes(tensorType(v).getElementType()));
  chunked = partialBytes > 0;
  team = chooseTeam(kernel.def(), plan, partialBytes);
  evaluator.reuse = this;
}

LogicalResult RowEmitter::run() {
  for (Value v : yields)
    if (auto partial = v.getDefiningOp<PartialSumOp>())
      if (cast<ChunksAttr>(tensorType(v).getEncoding()).getGrain() !=
          plan.domain.grain)
        return partial.emitError(
            "partial sums of one kernel have chunks of one size on this target");
  openRows();
  for (const LoopGroup &group : plan.groups)
    emitGroup(group);
  closeRows();
  if (chunked)
    combinePartials();
  return failure(evaluator.failed());
}

Stage RowEmitter::stage() const {
  Stage stage;
  stage.symbol = kernel.def().getSymName().str();
  stage.threads = team.threads();
  stage.sharedBytes = shared;
  // As many registers as a thread needs: left to itself the assembler spills a
  // few of them for the sake of more blocks at a time.
  stage.blocksPerSm = 1;
  if (plan.domain.kind == RowDomain::Kind::Tokens)
    stage.blocks.tokensPerItem = chunked ? plan.domain.grain : team.teams;
  else
    stage.blocks.multiplier = llvm::divideCeil(plan.domain.rows, team.teams);
  return stage;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

void RowEmitter::openRows() {
  std::string lanes = std::to_string(team.lanes);
  std::string teams = std::to_string(team.teams);
  w.line("const int lane = pg_thread() % " + lanes + ";");
  w.line("const int team = pg_thread() / " + lanes + ";");
  bool tokens = plan.domain.kind == RowDomain::Kind::Tokens;
  w.line("const int rows = " +
         (tokens ? std::string("(int)batch.n")
                 : std::to_string(plan.domain.rows)) + ";");
  top = w.slot();
  std::string first;
  if (chunked) {
    declarePartials();
    std::string grain = std::to_string(plan.domain.grain);
    w.open("for (int turn = 0; turn < " + grain + "; turn += " + teams + ")");
    first = "pg_block() * " + grain + " + turn + team";
    if (plan.domain.grain % team.teams != 0) {
      w.line("const bool live = turn + team < " + grain + " && (int)(" + first +
             ") < rows;");
    } else {
      w.line("const bool live = (int)(" + first + ") < rows;");
    }
  } else {
    first = "pg_block() * " + teams + " + team";
    w.line("const bool live = (int)(" + first + ") < rows;");
  }
  // Threads without a row of their own go along with the last one.
  w.line("const int row = live ? (int)(" + first + ") : rows - 1;");
  rowDepth = w.depth();
  rowTop = w.slot();
  row = Coord::at({"row", rowDepth}, 0,
                  tokens ? std::numeric_limits<int64_t>::max()
                         : plan.domain.rows);
  token = row;
  if (plan.domain.takeIndex)
    token = Coord::at(evaluator.evaluate(plan.domain.takeIndex, {row}));
}

void RowEmitter::closeRows() {
  rowEnd = w.slot();
  // The next row's results must not overtake readers of this one's.
  if (chunked && usesHomes)
    barrierAt(rowEnd);
  if (chunked)
    w.close();
}

Coord RowEmitter::leading(RankedTensorType type) const {
  return isTokenTensor(type) ? token : row;
}
bool RowEmitter::isRowCoord(const Coord &c) const {
  return c.key() == row.key() || c.key() == token.key();
}

void RowEmitter::declarePartials() {
  for (auto [index, v] : llvm::enumerate(yields)) {
    auto partial = v.getDefiningOp<PartialSumOp>();
    if (!partial)
      continue;
    RankedTensorType type = tensorType(partial.getX());
    Partial p{static_cast<unsigned>(index), elementsPerRow(type, true),
              "sum_out" + std::to_string(index)};
    std::string number = registerType(type.getElementType());
    if (p.elements == 1) {
      w.line(number + " " + p.name + " = 0;");
    } else {
      int64_t bytes = elementBytes(type.getElementType()) == 8 ? 8 : 4;
      int64_t offset = sharedPiece(p.elements * bytes * team.teams);
      w.line(number + " *const " + p.name + " = (" + number +
             " *)(pg_shared() + " + Twine(offset) + ") + team * " +
             Twine(p.elements) + ";");
      w.open("for (int j = lane; j < " + Twine(p.elements) + "; j += " +
             Twine(team.lanes) + ")");
      w.line(p.name + "[j] = 0;");
      w.close();
    }
    partials.push_back(p);
  }
  // A team's sums are touched by other lanes than those that cleared them.
  barrierAt(w.current());
}

/// Sums of the teams of a block, in their order.
void RowEmitter::combinePartials() {
  w.line("pg_barrier();");
  for (const Partial &p : partials) {
    RankedTensorType type = tensorType(yields[p.yield]);
    std::string number = registerType(type.getElementType());
    std::string elements = std::to_string(p.elements);
    std::string out = kernel.yield(p.yield);
    if (p.elements == 1) {
      int64_t bytes = elementBytes(type.getElementType()) == 8 ? 8 : 4;
      int64_t offset = sharedPiece(bytes * team.teams);
      std::string all = p.name + "_teams";
      w.line(number + " *const " + all + " = (" + number +
             " *)(pg_shared() + " + Twine(offset) + ");");
      w.line("if (lane == 0)");
      w.line("    " + all + "[team] = " + p.name + ";");
      w.line("pg_barrier();");
      w.open("if (pg_thread() == 0)");
      w.line(number + " sum = " + all + "[0];");
      w.line("for (int t = 1; t < " + Twine(team.teams) + "; ++t)");
      w.line("    sum += " + all + "[t];");
      w.line("pg_put(" + out + " + pg_block(), sum);");
      w.close();
      continue;
    }
    w.open("for (int j = pg_thread(); j < " + elements + "; j += " +
           Twine(team.threads()) + ")");
    std::string first = p.name + " - team * " + elements;
    w.line("const " + number + " *const teams = " + first + ";");
    w.line(number + " sum = teams[j];");
    w.line("for (int t = 1; t < " + Twine(team.teams) + "; ++t)");
    w.line("    sum += teams[t * " + elements + " + j];");
    w.line("pg_put(" + out + " + pg_block() * " + elements + " + j, sum);");
    w.close();
  }
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

RowEmitter::Loop RowEmitter::openLoop(const RowLayout &layout) {
  Loop loop;
  loop.layout = layout;
  loop.id = ++loops;
  loop.unrolled = layout.steps <= kUnrolledSteps;
  if (layout.steps > 1) {
    loop.step = w.fresh("i");
    w.open((loop.unrolled ? "#pragma unroll\n" : "") +
           ("for (int " + loop.step + " = 0; " + loop.step + " < ") +
           Twine(layout.steps) + "; ++" + loop.step + ")");
  }
  std::string at = "lane";
  if (team.lanes == 1)
    at = layout.steps > 1 ? loop.step : "0";
  else if (layout.steps > 1)
    at = "(" + loop.step + " * " + std::to_string(team.lanes) + " + lane)";
  if (layout.width > 1)
    at += " * " + std::to_string(layout.width);
  loop.inside = {"true", 0};
  if (!layout.isWhole(team.lanes)) {
    loop.inside = evaluator.define("bool", "inside",
                                   at + " < " + Twine(layout.elements),
                                   w.depth());
    at = loop.inside.text + " ? " + at + " : 0";
  }
  Term position;
  if (layout.elements == layout.width) {
    loop.position = Coord::constant(0);
    if (layout.width > 1) {
      loop.position.high = layout.width;
      loop.position.lanes = true;
    }
  } else {
    position = evaluator.define("int", "p", at, w.depth());
    loop.position =
        layout.width > 1
            ? Coord::lanesAt(position, 0, layout.elements, layout.width)
            : Coord::at(position, 0, layout.elements);
  }
  loop.loadsBefore = evaluator.vectorLoads();
  current = loop;
  inLoop = true;
  vectors.clear();
  return loop;
}

void RowEmitter::closeLoop(const Loop &loop) {
  inLoop = false;
  if (loop.step.empty())
    return;
  int64_t loads = evaluator.vectorLoads() - loop.loadsBefore;
  if (loads * loop.layout.width * loop.layout.steps > kElementsInFlight)
    w.line("pg_keep_order(); // one step's loads in flight are enough");
  w.close();
}

Coords RowEmitter::coordsOf(RankedTensorType type, const Loop &loop) {
  Coords at{leading(type)};
  at.append(evaluator.delinearise(loop.position, type.getShape().drop_front()));
  at.truncate(type.getRank());
  return at;
}

/// Where a yield's element (or vector) of the loop's position lies.
Term RowEmitter::addressOf(unsigned yield, const Loop &loop) {
  RankedTensorType type = tensorType(yields[yield]);
  Coord position = loop.position;
  if (loop.layout.width > 1 && !vectorStore(yield, loop))
    return evaluator.address(flat(type), kernel.yield(yield),
                             {leading(type), position});
  position.lanes = false;
  return evaluator.address(flat(type), kernel.yield(yield),
                           {leading(type), position});
}

std::string RowEmitter::live(const Term &inside) const {
  return inside.text == "true" ? "live" : "live && " + inside.text;
}

Value RowEmitter::storedValue(unsigned index) const {
  auto partial = yields[index].getDefiningOp<PartialSumOp>();
  return partial ? partial.getX() : yields[index];
}

void RowEmitter::emitGroup(const LoopGroup &group) {
  RowLayout layout = team.layout(group.space, true);
  SmallVector<Value> linear, byOutput;
  for (Value v : group.reductions)
    (isLinear(group, v, layout) ? linear : byOutput).push_back(v);
  for (Value v : byOutput)
    emitByOutput(group, v);
  bool maps = !group.kept.empty();
  for (unsigned index : group.yields)
    maps |= !llvm::is_contained(group.reductions, yields[index]);
  if (maps || !linear.empty())
    emitLinear(group, linear);
}

/// Maps and reductions over whole rows or aligned pieces of them.
void RowEmitter::emitLinear(const LoopGroup &group, ArrayRef<Value> reductions) {
  RowLayout layout = team.layout(group.space, true);
  SourceWriter::Block *before = w.slot();
  Loop loop = openLoop(layout);
  Coords at = coordsOf(group.space, loop);
  SourceWriter::Block *stepTop = w.slot();
  // Accumulators: of the row outside the loop, of a piece in its step.
  SmallVector<std::string> sums;
  for (Value v : reductions) {
    Kind kind = kindOf(v);
    bool row = elementsPerRow(tensorType(v), true) == 1;
    sums.push_back(w.fresh(kind.isSum ? "sum" : "most"));
    w.line(row ? before : stepTop,
           kind.type + " " + sums.back() + " = " + kind.start + ";");
  }
  SmallVector<unsigned> stores;
  for (unsigned index : group.yields)
    if (!llvm::is_contained(group.reductions, yields[index]))
      stores.push_back(index);

  if (layout.width > 1)
    evaluator.openVector(layout.width);
  for (auto [v, sum] : llvm::zip(reductions, sums)) {
    Kind kind = kindOf(v);
    Term x = evaluator.evaluate(v.getDefiningOp()->getOperand(0), at);
    std::string next = joined(kind, sum, x.text);
    w.line((loop.inside.text == "true" ? "" : "if (" + loop.inside.text + ") ") +
           sum + " = " + next + ";");
  }
  for (Value v : group.kept)
    evaluator.evaluate(v, at);
  SmallVector<Term> stored;
  for (unsigned index : stores)
    stored.push_back(evaluator.evaluate(storedValue(index), at));
  for (auto [index, value] : llvm::zip(stores, stored))
    storeYield(index, loop, value);
  if (layout.width > 1)
    evaluator.closeVector();
  for (unsigned index : stores)
    finishStore(index, loop);

  // Pieces: their lanes are neighbours in the warp.
  for (auto [v, sum] : llvm::zip(reductions, sums)) {
    Kind kind = kindOf(v);
    int64_t count = elementsPerRow(tensorType(v), true);
    if (count == 1)
      continue;
    Segments piece;
    piece.loop = loop;
    piece.length = layout.elements / count;
    piece.count = count;
    int64_t lanes = piece.length / layout.width;
    std::string total = overTeam(kind, sum, lanes);
    Term value = evaluator.define(registerType(kind.element), "piece",
                                  kind.element.isBF16()
                                      ? "pg_round_bf16(" + total + ")"
                                      : total,
                                  w.depth());
    Coord start = loop.position;
    start.lanes = false;
    Term index = evaluator.indexOf(start);
    Term quotient = evaluator.define("int", "part",
                                     index.text + " / " + Twine(piece.length),
                                     w.depth());
    std::string mine = "lane % " + std::to_string(lanes) + " == 0";
    if (loop.inside.text != "true")
      mine += " && " + loop.inside.text;
    piece.value = value.text;
    piece.block = w.current();
    piece.store = w.slot();
    piece.quotient = quotient.text;
    piece.mine = mine;
    segments[v] = piece;
    storeReduction(v, value, quotient, mine);
  }
  closeLoop(loop);

  // Rows.
  for (auto [v, sum] : llvm::zip(reductions, sums)) {
    if (elementsPerRow(tensorType(v), true) != 1)
      continue;
    Kind kind = kindOf(v);
    std::string total = overTeam(kind, sum, team.lanes);
    Term value = evaluator.define(
        registerType(kind.element), "total",
        kind.element.isBF16() ? "pg_round_bf16(" + total + ")" : total,
        w.depth());
    evaluator.bindCurrent(v, value);
    storeReduction(v, value, {"0", 0}, "lane == 0");
  }
  SourceWriter::Block *after = w.slot();
  for (Value v : reductions)
    if (auto found = segments.find(v); found != segments.end())
      found->second.after = after;
}

/// Any other reduction: a thread, or the team, per result.
void RowEmitter::emitByOutput(const LoopGroup &group, Value v) {
  Kind kind = kindOf(v);
  ArrayRef<int64_t> shape = group.space.getShape();
  SmallVector<int64_t> keptShape, reducedShape;
  for (int64_t d = 1; d < group.space.getRank(); ++d)
    (llvm::is_contained(group.axes, d) ? reducedShape : keptShape)
        .push_back(shape[d]);
  int64_t outputs = 1, length = 1;
  for (int64_t size : keptShape)
    outputs *= size;
  for (int64_t size : reducedShape)
    length *= size;
  bool perLane = outputs * 2 >= team.lanes || length <= 16;
  std::string home = homeOf(v, outputs, registerType(kind.element));

  std::string o = w.fresh("o"), k = w.fresh("k");
  w.open("for (int " + o + " = " + (perLane ? "lane" : "0") + "; " + o + " < " +
         Twine(outputs) + "; " + o + " += " + (perLane ? Twine(team.lanes) : Twine(1)) + ")");
  Term output{o, w.depth()};
  std::string sum = w.fresh(kind.isSum ? "sum" : "most");
  w.line(kind.type + " " + sum + " = " + kind.start + ";");
  Coords kept = evaluator.delinearise(
      outputs == 1 ? Coord::constant(0) : Coord::at(output, 0, outputs),
      keptShape);
  w.open("for (int " + k + " = " + (perLane ? "0" : "lane") + "; " + k + " < " +
         Twine(length) + "; " + k + " += " + (perLane ? Twine(1) : Twine(team.lanes)) + ")");
  Coords reduced = evaluator.delinearise(
      length == 1 ? Coord::constant(0)
                  : Coord::at({k, w.depth()}, 0, length),
      reducedShape);
  Coords at{leading(group.space)};
  size_t nextKept = 0, nextReduced = 0;
  for (int64_t d = 1; d < group.space.getRank(); ++d)
    at.push_back(llvm::is_contained(group.axes, d) ? reduced[nextReduced++]
                                                   : kept[nextKept++]);
  Term x = evaluator.evaluate(v.getDefiningOp()->getOperand(0), at);
  w.line(sum + " = " + joined(kind, sum, x.text) + ";");
  w.close();
  std::string total = perLane ? sum : overTeam(kind, sum, team.lanes);
  Term value = evaluator.define(
      registerType(kind.element), "total",
      kind.element.isBF16() ? "pg_round_bf16(" + total + ")" : total, w.depth());
  std::string writer = perLane ? "" : "if (lane == 0) ";
  w.line(writer + home + "[" + o + "] = " + value.text + ";");
  storeReduction(v, value, output, perLane ? "true" : "lane == 0");
  w.close();
  barrierAt(w.current());
}

//===----------------------------------------------------------------------===//
// Stores
//===----------------------------------------------------------------------===//

/// Fresh yields that are this reduction.
void RowEmitter::storeReduction(Value v, const Term &value, const Term &index,
                                const std::string &condition) {
  for (auto [number, y] : llvm::enumerate(yields)) {
    if (y != v || kernel.def().getModes()[number] != 0)
      continue;
    RankedTensorType type = tensorType(v);
    Coords at{leading(type)};
    if (type.getRank() > 1)
      at.append(evaluator.delinearise(
          index.text == "0"
              ? Coord::constant(0)
              : Coord::at(index, 0, elementsPerRow(type, true)),
          type.getShape().drop_front()));
    Term where = evaluator.address(type, kernel.yield(number), at);
    w.line("if (live && " + condition + ")");
    w.line("    pg_put(" + where.text + ", " + value.text + ");");
  }
}

void RowEmitter::accumulatePartial(unsigned index, const Loop &loop,
                                   const Term &value) {
  const Partial &p = *llvm::find_if(
      partials, [&](const Partial &partial) { return partial.yield == index; });
  std::string x = "(" + live(loop.inside) + " ? " + value.text + " : 0)";
  if (p.elements == 1) {
    w.line(p.name + " += " + x + ";");
    return;
  }
  if (loop.layout.width == 1) {
    Term at = evaluator.indexOf(loop.position);
    w.line("if (" + live(loop.inside) + ") " + p.name + "[" + at.text +
           "] += " + value.text + ";");
    return;
  }
  vectors[index] = w.fresh("part");
  Coord start = loop.position;
  start.lanes = false;
  Type element = tensorType(yields[index]).getElementType();
  std::string number = registerType(element);
  w.line(w.at(evaluator.vectorDepth()),
         "pg_vec<" + number + ", " + Twine(loop.layout.width) + "> " +
             vectors[index] + " = pg_load<" + Twine(loop.layout.width) + ">(" +
             p.name + " + " + evaluator.indexOf(start).text + ");");
  w.line(vectors[index] + "[" + evaluator.lane() + "] += " + value.text + ";");
}

void RowEmitter::storeYield(unsigned index, const Loop &loop,
                            const Term &value) {
  if (yields[index].getDefiningOp<PartialSumOp>())
    return accumulatePartial(index, loop, value);
  RankedTensorType type = tensorType(yields[index]);
  Type element = type.getElementType();
  int64_t width = loop.layout.width;
  bool adds = kernel.def().getModes()[index] == 2;
  if (!vectorStore(index, loop)) {
    Term where = addressOf(index, loop);
    w.line("if (" + live(loop.inside) + ")");
    std::string x = value.text;
    if (adds)
      x = "pg_get(" + where.text + ") + " + x;
    w.line("    pg_put(" + where.text + ", " + x + ");");
    return;
  }
  vectors[index] = w.fresh("y" + std::to_string(index));
  std::string declared = "pg_vec<" + registerType(element) + ", " +
                         std::to_string(width) + "> " + vectors[index];
  if (adds)
    declared += " = pg_load<" + std::to_string(width) + ">(" +
                addressOf(index, loop).text + ")";
  w.line(w.at(evaluator.vectorDepth()), declared + ";");
  w.line(vectors[index] + "[" + evaluator.lane() + "]" +
         (adds ? " += " : " = ") + value.text + ";");
}

bool RowEmitter::vectorStore(unsigned index, const Loop &loop) const {
  int64_t bytes = elementBytes(tensorType(yields[index]).getElementType());
  int64_t access = std::min<int64_t>(16, loop.layout.width * bytes);
  return loop.layout.width > 1 && kernel.yieldAlignment(index) % access == 0 &&
         loop.layout.elements * bytes % access == 0;
}

/// Vector stores, when all elements of the step are there.
void RowEmitter::finishStore(unsigned index, const Loop &loop) {
  auto found = vectors.find(index);
  if (found == vectors.end())
    return;
  std::string width = std::to_string(loop.layout.width);
  if (yields[index].getDefiningOp<PartialSumOp>()) {
    const Partial &p = *llvm::find_if(partials, [&](const Partial &partial) {
      return partial.yield == index;
    });
    Coord start = loop.position;
    start.lanes = false;
    w.line("if (" + live(loop.inside) + ")");
    w.line("    pg_store<" + width + ">(" + p.name + " + " +
           evaluator.indexOf(start).text + ", " + found->second + ");");
    return;
  }
  Term where = addressOf(index, loop);
  w.line("if (" + live(loop.inside) + ")");
  w.line("    pg_store<" + width + ">(" + where.text + ", " + found->second +
         ");");
}

} // namespace pg::cuda
