//===- Narrow.h - who reads a value that crosses kernels, and how -----------===//
#ifndef PG_PASSES_FUSE_NARROW_H
#define PG_PASSES_FUSE_NARROW_H

#include "dialect/Pg.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace pg {

/// How an op reads an operand: as a factor of a product; as it lies in memory, in
/// whatever type; as it lies in memory, in the wide type; or by maths, which
/// widens what it reads.
enum class Reading { Factor, AsStored, Wide, Maths };

Reading readingOf(mlir::OpOperand &operand);

/// Calls `visit` for every operand that reads `value`, reshapes looked through.
void eachReader(mlir::Value value,
                llvm::function_ref<void(mlir::OpOperand &)> visit);

/// True when some value of the entry has the token axis.
bool hasTokenAxis(mlir::func::FuncOp entry);

/// In an entry of kernels without a token axis: f32 values that the program
/// rounds to bf16 itself become bf16 between kernels, and products of two of them
/// products of bf16 factors. Every value keeps its bits (NarrowRounded.cpp).
void storeRounded(mlir::func::FuncOp entry);

} // namespace pg

#endif // PG_PASSES_FUSE_NARROW_H
