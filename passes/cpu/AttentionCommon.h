//===- AttentionCommon.h - what forward and backward attention share -------===//
#ifndef PG_PASSES_CPU_ATTENTIONCOMMON_H
#define PG_PASSES_CPU_ATTENTIONCOMMON_H

#include "dialect/Pg.h"
#include "passes/cpu/ProductTile.h"

namespace pg {

inline constexpr double kLog2E = 1.4426950408889634;
/// Score of a key that a query does not see, and the maximum before any key:
/// 2^(kUnseen - m) is 0 for every maximum m from kNothingSeen up.
inline constexpr double kUnseen = -1.0e30, kNothingSeen = -1.0e29;

/// Sizes of one attention and which keys a query sees.
struct AttentionGeometry {
  int64_t heads, groups; ///< H query heads, G key/value heads
  int64_t keyWidth, valueWidth; ///< d, e
  int64_t window; ///< 0: none
  bool bySegment;
  double scale;

  template <typename Op> static AttentionGeometry of(Op op) {
    auto q = mlir::cast<mlir::RankedTensorType>(op.getQ().getType());
    auto v = mlir::cast<mlir::RankedTensorType>(op.getV().getType());
    return {q.getDimSize(1),
            v.getDimSize(1),
            q.getDimSize(2),
            v.getDimSize(2),
            static_cast<int64_t>(op.getWindow()),
            op.getWithin() == Within::segment,
            op.getScale().convertToDouble()};
  }
};

/// First key seen by query `token`; grows with the token.
Val firstKey(Emitter &e, const AttentionGeometry &g, Val token);
/// One past the last query that sees key `token`; grows with the token.
Val queriesEnd(Emitter &e, const AttentionGeometry &g, Val token);
/// A tensor in memory: an argument, or a yield (to be added to where the launch
/// accumulates). Elements are widened and rounded on the way.
struct StoredTensor {
  Val pointer; ///< null when nothing takes the result
  mlir::Type element;
  bool accumulates = false;

  explicit operator bool() const { return static_cast<bool>(pointer); }
  /// Writes a scalar or vector of the emitter's float type.
  void put(Emitter &e, Val value, Val index) const;
};

/// One head of a [N, heads, width] tensor as a matrix of N rows.
ProductTile::Source headMatrix(ProductTile &tile, Emitter &e,
                               const StoredTensor &from, int64_t heads,
                               int64_t width, Val head);

/// Operands and results of a structured op that must be kernel arguments and
/// yields, of the same type or cast: buffer of the operand, or of the yield that
/// hands out the result.
/// Reports at the op when the kernel holds anything else.
class DirectBuffers {
public:
  DirectBuffers(KernelDefOp def, mlir::Operation *op, Emitter &e);
  /// False after a diagnostic.
  bool isValid() const { return valid; }
  const StoredTensor &operand(int64_t i) const { return operands[i]; }
  const StoredTensor &result(int64_t i) const { return results[i]; }

private:
  llvm::SmallVector<StoredTensor> operands, results;
  bool valid = true;
};

/// Queries of all heads that share a key head, as columns of transposed scores
/// [keys][columns]: column c is token `token0 + c % queries` of the group's
/// member c / queries. Columns past the last token repeat it and see no key.
class QueryBlocks {
public:
  QueryBlocks(ProductTile &tile, Emitter &e, const AttentionGeometry &g);

  int64_t queries() const { return blockQueries; } ///< tokens of a block
  int64_t keys() const { return blockKeys; }       ///< of a block of keys
  int64_t columns() const { return members * blockQueries; }

  /// Begins a block; reads which keys its queries see.
  void start(Val token0, Val tokens);
  /// Rows of `factor` times a [N, heads, width] tensor, one per column.
  ProductTile::Source source(const StoredTensor &from, int64_t width, Val group,
                             double factor);
  /// Gives kUnseen to what a query does not see of the keys [key0, key0 + keys).
  void mask(TileC scores, Val key0, Val keys);
  /// body(column, token * heads + head) for every query of the block.
  void forQueries(Val group, llvm::function_ref<void(Val, Val)> body);
  /// Folds the keys [0, keys) in four independent chains, whose latencies
  /// overlap, and then the chains: a fixed order.
  Val foldKeys(Val keys, Val start, llvm::function_ref<Val(Val, Val)> step,
               llvm::function_ref<Val(Val, Val)> combine);

private:
  Emitter &e;
  AttentionGeometry g;
  int64_t members, blockQueries, blockKeys;
  Val token0, tokens, firstKeys, lastKeys;
};

/// scores[keys][columns] = K Q^T for `count` keys of a head from `key0` on. Keys
/// that lie as the float type are read in place (the last ones of the tensor, fewer
/// than a micro-kernel reads, are packed into `rows`), and those of the next block
/// are asked for.
void multiplyKeys(ProductTile &tile, Emitter &e, const StoredTensor &from,
                  const ProductTile::Source &source, const AttentionGeometry &g,
                  Val group, Val key0, Val count, int64_t width, TileA rows,
                  TileB queries, TileC scores, Val columns);
/// The rows of a head from `key0` on, as many as a micro-kernel has from each row
/// of its product on, for products of `k` steps over one panel.
std::function<LinesAhead(Val, Val)> nextKeys(ProductTile &tile, Emitter &e,
                                             const StoredTensor &from,
                                             const AttentionGeometry &g,
                                             Val group, Val key0, Val k,
                                             int64_t width);

/// Writes `rows` x `columns` of a tile to rows of memory.
void storeTile(ProductTile &tile, Emitter &e, TileC from, Val rows,
               int64_t columns, const StoredTensor &to, Val toIndex,
               Val toStride);

} // namespace pg

#endif // PG_PASSES_CPU_ATTENTIONCOMMON_H
