//===- ProductEpilogue.h - operands and yields of a product kernel ------------===//
#ifndef PG_PASSES_CUDA_PRODUCTEPILOGUE_H
#define PG_PASSES_CUDA_PRODUCTEPILOGUE_H

#include "passes/cuda/ProductText.h"

namespace pg::cuda {

/// How the rank-2 operand `value` of a kernel's product gets into its tiles:
/// from memory, from memory and through a map, or computed.
ProductOperand describeOperand(KernelText &text, mlir::Value value,
                               bool depthInColumns);

/// A result of a kernel that is written in vectors of elements which lie side by
/// side in memory.
struct VectorOutput {
  std::string name;    ///< of the vector, filled element by element
  std::string pointer; ///< to its first element
  int64_t width = 1;
  bool accumulates = false, isAligned = false;

  /// Declares the vector of yield `k` whose first element is number `index`.
  static VectorOutput declare(SourceWriter &w, const KernelText &text,
                              unsigned k, const std::string &index,
                              int64_t width);
  /// Stores it as the yield's mode asks.
  void store(SourceWriter &w) const;
};

/// The yields of a product kernel, all of the product's shape up to reshapes.
class ProductYields {
public:
  /// An error when a yield has another shape.
  static mlir::FailureOr<ProductYields> of(KernelText &text,
                                           mlir::Value product);

  /// Elements of a row that are computed and stored together: 8, 4 or 1.
  int64_t width(int64_t columns) const;
  /// Evaluates every yield at (row, column ... column + width) with the product's
  /// elements in the vector `name`, and stores it as its mode asks, where the
  /// condition `inside` ("": always) holds. `row` and `column` (or what the last
  /// arguments say) are ints in scope.
  void write(ElementEvaluator &evaluator, const std::string &name,
             int64_t width, const std::string &inside,
             const std::string &rowName = "row",
             const std::string &columnName = "column") const;

private:
  KernelText *text = nullptr;
  mlir::Value product;
};

//===--- a contraction over tokens, cut into parts ----------------------------===//

/// Parts of the contraction, so that there are about two blocks for every
/// multiprocessor of a large GPU; by shape alone.
int64_t tokenParts(const Product &product);
/// Defines `column0`, `row0`, `part` and the range of tokens of a block.
void writeBlockOfParts(SourceWriter &w, const Product &product, int64_t parts);
/// Stores the vector `product` as the part's sums at `place` (a pointer to
/// sums), where `inside` holds.
void writePart(SourceWriter &w, const Product &product, int64_t width,
               const std::string &place, const std::string &inside);
/// A stage that adds the parts in order and writes the yields. Rows of the
/// yields begin at `firstRow`. False after a diagnostic.
bool emitCombineStage(KernelText &text, const ProductYields &yields,
                      const Product &product, int64_t parts,
                      const std::string &place, const std::string &symbol,
                      int64_t firstRow);
/// Fields of the stage that runs a product's tiles, `parts` times.
Stage productStage(const Product &product, const std::string &symbol,
                   int64_t parts);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_PRODUCTEPILOGUE_H
