//===- PgBase.td - the dialect record, base classes, type constraints ----===//
//
// A value is a tensor. Its leading dimension is either dynamic, and then it is
// the packed token axis N of the running entry (design: one packed token
// axis), or the whole shape is static (parameters, state, gradients, runtime
// scalars of rank 0). No other dimension may be dynamic.
//
//===----------------------------------------------------------------------===//
#ifndef PG_BASE_TD
#define PG_BASE_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "dialect/PgInterfaces.td"

def Pg_Dialect : Dialect {
  let name = "pg";
  let summary = "tensor programs over one packed token axis";
  let description = [{
    Programs of language models before any choice of target. Parameters, state
    and entries are symbols; every other value is a tensor whose leading
    dimension is the packed token axis (dynamic, written `?`) or whose shape is
    static. Ops implement four interfaces (differentiation, fusion role,
    horizon, cost); passes ask the interfaces and never list ops.
  }];
  let cppNamespace = "::pg";
  let hasConstantMaterializer = 1;
  let useDefaultAttributePrinterParser = 1;
}

/// Only the leading dimension may be dynamic.
def Pg_HasPackedShape : CPred<"::pg::hasPackedShape($_self)">;

class Pg_TensorOf<list<Type> elementTypes>
    : RankedTensorOf<elementTypes, [Pg_HasPackedShape],
                     "packed tensor (at most the leading dimension dynamic)">;

/// A tensor of the dialect: f32, f64, bf16, i32, i8 or i1 elements.
def Pg_Tensor : Pg_TensorOf<[F32, F64, BF16, I32, I8, I1]>;
def Pg_FloatTensor : Pg_TensorOf<[F32, F64, BF16]>;
def Pg_IntTensor : Pg_TensorOf<[I32]>;
def Pg_BoolTensor : Pg_TensorOf<[I1]>;
/// Codes of weights: numbers that are only stored, never computed with.
def Pg_CodeTensor : Pg_TensorOf<[I8]>;
def Pg_FloatOrCodeTensor : Pg_TensorOf<[F32, F64, BF16, I8]>;
def Pg_NumberTensor : Pg_TensorOf<[F32, F64, BF16, I32]>;

/// SameOperandsAndResultType alone lets a token axis meet a static dimension.
def Pg_OneType : PredOpTrait<"operands and result have one type",
    CPred<"::llvm::all_equal($_op.getOperandTypes()) && "
          "$_op.getOperand(0).getType() == $_op.getResult(0).getType()">>;

class Pg_Op<string mnemonic, list<Trait> traits = []>
    : Op<Pg_Dialect, mnemonic, traits>;

/// A value-level op: pure, carries cost and fusion role.
class Pg_PureOp<string mnemonic, list<Trait> traits = []>
    : Pg_Op<mnemonic, !listconcat(traits, [Pure, Pg_FusionOpInterface,
                                           Pg_CostOpInterface])>;

#endif // PG_BASE_TD
