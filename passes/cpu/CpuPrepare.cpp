//===- CpuPrepare.cpp - pg-cpu-prepare ---------------------------------------===//
//
// Folds the transpose of a static matrix into the products that read it. The
// CPU products pack either layout of an operand, transposing in registers, at
// the same speed (test/bench/kernels: x w^T and dy w), so a transposed copy in
// memory only costs bytes.
//
// A symmetric matrix times itself becomes that matrix times its own transpose, a
// product whose kernel computes half of the result. Symmetric are products of a
// value with its own transpose, powers of symmetric matrices and what is made
// from them element by element.
//
// Before both, factors of channels move from tokens to weights (FoldFactors.cpp).
//
// Runs on values, after decomposition and before
// fusion, where a transpose would become a kernel of its own.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/StructuredKernels.h"

#include "mlir/Pass/Pass.h"

using namespace mlir;

namespace pg {
namespace {

/// The operand of a plain matrix transpose that makes `value`; else null.
Value transposedFrom(Value value) {
  auto op = value.getDefiningOp<TransposeOp>();
  if (!op)
    return {};
  auto type = cast<RankedTensorType>(op.getX().getType());
  bool swaps = type.getRank() == 2 && op.getPermutation()[0] == 1;
  return swaps && type.hasStaticShape() ? op.getX() : Value();
}

/// Whether a matrix is known to equal its transpose, bit by bit: both hold the
/// same sums of the same products in the same order.
bool isSymmetric(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  Operation *op = value.getDefiningOp();
  if (!type || type.getRank() != 2 || !type.hasStaticShape() || !op)
    return false;
  if (isa<FillOp>(op))
    return true;
  if (auto product = dyn_cast<MatmulOp>(op))
    return product.getA() == product.getB() &&
           (product.getTransposeA() != product.getTransposeB() ||
            isSymmetric(product.getA()));
  if (auto broadcast = dyn_cast<BroadcastOp>(op))
    return cast<RankedTensorType>(broadcast.getX().getType()).getRank() == 0;
  if (!isa<AddOp, SubOp, MulOp, NegOp, RoundOp, CastOp>(op))
    return false;
  return llvm::all_of(op->getOperands(), isSymmetric);
}

struct CpuPreparePass : PassWrapper<CpuPreparePass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CpuPreparePass)
  StringRef getArgument() const final { return "pg-cpu-prepare"; }
  StringRef getDescription() const final {
    return "folds static transposes into the products that read them";
  }

  void runOnOperation() override {
    foldFactors(getOperation());
    SmallVector<TransposeOp> transposes;
    getOperation().walk([&](Operation *op) {
      if (auto transpose = dyn_cast<TransposeOp>(op))
        transposes.push_back(transpose);
      auto product = dyn_cast<MatmulOp>(op);
      if (!product)
        return;
      if (Value a = transposedFrom(product.getA())) {
        product.getAMutable().assign(a);
        product.setTransposeA(!product.getTransposeA());
      }
      if (Value b = transposedFrom(product.getB())) {
        product.getBMutable().assign(b);
        product.setTransposeB(!product.getTransposeB());
      }
      if (product.getA() == product.getB() &&
          product.getTransposeA() == product.getTransposeB() &&
          isSymmetric(product.getA())) {
        product.setTransposeA(false);
        product.setTransposeB(true);
      }
    });
    for (TransposeOp transpose : transposes)
      if (transpose->use_empty())
        transpose->erase();
  }
};

} // namespace

std::unique_ptr<Pass> createCpuPreparePass() {
  return std::make_unique<CpuPreparePass>();
}

} // namespace pg
