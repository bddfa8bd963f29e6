//===- AttentionStrips.h - the innermost loops of attention, shared --------===//
//
// Functions that the attention kernels of a package call, compiled once like the
// micro-kernels. A strip is what one of them has of a product: `rows` rows and
// `vectors` vectors of columns in registers. One call goes through all the strips
// below one another, and works on scores while they are in registers.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_CPU_ATTENTIONSTRIPS_H
#define PG_PASSES_CPU_ATTENTIONSTRIPS_H

#include "passes/cpu/MicroKernel.h"

namespace pg {

/// What a key that a query does not see has for S - shift: 2^kUnseen is 0.
inline constexpr double kUnseen = -1.0e30;

/// Products of keys and queries, [keys][queries], and what becomes of them.
enum class ScoreStep {
  Softmax,     ///< P = 2^(S - shift), with their sums
  Peak,        ///< the largest S - shift alone
  Probability, ///< P = 2^(S - shift)
  Gradient     ///< dS = P (S - shift), P made before
};

struct ScoreStrips {
  int64_t rows, vectors;
  int64_t depth; ///< features of a key, or pairs of them
  ScoreStep step;
  bool pairs = false; ///< keys and queries are pairs of bf16 numbers

  std::string symbol(const Emitter &e) const;
};

/// What one call works on: the vectors of one panel of queries. Pointers to
/// numbers per query are those of the panel's first one.
struct ScoreTile {
  Val keys, keyStride; ///< feature j of key r at keys[r * keyStride + j]
  Val queries;         ///< panel: feature j of the queries at queries[j * columns]
  Val count;           ///< keys, padded to whole strips in memory
  Val factor;          ///< of the float type; Softmax, Peak, Probability: S = factor times the product
  /// P or dS of key r at out[r * stride]; of pairs a row holds bf16 numbers, twice as many
  /// as `stride` counts. Null: not wanted (of pairs alone).
  Val out, stride;
  /// Of pairs: the same of keys r and r + 1 as pairs at keyPairs[r / 2 * pairStride], for
  /// a sum over keys. Null: not wanted.
  Val keyPairs, pairStride;
  Val shift;
  Val total;       ///< Softmax, Peak: the sum (maximum) so far, which the keys join
  Val probability; ///< Gradient: as `out`
  Val first, last; ///< i32: the keys that a query sees, both included
  Val key0;        ///< number of the first key
  /// Keys of this tile that all its queries see.
  Val clearBegin, clearEnd;
  LinesAhead ahead; ///< rows of memory to ask for, one per key; `steps` is unused
};

void callScoreStrips(Emitter &e, const ScoreStrips &kernel, const ScoreTile &tile);

/// C += A B for strips below one another, each with its own range of k.
struct ProductStrips {
  int64_t rows, vectors;
  bool pairs = false; ///< elements of A and B are pairs of bf16 numbers

  std::string symbol(const Emitter &e) const;
};

struct ProductStripsTile {
  Val a, row, step; ///< element (r, k) of A at a[r * row + k * step]
  Val b;            ///< panel: row k at b[k * columns]
  Val c, stride;    ///< row r of C at c[r * stride]
  Val strips;
  Val ranges; ///< i32: of each strip the first k and the one past the last
};

void callProductStrips(Emitter &e, const ProductStrips &kernel,
                       const ProductStripsTile &tile);

/// Defines what `symbol` names, in the module; false when it names none of these.
bool defineAttentionStrips(mlir::ModuleOp module, llvm::StringRef symbol,
                           const CpuTarget &target);

} // namespace pg

#endif // PG_PASSES_CPU_ATTENTIONSTRIPS_H
