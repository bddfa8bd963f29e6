//===- AttentionCommon.h - what forward and backward attention share -------===//
#ifndef PG_PASSES_CPU_ATTENTIONCOMMON_H
#define PG_PASSES_CPU_ATTENTIONCOMMON_H

#include "dialect/Pg.h"
#include "passes/cpu/AttentionStrips.h"
#include "passes/cpu/ProductTile.h"
#include "passes/cpu/StructuredKernels.h"

namespace pg {

inline constexpr double kLog2E = 1.4426950408889634;
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

/// Rows of keys or values that lie one after the other.
struct KeyRows {
  Val at, stride;
  LinesAhead next; ///< those of the next block, to be asked for
};

/// The rows of a head from `key0` on, to be asked for.
LinesAhead rowsAhead(Emitter &e, const StoredTensor &from, const AttentionGeometry &g,
                     Val group, Val key0, int64_t width);
/// `count` rows of a head from `key0` on, with whole strips to read. Those that lie as
/// the float type stay where they are, but for the last ones of the tensor, fewer than
/// a strip has; others are packed into `packed`.
KeyRows placeKeys(ProductTile &tile, Emitter &e, const StoredTensor &from,
                  const AttentionGeometry &g, Val group, Val key0, Val count,
                  int64_t width, TileA packed);

/// Queries of all heads that share a key head, as columns of transposed scores
/// [keys][columns]: a vector has neighbouring tokens of one head, and the heads'
/// vectors of the same tokens lie side by side. So the keys that columns see grow with
/// the column, and what lies beyond the diagonal is left out in pieces of a vector.
/// Columns past the last token repeat it and see no key.
class QueryBlocks {
public:
  QueryBlocks(ProductTile &tile, Emitter &e, const AttentionGeometry &g, mlir::Operation *op);

  /// Whether what is multiplied are pairs of bf16 numbers: of features, keys or queries.
  bool ofPairs() const { return pairs; }
  /// A tensor whose features are summed over, as it is multiplied.
  StoredTensor multiplied(const StoredTensor &stored) const {
    return pairs ? stored.asPairs(e) : stored;
  }
  /// Steps of a sum over so many features, keys or columns (constants: an even number).
  int64_t steps(int64_t count) const { return pairs ? count / 2 : count; }
  Val steps(Val count) const { return pairs ? e.ceilDiv(count, 2) : count; }

  int64_t queries() const { return blockQueries; } ///< tokens of a block
  int64_t keys() const { return blockKeys; }       ///< of a block of keys
  int64_t columns() const { return members * blockQueries; }
  /// Columns with a number each in scratch: whole panels and strips.
  int64_t paddedColumns() const {
    return roundUp(columns(), std::lcm(tile.panelColumns(columns()), tile.microRows()));
  }
  /// Columns of the block at hand, whole vectors.
  Val used() const { return usedColumns; }

  /// The rows of one of the heads of a [N, heads, width] tensor from `token` on, to be
  /// asked for; `turn`, any number, chooses the head.
  LinesAhead headAhead(const StoredTensor &from, int64_t width, Val group, Val token,
                       Val turn);
  /// Begins a block; reads which keys its queries see.
  void start(Val token0, Val tokens, Val group);
  /// Rows of `factor` times a [N, heads, width] tensor, one per column.
  ProductTile::Source source(const StoredTensor &from, int64_t width,
                             double factor);
  /// i1 per lane: whether these columns see any of the keys.
  Val seesAny(Val column, Val key0, Val count);
  /// body(column, token * heads + head) for every query of the block.
  void forQueries(llvm::function_ref<void(Val, Val)> body);

  /// What multiplyKeys works on.
  struct Scores {
    ScoreStep step;
    int64_t depth;
    TileB queries;
    TileC out;      ///< of pairs: rows of bf16 numbers, or a null pointer
    TileC keyPairs; ///< of pairs: pairs of keys, or a null pointer
    double factor;  ///< of pairs: S over the product (ScoreTile)
    Val shift; ///< per column
    Val total = Val();       ///< Softmax, Peak: likewise
    Val probability = Val(); ///< Gradient: P, stored like `out`
    /// Asked for beside the next keys, by the second panel and by later ones.
    LinesAhead second = {}, later = {};
  };
  /// `out` for `count` keys from `key0` on; zero where no query of a strip of either
  /// product sees a key, if that product reads it.
  void multiplyKeys(const Scores &scores, const KeyRows &keys, Val key0, Val count);
  /// For P or dS of a block: numbers, or pairs of columns.
  TileC allocateScores();
  /// The same as pairs of keys.
  TileC allocateKeyPairs();
  /// C for a product with panels of so many columns: its rows lie one after the other.
  TileC allocateSums(int64_t rows, int64_t width);
  /// C += A^T B for A = [keys][columns] (of pairs: allocateKeyPairs): a row of C for
  /// each column.
  void multiplyToQueries(TileC a, TileB b, TileC c, int64_t width, Val key0,
                         Val count);
  /// C += A B: a row of C for each key.
  void multiplyToKeys(TileC a, TileB b, TileC c, int64_t width, Val key0, Val count);

private:
  double vectorColumns() const { return static_cast<double>(members * e.width()); }
  /// Token of the block (from 0) that the column stands for.
  Val tokenOf(Val column);
  /// token * heads + head of the column.
  Val rowOf(Val column);
  /// One past the last key that any head sees at this column's vector of tokens.
  Val keysEnd(Val column);
  void multiplyPanels(TileC c, TileB b, int64_t width,
                      llvm::function_ref<void(const ProductStrips &, Val, Val)> body);

  ProductTile &tile;
  Emitter &e;
  AttentionGeometry g;
  bool pairs;
  int64_t members, blockQueries, blockKeys;
  Val token0, tokens, usedColumns;
  Val firstKeys, lastKeys; ///< i32 per column: keys that it sees, both included
  Val rows;                ///< i64 per column: token * heads + head
  Val ranges;              ///< of a product's strips
};

/// Writes `rows` x `columns` of a tile to rows of memory.
void storeTile(ProductTile &tile, Emitter &e, TileC from, Val rows,
               int64_t columns, const StoredTensor &to, Val toIndex,
               Val toStride);

} // namespace pg

#endif // PG_PASSES_CPU_ATTENTIONCOMMON_H
