//===- MatmulKernel.cpp - products with prologue and epilogue -----------------===//
//
// C[M][N] = A[M][K] B[K][N]; M or K may be the token axis, N is static. A block
// makes one tile of C, column tiles first, so that neighbours share rows of A.
// A contraction over tokens is cut into a fixed number of parts with sums of
// their own in the workspace, which a second stage adds in order.
//
// A static matrix times its own transpose is symmetric: there is a block for every
// tile on and below the diagonal, which stores the mirrored tile too. Mirrored
// elements are the same products added in the same order.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/Emitters.h"
#include "passes/cuda/ProductText.h"
#include "passes/cuda/ProductEpilogue.h"

#include "passes/fuse/Tensors.h"

using namespace mlir;

namespace pg::cuda {
namespace {

class MatmulKernel {
public:
  explicit MatmulKernel(KernelDefOp def)
      : def(def), op(*def.getBody().front().getOps<MatmulOp>().begin()),
        text(def) {}

  FailureOr<EmittedKernel> emit();

private:
  LogicalResult describe();
  /// Set when the kernel multiplies what lies in memory and stores nothing else.
  std::optional<rt::CudaProduct> plainProduct();
  void emitProduct();
  /// `row0` and `column0` of a block of the triangle.
  void writeTriangle(SourceWriter &w);
  /// Stores the tile across the diagonal, from the columns of this one.
  void writeMirrored(ElementEvaluator &evaluator, int64_t width);
  /// Sums of the parts in the workspace.
  std::string place() const {
    return "reinterpret_cast<" + product.sum() + " *>(workspace)";
  }

  KernelDefOp def;
  MatmulOp op;
  KernelText text;
  Product product;
  ProductYields yields;
  bool tokenDepth = false, hasFailed = false;
  bool isSymmetric = false; ///< A times A^T
  int64_t staticDepth = 0, parts = 1;
};

FailureOr<EmittedKernel> MatmulKernel::emit() {
  if (failed(describe()))
    return failure();
  emitProduct();
  if (parts > 1)
    hasFailed |= !emitCombineStage(text, yields, product, parts, place(),
                                   def.getSymName().str() + "_combine", 0);
  if (hasFailed)
    return failure();
  int64_t workspace =
      parts > 1 ? parts * product.rowCount * product.columnCount * product.sumBytes()
                : 0;
  EmittedKernel kernel = text.finish("matmul", workspace);
  kernel.product = plainProduct();
  return kernel;
}

std::optional<rt::CudaProduct> MatmulKernel::plainProduct() {
  Block &body = def.getBody().front();
  auto yield = cast<YieldOp>(body.getTerminator());
  constexpr int64_t kAlignment = 16; // that libraries count on
  Type element = getElementTypeOrSelf(op.getA().getType());
  if (!isa<FloatType>(element) ||
      getElementTypeOrSelf(op.getB().getType()) != element ||
      product.a.pointer.empty() || product.b.pointer.empty() ||
      yield.getNumOperands() != 1 || product.a.alignment < kAlignment ||
      product.b.alignment < kAlignment || text.yieldAlignment(0) < kAlignment)
    return std::nullopt;
  // The result as it is, or in bf16.
  auto stored = cast<RankedTensorType>(yield.getOperand(0).getType());
  Value value = throughReshapes(yield.getOperand(0));
  if (auto narrow = value.getDefiningOp<CastOp>())
    value = throughReshapes(narrow.getX());
  bool isNarrow = stored.getElementType().isBF16();
  bool accumulates = def.getModes()[0] == 2;
  if (value != op.getResult() ||
      (isNarrow ? product.element != "bf16" || accumulates
                : memoryType(stored.getElementType()) != product.sum()))
    return std::nullopt;
  // Places among the buffers: arguments that are tensors, then the yield.
  auto place = [&](Value operand) {
    auto argument = cast<BlockArgument>(throughReshapes(operand));
    return static_cast<uint32_t>(llvm::count_if(
        body.getArguments().take_front(argument.getArgNumber()),
        [](BlockArgument before) { return isa<RankedTensorType>(before.getType()); }));
  };
  rt::CudaProduct plain;
  plain.a = place(op.getA());
  plain.b = place(op.getB());
  plain.c = static_cast<uint32_t>(llvm::count_if(body.getArgumentTypes(), [](Type type) {
    return isa<RankedTensorType>(type);
  }));
  plain.transposeA = op.getTransposeA();
  plain.transposeB = op.getTransposeB();
  plain.accumulates = accumulates;
  plain.operands = product.element == "bf16"     ? rt::DType::BF16
                   : product.element == "double" ? rt::DType::F64
                                                 : rt::DType::F32;
  plain.result = isNarrow                      ? rt::DType::BF16
                 : product.element == "double" ? rt::DType::F64
                                               : rt::DType::F32;
  plain.rows = product.rowCount;
  plain.columns = product.columnCount;
  plain.depth = staticDepth;
  return plain;
}

LogicalResult MatmulKernel::describe() {
  auto typeA = cast<RankedTensorType>(op.getA().getType());
  auto type = cast<RankedTensorType>(op.getResult().getType());
  if (type.isDynamicDim(1))
    return op.emitOpError("expected a product with a static number of columns");
  int64_t depth = typeA.getDimSize(op.getTransposeA() ? 0 : 1);
  tokenDepth = ShapedType::isDynamic(depth);
  if (tokenDepth && (!op.getTransposeA() || op.getTransposeB()))
    return op.emitOpError(
        "expected a contraction over tokens as a^T b, both by rows");
  if (type.isDynamicDim(0) && op.getTransposeA())
    return op.emitOpError("expected tokens in the rows of the left operand");
  staticDepth = tokenDepth ? 0 : depth;
  product.element = memoryType(typeA.getElementType());
  product.rowCount = type.isDynamicDim(0) ? 0 : type.getDimSize(0);
  product.columnCount = type.getDimSize(1);
  product.a = describeOperand(text, op.getA(), !op.getTransposeA());
  product.b = describeOperand(text, op.getB(), op.getTransposeB());
  product.tile = chooseTile(product.element, product.rowCount,
                            product.columnCount, tokenDepth);
  if (tokenDepth)
    parts = tokenParts(product);
  isSymmetric = op.getA() == op.getB() && !tokenDepth && product.rowCount &&
                op.getTransposeA() != op.getTransposeB() &&
                product.tile.rows == product.tile.columns;
  auto described = ProductYields::of(text, op.getResult());
  if (failed(described))
    return failure();
  yields = *described;
  return success();
}

void MatmulKernel::emitProduct() {
  SourceWriter w;
  ElementEvaluator evaluator(w, text);
  writeProductFrame(w, product);
  if (tokenDepth) {
    writeBlockOfParts(w, product, parts);
  } else if (isSymmetric) {
    writeTriangle(w);
  } else {
    std::string tiles = std::to_string(product.columnTiles());
    w.line("const int block = (int)pg_block(), column0 = block % " + tiles +
           " * kTileColumns;");
    w.line("const int row0 = block / " + tiles + " * kTileRows;");
  }
  if (!tokenDepth)
    w.line("constexpr int depth_begin = 0, depth_end = " +
           std::to_string(staticDepth) + ";");
  writeProductLoop(evaluator, product);

  int64_t width = yields.width(product.columnCount);
  writeTileLoop(w, product, width, product.columnCount,
                [&](const std::string &inside) {
                  writeTileVector(w, product, width);
                  if (parts == 1)
                    yields.write(evaluator, "product", width, inside);
                  else
                    writePart(w, product, width, place(), inside);
                });
  if (isSymmetric)
    writeMirrored(evaluator, width);
  hasFailed |= evaluator.failed();
  Stage stage = productStage(
      product, def.getSymName().str() + (parts > 1 ? "_parts" : ""), parts);
  if (isSymmetric)
    stage.blocks.multiplier = product.rowTiles() * (product.rowTiles() + 1) / 2;
  text.addStage(stage, w);
}

void MatmulKernel::writeTriangle(SourceWriter &w) {
  for (const char *name : {"block", "row_tile", "first"})
    w.fresh(name);
  w.line(R"(// Row tile r of the triangle has the column tiles 0 ... r.
const int block = (int)pg_block();
int row_tile = 0, first = 0;
while (first + row_tile < block)
    first += ++row_tile;
const int row0 = row_tile * kTileRows, column0 = (block - first) * kTileColumns;)");
}

void MatmulKernel::writeMirrored(ElementEvaluator &evaluator, int64_t width) {
  SourceWriter &w = evaluator.writer();
  // Neighbouring threads read neighbouring columns of the tile and store vectors
  // of neighbouring rows.
  Holes holes;
  holes.set("sum", product.sum()).set("width", width);
  holes.set("rows", product.rowCount).set("columns", product.columnCount);
  for (const char *name : {"mirror", "mirror_row", "mirror_column", "is_mirrored"})
    w.fresh(name);
  w.open("if (row0 != column0)");
  w.open("#pragma unroll 4\nfor (int i = 0; i < " +
         std::to_string(product.tile.rows * product.tile.columns / width /
                        product.tile.threads) +
         "; ++i)");
  w.line(holes.fill(
      R"(const int piece = thread + i * kThreads, tile_column = piece % kTileColumns, tile_row = piece / kTileColumns * @width@;
const bool is_mirrored = column0 + tile_column < @rows@ && row0 + tile_row < @columns@;
const int mirror_row = pg_min(column0 + tile_column, @rows@ - 1), mirror_column = pg_min(row0 + tile_row, @columns@ - @width@);
pg_vec<@sum@, @width@> mirror;
#pragma unroll
for (int k = 0; k < @width@; ++k)
    mirror[k] = tile[(tile_row + k) * kTilePitch + tile_column];)"));
  yields.write(evaluator, "mirror", width, "is_mirrored", "mirror_row",
               "mirror_column");
  w.close();
  w.close();
}

} // namespace

FailureOr<EmittedKernel> emitMatmulKernel(KernelDefOp def) {
  return MatmulKernel(def).emit();
}

} // namespace pg::cuda
