//===- WholeEmitter.cpp - static tensors as a whole ---------------------------===//
//
//   1. Loops of the plan in order. A boundary (a barrier of the only block, or
//      a new stage) stands before a loop that may read what others wrote, and
//      before the first loop that writes symbols.
//   2. A reduction with few results over many elements is cut into parts: a
//      block sums a part, a later stage sums the parts of a result in order.
//   3. Results of reductions and values the plan keeps lie in the workspace.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/WholeEmitter.h"

#include "passes/cuda/RowTeam.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pg::cuda {
namespace {

constexpr int64_t kThreads = 256;
/// Elements up to which one block does everything.
constexpr int64_t kOneBlock = 16384;
/// Elements of one part of a long reduction.
constexpr int64_t kPart = 16384;
constexpr int64_t kMaxParts = 256;

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

bool isSum(Value v) { return isa<ReduceSumOp>(v.getDefiningOp()); }

std::string startOf(Value v) {
  return isSum(v) ? "0"
                  : literal(tensorType(v).getElementType(),
                            -std::numeric_limits<double>::infinity());
}

std::string blockJoin(Value v, StringRef x, StringRef scratch) {
  return "pg_block_" + std::string(isSum(v) ? "sum" : "max") + "<" +
         std::to_string(kThreads / 32) + ">(" + x.str() + ", " + scratch.str() +
         ")";
}

} // namespace

WholeEmitter::WholeEmitter(KernelText &kernel, RowPlan given)
    : kernel(kernel), plan(std::move(given)), yields(kernel.yields()) {
  int64_t largest = 1;
  bool reduces = false;
  for (const LoopGroup &group : plan.groups) {
    largest = std::max(largest, elementsPerRow(group.space, false));
    reduces |= !group.reductions.empty() || !group.kept.empty();
  }
  oneBlock = reduces && largest <= kOneBlock;
}

LogicalResult WholeEmitter::run() {
  openStage();
  bool last = false;
  for (const LoopGroup &group : plan.groups) {
    // Writers of symbols wait until everybody else has read them.
    if (wrote || (group.last && !last && reads))
      boundary();
    last |= group.last;
    for (Value v : group.reductions)
      emitReduction(group, v);
    emitMap(group);
    reads = true;
  }
  closeStage();
  return failure(failed);
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

void WholeEmitter::openStage() {
  w = std::make_unique<SourceWriter>();
  evaluator = std::make_unique<ElementEvaluator>(*w, kernel);
  evaluator->reuse = this;
  blocks = 1;
  shared = 0;
  w->line(oneBlock ? "const int first = pg_thread(), all = " +
                         Twine(kThreads) + ";"
                   : "const int first = (int)pg_block() * " + Twine(kThreads) +
                         " + pg_thread();");
}

void WholeEmitter::closeStage() {
  Stage stage;
  stage.symbol = kernel.def().getSymName().str();
  if (++stages > 1)
    stage.symbol += "_stage" + std::to_string(stages);
  stage.threads = kThreads;
  stage.sharedBytes = shared;
  stage.blocks.multiplier = blocks;
  kernel.addStage(stage, *w);
  failed |= evaluator->failed();
}

void WholeEmitter::boundary() {
  if (oneBlock) {
    w->line("pg_barrier();");
  } else {
    closeStage();
    openStage();
  }
  wrote = reads = false;
  for (auto &[value, home] : homes)
    home.ready = true;
}

void WholeEmitter::wants(int64_t count) { blocks = std::max(blocks, count); }

//===----------------------------------------------------------------------===//
// Workspace
//===----------------------------------------------------------------------===//

WholeEmitter::Home &WholeEmitter::homeOf(Value v) {
  Home &home = homes[v.getAsOpaquePointer()];
  if (home.type.empty()) {
    RankedTensorType type = tensorType(v);
    home.type = memoryType(type.getElementType());
    home.offset = workspace;
    workspace += llvm::alignTo(elementsPerRow(type, false) *
                                   elementBytes(type.getElementType()),
                               16);
  }
  return home;
}

std::string WholeEmitter::pointerTo(const Home &home) {
  return "((" + home.type + " *)(workspace + " + std::to_string(home.offset) +
         "))";
}

std::optional<Term> WholeEmitter::find(Value tensor, ArrayRef<Coord> at) {
  auto found = homes.find(tensor.getAsOpaquePointer());
  if (found == homes.end() || !found->second.ready)
    return std::nullopt;
  RankedTensorType type = tensorType(tensor);
  return evaluator->element(pointerTo(found->second),
                            evaluator->linearise(at, type.getShape()),
                            type.getElementType(), 0);
}

//===----------------------------------------------------------------------===//
// Maps
//===----------------------------------------------------------------------===//

void WholeEmitter::emitMap(const LoopGroup &group) {
  SmallVector<Target> targets;
  for (Value v : group.kept) {
    Home &home = homeOf(v);
    targets.push_back({v, pointerTo(home), 16, 1});
    wrote = true;
  }
  for (unsigned index : group.yields)
    if (!llvm::is_contained(group.reductions, yields[index]))
      targets.push_back({yields[index], kernel.yield(index),
                         kernel.yieldAlignment(index),
                         kernel.def().getModes()[index]});
  if (targets.empty())
    return;
  int64_t elements = elementsPerRow(group.space, false);
  int64_t last = group.space.getRank() ? group.space.getShape().back() : 1;
  int64_t width = 8;
  auto fits = [&] {
    if (last % width != 0)
      return false;
    for (const Target &target : targets) {
      int64_t bytes = elementBytes(tensorType(target.value).getElementType());
      if (target.alignment % std::min<int64_t>(16, width * bytes) != 0 ||
          (width * bytes > 16 && bytes != 2))
        return false;
    }
    return true;
  };
  while (width > 1 && !fits())
    width /= 2;
  int64_t vectors = elements / width;
  std::string v = w->fresh("v");
  if (oneBlock) {
    w->open("for (int " + v + " = first; " + v + " < " + Twine(vectors) +
            "; " + v + " += all)");
  } else {
    wants(llvm::divideCeil(vectors, kThreads));
    w->open("if (const int " + v + " = first; " + v + " < " + Twine(vectors) +
            ")");
  }
  Coord position = Coord::constant(0);
  if (vectors == 1) {
    position.lanes = width > 1;
    position.high = width;
  } else if (width > 1) {
    Term p = evaluator->define("int", "p", v + " * " + Twine(width), w->depth());
    position = Coord::lanesAt(p, 0, elements, width);
  } else {
    position = Coord::at({v, w->depth()}, 0, elements);
  }
  Coords at = evaluator->delinearise(position, group.space.getShape());
  Coord start = position;
  start.lanes = false;
  std::string index = evaluator->indexOf(start).text;
  SmallVector<std::string> names;
  for (const Target &target : targets) {
    std::string type = registerType(tensorType(target.value).getElementType());
    names.push_back(w->fresh("y"));
    if (width > 1)
      type = "pg_vec<" + type + ", " + std::to_string(width) + ">";
    w->line(type + " " + names.back() + ";");
  }
  if (width > 1)
    evaluator->openVector(width);
  for (auto [target, name] : llvm::zip(targets, names)) {
    Term value = evaluator->evaluate(target.value, at);
    w->line(name + (width > 1 ? "[" + evaluator->lane() + "]" : "") + " = " +
            value.text + ";");
  }
  if (width > 1)
    evaluator->closeVector();
  std::string count = std::to_string(width);
  for (auto [target, name] : llvm::zip(targets, names)) {
    std::string where = target.pointer + " + " + index;
    if (width == 1) {
      w->line("pg_put(" + where + ", " +
              (target.mode == 2 ? "pg_get(" + where + ") + " : "") + name +
              ");");
      continue;
    }
    if (target.mode == 2) {
      std::string old = w->fresh("old"), k = w->fresh("w");
      w->line("const auto " + old + " = pg_load<" + count + ">(" + where + ");");
      w->line("#pragma unroll\nfor (int " + k + " = 0; " + k + " < " + count +
              "; ++" + k + ")\n    " + name + "[" + k + "] += " + old + "[" + k +
              "];");
    }
    w->line("pg_store<" + count + ">(" + where + ", " + name + ");");
  }
  w->close();
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

std::string WholeEmitter::accumulate(const LoopGroup &group, Value v,
                                     const Coord &output, StringRef first,
                                     StringRef last, StringRef step) {
  ArrayRef<int64_t> shape = group.space.getShape();
  SmallVector<int64_t> keptShape, reducedShape;
  for (auto [d, size] : llvm::enumerate(shape))
    (llvm::is_contained(group.axes, static_cast<int64_t>(d)) ? reducedShape
                                                             : keptShape)
        .push_back(size);
  int64_t length = 1;
  for (int64_t size : reducedShape)
    length *= size;
  std::string sum = w->fresh(isSum(v) ? "sum" : "most"), k = w->fresh("k");
  w->line(registerType(tensorType(v).getElementType()) + " " + sum + " = " +
          startOf(v) + ";");
  Coords kept = evaluator->delinearise(output, keptShape);
  w->open("#pragma unroll 4\nfor (int " + k + " = " + first + "; " + k + " < " +
          last + "; " + k + " += " + step + ")");
  Coords reduced = evaluator->delinearise(
      length == 1 ? Coord::constant(0) : Coord::at({k, w->depth()}, 0, length),
      reducedShape);
  Coords at;
  size_t nextKept = 0, nextReduced = 0;
  for (size_t d = 0; d < shape.size(); ++d)
    at.push_back(llvm::is_contained(group.axes, static_cast<int64_t>(d))
                     ? reduced[nextReduced++]
                     : kept[nextKept++]);
  Term x = evaluator->evaluate(v.getDefiningOp()->getOperand(0), at);
  w->line(sum + " = " +
          (isSum(v) ? sum + " + " + x.text
                    : "pg_max(" + sum + ", " + x.text + ")") +
          ";");
  w->close();
  return sum;
}

void WholeEmitter::storeResult(Value v, const Term &value, const Coord &output,
                               StringRef condition) {
  std::string index = evaluator->indexOf(output).text;
  Home &home = homeOf(v);
  w->open("if (" + condition + ")");
  w->line("pg_put(" + pointerTo(home) + " + " + index + ", " + value.text + ");");
  for (auto [number, y] : llvm::enumerate(yields))
    if (y == v && kernel.def().getModes()[number] == 0)
      w->line("pg_put(" + kernel.yield(number) + " + " + index + ", " +
              value.text + ");");
  w->close();
  wrote = true;
}

void WholeEmitter::emitReduction(const LoopGroup &group, Value v) {
  int64_t outputs = elementsPerRow(tensorType(v), false);
  int64_t length = elementsPerRow(group.space, false) / std::max<int64_t>(1, outputs);
  if (!oneBlock && length > kPart && outputs < 4096)
    return emitInParts(group, v,
                       std::min<int64_t>(kMaxParts, llvm::divideCeil(length, kPart)));
  // A thread per result when neighbours read neighbours, else the block.
  bool lastKept = !group.axes.empty() &&
                  group.axes.back() != group.space.getRank() - 1;
  bool perThread = lastKept || length <= 32 || outputs >= 4096;
  std::string o = w->fresh("o"), count = std::to_string(outputs);
  if (perThread) {
    if (oneBlock) {
      w->open("for (int " + o + " = first; " + o + " < " + count + "; " + o +
              " += all)");
    } else {
      wants(llvm::divideCeil(outputs, kThreads));
      w->open("if (const int " + o + " = first; " + o + " < " + count + ")");
    }
  } else if (oneBlock) {
    w->open("for (int " + o + " = 0; " + o + " < " + count + "; ++" + o + ")");
  } else {
    wants(outputs);
    // Whole blocks take part or not: barriers follow.
    w->open("if (const int " + o + " = (int)pg_block(); " + o + " < " + count +
            ")");
  }
  Coord output = outputs == 1 ? Coord::constant(0)
                              : Coord::at({o, w->depth()}, 0, outputs);
  std::string sum = accumulate(group, v, output, perThread ? "0" : "pg_thread()",
                               std::to_string(length),
                               perThread ? "1" : std::to_string(kThreads));
  std::string type = registerType(tensorType(v).getElementType());
  std::string total = sum;
  if (!perThread) {
    shared = std::max<int64_t>(shared, kThreads / 32 * 8);
    total = blockJoin(v, sum, "(" + type + " *)pg_shared()");
  }
  Term value = evaluator->define(type, "total", total, w->depth());
  storeResult(v, value, output, perThread ? "true" : "pg_thread() == 0");
  w->close();
}

/// A block per part of a result, then a block per result.
void WholeEmitter::emitInParts(const LoopGroup &group, Value v, int64_t parts) {
  if (blocks > 1 || reads)
    boundary();
  RankedTensorType type = tensorType(v);
  int64_t outputs = elementsPerRow(type, false);
  int64_t length = elementsPerRow(group.space, false) / outputs;
  int64_t part = llvm::divideCeil(length, parts);
  std::string number = registerType(type.getElementType());
  int64_t offset = workspace;
  workspace += llvm::alignTo(outputs * parts * 8, 16);
  std::string sums = "((" + number + " *)(workspace + " +
                     std::to_string(offset) + "))";
  auto outputAt = [&](const std::string &text) {
    return outputs == 1 ? Coord::constant(0)
                        : Coord::at(evaluator->define("int", "o", text, 0), 0,
                                    outputs);
  };
  wants(outputs * parts);
  std::string count = std::to_string(parts), size = std::to_string(part);
  Coord output = outputAt("(int)pg_block() / " + count);
  w->line("const int begin = (int)pg_block() % " + count + " * " + size + ";");
  w->line("const int end = pg_min(begin + " + size + ", " +
          std::to_string(length) + ");");
  std::string sum = accumulate(group, v, output, "begin + pg_thread()", "end",
                               std::to_string(kThreads));
  shared = kThreads / 32 * 8;
  std::string scratch = "(" + number + " *)pg_shared()";
  w->line("const " + number + " total = " + blockJoin(v, sum, scratch) + ";");
  w->line("if (pg_thread() == 0)");
  w->line("    " + sums + "[pg_block()] = total;");
  boundary();

  wants(outputs);
  output = outputAt("(int)pg_block()");
  std::string all = w->fresh(isSum(v) ? "sum" : "most");
  w->line(number + " " + all + " = " + startOf(v) + ";");
  w->open("for (int k = pg_thread(); k < " + count + "; k += " +
          Twine(kThreads) + ")");
  std::string next = sums + "[pg_block() * " + count + " + k]";
  w->line(all + " = " +
          (isSum(v) ? all + " + " + next : "pg_max(" + all + ", " + next + ")") +
          ";");
  w->close();
  shared = kThreads / 32 * 8;
  Term value =
      evaluator->define(number, "total", blockJoin(v, all, scratch), 0);
  storeResult(v, value, output, "pg_thread() == 0");
  boundary();
}

} // namespace pg::cuda
