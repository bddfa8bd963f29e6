//===- CudaBackend.cpp - choice of the emitter, and the whole text ------------===//
#include "passes/cuda/CudaBackend.h"

#include "passes/cuda/Emitters.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace pg::cuda {
namespace {

#include "passes/cuda/Prelude.inc"

/// A static matrix, transposed and nothing else: a row loop would read it
/// across the grain.
bool isMatrixTranspose(KernelDefOp def) {
  Block &body = def.getBody().front();
  auto transpose = dyn_cast<TransposeOp>(body.front());
  if (!transpose || transpose->getNextNode() != body.getTerminator() ||
      body.getTerminator()->getNumOperands() != 1 ||
      !isa<BlockArgument>(transpose.getX()))
    return false;
  auto type = cast<RankedTensorType>(transpose.getX().getType());
  return type.hasStaticShape() && type.getRank() == 2 &&
         transpose.getPermutation()[0] == 1;
}

} // namespace

bool hasStructuredOp(KernelDefOp def) {
  return llvm::any_of(def.getBody().front(), [](Operation &op) {
    return isa<MatmulOp, GroupedMatmulOp, GroupedOuterOp, AttentionOp,
               AttentionGradOp, LinearCrossEntropyOp, LinearCrossEntropyGradXOp,
               LinearCrossEntropyGradWOp>(op);
  });
}

FailureOr<EmittedKernel> emitKernel(KernelDefOp def) {
  using Emit = FailureOr<EmittedKernel> (*)(KernelDefOp);
  for (Operation &op : def.getBody().front()) {
    Emit emit = llvm::TypeSwitch<Operation *, Emit>(&op)
                    .Case([](CombineOp) { return emitCombineKernel; })
                    .Case([](GatherGradOp) { return emitGatherGradKernel; })
                    .Case([](MatmulOp) { return emitMatmulKernel; })
                    .Case([](GroupedMatmulOp) { return emitGroupedMatmulKernel; })
                    .Case([](GroupedOuterOp) { return emitGroupedOuterKernel; })
                    .Case([](AttentionOp) { return emitAttentionKernel; })
                    .Case([](AttentionGradOp) { return emitAttentionGradKernel; })
                    .Case([](LinearCrossEntropyOp) {
                      return emitLinearCrossEntropyKernel;
                    })
                    .Case([](LinearCrossEntropyGradXOp) {
                      return emitLinearCrossEntropyGradXKernel;
                    })
                    .Case([](LinearCrossEntropyGradWOp) {
                      return emitLinearCrossEntropyGradWKernel;
                    })
                    .Default([](Operation *) { return Emit(); });
    if (emit)
      return emit(def);
  }
  return isMatrixTranspose(def) ? emitTransposeKernel(def) : emitRowKernel(def);
}

FailureOr<EmittedSource> emitCuda(ModuleOp outlined) {
  EmittedSource source;
  bool complete = true;
  for (auto def : outlined.getOps<KernelDefOp>()) {
    FailureOr<EmittedKernel> kernel = emitKernel(def);
    complete &= succeeded(kernel);
    if (succeeded(kernel))
      source.kernels.push_back(std::move(*kernel));
  }
  if (!complete)
    return failure();
  return source;
}

StringRef includeLine() { return "#include <pg_prelude.cuh>\n"; }

StringRef preludeText() {
  return StringRef(kPreludeText, sizeof(kPreludeText) - 1);
}

std::string wholeText(const EmittedSource &source) {
  std::string text = includeLine().str();
  for (const EmittedKernel &kernel : source.kernels)
    text += "\n" + kernel.source;
  return text;
}

} // namespace pg::cuda
