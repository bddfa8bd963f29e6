//===- Shape.td - constants and movement of elements -----------------------===//

def Pg_ConstantOp : Pg_PureOp<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "a dense compile-time tensor of static shape";
  let description = [{
    The elements as written, row-major. No operands, no gradient.
    `%c = pg.constant dense<[1.0, 0.5]> : tensor<2xf32>`
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
}

def Pg_FillOp : Pg_PureOp<"fill", [ConstantLike]> {
  let summary = "a tensor of any shape with one value everywhere";
  let description = [{
    y = value in every element; the type may have a token axis. The number is kept
    in double and rounded where it is used. No gradient. A fill moved, repeated or
    computed with is again a fill.
    `%y = pg.fill 0.5 : tensor<?x512xf32>`
  }];
  let arguments = (ins F64Attr:$value);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
  let hasFolder = 1;
}

def Pg_SplatOp : Pg_PureOp<"splat"> {
  let summary = "fills a tensor with a scalar argument of a kernel";
  let description = [{
    Exists only inside kernels: `pg.fill` values that may differ from layer to
    layer become f64 arguments so that layers share one kernel. No gradient
    (kernels are made after differentiation).
    `%y = pg.splat %c : tensor<?x512xf32>`
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
    operand dimension, all inside the result's rank. C4 the element type is kept.
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
  let description = [{
    The elements in row-major order under another shape; the token axis stays
    dimension 0. C1 as many elements (per token). C2 the element type is kept. C3
    the token axis on both sides or neither. Gradient: the inverse reshape.
    `%h = pg.reshape %x : tensor<?x512xf32> -> tensor<?x8x64xf32>`
  }];
  let arguments = (ins Pg_Tensor:$x);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_TransposeOp : Pg_PureOp<"transpose", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "permutes the dimensions of a static tensor (the token axis, if any, stays first)";
  let description = [{
    Result dimension i is operand dimension permutation[i]. C1 a permutation of the
    operand's dimensions. C2 the result has the permuted shape (the token axis, if
    any, therefore stays first). Gradient: the inverse permutation.
    `%y = pg.transpose %x {permutation = array<i64: 1, 0>} : tensor<2x3xf32> -> tensor<3x2xf32>`
  }];
  let arguments = (ins Pg_Tensor:$x, DenseI64ArrayAttr:$permutation);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_SliceOp : Pg_PureOp<"slice", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "elements [start, start + size) of one static dimension; size from the result type";
  let description = [{
    y[.., i, ..] = x[.., start + i, ..] along `axis`. C1 the axis is static (never
    the token axis). C2 the result differs from the operand only along it. C3 the
    elements lie inside the operand. Gradient: pad with low = start.
    `%y = pg.slice %x {axis = 1 : i64, start = 2 : i64} : tensor<?x6xf32> -> tensor<?x3xf32>`
  }];
  let arguments = (ins Pg_Tensor:$x, I64Attr:$axis, I64Attr:$start);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_PadOp : Pg_PureOp<"pad", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "zeros before (low) and after one static dimension; the rest from the result type";
  let description = [{
    y[.., low + i, ..] = x[.., i, ..] along `axis`, 0 elsewhere. C1 the axis is
    static. C2 the result differs from the operand only along it. C3 the operand
    fits. Gradient: the slice at `low`.
    `%y = pg.pad %x {axis = 1 : i64, low = 2 : i64} : tensor<?x3xf32> -> tensor<?x6xf32>`
  }];
  let arguments = (ins Pg_NumberTensor:$x, I64Attr:$axis, I64Attr:$low);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_ConcatOp : Pg_PureOp<"concat", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "joins tensors along one static dimension";
  let description = [{
    The operands one after the other along `axis`. C1 at least one operand. C2 the
    axis is static. C3 the operands differ from the result only along it. C4 their
    sizes add up. Gradient: the slices.
    `%y = pg.concat %a, %b {axis = 1 : i64} : (tensor<?x6xf32>, tensor<?x3xf32>) -> tensor<?x9xf32>`
  }];
  let arguments = (ins Variadic<Pg_Tensor>:$xs, I64Attr:$axis);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$xs attr-dict `:` functional-type($xs, $result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_TokenShiftOp : Pg_PureOp<"token_shift", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    SameOperandsAndResultType, Pg_OneType]> {
  let summary = "y_t = x_{t - distance} inside the row or segment, 0 outside";
  let description = [{
    y_t = x_{t - distance} where that token lies in the same row (or segment), 0
    elsewhere. C1 token tensor. C2 distance is not 0. The type is kept. Gradient: the shift by
    -distance; negative distances look ahead and occur only there.
    `%y = pg.token_shift %x within row {distance = 1 : i64} : tensor<?x512xf32>`
  }];
  let arguments = (ins Pg_NumberTensor:$x, I64Attr:$distance, Pg_Within:$within);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$x `within` $within attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Pg_GatherOp : Pg_PureOp<"gather", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "y_t = table[index_t]";
  let description = [{
    y_t = table[index_t], of floats or of i8 codes. C1 table [V, ...] static. C2 index is a rank-1 i32 tensor;
    the result is [index's dimension, table's other dimensions]. Gradient:
    gather_grad for a table of floats, none for the index.
    `%y = pg.gather %w, %t : tensor<8192x512xf32>, tensor<?xi32> -> tensor<?x512xf32>`
  }];
  let arguments = (ins Pg_FloatOrCodeTensor:$table, Pg_IntTensor:$index);
  let results = (outs Pg_FloatOrCodeTensor:$result);
  let assemblyFormat = "$table `,` $index attr-dict `:` type($table) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_GatherGradOp : Pg_PureOp<"gather_grad", [
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>]> {
  let summary = "dtable[v] = sum over t with index_t = v of dy_t, in token order";
  let description = [{
    The gradient of gather. C1 the result [V, ...] is static. C2 index is a rank-1
    i32 tensor and dy is [index's dimension, the result's other dimensions], of
    the result's element type, or bf16 beside f32. The sum over equal indices runs in token order, whatever the number of threads.
    `%dw = pg.gather_grad %dy, %t : tensor<?x512xf32>, tensor<?xi32> -> tensor<8192x512xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$dy, Pg_IntTensor:$index);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$dy `,` $index attr-dict `:` type($dy) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_PickOp : Pg_PureOp<"pick", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "y_t = x[t, index_t] of x [N, V]";
  let description = [{
    y_t = x[t, index_t]. C1 x [N, V] and index [N]. C2 the result is [N]. Gradient:
    dx[t, v] = dy_t where v = index_t, else 0; none for the index.
    `%y = pg.pick %z, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, Pg_IntTensor:$index);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x `,` $index attr-dict `:` type($x) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_IotaOp : Pg_PureOp<"iota"> {
  let summary = "0, 1, 2, ... along one static dimension";
  let description = [{
    y[.., i, ..] = i along `axis`. C1 the axis is static. No gradient.
    `%i = pg.iota {axis = 1 : i64} : tensor<?x6xi32>`
  }];
  let arguments = (ins I64Attr:$axis);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_TakeRowsOp : Pg_PureOp<"take_rows", [
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "rows x[index_m] of a token tensor for a static list of M tokens";
  let description = [{
    y_m = x[index_m]: a static number of tokens leaves the packed axis. C1 x is a
    token tensor. C2 index is a static list. C3 the result is [M, x's other
    dimensions]. Made by pg-derive after differentiation's input is fixed; no
    gradient.
    `%y = pg.take_rows %x, %rows : tensor<?x512xf32>, tensor<8xi32> -> tensor<8x512xf32>`
  }];
  let arguments = (ins Pg_Tensor:$x, Pg_IntTensor:$index);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x `,` $index attr-dict `:` type($x) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}
