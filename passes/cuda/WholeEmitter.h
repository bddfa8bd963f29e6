//===- WholeEmitter.h - static tensors as a whole, as CUDA text ---------------===//
#ifndef PG_PASSES_CUDA_WHOLEEMITTER_H
#define PG_PASSES_CUDA_WHOLEEMITTER_H

#include "passes/cuda/ElementEvaluator.h"
#include "passes/kernel/RowDomain.h"

#include <memory>

namespace pg::cuda {

/// Writes a kernel over static tensors: a thread has an element (or a vector of
/// it), reductions go through the workspace. Small kernels with reductions are
/// one block with barriers between their loops; others are cut into stages
/// where a loop needs what all blocks of another have written.
class WholeEmitter : public ElementEvaluator::Reuse {
public:
  WholeEmitter(KernelText &kernel, RowPlan plan);

  /// Adds the stages to the kernel's text.
  mlir::LogicalResult run();
  int64_t workspaceBytes() const { return workspace; }

  std::optional<Term> find(mlir::Value tensor,
                           llvm::ArrayRef<Coord> at) override;
  void computed(mlir::Value, llvm::ArrayRef<Coord>, const Term &) override {}

private:
  /// A value that later loops read from the workspace.
  struct Home {
    int64_t offset = 0;
    std::string type; ///< element, register type
    bool ready = false;
  };
  struct Target {
    mlir::Value value;
    std::string pointer;
    int64_t alignment;
    int64_t mode;
  };

  void openStage();
  void closeStage();
  /// What follows may read what was written before.
  void boundary();
  void wants(int64_t blocks);

  Home &homeOf(mlir::Value v);
  std::string pointerTo(const Home &home);
  void emitMap(const LoopGroup &group);
  void emitReduction(const LoopGroup &group, mlir::Value v);
  void emitInParts(const LoopGroup &group, mlir::Value v, int64_t parts);
  /// Accumulates the operand of `v` for result `output` over `loop`.
  std::string accumulate(const LoopGroup &group, mlir::Value v,
                         const Coord &output, llvm::StringRef first,
                         llvm::StringRef last, llvm::StringRef step);
  void storeResult(mlir::Value v, const Term &value, const Coord &output,
                   llvm::StringRef condition);

  KernelText &kernel;
  RowPlan plan;
  mlir::ValueRange yields;
  bool oneBlock = false;
  std::unique_ptr<SourceWriter> w;
  std::unique_ptr<ElementEvaluator> evaluator;
  int64_t blocks = 1, shared = 0, workspace = 0;
  int stages = 0;
  bool wrote = false, reads = false, failed = false;
  std::map<void *, Home> homes;
};

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_WHOLEEMITTER_H
