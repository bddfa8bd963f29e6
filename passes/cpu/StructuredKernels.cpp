//===- StructuredKernels.cpp - choice of the emitter -----------------------===//
#include "passes/cpu/StructuredKernels.h"

#include "passes/cpu/ElementEvaluator.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace pg {

/// A static matrix transposed as a whole, which a row loop would do slowly.
static bool isMatrixTranspose(TransposeOp op) {
  auto type = cast<RankedTensorType>(op.getX().getType());
  return type.hasStaticShape() && type.getRank() == 2 &&
         isa<Float32Type, Float64Type, BFloat16Type>(type.getElementType()) &&
         op.getPermutation()[0] == 1;
}

void StoredTensor::put(Emitter &e, Val value, Val index) const {
  if (accumulates) {
    Val old = e.load(withShapeOf(value.type(), element), pointer, index);
    value = convertElements(e, old, e.floatType()) + value;
  }
  e.store(convertElements(e, value, element), pointer, index);
}

Operation *findStructuredOp(KernelDefOp def) {
  Block &body = def.getBody().front();
  for (Operation &op : body)
    if (isa<MatmulOp, GroupedMatmulOp, GroupedOuterOp, AttentionOp, AttentionGradOp, LinearCrossEntropyOp,
            LinearCrossEntropyGradXOp, LinearCrossEntropyGradWOp>(op))
      return &op;
  if (auto transpose = dyn_cast<TransposeOp>(body.front()))
    if (transpose->getNextNode() == body.getTerminator() &&
        body.getTerminator()->getNumOperands() == 1 &&
        isa<BlockArgument>(transpose.getX()) && isMatrixTranspose(transpose))
      return transpose;
  return nullptr;
}

bool hasBf16Factors(Operation *op) {
  if (!getElementTypeOrSelf(op->getResult(0).getType()).isF32())
    return false;
  if (isa<AttentionOp, AttentionGradOp>(op)) {
    // q, k, v and the gradient of the result; a head's features are whole pairs.
    int64_t factors = isa<AttentionOp>(op) ? 3 : 4;
    return llvm::all_of(op->getOperands().take_front(factors), [](Value factor) {
      auto type = cast<RankedTensorType>(factor.getType());
      return type.getElementType().isBF16() && type.getShape().back() % 2 == 0;
    });
  }
  if (!isa<MatmulOp, LinearCrossEntropyOp, LinearCrossEntropyGradXOp,
           LinearCrossEntropyGradWOp>(op))
    return false;
  Type a = getElementTypeOrSelf(op->getOperand(0).getType());
  Type b = getElementTypeOrSelf(op->getOperand(1).getType());
  auto isExact = [](Type type) { return type.isBF16() || type.isInteger(8); };
  return isExact(a) && isExact(b) && (a.isBF16() || b.isBF16());
}

FailureOr<KernelShape> emitStructuredKernel(KernelDefOp def, ModuleOp module,
                                            const CpuTarget &target) {
  Operation *op = findStructuredOp(def);
  // Products of bf16 factors are computed like those of f32 ones, unless the target
  // multiplies pairs.
  Type element = getElementTypeOrSelf(op->getResult(0).getType());
  if (isa<TransposeOp>(op) && element.isBF16())
    element = Float32Type::get(op->getContext());
  if (!isa<Float32Type, Float64Type>(element))
    return op->emitOpError("expected f32 or f64 results on this target, got ")
           << element;
  Emitter emitter(module, def.getSymName(), def.getLoc(), element, target);
  StructuredKernel kernel{def, op, emitter};
  auto shape =
      llvm::TypeSwitch<Operation *, FailureOr<KernelShape>>(op)
          .Case<MatmulOp>([&](auto) { return emitMatmul(kernel); })
          .Case<GroupedMatmulOp>([&](auto) { return emitGroupedMatmul(kernel); })
          .Case<GroupedOuterOp>([&](auto) { return emitGroupedOuter(kernel); })
          .Case<TransposeOp>([&](auto) { return emitTranspose(kernel); })
          .Case<AttentionOp>([&](auto) { return emitAttention(kernel); })
          .Case<AttentionGradOp>([&](auto) { return emitAttentionGrad(kernel); })
          .Case<LinearCrossEntropyOp>(
              [&](auto) { return emitLinearCrossEntropy(kernel); })
          .Case<LinearCrossEntropyGradXOp>(
              [&](auto) { return emitLinearCrossEntropyGradX(kernel); })
          .Default([&](auto) { return emitLinearCrossEntropyGradW(kernel); });
  if (failed(shape))
    return failure();
  shape->scratchBytes = emitter.finish();
  return shape;
}

} // namespace pg
