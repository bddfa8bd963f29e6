//===- GroupedKernels.cpp - products with one matrix per slot -----------------===//
//
// The tokens of a row lie together and share a slot, so both products are plain
// ones over runs of tokens, with the main loops of ProductText.h.
//
//   grouped_matmul  a block makes one tile of tokens x columns: for every run in
//                   it, in order, the product with the matrix of the run's slot,
//                   whose rows end where the run ends. A sum runs over the
//                   contracted dimension in order, however tokens are cut.
//   grouped_outer   a block makes one tile of one slot's result: the runs of the
//                   slot are ranges of the depth of one sum, in order of tokens.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/Emitters.h"
#include "passes/cuda/ProductEpilogue.h"

#include "passes/fuse/Tensors.h"

#include <numeric>

using namespace mlir;

namespace pg::cuda {
namespace {

/// Runs are often shorter than a tile, and rows behind a run's end are computed
/// for nothing: only wide results, whose operands are read often, get the large
/// one.
constexpr int64_t kSmallColumns = 128;

ProductTile chooseRunTile(const std::string &element, int64_t columns) {
  return chooseTile(element, columns <= kSmallColumns ? 1 : 0, columns, false);
}

class GroupedMatmulKernel {
public:
  explicit GroupedMatmulKernel(KernelDefOp def)
      : def(def), op(*def.getBody().front().getOps<GroupedMatmulOp>().begin()),
        text(def) {}

  FailureOr<EmittedKernel> emit() {
    matrices = dyn_cast<BlockArgument>(throughReshapes(op.getW()));
    if (!matrices)
      return op.emitOpError("expected the matrices in memory");
    auto yields = ProductYields::of(text, op.getResult());
    if (failed(yields))
      return failure();
    describe();

    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    w.fresh("matrix");
    writeProductFrame(w, product);
    Holes holes;
    holes.set("columnTiles", product.columnTiles()).set("depth", depth);
    holes.set("element", product.element).set("w", text.argument(matrices));
    holes.set("size", depth * product.columnCount);
    w.line(holes.fill(
        R"(const int block = (int)pg_block(), column0 = block % @columnTiles@ * kTileColumns;
const int first_row = block / @columnTiles@ * kTileRows, end_row = pg_min(first_row + kTileRows, tokens);
constexpr int depth_begin = 0, depth_end = @depth@;)"));
    // The header is the block's own: every run is a product from its first token on.
    w.open("for (int row0 = first_row, run_end; row0 < end_row; row0 = run_end)");
    w.line(holes.fill(
        R"(run_end = pg_min(batch.row_end[row0], end_row);
const @element@ *const matrix = @w@ + @size@ll * batch.slot[row0];
pg_barrier(); // the tile of the run before has been read)"));
    writeProductLoop(evaluator, product);
    int64_t width = yields->width(product.columnCount);
    writeTileLoop(w, product, width, product.columnCount,
                  [&](const std::string &inside) {
                    writeTileVector(w, product, width);
                    yields->write(evaluator, "product", width, inside);
                  });
    w.close();
    if (evaluator.failed())
      return failure();
    text.addStage(productStage(product, def.getSymName().str(), 1), w);
    return text.finish("matmul");
  }

private:
  void describe() {
    auto x = cast<RankedTensorType>(op.getX().getType());
    depth = x.getDimSize(1);
    product.element = memoryType(x.getElementType());
    product.rowCount = 0;
    product.columnCount = op.getType().getDimSize(1);
    product.tokenEnd = "run_end";
    product.a = describeOperand(text, op.getX(), true);
    product.b.depthInColumns = op.getTransposeW();
    product.b.rows = op.getTransposeW() ? product.columnCount : depth;
    product.b.columns = op.getTransposeW() ? depth : product.columnCount;
    product.b.pointer = "matrix";
    product.b.alignment =
        std::gcd(text.alignment(matrices), depth * product.columnCount *
                                               elementBytes(x.getElementType()));
    product.tile = chooseRunTile(product.element, product.columnCount);
  }

  KernelDefOp def;
  GroupedMatmulOp op;
  KernelText text;
  BlockArgument matrices;
  Product product;
  int64_t depth = 0;
};

class GroupedOuterKernel {
public:
  explicit GroupedOuterKernel(KernelDefOp def)
      : def(def), op(*def.getBody().front().getOps<GroupedOuterOp>().begin()),
        text(def) {}

  FailureOr<EmittedKernel> emit() {
    if (failed(checkYields()))
      return failure();
    int64_t slots = op.getType().getDimSize(0);
    product.element =
        memoryType(cast<RankedTensorType>(op.getA().getType()).getElementType());
    product.rowCount = op.getType().getDimSize(1);
    product.columnCount = op.getType().getDimSize(2);
    product.a = describeOperand(text, op.getA(), false);
    product.b = describeOperand(text, op.getB(), false);
    product.tile = chooseTile(product.element, product.rowCount,
                              product.columnCount, true);

    SourceWriter w;
    ElementEvaluator evaluator(w, text);
    w.fresh("slot");
    writeProductFrame(w, product);
    Holes holes;
    holes.set("columnTiles", product.columnTiles());
    holes.set("rowTiles", product.rowTiles());
    holes.set("tiles", product.columnTiles() * product.rowTiles());
    w.line(holes.fill(
        R"(const int block = (int)pg_block(), slot = block / @tiles@, column0 = block % @columnTiles@ * kTileColumns;
const int row0 = block / @columnTiles@ % @rowTiles@ * kTileRows;)"));
    writeProductSums(w, product);
    w.open("for (int depth_begin = 0, depth_end; depth_begin < tokens; depth_begin = depth_end)");
    w.line(R"(depth_end = batch.row_end[depth_begin];
if (batch.slot[depth_begin] != slot)
    continue;
pg_barrier(); // the last steps of the run before have been multiplied)");
    writeProductSteps(evaluator, product);
    w.close();
    writeProductTile(w, product);
    int64_t width = product.columnCount % 8 == 0   ? 8
                    : product.columnCount % 4 == 0 ? 4
                                                   : 1;
    writeTileLoop(w, product, width, product.columnCount,
                  [&](const std::string &inside) {
                    writeTileVector(w, product, width);
                    writeResults(w, width, inside);
                  });
    if (evaluator.failed())
      return failure();
    text.addStage(
        productStage(product, def.getSymName().str(), static_cast<int>(slots)),
        w);
    return text.finish("matmul");
  }

private:
  /// Every yield must be the op's result, seen through reshapes and a cast.
  LogicalResult checkYields() {
    for (Value value : text.yields()) {
      Value source = throughReshapes(value);
      if (auto cast = source.getDefiningOp<CastOp>())
        source = throughReshapes(cast.getX());
      if (source != op.getResult())
        return op.emitOpError("expected only its own result to be stored");
    }
    return success();
  }

  /// Stores the vector `product` of row `row` of the slot's matrix.
  void writeResults(SourceWriter &w, int64_t width, const std::string &inside) {
    bool isRounded = op.getType().getElementType().isBF16();
    std::string index = std::to_string(product.columnCount) + "ll * (slot * " +
                        std::to_string(product.rowCount) + "ll + row) + column";
    std::vector<VectorOutput> outputs;
    for (unsigned k = 0; k < text.yields().size(); ++k)
      outputs.push_back(VectorOutput::declare(w, text, k, index, width));
    w.open("#pragma unroll\nfor (int w = 0; w < " + std::to_string(width) +
           "; ++w)");
    for (auto [k, output] : llvm::enumerate(outputs)) {
      Type stored = getElementTypeOrSelf(text.yields()[k].getType());
      w.line(output.name + "[w] = (" + registerType(stored) + ")" +
             (isRounded ? "pg_round_bf16(product[w]);" : "product[w];"));
    }
    w.close();
    if (!inside.empty())
      w.open("if (" + inside + ")");
    for (const VectorOutput &output : outputs)
      output.store(w);
    if (!inside.empty())
      w.close();
  }

  KernelDefOp def;
  GroupedOuterOp op;
  KernelText text;
  Product product;
};

} // namespace

FailureOr<EmittedKernel> emitGroupedMatmulKernel(KernelDefOp def) {
  return GroupedMatmulKernel(def).emit();
}

FailureOr<EmittedKernel> emitGroupedOuterKernel(KernelDefOp def) {
  return GroupedOuterKernel(def).emit();
}

} // namespace pg::cuda
