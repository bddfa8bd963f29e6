//===- PgInterfaces.td - what passes may ask of an op ---------------------===//
#ifndef PG_INTERFACES_TD
#define PG_INTERFACES_TD

include "mlir/IR/OpBase.td"

/// Reverse-mode differentiation. Ops without it (integer arithmetic, inputs)
/// stop the gradient.
def Pg_DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::pg";
  let methods = [
    InterfaceMethod<[{
        Builds the vector-Jacobian product. `cotangents` has one entry per
        result, null where no gradient reaches it. Fills `operandCotangents`
        with one entry per operand, null where the op passes no gradient (for
        instance integer operands). Ops are created at the builder's insertion
        point with this op's location.
      }],
      "::llvm::LogicalResult", "vjp",
      (ins "::mlir::OpBuilder &":$builder,
           "::mlir::ValueRange":$cotangents,
           "::llvm::SmallVectorImpl<::mlir::Value> &":$operandCotangents)>
  ];
}

/// How an op may share a kernel with its neighbours.
def Pg_FusionOpInterface : OpInterface<"FusionOpInterface"> {
  let cppNamespace = "::pg";
  let description = [{
    Map          one element of the result per element of the row, no reduction
    RowReduce    reduces feature axes inside one row (one token or leading index)
    TokenReduce  reduces over the token axis; leaves a static tensor
    Neighbour    reads its operand at other tokens: the operand must be stored
    Structured   needs a kernel of its own shape (matmul, attention, ...)
  }];
  let methods = [
    InterfaceMethod<"The role of this op with its present operand types.",
      "::pg::FusionRole", "getFusionRole", (ins), [{}],
      /*defaultImplementation=*/[{ return ::pg::FusionRole::Map; }]>
  ];
}

/// Which tokens a result at token t may depend on, given operands at token t.
def Pg_HorizonOpInterface : OpInterface<"HorizonOpInterface"> {
  let cppNamespace = "::pg";
  let description = [{
    Only ops that look across tokens implement it; every other op is pointwise
    in the token axis. `Prefix`: tokens <= t of the same row or segment.
    `Earlier`: token t - distance. `Later`: token t + distance (gradients only).
    `All`: any token (reductions over tokens; gradients only).
  }];
  let methods = [
    InterfaceMethod<"The horizon of this op.", "::pg::Horizon", "getHorizon">
  ];
}

/// How an op's operands may be stored beside its results.
def Pg_OperandStorageOpInterface : OpInterface<"OperandStorageOpInterface"> {
  let cppNamespace = "::pg";
  let description = [{
    Products multiply narrow numbers and add up wide ones, so their operands may
    have a narrower element type than their results. An op without this interface
    has one float type throughout.
  }];
  let methods = [
    InterfaceMethod<"How operand `index` may be stored.",
      "::pg::OperandStorage", "getOperandStorage", (ins "unsigned":$index)>
  ];
}

/// Arithmetic cost, for reports and for recomputation choice.
def Pg_CostOpInterface : OpInterface<"CostOpInterface"> {
  let cppNamespace = "::pg";
  let methods = [
    InterfaceMethod<[{
        Floating-point operations, per token when a token axis takes part,
        else in total. Attention counts one average context of `context` keys.
      }],
      "int64_t", "getFlops", (ins "int64_t":$context), [{}],
      /*defaultImplementation=*/[{
        return ::pg::elementsPerToken($_op->getResult(0).getType());
      }]>
  ];
}

#endif // PG_INTERFACES_TD
