//===- KernelText.h - parameters, names and frame of one kernel's text --------===//
#ifndef PG_PASSES_CUDA_KERNELTEXT_H
#define PG_PASSES_CUDA_KERNELTEXT_H

#include "dialect/Pg.h"
#include "passes/cuda/CudaBackend.h"
#include "passes/cuda/SourceWriter.h"

#include "llvm/ADT/DenseMap.h"

namespace pg::cuda {

/// Type of an element in registers: float (bf16 too), double, int, bool.
std::string registerType(mlir::Type element);
/// Type of an element in memory: float, double, bf16, int, unsigned char.
std::string memoryType(mlir::Type element);
/// A literal of a register type; floats exactly, infinities too.
std::string literal(mlir::Type element, double value);

/// What all stages of a kernel share: the parameter list, tables of constants,
/// the comment, and what is known of how its buffers are aligned.
class KernelText {
public:
  explicit KernelText(KernelDefOp def);

  KernelDefOp def() const { return kernel; }
  mlir::ValueRange yields() const;
  /// Parameter of a block argument ("arg0") and of a yield ("out0").
  std::string argument(mlir::BlockArgument argument) const;
  std::string yield(unsigned index) const;
  /// Bytes to which every launch aligns the buffer, at most 16.
  int64_t alignment(mlir::BlockArgument argument) const;
  int64_t yieldAlignment(unsigned index) const;
  /// Name of a table of constants that stands before the kernel, i1 as bytes.
  std::string table(mlir::DenseElementsAttr values);

  /// `extern "C" __global__ void ...(parameters)` of a stage.
  std::string signature(const Stage &stage) const;
  /// Adds a finished stage: its signature and body.
  void addStage(const Stage &stage, const SourceWriter &body);
  /// The kernel: comment, tables, stages.
  EmittedKernel finish(llvm::StringRef category, int64_t workspaceFixed = 0,
                       int64_t workspacePerToken = 0) const;

private:
  std::string comment() const;
  void readLaunches();

  mutable KernelDefOp kernel; ///< ops are handles without const members
  llvm::DenseMap<mlir::Attribute, std::string> tableNames;
  std::string tables, bodies;
  std::vector<Stage> stages;
  std::vector<int64_t> argumentAlignment, yieldAlignments;
  bool writesSymbols = false;
};

} // namespace pg::cuda

#endif // PG_PASSES_CUDA_KERNELTEXT_H
