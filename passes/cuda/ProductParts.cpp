//===- ProductParts.cpp - contractions over tokens in a fixed order -----------===//
//
// A weight gradient has few tiles and many tokens. The tokens are cut into a
// number of parts that depends on the shape alone; every part has sums of its
// own in the workspace, and a second stage adds them in order.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/ProductEpilogue.h"

using namespace mlir;

namespace pg::cuda {

/// Blocks wanted: two for each of 132 multiprocessors.
static constexpr int64_t kWantedBlocks = 264;
static constexpr int64_t kMaxParts = 64;
static constexpr int kCombineThreads = 256;

int64_t tokenParts(const Product &product) {
  int64_t tiles = product.rowTiles() * product.columnTiles();
  return std::max<int64_t>(1, std::min(kMaxParts, kWantedBlocks / tiles));
}

void writeBlockOfParts(SourceWriter &w, const Product &product,
                       int64_t parts) {
  std::string columnTiles = std::to_string(product.columnTiles());
  w.line("const int block = (int)pg_block(), column0 = block % " +
         columnTiles + " * kTileColumns;");
  w.line("const int row0 = block / " + columnTiles + " % " +
         std::to_string(product.rowTiles()) + " * kTileRows;");
  if (parts == 1) {
    w.line("const int depth_begin = 0, depth_end = tokens;");
    return;
  }
  w.line("const int part = block / " +
         std::to_string(product.columnTiles() * product.rowTiles()) + ";");
  int64_t quantum = parts * product.tile.depth;
  w.line("const int per_part = (tokens + " + std::to_string(quantum - 1) +
         ") / " + std::to_string(quantum) + " * kDepth;");
  w.line("const int depth_begin = pg_min(part * per_part, tokens);");
  w.line("const int depth_end = pg_min(depth_begin + per_part, tokens);");
}

void writePart(SourceWriter &w, const Product &product, int64_t width,
               const std::string &place, const std::string &inside) {
  std::string store = "pg_store<" + std::to_string(width) + ">(" + place +
                      " + " + std::to_string(product.columnCount) +
                      "ll * (part * " + std::to_string(product.rowCount) +
                      "ll + row) + column, product);";
  w.line(inside.empty() ? store : "if (" + inside + ")\n    " + store);
}

bool emitCombineStage(KernelText &text, const ProductYields &yields,
                      const Product &product, int64_t parts,
                      const std::string &place, const std::string &symbol,
                      int64_t firstRow) {
  SourceWriter w;
  ElementEvaluator evaluator(w, text);
  for (const char *name : {"piece", "row", "column", "product", "part", "parts",
                           "sums", "tokens"})
    w.fresh(name);
  int64_t width = std::min<int64_t>(4, yields.width(product.columnCount));
  int64_t perRow = product.columnCount / width;
  int64_t pieces = product.rowCount * perRow;
  Holes holes;
  holes.set("threads", kCombineThreads).set("pieces", pieces);
  holes.set("perRow", perRow).set("width", width).set("sum", product.sum());
  holes.set("place", place).set("parts", parts).set("first", firstRow);
  holes.set("size", product.rowCount * product.columnCount);
  w.line(holes.fill(
      R"(const int piece = (int)pg_block() * @threads@ + pg_thread(), tokens = (int)batch.n;
if (piece >= @pieces@)
    return;
const int row = @first@ + piece / @perRow@, column = piece % @perRow@ * @width@;
const @sum@ *const parts = @place@ + @width@ * piece;
pg_vec<@sum@, @width@> product = {};
#pragma unroll 8
for (int part = 0; part < @parts@; ++part) {
    const pg_vec<@sum@, @width@> sums = pg_load<@width@>(parts + @size@ll * part);
#pragma unroll
    for (int w = 0; w < @width@; ++w)
        product[w] += sums[w];
})"));
  yields.write(evaluator, "product", width, "");
  Stage stage;
  stage.symbol = symbol;
  stage.threads = kCombineThreads;
  stage.blocks.multiplier = (pieces + kCombineThreads - 1) / kCombineThreads;
  text.addStage(stage, w);
  return !evaluator.failed();
}

Stage productStage(const Product &product, const std::string &symbol,
                   int64_t parts) {
  Stage stage;
  stage.symbol = symbol;
  stage.threads = static_cast<int>(product.tile.threads);
  stage.blocksPerSm = static_cast<int>(product.tile.blocksPerSm);
  stage.sharedBytes = product.sharedBytes();
  bool byTokens = product.rowCount == 0;
  stage.blocks.tokensPerItem = byTokens ? product.tile.rows : 0;
  stage.blocks.multiplier =
      product.columnTiles() * (byTokens ? 1 : product.rowTiles()) * parts;
  return stage;
}

} // namespace pg::cuda
