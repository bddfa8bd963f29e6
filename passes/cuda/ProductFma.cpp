//===- ProductFma.cpp - f32 and f64 products in registers ---------------------===//
//
// 16 x 16 threads, each with 4 x 4 or 8 x 8 sums in blocks of 4 x 4 that lie 64
// rows and columns apart, so that a warp reads whole lines of shared memory.
// Sums run over depth in order with one fma each.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/ProductText.h"

using namespace mlir;

namespace pg::cuda {
namespace {

/// Fills `name`_tile[depth][outer] element by element.
void writeFill(ElementEvaluator &evaluator, const Product &product,
               const ProductOperand &operand, const std::string &name,
               const std::string &outer, int64_t outerTile) {
  SourceWriter &w = evaluator.writer();
  int64_t depthTile = product.tile.depth;
  int64_t tileRows = operand.depthInColumns ? outerTile : depthTile;
  int64_t tileColumns = operand.depthInColumns ? depthTile : outerTile;
  std::string perRow = std::to_string(tileColumns);
  w.open("#pragma unroll\nfor (int i = 0; i < " +
         std::to_string(tileRows * tileColumns / product.tile.threads) +
         "; ++i)");
  w.line("const int element = thread + i * kThreads, r = element / " + perRow +
         ", c = element % " + perRow + ";");
  // The evaluator knows indices by name: new ones for every operand.
  std::string xName = w.fresh("x"), yName = w.fresh("y");
  w.line("const int " + xName + " = " +
         (operand.depthInColumns ? outer : "depth") + " + r, " + yName + " = " +
         (operand.depthInColumns ? "depth" : outer) + " + c;");
  std::string place = operand.depthInColumns
                          ? "[c * k" + name + "Pitch + r]"
                          : "[r * k" + name + "Pitch + c]";
  std::string rows = operand.rows ? std::to_string(operand.rows)
                     : operand.depthInColumns ? product.tokenEnd
                                              : "depth_end";
  w.line(product.sum() + " loaded = 0;");
  w.open("if (" + xName + " < " + rows + " && " + yName + " < " +
         std::to_string(operand.columns) + ")");
  if (operand.value) {
    Term x{xName, w.depth()}, y{yName, w.depth()};
    Term value = evaluator.evaluate(
        operand.value,
        {Coord::at(x, 0,
                   operand.rows ? operand.rows
                                : std::numeric_limits<int64_t>::max()),
         Coord::at(y, 0, operand.columns)});
    w.line("loaded = " + value.text + ";");
  } else {
    w.line("loaded = pg_get(" + operand.pointer + " + " +
           std::to_string(operand.columns) + "ll * " + xName + " + " + yName +
           ");");
  }
  w.close();
  w.line((name == "A" ? "a_tile" : "b_tile") + place + " = loaded;");
  w.close();
}

const char *kFrame =
    R"(constexpr int kAPitch = kTileRows + 4, kBPitch = kTileColumns + 4;
constexpr int kRows = kTileRows / 16, kColumns = kTileColumns / 16; // sums of a thread
@sum@ *const a_tile = tile, *const b_tile = a_tile + kDepth * kAPitch;
const int thread_row = thread / 16 * 4, thread_column = thread % 16 * 4;
@sum@ sums[kRows][kColumns] = {};)";

const char *kMultiply =
    R"(#pragma unroll
for (int k = 0; k < kDepth; ++k) {
    pg_vec<@sum@, 4> a[kRows / 4], b[kColumns / 4];
#pragma unroll
    for (int m = 0; m < kRows / 4; ++m)
        a[m] = pg_load<4>(a_tile + k * kAPitch + 64 * m + thread_row);
#pragma unroll
    for (int n = 0; n < kColumns / 4; ++n)
        b[n] = pg_load<4>(b_tile + k * kBPitch + 64 * n + thread_column);
#pragma unroll
    for (int m = 0; m < kRows; ++m)
#pragma unroll
        for (int n = 0; n < kColumns; ++n)
            sums[m][n] = pg_fma(a[m / 4][m % 4], b[n / 4][n % 4], sums[m][n]);
})";

const char *kStore =
    R"(pg_barrier();
#pragma unroll
for (int m = 0; m < kRows; ++m)
#pragma unroll
    for (int n = 0; n < kColumns; n += 4) {
        const pg_vec<@sum@, 4> four = {{sums[m][n], sums[m][n + 1], sums[m][n + 2], sums[m][n + 3]}};
        pg_store<4>(tile + (64 * (m / 4) + thread_row + m % 4) * kTilePitch + 16 * n + thread_column, four);
    }
pg_barrier();)";

} // namespace

void writeFmaSums(SourceWriter &w, const Product &product) {
  for (const char *name :
       {"sums", "a_tile", "b_tile", "thread_row", "thread_column", "i", "element",
        "r", "c", "loaded", "depth", "k", "m", "n", "a", "b"})
    w.fresh(name);
  Holes holes;
  holes.set("sum", product.sum());
  w.line(holes.fill(kFrame));
}

void writeFmaSteps(ElementEvaluator &evaluator, const Product &product) {
  SourceWriter &w = evaluator.writer();
  Holes holes;
  holes.set("sum", product.sum());
  w.open("for (int depth = depth_begin; depth < depth_end; depth += kDepth)");
  w.line("pg_barrier();");
  writeFill(evaluator, product, product.a, "A", "row0", product.tile.rows);
  writeFill(evaluator, product, product.b, "B", "column0",
            product.tile.columns);
  w.line("pg_barrier();");
  w.line(holes.fill(kMultiply));
  w.close();
}

void writeFmaTile(SourceWriter &w, const Product &product) {
  Holes holes;
  holes.set("sum", product.sum());
  w.line(holes.fill(kStore));
}

} // namespace pg::cuda
