//===- EmitCuda.cpp - the pass pg-emit-cuda -----------------------------------===//
//
// Prints the CUDA C++ of every kernel_def on standard output and leaves the
// module as it is: for reading and testing. With `structured=false` only of
// kernels without a product.
//
//===----------------------------------------------------------------------===//
#include "passes/cuda/Emitters.h"
#include "passes/cuda/Passes.h"

#include "mlir/Pass/Pass.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace pg {
namespace {

struct EmitCudaPass : PassWrapper<EmitCudaPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCudaPass)
  EmitCudaPass() = default;
  EmitCudaPass(const EmitCudaPass &other) : PassWrapper(other) {}
  StringRef getArgument() const final { return "pg-emit-cuda"; }
  StringRef getDescription() const final {
    return "prints the CUDA C++ of every kernel_def";
  }
  Option<bool> structured{*this, "structured",
                          llvm::cl::desc("kernels with a product too"),
                          llvm::cl::init(true)};

  void runOnOperation() override {
    llvm::outs() << cuda::includeLine();
    for (auto def : getOperation().getOps<KernelDefOp>()) {
      if (!structured && cuda::hasStructuredOp(def))
        continue;
      FailureOr<cuda::EmittedKernel> kernel = cuda::emitKernel(def);
      if (failed(kernel))
        return signalPassFailure();
      llvm::outs() << "\n" << kernel->source;
      for (const cuda::Stage &stage : kernel->stages)
        llvm::outs() << "// stage " << stage.symbol << ": " << stage.threads
                     << " threads, " << stage.sharedBytes
                     << " bytes of shared memory, blocks ["
                     << stage.blocks.tokensPerItem << ", "
                     << stage.blocks.multiplier << "]\n";
    }
    llvm::outs().flush();
  }
};

} // namespace

void registerCudaPasses() {
  registerPass([] { return std::make_unique<EmitCudaPass>(); });
}

} // namespace pg
