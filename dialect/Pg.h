//===- Pg.h - the dialect's one public header ------------------------------===//
//
// Everything another room needs of the dialect: types of tensors, interfaces,
// attributes, ops.
//
//===----------------------------------------------------------------------===//
#ifndef PG_DIALECT_PG_H
#define PG_DIALECT_PG_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace pg {

/// How an op may share a kernel with its neighbours (PgInterfaces.td).
enum class FusionRole { Map, RowReduce, TokenReduce, Neighbour, Structured };

/// How an operand may be stored beside the results (PgInterfaces.td): in the
/// results' float type; as a factor of products, all factors in one type that
/// may be narrower; in any float type.
enum class OperandStorage { Result, Factor, Any };

/// Which tokens a result at token t may depend on (PgInterfaces.td).
struct Horizon {
  enum class Kind { Token, Earlier, Later, Prefix, All } kind;
  /// Tokens looked back (Earlier) or ahead (Later).
  int64_t distance = 0;
};

/// On a parameter: the private function of it that training computes with.
inline constexpr llvm::StringLiteral kFakeQuantAttr = "pg.fake_quant";

/// On a parameter of rank 2: programs read it from codes, {bits, rank} (pg-read-codes).
inline constexpr llvm::StringLiteral kCodesAttr = "pg.codes";
/// On a parameter of codes: how many bits a code has.
inline constexpr llvm::StringLiteral kBitsAttr = "pg.bits";

/// True when the leading dimension is the packed token axis N.
bool isTokenTensor(mlir::Type type);
/// True when the leading dimension counts chunks of rows (#pg.chunks).
bool isChunkTensor(mlir::Type type);
/// True for a ranked tensor in which no dimension but the leading one is dynamic.
bool hasPackedShape(mlir::Type type);
/// Number of elements of one token (or chunk) of a token tensor, of the whole
/// tensor when its shape is static.
int64_t elementsPerToken(mlir::Type type);
/// The value under reshapes, which only rename the same memory.
mlir::Value throughReshapes(mlir::Value value);
/// True when products of elements of type `factor` may be summed in `sum`: the
/// same type, or bf16 factors summed in f32.
bool accumulatesIn(mlir::Type factor, mlir::Type sum);
/// Bytes of one element; i1 counts as one byte.
int64_t elementBytes(mlir::Type elementType);

} // namespace pg

#include "dialect/PgEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialect/PgAttrs.h.inc"
#include "dialect/PgInterfaces.h.inc"
#include "dialect/PgDialect.h.inc"
#define GET_OP_CLASSES
#include "dialect/PgOps.h.inc"

#endif // PG_DIALECT_PG_H
