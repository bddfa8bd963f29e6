//===- ResultMap.h - a structured op between its kernel's buffers -------------===//
#ifndef PG_PASSES_CUDA_RESULTMAP_H
#define PG_PASSES_CUDA_RESULTMAP_H

#include "passes/cuda/KernelText.h"

#include <vector>

namespace pg::cuda {

/// Parameters of the operands and results of an op whose operands are arguments
/// of the kernel and whose results are all that it yields, up to reshapes and
/// changes of the element type.
class ResultMap {
public:
  /// Reports an operand or yield of another kind at the op.
  ResultMap(const KernelText &text, mlir::Operation *op);
  bool isValid() const { return valid; }

  std::string operand(unsigned index) const { return operands[index]; }
  int64_t operandAlignment(unsigned index) const { return alignments[index]; }
  /// Statements that store `value` of the result at element `index` of its
  /// buffers, as their modes ask; "" when nobody wants the result.
  std::string put(unsigned result, const std::string &index,
                  const std::string &value) const;
  /// Two neighbours with one access; `index` is even.
  std::string putPair(unsigned result, const std::string &index,
                      const std::string &first,
                      const std::string &second) const;
  bool isWanted(unsigned result) const { return !outputs[result].empty(); }

private:
  struct Output {
    std::string name;
    bool accumulates;
    int64_t alignment, elementBytes;
  };
  std::vector<std::string> operands;
  std::vector<int64_t> alignments;
  std::vector<std::vector<Output>> outputs; ///< by result
  bool valid = true;
};

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_RESULTMAP_H
