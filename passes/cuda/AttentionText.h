//===- AttentionText.h - what the attention kernels share ---------------------===//
#ifndef PG_PASSES_CUDA_ATTENTIONTEXT_H
#define PG_PASSES_CUDA_ATTENTIONTEXT_H

#include "passes/cuda/ResultMap.h"
#include "passes/cuda/Template.h"

#include <string>

namespace pg::cuda {

/// Sizes and visibility of an attention op (Attention.td).
struct AttentionShape {
  int64_t heads = 1, groups = 1, keyWidth = 0, valueWidth = 0, window = 0;
  double scale = 1;
  bool bySegment = true;
  std::string element; ///< of q, k, v in memory: bf16, float, double

  static AttentionShape of(mlir::Operation *op);
  std::string sum() const { return element == "double" ? "double" : "float"; }
  int64_t sumBytes() const { return element == "double" ? 8 : 4; }
  /// Tensor cores take heads of up to 128 features.
  bool onTensorCores() const {
    return element == "bf16" && keyWidth <= 128 && valueWidth <= 128;
  }
  /// Steps of 16 features, the last one filled up with zeros.
  int64_t keySteps() const { return (keyWidth + 15) / 16; }
  int64_t valueSteps() const { return (valueWidth + 15) / 16; }
  /// Bytes of a row of a bf16 tile in shared memory.
  int64_t keyPitch() const { return (keySteps() * 32 + 127) / 128 * 128; }
  int64_t valuePitch() const { return (valueSteps() * 32 + 127) / 128 * 128; }
  /// 16-row fragments per warp: two, unless registers do not suffice.
  int64_t fragments() const {
    return keyWidth <= 64 && valueWidth <= 64 ? 2 : 1;
  }
};

/// Holes of the shape's numbers and of the tables that say what a token sees.
Holes attentionHoles(const AttentionShape &shape);

/// A bf16 tile of `rows` tokens from `token0` on of head `head` among `heads`,
/// copied asynchronously to the address `to`, rows of `steps` x 32 bytes.
std::string copyHeadTile(const std::string &from, int64_t alignment,
                         const std::string &to, const std::string &token0,
                         const std::string &head, const std::string &heads,
                         int64_t width, const std::string &rows,
                         const std::string &steps, const std::string &pitch);

/// Stores elements c and c + 1 (c even) of the head's row `at` of a result, where
/// they are among its `width` features.
std::string storePair(const ResultMap &buffers, unsigned result,
                      const std::string &at, int64_t width,
                      const std::string &first, const std::string &second);

/// Stages of the kernels, by kind of arithmetic.
void emitTensorCoreAttention(KernelText &text, const AttentionShape &shape,
                             const ResultMap &buffers);
void emitTensorCoreAttentionGrad(KernelText &text, const AttentionShape &shape,
                                 const ResultMap &buffers);
void emitFmaAttention(KernelText &text, const AttentionShape &shape,
                      const ResultMap &buffers);
void emitFmaAttentionGrad(KernelText &text, const AttentionShape &shape,
                          const ResultMap &buffers);

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_ATTENTIONTEXT_H
