//===- Reduce.td - sums, maxima and the norm ------------------------------===//

def Pg_ReduceSumOp : Pg_PureOp<"reduce_sum", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "sum over the listed dimensions, which disappear";
  let description = [{
    Axis 0 of a token tensor is the token axis: the result is then static.
    C1 axes strictly increasing and inside the rank. C2 result shape is the
    operand's without them. C3 the token axis is never reduced together with
    others (write two ops). Gradient: dy repeated along the axes.
    `%s = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x512xf32> -> tensor<?xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_ReduceMaxOp : Pg_PureOp<"reduce_max", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "maximum over the listed feature dimensions; equal maxima share the gradient";
  let description = [{
    C1, C2 as reduce_sum. C4 never over the token axis. Gradient: dx = dy / n where
    x is one of the n equal maxima, else 0.
    `%m = pg.reduce_max %x {axes = array<i64: 1>} : tensor<?x512xf32> -> tensor<?xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_RmsNormOp : Pg_PureOp<"rms_norm", [SameOperandsAndResultType, Pg_OneType,
    DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "x / sqrt(mean(x^2 over the last dimension) + eps)";
  let description = [{
    y = r x with r = (mean(x^2) + eps)^(-1/2), the mean over the last dimension.
    C1 the last dimension is static. C2 eps >= 0. Gradient: dx = r dy - x r^3
    mean(dy x). Written in row-wise ops by pg-decompose.
    `%y = pg.rms_norm %x {eps = 1.0e-6 : f64} : tensor<?x512xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, F64Attr:$eps);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($result)";
  let hasVerifier = 1;
}

/// Made by fusion from a reduction over tokens.
def Pg_PartialSumOp : Pg_PureOp<"partial_sum", [
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "sums of `grain` consecutive rows: [N, F...] -> [chunks, F...]";
  let description = [{
    Only inside kernels; one chunk is one unit of work, so the order of the sum
    depends on the shape and never on threads. C1 token tensor. C2 the result type
    carries a positive grain. C3 the rows keep their shape. No gradient.
    `%p = pg.partial_sum %x : tensor<?x512xf32> -> tensor<?x512xf32, #pg.chunks<64>>`
  }];
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_CombineOp : Pg_PureOp<"combine", [
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "sum of partial sums over the chunk dimension, in chunk order";
  let description = [{
    Only inside kernels: ends a reduction over tokens. C1 the operand is partial
    sums. C2 the result is static, without the chunk dimension. No gradient.
    `%s = pg.combine %p : tensor<?x512xf32, #pg.chunks<64>> -> tensor<512xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}
