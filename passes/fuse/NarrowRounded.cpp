//===- NarrowRounded.cpp - what the program rounds itself, stored as such ---===//
//
// A program may state that it iterates in bf16 (`round(x, bf16)` on f32 values).
// Such a value loses nothing when it is stored as bf16, and a product of two of
// them is a product of bf16 factors with f32 sums, which some targets do many
// times faster (and add up in another order) and every one with half the bytes.
// Nothing else changes: the value is narrowed where it is stored and widened
// where maths reads it.
//
//   1. Exact are values that are rounded to bf16, widened from it, or moved from
//      exact ones. Exact results of kernels are the candidates; stores into
//      parameters and states keep their types.
//   2. A candidate stays f32 when something other than maths and products of
//      candidates reads it: a product has one type of factors. Until no more
//      are lost.
//   3. Kernels are rewritten in place.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/KernelGroups.h"
#include "passes/fuse/Narrow.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace pg {

namespace {

RankedTensorType narrowed(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.clone(BFloat16Type::get(tensor.getContext()));
}

bool isNarrow(Value value) { return getElementTypeOrSelf(value.getType()).isBF16(); }

/// Ops that only say which element goes where.
bool isMove(Operation *op) {
  return isa<ReshapeOp, SliceOp, TransposeOp, BroadcastOp, ConcatOp>(op);
}

class RoundedStorage {
public:
  explicit RoundedStorage(func::FuncOp entry)
      : kernels(entry.getOps<KernelOp>()) {}

  void run() {
    for (KernelOp kernel : kernels)
      findExact(kernel);
    while (dropMixed())
      ;
    for (KernelOp kernel : kernels)
      rewrite(kernel);
  }

private:
  //===--- 1. exact values ------------------------------------------------===//

  void findExact(KernelOp kernel) {
    for (auto [result, yielded] : llvm::zip(kernel.getResults(), yieldsOf(kernel))) {
      auto type = cast<RankedTensorType>(result.getType());
      if (!type.getElementType().isF32() || !isExact(yielded, kernel))
        continue;
      exact.insert(result);
      stored.insert(result);
    }
  }

  bool isExact(Value value, KernelOp kernel) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return exact.contains(throughReshapes(kernel.getInputs()[argument.getArgNumber()]));
    Operation *op = value.getDefiningOp();
    if (auto round = dyn_cast<RoundOp>(op))
      return round.getTo().isBF16();
    if (auto cast = dyn_cast<CastOp>(op))
      return isNarrow(cast.getX());
    return isMove(op) && llvm::all_of(op->getOperands(), [&](Value operand) {
             return isExact(operand, kernel);
           });
  }

  //===--- 2. readers -----------------------------------------------------===//

  /// What `operand` of an op in `kernel` is in memory: a stored candidate, or null.
  Value storedBehind(Value operand, KernelOp kernel) {
    auto argument = dyn_cast<BlockArgument>(throughReshapes(operand));
    if (!argument)
      return {};
    Value value = throughReshapes(kernel.getInputs()[argument.getArgNumber()]);
    return stored.contains(value) ? value : Value();
  }

  bool mayNarrow(OpOperand &use, KernelOp kernel) {
    auto product = dyn_cast<MatmulOp>(use.getOwner());
    if (product)
      return storedBehind(product.getA(), kernel) &&
             storedBehind(product.getB(), kernel);
    return readingOf(use) == Reading::Maths;
  }

  /// Whether a candidate was lost.
  bool dropMixed() {
    bool changed = false;
    for (KernelOp kernel : kernels)
      for (Value result : kernel.getResults()) {
        if (!stored.contains(result))
          continue;
        bool isFree = true;
        eachReader(result, [&](OpOperand &use) {
          auto reader = dyn_cast<KernelOp>(use.getOwner());
          isFree &= bool(reader);
          if (!reader)
            return; // an output
          eachReader(reader.getBody().front().getArgument(use.getOperandNumber()),
                     [&](OpOperand &inside) {
                       isFree &= isa<YieldOp>(inside.getOwner()) ||
                                 mayNarrow(inside, reader);
                     });
        });
        if (isFree)
          continue;
        stored.erase(result);
        changed = true;
      }
    return changed;
  }

  //===--- 3. kernels -----------------------------------------------------===//

  void rewrite(KernelOp kernel) {
    Block &body = kernel.getBody().front();
    known.clear();
    OpBuilder in = OpBuilder::atBlockBegin(&body);
    for (auto [input, argument] : llvm::zip(kernel.getInputs(), body.getArguments())) {
      if (input.getType() == argument.getType())
        continue;
      Type wide = argument.getType();
      argument.setType(input.getType());
      auto cast = CastOp::create(in, argument.getLoc(), wide, argument);
      argument.replaceAllUsesExcept(cast.getResult(), cast);
      known[cast] = argument;
    }
    for (MatmulOp product : llvm::make_early_inc_range(body.getOps<MatmulOp>()))
      for (OpOperand &operand : product->getOpOperands())
        if (Value factor = narrowMemory(operand.get()))
          operand.set(factor);
    auto yield = cast<YieldOp>(body.getTerminator());
    for (auto [i, result] : llvm::enumerate(kernel.getResults())) {
      if (!stored.contains(result))
        continue;
      OpOperand &yielded = yield->getOpOperand(i);
      yielded.set(narrow(yielded.get()));
      retype(result);
    }
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
      if (isOpTriviallyDead(&op))
        op.erase();
  }

  /// `value` as it lies in an argument that has become narrow, or null.
  Value narrowMemory(Value value) {
    return known.contains(throughReshapes(value)) ? narrow(value) : Value();
  }

  /// An exact value as bf16: cast behind its definition, under the same reshapes.
  Value narrow(Value value) {
    if (isNarrow(value))
      return value;
    if (Value already = known.lookup(value))
      return already;
    OpBuilder after(value.getContext());
    after.setInsertionPointAfterValue(value);
    RankedTensorType type = narrowed(value.getType());
    Value now;
    if (auto reshape = value.getDefiningOp<ReshapeOp>())
      now = ReshapeOp::create(after, value.getLoc(), type, narrow(reshape.getX()));
    else if (auto transpose = value.getDefiningOp<TransposeOp>();
             transpose && narrowMemory(transpose.getX()))
      // Moved as it is stored, which a target does faster than widened.
      now = TransposeOp::create(after, value.getLoc(), type, narrow(transpose.getX()),
                                transpose.getPermutation());
    else
      now = CastOp::create(after, value.getLoc(), type, value);
    return known[value] = now;
  }

  /// A result and the views of it between kernels.
  static void retype(Value value) {
    value.setType(narrowed(value.getType()));
    for (Operation *user : value.getUsers())
      if (auto reshape = dyn_cast<ReshapeOp>(user))
        retype(reshape.getResult());
  }

  static ValueRange yieldsOf(KernelOp kernel) {
    return kernel.getBody().front().getTerminator()->getOperands().take_front(
        kernel.getNumResults());
  }

  SmallVector<KernelOp> kernels;
  /// Results of kernels whose elements bf16 can hold; those of them that become bf16.
  llvm::DenseSet<Value> exact, stored;
  /// Of the kernel being rewritten: wide values and the same as bf16.
  llvm::DenseMap<Value, Value> known;
};

} // namespace

void storeRounded(func::FuncOp entry) {
  if (!hasTokenAxis(entry))
    RoundedStorage(entry).run();
}

} // namespace pg
