//===- Tensors.h - what fusion asks of ops and of their tensors -----------===//
//
// The one place that knows which ops only move indices, what a tensor weighs
// and what an op costs. Everything else in this room asks here or asks an
// interface of the dialect.
//
//===----------------------------------------------------------------------===//
#ifndef PG_PASSES_FUSE_TENSORS_H
#define PG_PASSES_FUSE_TENSORS_H

#include "dialect/Pg.h"
#include "runtime/package/Precision.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace pg {

/// Attribute of ops that belong to the derivative of an entry.
inline constexpr llvm::StringLiteral kBackwardAttr = "pg.backward";
/// Attribute of forward ops rebuilt in the backward part.
inline constexpr llvm::StringLiteral kRecomputeAttr = "pg.recompute";
/// Attribute of ops whose result is stored as wide as it is computed whatever the
/// precision policy (pg-narrow).
inline constexpr llvm::StringLiteral kWideAttr = "pg.wide";
/// Attribute of launches: element offset of every target in its symbol; absent
/// when all are 0.
inline constexpr llvm::StringLiteral kTargetOffsetsAttr = "pg.target_offsets";
/// Rows summed by one partial sum: cut by shape, never by thread.
inline constexpr int64_t kChunkRows = 64;
/// Keys an average token attends when costs are estimated.
inline constexpr int64_t kCostContext = 512;

/// A quantity at N tokens: perToken * N + fixed.
struct PerToken {
  double perToken = 0;
  double fixed = 0;
  PerToken &operator+=(const PerToken &other) {
    perToken += other.perToken;
    fixed += other.fixed;
    return *this;
  }
  double at(double tokens) const { return perToken * tokens + fixed; }
};

/// The role of an op; ops without the interface count as maps.
FusionRole roleOf(mlir::Operation *op);
bool isStructured(mlir::Operation *op);
/// Reads of an entry's surroundings: parameters, states, inputs, scalars.
bool isReadOp(mlir::Operation *op);
/// Ops that only say where an element comes from (views, broadcasts, fills):
/// never stored for their own sake, cloned into every kernel that reads them.
bool isIndexOp(mlir::Operation *op);
/// Exponentials and their like: too dear to repeat in a product's prologue.
bool isTranscendental(mlir::Operation *op);
/// A map whose element i depends on element i of equally shaped operands only.
bool isElementwise(mlir::Operation *op);
/// True when neither operands nor results have the token (or chunk) axis.
bool isStaticOp(mlir::Operation *op);
bool sameShape(mlir::Type a, mlir::Type b);

/// Bytes of a tensor as a function of N.
PerToken bytesOf(mlir::Type type);
/// Bytes of a tensor at `maxTokens` tokens, exactly; chunks round up.
int64_t bytesAt(mlir::Type type, int64_t maxTokens);
/// Floating-point operations of one op; transcendental maps count 1 here.
PerToken flopsOf(mlir::Operation *op, int64_t context = kCostContext);
/// Bytes an unfused program would move for this op: operands read through
/// views, results written. Views themselves move nothing.
PerToken unfusedBytesOf(mlir::Operation *op);

/// The entries of a module in order: functions with a body.
llvm::SmallVector<mlir::func::FuncOp> entriesOf(mlir::ModuleOp module);
/// The precision policy the module names, or null.
const rt::PrecisionPolicy *precisionPolicyOf(mlir::ModuleOp module);
/// Maximum number of packed tokens the module is planned for (4096 if unsaid).
int64_t maxTokensOf(mlir::ModuleOp module);
/// "file:line:column" parts of a location, in order, without repetition.
llvm::SmallVector<std::string> sourceLines(mlir::Location loc);
/// Name of an op without its dialect prefix: "rms_norm".
llvm::StringRef shortName(mlir::Operation *op);

} // namespace pg

#endif // PG_PASSES_FUSE_TENSORS_H
