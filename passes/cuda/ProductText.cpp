//===- ProductText.cpp - tiles, frames and the staged result ------------------===//
#include "passes/cuda/ProductText.h"

using namespace mlir;

namespace pg::cuda {
namespace {

/// Blocks that keep a large GPU busy: 132 multiprocessors.
constexpr int64_t kMultiprocessors = 132;

// Tensor cores. Three stages of 128 x 128 x 64 are 96 KiB: two blocks of a
// multiprocessor, of which one multiplies while the other writes its tile.
constexpr ProductTile kLarge = {128, 128, 64, 64, 64, 3, 2, 128};
constexpr ProductTile kSmall = {64, 64, 64, 32, 32, 3, 4, 128};
// Registers: 8 x 8 or 4 x 4 sums per thread of 256.
constexpr ProductTile kLargeFma = {128, 128, 16, 0, 0, 1, 2, 256};
constexpr ProductTile kSmallFma = {64, 64, 16, 0, 0, 1, 2, 256};

int64_t tiles(int64_t extent, int64_t tile) {
  return (extent + tile - 1) / tile;
}

} // namespace

ProductTile chooseTile(const std::string &element, int64_t rows,
                       int64_t columns, bool tokenDepth) {
  bool tensorCores = element == "bf16";
  ProductTile large = tensorCores ? kLarge : kLargeFma;
  ProductTile small = tensorCores ? kSmall : kSmallFma;
  if (element == "double" || columns <= small.columns)
    return small;
  if (rows == 0)
    return large;
  if (tokenDepth)
    return rows <= small.rows ? small : large;
  bool enough = tiles(rows, large.rows) * tiles(columns, large.columns) >=
                kMultiprocessors;
  return enough ? large : small;
}

int64_t Product::sharedBytes() const {
  int64_t elementBytes = element == "bf16" ? 2 : element == "float" ? 4 : 8;
  // The fma loop pads its rows by four elements.
  int64_t pad = element == "bf16" ? 0 : 8;
  int64_t loop = tile.stages * tile.depth *
                 (tile.rows + tile.columns + pad) * elementBytes;
  return std::max(loop, tile.rows * pitch() * sumBytes());
}

void writeProductFrame(SourceWriter &w, const Product &product) {
  const ProductTile &tile = product.tile;
  for (const char *name : {"thread", "lane", "warp", "tokens", "row0",
                           "column0", "depth_begin", "depth_end", "tile", "row",
                           "column", "tile_row", "tile_column",
                           "inside", "piece", "at", "steps", "step", "fetch", "stages"})
    w.fresh(name);
  Holes holes;
  holes.set("rows", tile.rows).set("columns", tile.columns);
  holes.set("depth", tile.depth).set("threads", tile.threads);
  holes.set("pitch", product.pitch()).set("sum", product.sum());
  w.line(holes.fill(
      R"(constexpr int kThreads = @threads@, kTileRows = @rows@, kTileColumns = @columns@, kDepth = @depth@;
constexpr int kTilePitch = @pitch@; // of the sums, in shared memory after the loop
@sum@ *const tile = reinterpret_cast<@sum@ *>(pg_shared());
const int thread = pg_thread(), tokens = (int)batch.n;)"));
}

void writeProductLoop(ElementEvaluator &evaluator, const Product &product) {
  writeProductSums(evaluator.writer(), product);
  writeProductSteps(evaluator, product);
  writeProductTile(evaluator.writer(), product);
}

void writeProductSums(SourceWriter &w, const Product &product) {
  if (product.element == "bf16")
    writeTensorCoreSums(w, product);
  else
    writeFmaSums(w, product);
}

void writeProductSteps(ElementEvaluator &evaluator, const Product &product) {
  if (product.element == "bf16")
    writeTensorCoreSteps(evaluator, product);
  else
    writeFmaSteps(evaluator, product);
}

void writeProductTile(SourceWriter &w, const Product &product) {
  if (product.element == "bf16")
    writeTensorCoreTile(w);
  else
    writeFmaTile(w, product);
}

void writeTileLoop(SourceWriter &w, const Product &product, int64_t width,
                   int64_t columnLimit,
                   llvm::function_ref<void(const std::string &inside)> body) {
  int64_t pieces = product.tile.columns / width;
  std::string perRow = std::to_string(pieces);
  // Several rows at a time, so that their loads are under way together: values
  // are computed at indices that are pulled into range, and only stores branch.
  w.open("#pragma unroll 4\nfor (int i = 0; i < " +
         std::to_string(product.tile.rows * pieces / product.tile.threads) +
         "; ++i)");
  w.line("const int piece = thread + i * kThreads, tile_row = piece / " +
         perRow + ", tile_column = piece % " + perRow + " * " +
         std::to_string(width) + ";");
  std::string rowText = "row0 + tile_row", columnText = "column0 + tile_column";
  std::string inside;
  if (product.rowCount == 0 || product.rowCount % product.tile.rows != 0) {
    inside = rowText + " < " + product.rowLimit();
    rowText = "pg_min(" + rowText + ", " +
              (product.rowCount ? std::to_string(product.rowCount - 1)
                                : product.tokenEnd + " - 1") +
              ")";
  }
  if (columnLimit % product.tile.columns != 0) {
    inside += (inside.empty() ? "" : " && ") + columnText + " < " +
              std::to_string(columnLimit);
    columnText = "pg_min(" + columnText + ", " +
                 std::to_string(columnLimit - width) + ")";
  }
  w.line("const int row = " + rowText + ", column = " + columnText + ";");
  w.line("const int at = tile_row * kTilePitch + tile_column;");
  if (!inside.empty()) {
    w.line("const bool inside = " + inside + ";");
    inside = "inside";
  }
  body(inside);
  w.close();
}

void writeTileVector(SourceWriter &w, const Product &product, int64_t width) {
  std::string count = std::to_string(width);
  w.line("const pg_vec<" + product.sum() + ", " + count +
         "> product = pg_load<" + count + ">(tile + at);");
}

} // namespace pg::cuda
