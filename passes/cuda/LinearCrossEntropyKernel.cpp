//===- LinearCrossEntropyKernel.cpp - the softcapped head ---------------------===//
//
// z = x w^T, or c tanh(x w^T / c); nll = lse(z) - z[target]. Both directions are
// products with an epilogue of their own, so the head runs at the speed of a
// product and logits never reach memory in f32.
//
//   forward  tiles: x w^T; per row of a tile the peak and the sum of exp(z -
//            peak), 8 bytes, and z[target]. With a small softcap -c <= z <= c, so
//            c stands for the peak. combine: a warp per token adds the tiles.
//   grad_x   dz: x w^T; dz = dnll (exp(z - lse) - [word = target]) (1 - (z/c)^2)
//            into the workspace, in the operands' type. dx = dz w.
//   grad_w   dz as above; dw = dz^T x, cut into parts over tokens.
//
// Two products each for dx and dw, all at full tiles: recomputing dz tile by
// tile inside one kernel would save its traffic (2 x V elements per token), but
// leaves no room for tiles that keep tensor cores busy at D = 512. Vocabularies
// are cut into chunks of kChunk words, which bounds the workspace.
//
//===----------------------------------------------------------------------===//
#include "dialect/ops/Softcap.h"
#include "passes/cuda/Emitters.h"
#include "passes/cuda/ProductEpilogue.h"
#include "passes/cuda/ResultMap.h"

#include "passes/fuse/Tensors.h"

using namespace mlir;

namespace pg::cuda {
namespace {

/// Words whose dz is in the workspace at one time.
constexpr int64_t kChunk = 8192;
constexpr double kLog2E = 1.4426950408889634;
constexpr int64_t kCombineWarps = 8;

class HeadKernel {
public:
  explicit HeadKernel(KernelDefOp def, Operation *op)
      : def(def), op(op), text(def), buffers(text, op) {
    auto x = cast<RankedTensorType>(op->getOperand(0).getType());
    auto table = cast<RankedTensorType>(op->getOperand(1).getType());
    staticTokens = x.isDynamicDim(0) ? 0 : x.getDimSize(0);
    words = table.getDimSize(0);
    features = table.getDimSize(1);
    hasCodes = table.getElementType().isInteger(8);
    if (hasCodes && op->getNumOperands() > Q)
      rank = cast<RankedTensorType>(op->getOperand(Q).getType()).getDimSize(1);
    element = memoryType(x.getElementType());
    sum = element == "double" ? "double" : "float";
    bytes = element == "bf16" ? 2 : element == "float" ? 4 : 8;
    sumBytes = element == "double" ? 8 : 4;
    softcap = op->getAttrOfType<FloatAttr>("softcap")
                  ? op->getAttrOfType<FloatAttr>("softcap").getValueAsDouble()
                  : 0.0;
    hasFixedPeak = softcap > 0 && softcap <= kBoundingSoftcap;
  }

  FailureOr<EmittedKernel> emitForward();
  FailureOr<EmittedKernel> emitGradX();
  FailureOr<EmittedKernel> emitGradW();

private:
  enum Operand { X, W, Targets, Lse, DNll };
  enum CodeOperand { Scale = 3, P, Q }; ///< of the forward op, beside codes

  /// x w^T for the words from `first` on.
  Product logits(int64_t first, int64_t count) const;
  /// An operand that lies row-major at `pointer`.
  ProductOperand matrix(const std::string &pointer, int64_t rows,
                        int64_t columns, bool depthInColumns,
                        int64_t alignment = 16) const;
  ProductOperand argument(Operand which, int64_t firstRow, int64_t rows,
                          bool depthInColumns) const;
  void writeBlock(SourceWriter &w, const Product &product,
                  int64_t depth) const;
  /// `z` and, for gradients, `slope` from the raw product `raw`.
  void writeCapped(SourceWriter &w, const std::string &raw, bool slope) const;
  /// The row of P that belongs to a row of the tile.
  void writeCorrectionRow(SourceWriter &w, const Holes &holes) const;
  /// What codes leave open of four columns: raw = scale raw + q p^T.
  void writeScaled(SourceWriter &w, const Holes &holes) const;
  std::string exponential(const std::string &x) const;
  void emitTiles();
  void emitCombine();
  /// dz of a chunk into the workspace, [tokens][pitch].
  bool emitLogitGradient(int64_t chunk);
  std::string symbol(const std::string &part, int64_t chunk) {
    return def.getSymName().str() + "_" + part +
           (chunks() > 1 ? "_" + std::to_string(chunk) : "");
  }
  int64_t chunks() const { return (words + kChunk - 1) / kChunk; }
  int64_t chunkWords(int64_t chunk) const {
    return std::min(kChunk, words - chunk * kChunk);
  }
  int64_t pitch(int64_t chunk) const {
    return (chunkWords(chunk) + 7) / 8 * 8;
  }
  /// Workspace of `perToken` bytes for each token and `fixed` ones.
  EmittedKernel finish(int64_t perToken, int64_t fixed = 0) const {
    return staticTokens
               ? text.finish("head", fixed + perToken * staticTokens, 0)
               : text.finish("head", fixed, perToken);
  }

  KernelDefOp def;
  Operation *op;
  KernelText text;
  ResultMap buffers;
  std::string element, sum;
  int64_t bytes = 0, sumBytes = 0;
  int64_t staticTokens = 0, words = 0, features = 0;
  bool hasCodes = false;
  int64_t rank = 0; ///< of the correction beside codes
  double softcap = 0;
  bool hasFixedPeak = false; ///< the softcap stands for the maximum
};

ProductOperand HeadKernel::matrix(const std::string &pointer, int64_t rows,
                                  int64_t columns, bool depthInColumns,
                                  int64_t alignment) const {
  ProductOperand operand;
  operand.depthInColumns = depthInColumns;
  operand.rows = rows;
  operand.columns = columns;
  operand.pointer = pointer;
  operand.alignment = alignment;
  return operand;
}

ProductOperand HeadKernel::argument(Operand which, int64_t firstRow,
                                    int64_t rows, bool depthInColumns) const {
  std::string pointer = buffers.operand(which);
  if (firstRow)
    pointer =
        "(" + pointer + " + " + std::to_string(firstRow * features) + "ll)";
  ProductOperand operand = matrix(pointer, rows, features, depthInColumns,
                                  buffers.operandAlignment(which));
  operand.codes = which == W && hasCodes;
  return operand;
}

Product HeadKernel::logits(int64_t first, int64_t count) const {
  Product product;
  product.element = element;
  product.rowCount = staticTokens;
  product.columnCount = count;
  product.a = argument(X, 0, staticTokens, true);
  product.b = argument(W, first, count, true);
  product.tile = chooseTile(element, staticTokens, count, false);
  return product;
}

void HeadKernel::writeBlock(SourceWriter &w, const Product &product,
                            int64_t depth) const {
  std::string tiles = std::to_string(product.columnTiles());
  w.line("const int block = (int)pg_block(), column0 = block % " + tiles +
         " * kTileColumns;");
  w.line("const int row0 = block / " + tiles + " * kTileRows;");
  w.line("constexpr int depth_begin = 0, depth_end = " + std::to_string(depth) +
         ";");
}

std::string HeadKernel::exponential(const std::string &x) const {
  return element == "bf16"
             ? "pg_exp2((" + x + ") * " + literalOf(kLog2E, sum) + ")"
             : "pg_exp(" + x + ")";
}

void HeadKernel::writeCapped(SourceWriter &w, const std::string &raw,
                             bool slope) const {
  if (softcap <= 0) {
    w.line("const " + sum + " z = " + raw + ";");
    return;
  }
  Holes holes;
  holes.set("sum", sum).set("raw", raw).set("cap", literalOf(softcap, sum));
  holes.set("inverse", literalOf(1 / softcap, sum));
  holes.set("twice", literalOf(2 * kLog2E / softcap, sum));
  // bf16: to about 1e-7 of 1, which is what matters of a logit.
  w.line(holes.fill(
      element == "bf16"
          ? "const @sum@ t = 1.0f - pg_divide(2.0f, pg_exp2(@raw@ * @twice@) + 1.0f), z = @cap@ * t;"
          : "const @sum@ t = pg_tanh(@raw@ * @inverse@), z = @cap@ * t;"));
  if (slope)
    w.line("const " + sum + " slope = 1 - t * t;");
}

void HeadKernel::writeCorrectionRow(SourceWriter &w, const Holes &holes) const {
  if (rank == 0)
    return;
  w.line(holes.fill(
      R"(@sum@ p[@rank@];
#pragma unroll
for (int r = 0; r < @rank@; ++r)
    p[r] = pg_get(@p@ + @rank@ll * pg_min(row, @rows@ - 1) + r);)"));
}

void HeadKernel::writeScaled(SourceWriter &w, const Holes &holes) const {
  if (!hasCodes)
    return;
  w.open("#pragma unroll\nfor (int k = 0; k < 4; ++k)");
  w.line(holes.fill(
      R"(const int word = pg_min(column0 + 8 * j + 4 * lane8 + k, @words@ - 1);
raw[k] *= pg_get(@scale@ + word);)"));
  if (rank)
    w.line(holes.fill(
        R"(#pragma unroll
for (int r = 0; r < @rank@; ++r)
    raw[k] = pg_fma(pg_get(@q@ + @rank@ll * word + r), p[r], raw[k]);)"));
  w.close();
}

//===----------------------------------------------------------------------===//
// Forward
//===----------------------------------------------------------------------===//

FailureOr<EmittedKernel> HeadKernel::emitForward() {
  if (!buffers.isValid())
    return failure();
  emitTiles();
  emitCombine();
  int64_t tiles = logits(0, words).columnTiles();
  return finish((2 * tiles + 1) * sumBytes);
}

void HeadKernel::emitTiles() {
  Product product = logits(0, words);
  SourceWriter w;
  ElementEvaluator evaluator(w, text);
  writeProductFrame(w, product);
  writeBlock(w, product, features);
  writeProductLoop(evaluator, product);
  int64_t tiles = product.columnTiles();
  Holes holes;
  holes.set("sum", sum).set("targets", buffers.operand(Targets));
  holes.set("tiles", tiles).set("words", words);
  holes.set("rows", product.rowLimit());
  holes.set("peak", hasFixedPeak ? literalOf(softcap, sum) : "");
  holes.set("lowest", literalOf(-1e30, sum));
  if (hasCodes)
    holes.set("scale", buffers.operand(Scale));
  if (rank)
    holes.set("rank", rank).set("p", buffers.operand(P)).set("q", buffers.operand(Q));
  w.line(holes.fill(
      R"(// Eight lanes per row: its peak, the sum of exp(z - peak), and the target's z.
@sum@ *const statistics = reinterpret_cast<@sum@ *>(workspace), *const picked = statistics + 2ll * @tiles@ * @rows@;)"));
  w.open("for (int i = 0; i < kTileRows * 8 / kThreads; ++i)");
  w.line(holes.fill(
      R"(const int lane8 = thread % 8, tile_row = (thread + i * kThreads) / 8, row = row0 + tile_row;
const int target = @targets@[pg_min(row, @rows@ - 1)];
@sum@ logit[kTileColumns / 8];)"));
  writeCorrectionRow(w, holes);
  if (!hasFixedPeak)
    w.line(holes.fill("@sum@ peak = @lowest@;"));
  else
    w.line(holes.fill("const @sum@ peak = @peak@;"));
  w.open("#pragma unroll\nfor (int j = 0; j < kTileColumns / 8; j += 4)");
  w.line(holes.fill(
      hasCodes
          ? "pg_vec<@sum@, 4> raw = pg_load<4>(tile + tile_row * kTilePitch + 8 * j + 4 * lane8);"
          : "const pg_vec<@sum@, 4> raw = pg_load<4>(tile + tile_row * kTilePitch + 8 * j + 4 * lane8);"));
  writeScaled(w, holes);
  w.open("#pragma unroll\nfor (int k = 0; k < 4; ++k)");
  w.line("const int column = column0 + 8 * j + 4 * lane8 + k;");
  writeCapped(w, "raw[k]", false);
  if (words % product.tile.columns)
    w.line(holes.fill("logit[j + k] = column < @words@ ? z : @lowest@;"));
  else
    w.line("logit[j + k] = z;");
  if (!hasFixedPeak)
    w.line("peak = pg_max(peak, logit[j + k]);");
  w.line(holes.fill("if (column == target && row < @rows@)\n    picked[row] = z;"));
  w.close();
  w.close();
  if (!hasFixedPeak)
    w.line("peak = pg_lanes_max<8>(peak);");
  holes.set("exp", exponential("logit[j] - peak"));
  w.line(holes.fill(
      R"(@sum@ total = 0;
#pragma unroll
for (int j = 0; j < kTileColumns / 8; ++j)
    total += @exp@;
total = pg_lanes_sum<8>(total);
if (lane8 == 0 && row < @rows@)
    pg_store<2>(statistics + 2 * (@tiles@ll * row + block % @tiles@), {{peak, total}});)"));
  w.close();
  text.addStage(productStage(product, symbol("tiles", 0), 1), w);
}

void HeadKernel::emitCombine() {
  Product product = logits(0, words);
  SourceWriter w;
  Holes holes;
  holes.set("sum", sum).set("tiles", product.columnTiles());
  holes.set("warps", kCombineWarps).set("rows", product.rowLimit());
  holes.set("lowest", literalOf(-1e30, sum));
  holes.set("nll", buffers.put(0, "token", "lse - picked[token]"));
  holes.set("lse", buffers.put(1, "token", "lse"));
  w.line(holes.fill(
      R"(const int lane = pg_thread() % 32, tokens = (int)batch.n;
const int token = (int)pg_block() * @warps@ + pg_thread() / 32;
if (token >= @rows@)
    return;
const @sum@ *const statistics = reinterpret_cast<const @sum@ *>(workspace), *const picked = statistics + 2ll * @tiles@ * @rows@;
const @sum@ *const of_token = statistics + 2ll * @tiles@ * token;
@sum@ peak = @lowest@;
for (int k = lane; k < @tiles@; k += 32)
    peak = pg_max(peak, of_token[2 * k]);
peak = pg_lanes_max<32>(peak);
@sum@ total = 0;
for (int k = lane; k < @tiles@; k += 32)
    total += of_token[2 * k + 1] * pg_exp(of_token[2 * k] - peak);
total = pg_lanes_sum<32>(total);
const @sum@ lse = peak + pg_log(total);
if (lane == 0) {
    @nll@
    @lse@
})"));
  Stage stage;
  stage.symbol = symbol("combine", 0);
  stage.threads = static_cast<int>(32 * kCombineWarps);
  stage.blocks.tokensPerItem = staticTokens ? 0 : kCombineWarps;
  stage.blocks.multiplier =
      staticTokens ? (staticTokens + kCombineWarps - 1) / kCombineWarps : 1;
  text.addStage(stage, w);
}

//===----------------------------------------------------------------------===//
// Gradients
//===----------------------------------------------------------------------===//

bool HeadKernel::emitLogitGradient(int64_t chunk) {
  Product product = logits(chunk * kChunk, chunkWords(chunk));
  SourceWriter w;
  ElementEvaluator evaluator(w, text);
  writeProductFrame(w, product);
  writeBlock(w, product, features);
  writeProductLoop(evaluator, product);
  int64_t width = 8;
  Holes holes;
  holes.set("sum", sum).set("element", element);
  holes.set("lse", buffers.operand(Lse)).set("dnll", buffers.operand(DNll));
  holes.set("targets", buffers.operand(Targets));
  holes.set("words", chunkWords(chunk)).set("pitch", pitch(chunk));
  holes.set("first", chunk * kChunk);
  writeTileLoop(w, product, width, pitch(chunk), [&](const std::string &inside) {
    writeTileVector(w, product, width);
    w.line(holes.fill(
        R"(const @sum@ lse = pg_get(@lse@ + row), dnll = pg_get(@dnll@ + row);
const int target = @targets@[row] - @first@ - column;
pg_vec<@sum@, 8> dz;)"));
    w.open("#pragma unroll\nfor (int w = 0; w < 8; ++w)");
    writeCapped(w, "product[w]", true);
    w.line("const " + sum + " p = " + exponential("z - lse") +
           " - (w == target ? 1 : 0);");
    std::string value = softcap > 0 ? "p * dnll * slope" : "p * dnll";
    if (pitch(chunk) != chunkWords(chunk))
      value = "column + w < " + std::to_string(chunkWords(chunk)) + " ? " +
              value + " : 0";
    w.line("dz[w] = " + value + ";");
    w.close();
    std::string store = holes.fill(
        "pg_store<8>(reinterpret_cast<@element@ *>(workspace) + @pitch@ll * row + column, dz);");
    w.line(inside.empty() ? store : "if (" + inside + ")\n    " + store);
  });
  text.addStage(productStage(product, symbol("dz", chunk), 1), w);
  return !evaluator.failed();
}

FailureOr<EmittedKernel> HeadKernel::emitGradX() {
  if (!buffers.isValid())
    return failure();
  auto yields = ProductYields::of(text, op->getResult(0));
  if (failed(yields))
    return failure();
  std::string dz = "reinterpret_cast<const " + element + " *>(workspace)";
  // Sums of the chunks so far, behind dz.
  int64_t dzBytes = std::min(words + 7, kChunk) / 8 * 8 * bytes;
  for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
    if (!emitLogitGradient(chunk))
      return failure();
    Product product;
    product.element = element;
    product.rowCount = staticTokens;
    product.columnCount = features;
    product.a = matrix(dz, staticTokens, pitch(chunk), true);
    product.b = argument(W, chunk * kChunk, chunkWords(chunk), false);
    product.tile = chooseTile(element, staticTokens, features, false);
    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    writeProductFrame(w, product);
    writeBlock(w, product, pitch(chunk));
    writeProductLoop(evaluator, product);
    int64_t width = yields->width(features);
    std::string count = std::to_string(width);
    std::string place = "reinterpret_cast<" + sum + " *>(workspace + " +
                        std::to_string(dzBytes) + "ll * " + product.rowLimit() +
                        ") + " + std::to_string(features) + "ll * row + column";
    writeTileLoop(w, product, width, features, [&](const std::string &inside) {
      if (chunk == 0) {
        writeTileVector(w, product, width);
      } else {
        w.line("pg_vec<" + sum + ", " + count + "> product = pg_load<" + count +
               ">(tile + at);");
        w.line("const pg_vec<" + sum + ", " + count +
               "> before = pg_load<" + count + ">(" + place + ");");
        w.line("#pragma unroll\nfor (int w = 0; w < " + count +
               "; ++w)\n    product[w] += before[w];");
      }
      if (chunk + 1 == chunks()) {
        yields->write(evaluator, "product", width, inside);
        return;
      }
      std::string store = "pg_store<" + count + ">(" + place + ", product);";
      w.line(inside.empty() ? store : "if (" + inside + ")\n    " + store);
    });
    if (evaluator.failed())
      return failure();
    text.addStage(productStage(product, symbol("dx", chunk), 1), w);
  }
  return finish(dzBytes + (chunks() > 1 ? features * sumBytes : 0));
}

FailureOr<EmittedKernel> HeadKernel::emitGradW() {
  if (!buffers.isValid())
    return failure();
  auto yields = ProductYields::of(text, op->getResult(0));
  if (failed(yields))
    return failure();
  if (staticTokens)
    return op->emitOpError("expected a number of tokens known at run time");
  std::string dz = "reinterpret_cast<const " + element + " *>(workspace)";
  int64_t dzBytes = std::min(words + 7, kChunk) / 8 * 8 * bytes;
  std::string place = "reinterpret_cast<" + sum + " *>(workspace + " +
                      std::to_string(dzBytes) + "ll * tokens)";
  int64_t partBytes = 0;
  for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
    if (!emitLogitGradient(chunk))
      return failure();
    Product product;
    product.element = element;
    product.rowCount = chunkWords(chunk);
    product.columnCount = features;
    product.a = matrix(dz, 0, pitch(chunk), false);
    product.b = argument(X, 0, 0, false);
    product.tile = chooseTile(element, product.rowCount, features, true);
    int64_t parts = tokenParts(product);
    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    writeProductFrame(w, product);
    writeBlockOfParts(w, product, parts);
    writeProductLoop(evaluator, product);
    int64_t width = yields->width(features);
    writeTileLoop(w, product, width, features, [&](const std::string &inside) {
      writeTileVector(w, product, width);
      if (parts > 1)
        return writePart(w, product, width, place, inside);
      w.fresh("word");
      w.line("const int word = row + " + std::to_string(chunk * kChunk) + ";");
      yields->write(evaluator, "product", width, inside, "word");
    });
    if (evaluator.failed())
      return failure();
    text.addStage(productStage(product, symbol("dw", chunk), parts), w);
    if (parts > 1) {
      if (!emitCombineStage(text, *yields, product, parts, place,
                            symbol("combine", chunk), chunk * kChunk))
        return failure();
      partBytes = std::max(partBytes, parts * product.rowCount * features *
                                          sumBytes);
    }
  }
  return finish(dzBytes, partBytes);
}

template <typename Op> Operation *only(KernelDefOp def) {
  return *def.getBody().front().getOps<Op>().begin();
}

} // namespace

FailureOr<EmittedKernel> emitLinearCrossEntropyKernel(KernelDefOp def) {
  return HeadKernel(def, only<LinearCrossEntropyOp>(def)).emitForward();
}
FailureOr<EmittedKernel> emitLinearCrossEntropyGradXKernel(KernelDefOp def) {
  return HeadKernel(def, only<LinearCrossEntropyGradXOp>(def)).emitGradX();
}
FailureOr<EmittedKernel> emitLinearCrossEntropyGradWKernel(KernelDefOp def) {
  return HeadKernel(def, only<LinearCrossEntropyGradWOp>(def)).emitGradW();
}

} // namespace pg::cuda
