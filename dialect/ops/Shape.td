//===- Shape.td - constants and movement of elements -----------------------===//

def Pg_ConstantOp : Pg_PureOp<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "a dense compile-time tensor of static shape";
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def Pg_FillOp : Pg_PureOp<"fill"> {
  let summary = "a tensor of any shape with one value everywhere";
  let arguments = (ins F64Attr:$value);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
}

def Pg_SplatOp : Pg_PureOp<"splat"> {
  let summary = "fills a tensor with a scalar argument of a kernel";
  let description = [{
    Exists only inside kernels: `pg.fill` values that may differ from layer to
    layer become f64 arguments so that layers share one kernel.
  }];
  let arguments = (ins F64:$value);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
}

def Pg_BroadcastOp : Pg_PureOp<"broadcast", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "repeats a tensor along new or unit dimensions";
  let description = [{
    `dims[i]` is the result dimension of operand dimension i, strictly
    increasing. C1 operand dimension i equals result dimension dims[i] or is 1.
    C2 an operand token axis maps to result dimension 0. C3 one dims entry per
    operand dimension, all inside the result's rank.
    `%y = pg.broadcast %w {dims = [1]} : tensor<512xf32> -> tensor<?x512xf32>`
    Gradient: sum over the dimensions that were repeated.
  }];
  let arguments = (ins Pg_Tensor:$x, DenseI64ArrayAttr:$dims);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_ReshapeOp : Pg_PureOp<"reshape", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "the same elements in row-major order under another shape; the token axis stays dimension 0";
  let arguments = (ins Pg_Tensor:$x);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1; // C1 same element count (per token), C2 same element type, C3 token axis on both sides or neither
  let hasFolder = 1;
}

def Pg_TransposeOp : Pg_PureOp<"transpose", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "permutes the dimensions of a static tensor (the token axis, if any, stays first)";
  let description = "Result dimension i is operand dimension permutation[i].";
  let arguments = (ins Pg_Tensor:$x, DenseI64ArrayAttr:$permutation);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_SliceOp : Pg_PureOp<"slice", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "elements [start, start + size) of one static dimension; size from the result type";
  let arguments = (ins Pg_Tensor:$x, I64Attr:$axis, I64Attr:$start);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_PadOp : Pg_PureOp<"pad", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "zeros before (low) and after one static dimension; the rest from the result type";
  let arguments = (ins Pg_NumberTensor:$x, I64Attr:$axis, I64Attr:$low);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_ConcatOp : Pg_PureOp<"concat", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "joins tensors along one static dimension";
  let arguments = (ins Variadic<Pg_Tensor>:$xs, I64Attr:$axis);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$xs attr-dict `:` functional-type($xs, $result)";
  let hasVerifier = 1;
}

def Pg_TokenShiftOp : Pg_PureOp<"token_shift", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    SameOperandsAndResultType]> {
  let summary = "y_t = x_{t - distance} inside the row or segment, 0 outside";
  let description = "Negative distances look ahead and occur only in gradients. C1 token tensor. C2 distance is not 0.";
  let arguments = (ins Pg_NumberTensor:$x, I64Attr:$distance, Pg_Within:$within);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$x `within` $within attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Pg_GatherOp : Pg_PureOp<"gather", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "y_t = table[index_t]";
  let description = "C1 table [V, ...] static. C2 index is a rank-1 i32 tensor; the result is [index's dimension, table's other dimensions]. Gradient: gather_grad.";
  let arguments = (ins Pg_FloatTensor:$table, Pg_IntTensor:$index);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$table `,` $index attr-dict `:` type($table) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_GatherGradOp : Pg_PureOp<"gather_grad", [
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "dtable[v] = sum over t with index_t = v of dy_t, in token order";
  let arguments = (ins Pg_FloatTensor:$dy, Pg_IntTensor:$index);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$dy `,` $index attr-dict `:` type($dy) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_PickOp : Pg_PureOp<"pick", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "y_t = x[t, index_t] of x [N, V]";
  let arguments = (ins Pg_FloatTensor:$x, Pg_IntTensor:$index);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x `,` $index attr-dict `:` type($x) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_IotaOp : Pg_PureOp<"iota"> {
  let summary = "0, 1, 2, ... along one static dimension";
  let arguments = (ins I64Attr:$axis);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Pg_TakeRowsOp : Pg_PureOp<"take_rows", [
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "rows x[index_m] of a token tensor for a static list of M tokens";
  let arguments = (ins Pg_Tensor:$x, Pg_IntTensor:$index);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x `,` $index attr-dict `:` type($x) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}
