//===- ColumnKernels.cpp - sums of chunks, and transposes ---------------------===//
#include "passes/cuda/ElementEvaluator.h"
#include "passes/cuda/Emitters.h"
#include "passes/cuda/RowTeam.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace pg::cuda {
namespace {

RankedTensorType tensorType(Value v) {
  return cast<RankedTensorType>(v.getType());
}

} // namespace

/// A block has 8 to 32 columns; its threads take every n-th chunk of a column
/// and their sums are joined by halves.
FailureOr<EmittedKernel> emitCombineKernel(KernelDefOp def) {
  CombineOp combine = *def.getBody().front().getOps<CombineOp>().begin();
  RankedTensorType type = tensorType(combine.getResult());
  KernelText text(def);
  SourceWriter w;
  ElementEvaluator evaluator(w, text);
  for (Value v : text.yields())
    if (tensorType(v).getShape() != type.getShape())
      return def.emitError("expected every yield of the kernel to have the "
                           "shape of the sum, found ")
             << v.getType();
  int64_t grain =
      cast<ChunksAttr>(tensorType(combine.getX()).getEncoding()).getGrain();
  int64_t columns = elementsPerRow(type, false);
  // Eight floats are the least a memory access moves; more blocks are better
  // than longer ones, for there are some thousand chunks to a column.
  int64_t wide = 1;
  while (wide < 32 && wide < columns && (wide < 8 || columns >= wide * 256))
    wide *= 2;
  int64_t slices = 256 / wide;
  std::string number = registerType(type.getElementType());

  w.line("const int column = (int)pg_block() * " + Twine(wide) +
         " + pg_thread() % " + Twine(wide) + ";");
  w.line("const int slice = pg_thread() / " + Twine(wide) + ";");
  w.line("const int chunks = (int)((batch.n + " + Twine(grain - 1) + ") / " +
         Twine(grain) + ");");
  w.line(number + " *const sums = (" + number + " *)pg_shared();");
  Coord column = columns == 1 ? Coord::constant(0)
                              : Coord::at({"column", 0}, 0, columns);
  w.line(number + " sum = 0;");
  if (columns % wide != 0)
    w.open("if (column < " + Twine(columns) + ")");
  w.open("#pragma unroll 8\nfor (int chunk = slice; chunk < chunks; chunk += " +
         Twine(slices) + ")");
  Coords at{Coord::at({"chunk", w.depth()})};
  at.append(evaluator.delinearise(column, type.getShape()));
  at.truncate(type.getRank() + 1);
  w.line("sum += " + evaluator.evaluate(combine.getX(), at).text + ";");
  w.close();
  if (columns % wide != 0)
    w.close();
  w.line("sums[pg_thread()] = sum;");
  w.open("for (int half = " + Twine(slices / 2) + "; half > 0; half /= 2)");
  w.line("pg_barrier();");
  w.line("if (slice < half)");
  w.line("    sums[pg_thread()] += sums[pg_thread() + half * " + Twine(wide) +
         "];");
  w.close();
  w.open("if (slice == 0 && column < " + Twine(columns) + ")");
  std::string total = "sums[pg_thread()]";
  if (type.getElementType().isBF16())
    total = "pg_round_bf16(" + total + ")";
  evaluator.bindCurrent(combine.getResult(),
                        evaluator.define(number, "total", total, w.depth()));
  Coords result = evaluator.delinearise(column, type.getShape());
  SmallVector<Term> values;
  for (Value v : text.yields())
    values.push_back(evaluator.evaluate(v, result));
  for (auto [index, value] : llvm::enumerate(values)) {
    std::string where = text.yield(index) + " + column";
    w.line("pg_put(" + where + ", " +
           (def.getModes()[index] == 2 ? "pg_get(" + where + ") + " : "") +
           value.text + ");");
  }
  w.close();
  if (evaluator.failed())
    return failure();
  Stage stage;
  stage.symbol = def.getSymName().str();
  stage.threads = 256;
  stage.sharedBytes = 256 * (type.getElementType().isF64() ? 8 : 4);
  stage.blocks.multiplier = llvm::divideCeil(columns, wide);
  text.addStage(stage, w);
  return text.finish("reduce");
}

/// A block moves a tile of 32 by 32 through shared memory: rows are read and
/// written whole. The tile's rows are 33 long, so that a column meets every
/// bank once.
FailureOr<EmittedKernel> emitTransposeKernel(KernelDefOp def) {
  auto op = cast<TransposeOp>(def.getBody().front().front());
  auto type = tensorType(op.getX());
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  KernelText text(def);
  SourceWriter w;
  std::string number = registerType(type.getElementType());
  int64_t across = llvm::divideCeil(columns, 32);
  std::string r = std::to_string(rows), c = std::to_string(columns);
  w.line(number + " *const tile = (" + number + " *)pg_shared();");
  w.line("const int row = (int)pg_block() / " + Twine(across) + " * 32;");
  w.line("const int column = (int)pg_block() % " + Twine(across) + " * 32;");
  w.line("const int x = pg_thread() % 32, y = pg_thread() / 32;");
  w.open("for (int k = y; k < 32; k += 8)");
  w.line("if (row + k < " + r + " && column + x < " + c + ")");
  w.line("    tile[k * 33 + x] = pg_get(arg0 + (row + k) * " + c +
         " + column + x);");
  w.close();
  w.line("pg_barrier();");
  w.open("for (int k = y; k < 32; k += 8)");
  w.open("if (column + k < " + c + " && row + x < " + r + ")");
  w.line("auto *const to = out0 + (column + k) * " + r + " + row + x;");
  w.line(std::string("pg_put(to, ") +
         (def.getModes()[0] == 2 ? "pg_get(to) + " : "") +
         "tile[x * 33 + k]);");
  w.close();
  w.close();
  Stage stage;
  stage.symbol = def.getSymName().str();
  stage.threads = 256;
  stage.sharedBytes = 32 * 33 * (type.getElementType().isF64() ? 8 : 4);
  stage.blocks.multiplier = llvm::divideCeil(rows, 32) * across;
  text.addStage(stage, w);
  return text.finish("transpose");
}

} // namespace pg::cuda
