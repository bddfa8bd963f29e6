//===- ProductTensorCore.cpp - bf16 products by m16n8k16 ----------------------===//
//
// Operand tiles lie in shared memory as in global memory, row by row in 16-byte
// chunks; chunk c of row r stands at c ^ (r mod 8), so that eight rows of one
// chunk (ldmatrix) and the chunks of one row (cp.async) fall into different
// banks. A pipeline of stages: while one is multiplied the next ones are on
// their way. An operand whose rows run along the contracted dimension is read
// by ldmatrix, another one by ldmatrix.trans.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/ProductText.h"

using namespace mlir;

namespace pg::cuda {
namespace {

/// One operand's tile of a stage.
struct OperandTile {
  const ProductOperand &operand;
  std::string name;    ///< "a" or "b"
  std::string outer;   ///< "row0" or "column0": first index of the tile in C
  int64_t outerTile;   ///< rows or columns of C in a tile
  int64_t depthTile;
  std::string place;   ///< address of the tile in the stage
  std::string tokenEnd; ///< of C's rows

  int64_t tileRows() const {
    return operand.depthInColumns ? outerTile : depthTile;
  }
  int64_t tileColumns() const {
    return operand.depthInColumns ? depthTile : outerTile;
  }
  int64_t chunks() const { return tileColumns() / 8; }
  std::string firstRow() const {
    return operand.depthInColumns ? outer : "depth";
  }
  std::string firstColumn() const {
    return operand.depthInColumns ? "depth" : outer;
  }
  /// Of eight elements, each copied at once.
  bool wholeChunks() const {
    return operand.columns % 8 == 0 &&
           operand.alignment % (operand.codes ? 8 : 16) == 0;
  }
  /// Of codes that are widened where they land.
  bool hasCodeChunks() const { return operand.codes && wholeChunks(); }
  /// Where rows that are tokens end.
  std::string tokenLimit() const {
    return operand.depthInColumns ? tokenEnd : "depth_end";
  }
  /// Whether (x, y ... y + 7) lies inside the operand; "true" when it must.
  std::string inside(const std::string &x, const std::string &y) const {
    std::string text;
    if (operand.rows == 0)
      text = x + " < " + tokenLimit();
    else if (operand.rows % tileRows() != 0)
      text = x + " < " + std::to_string(operand.rows);
    if (operand.columns % tileColumns() != 0)
      text += (text.empty() ? "" : " && ") + y + " < " +
              std::to_string(operand.columns);
    return text.empty() ? "true" : text;
  }
};

/// Names of a chunk's place in the matrix; new ones for every loop, since the
/// evaluator knows indices by name.
struct Place {
  std::string x, y;
};

/// `for` over the chunks a thread copies, with r, c (tile), x, y (matrix) and
/// the chunk's address `to`.
Place openChunks(SourceWriter &w, const OperandTile &t, int64_t threads) {
  std::string chunks = std::to_string(t.chunks());
  w.open("#pragma unroll\nfor (int i = 0; i < " +
         std::to_string(t.tileRows() * t.chunks() / threads) + "; ++i)");
  // Written so that all rounds of a thread share one address and differ by a
  // constant: an address of its own for each costs thirty registers.
  if (threads % t.chunks() == 0)
    w.line("const int r = thread / " + chunks + " + i * " +
           std::to_string(threads / t.chunks()) + ", c = thread % " + chunks +
           ";");
  else
    w.line("const int chunk = thread + i * kThreads, r = chunk / " + chunks +
           ", c = chunk % " + chunks + ";");
  Place at{w.fresh("x"), w.fresh("y")};
  w.line("const int " + at.x + " = " + t.firstRow() + " + r, " + at.y + " = " +
         t.firstColumn() + " + 8 * c;");
  w.line("unsigned char *const to = " + t.place + " + pg_swizzle(r, c, " +
         std::to_string(t.tileColumns() * 2) + ");");
  return at;
}

/// The streamed argument is its memory again.
void unbindCopied(ElementEvaluator &evaluator, const ProductOperand &operand) {
  evaluator.unbind(operand.stream);
  evaluator.bindMemory(operand.stream, operand.streamPointer);
}

/// Eight elements from (x, y) on, computed and stored at `to`.
void writeComputedChunk(ElementEvaluator &evaluator, const OperandTile &t,
                        const Place &at, bool streamed) {
  SourceWriter &w = evaluator.writer();
  int64_t columns = t.operand.columns;
  constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  auto elements = w.fresh("elements");
  std::string inside = t.inside(at.x, at.y);
  bool branch = streamed && inside != "true";
  if (branch)
    w.open("if (" + inside + ")");
  std::string raw;
  if (streamed) {
    raw = w.fresh("copied");
    w.line("const pg_vec<float, 8> " + raw +
           " = pg_load<8>(reinterpret_cast<const bf16 *>(to));");
  }
  w.line("pg_vec<float, 8> " + elements + (streamed ? ";" : " = {};"));
  auto write = [&](const Coord &x, const Coord &y) {
    Term value = evaluator.evaluate(t.operand.value, {x, y});
    w.line(elements + "[" + evaluator.lane() + "] = " + value.text + ";");
  };
  if (t.wholeChunks()) {
    bool condition = !streamed && inside != "true";
    if (condition)
      w.open("if (" + inside + ")");
    Term x{at.x, w.depth()}, y{at.y, w.depth()};
    // Terms must be made where the condition holds.
    Coord row = Coord::at(x, 0, t.operand.rows ? t.operand.rows : kNoLimit);
    Coord column = Coord::lanesAt(y, 0, columns, 8);
    evaluator.openVector(8);
    if (streamed)
      evaluator.bindCurrent(t.operand.stream,
                            {raw + "[" + evaluator.lane() + "]", w.depth()});
    write(row, column);
    if (streamed)
      unbindCopied(evaluator, t.operand);
    evaluator.closeVector();
    if (condition)
      w.close();
  } else {
    // A row may end inside the chunk: element by element.
    std::string rows = t.operand.rows == 0
                           ? t.tokenLimit()
                           : std::to_string(t.operand.rows);
    evaluator.openVector(8);
    std::string element = w.fresh("element");
    w.line("const int " + element + " = " + at.y + " + " + evaluator.lane() +
           ";");
    w.open("if (" + at.x + " < " + rows + " && " + element + " < " +
           std::to_string(columns) + ")");
    Term x{at.x, w.depth()}, y{element, w.depth()};
    if (t.operand.value)
      write(Coord::at(x, 0, t.operand.rows ? t.operand.rows : kNoLimit),
            Coord::at(y, 0, columns));
    else
      w.line(elements + "[" + evaluator.lane() + "] = pg_get(" +
             t.operand.pointer + " + " + std::to_string(columns) +
             "ll * " + at.x + " + " + element + ");");
    w.close();
    evaluator.closeVector();
  }
  w.line("pg_store<8>(reinterpret_cast<bf16 *>(to), " + elements + ");");
  if (branch)
    w.close();
}

bool isStreamed(const OperandTile &t) {
  return t.operand.pointer.empty() && t.operand.stream && t.wholeChunks();
}

bool isTurned(const OperandTile &t) { return isStreamed(t) || t.hasCodeChunks(); }

/// Copies (or computes) the operand's tile of the step at `depth` into a stage.
void writeFetch(ElementEvaluator &evaluator, const OperandTile &t,
                int64_t threads) {
  SourceWriter &w = evaluator.writer();
  Place at = openChunks(w, t, threads);
  bool direct = !t.operand.pointer.empty() && t.wholeChunks();
  if (direct || isStreamed(t))
    w.line((t.operand.codes ? "pg_cp_async8(to, " : "pg_cp_async16(to, ") +
           (direct ? t.operand.pointer : t.operand.streamPointer) + " + " +
           std::to_string(t.operand.columns) + "ll * " + at.x + " + " + at.y +
           ", " + t.inside(at.x, at.y) + ");");
  else
    writeComputedChunk(evaluator, t, at, false);
  w.close();
}

/// Turns copied elements into the operand, each thread those it copied.
void writeTurn(ElementEvaluator &evaluator, const OperandTile &t,
               int64_t threads) {
  SourceWriter &w = evaluator.writer();
  Place at = openChunks(w, t, threads);
  if (t.hasCodeChunks())
    w.line("pg_widen_codes(to);");
  else
    writeComputedChunk(evaluator, t, at, true);
  w.close();
}

const char *kFrame =
    R"(constexpr int kStages = @stages@, kWarpRows = @warpRows@, kWarpColumns = @warpColumns@;
constexpr int kBOffset = kTileRows * kDepth * 2, kStageBytes = kBOffset + kTileColumns * kDepth * 2;
const int lane = thread % 32, warp = thread / 32;
const int warp_row = warp / (kTileColumns / kWarpColumns) * kWarpRows;
const int warp_column = warp % (kTileColumns / kWarpColumns) * kWarpColumns;
float sums[kWarpRows / 16][kWarpColumns / 8][4] = {};)";

// ldmatrix reads four 8 x 8 matrices; lane l gives the address of row l % 8 of
// matrix l / 8. A: rows +0, +8, +0, +8 at depth +0, +0, +8, +8 of m16n8k16;
// B: depth +0, +8 of the first eight columns, then of the next eight.
const char *kRowsA =
    R"(pg_ldmatrix_x4(a[m], a_tile + pg_swizzle(warp_row + 16 * m + lane % 16, 2 * k + lane / 16, 2 * kDepth));)";
const char *kColumnsA =
    R"(pg_ldmatrix_x4_trans(a[m], a_tile + pg_swizzle(16 * k + lane / 16 * 8 + lane % 8, (warp_row + 16 * m) / 8 + lane / 8 % 2, 2 * kTileRows));)";
const char *kRowsB =
    R"(pg_ldmatrix_x4(b[n], b_tile + pg_swizzle(warp_column + 16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2, 2 * kDepth));)";
const char *kColumnsB =
    R"(pg_ldmatrix_x4_trans(b[n], b_tile + pg_swizzle(16 * k + lane % 16, (warp_column + 16 * n) / 8 + lane / 16, 2 * kTileColumns));)";

const char *kMultiply =
    R"(const unsigned char *const a_tile = pg_shared() + step % kStages * kStageBytes, *const b_tile = a_tile + kBOffset;
#pragma unroll
for (int k = 0; k < kDepth / 16; ++k) {
    unsigned a[kWarpRows / 16][4], b[kWarpColumns / 16][4];
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m)
        @loadA@
#pragma unroll
    for (int n = 0; n < kWarpColumns / 16; ++n)
        @loadB@
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m)
#pragma unroll
        for (int n = 0; n < kWarpColumns / 8; ++n)
            pg_mma_m16n8k16(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
})";

// Lane 4 g + t holds rows g and g + 8, columns 2 t and 2 t + 1 of each 16 x 8.
const char *kStore =
    R"(pg_cp_async_wait<0>();
pg_barrier();
#pragma unroll
for (int m = 0; m < kWarpRows / 16; ++m)
#pragma unroll
    for (int n = 0; n < kWarpColumns / 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const pg_vec<float, 2> pair = {{sums[m][n][2 * half], sums[m][n][2 * half + 1]}};
            pg_store<2>(tile + (warp_row + 16 * m + 8 * half + lane / 4) * kTilePitch + warp_column + 8 * n + lane % 4 * 2, pair);
        }
pg_barrier();)";

} // namespace

void writeTensorCoreSums(SourceWriter &w, const Product &product) {
  const ProductTile &tile = product.tile;
  for (const char *name : {"sums", "warp_row", "warp_column", "stage", "depth",
                           "i", "chunk", "r", "c", "to", "a",
                           "b", "k", "m", "n", "a_tile", "b_tile"})
    w.fresh(name);
  Holes holes;
  holes.set("stages", tile.stages).set("warpRows", tile.warpRows);
  holes.set("warpColumns", tile.warpColumns);
  w.line(holes.fill(kFrame));
}

void writeTensorCoreSteps(ElementEvaluator &evaluator, const Product &product) {
  SourceWriter &w = evaluator.writer();
  const ProductTile &tile = product.tile;
  OperandTile a{product.a,  "a",     "row0",          tile.rows,
                tile.depth, "stage", product.tokenEnd};
  OperandTile b{product.b,  "b",                "column0",       tile.columns,
                tile.depth, "stage + kBOffset", product.tokenEnd};
  Holes holes;
  holes.set("loadA", product.a.depthInColumns ? kRowsA : kColumnsA);
  holes.set("loadB", product.b.depthInColumns ? kRowsB : kColumnsB);
  w.line("const int steps = (depth_end - depth_begin + kDepth - 1) / kDepth;");
  w.open("for (int fetch = 0; fetch < steps + kStages - 1; ++fetch)");
  w.line("const int step = fetch - (kStages - 1); // multiplied now");
  w.open("if (step >= 0)");
  w.line("pg_cp_async_wait<kStages - 2>();");
  if (isTurned(a) || isTurned(b)) {
    w.line("unsigned char *const stage = pg_shared() + step % kStages * kStageBytes;");
    w.line("const int depth = depth_begin + step * kDepth;");
    for (const OperandTile &t : {a, b})
      if (isTurned(t))
        writeTurn(evaluator, t, tile.threads);
  }
  w.line("pg_barrier();");
  w.close();
  w.open("if (fetch < steps)");
  w.line("unsigned char *const stage = pg_shared() + fetch % kStages * kStageBytes;");
  w.line("const int depth = depth_begin + fetch * kDepth;");
  writeFetch(evaluator, a, tile.threads);
  writeFetch(evaluator, b, tile.threads);
  w.close();
  w.line("pg_cp_async_commit();");
  w.line("if (step < 0)\n    continue;");
  w.line(holes.fill(kMultiply));
  w.close();
}

void writeTensorCoreTile(SourceWriter &w) { w.line(kStore); }

} // namespace pg::cuda
