//===- Reduce.td - sums, maxima and the norm ------------------------------===//

def Pg_ReduceSumOp : Pg_PureOp<"reduce_sum", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "sum over the listed dimensions, which disappear";
  let description = [{
    Axis 0 of a token tensor is the token axis: the result is then static.
    C1 axes strictly increasing and inside the rank. C2 result shape is the
    operand's without them. C3 the token axis is never reduced together with
    others (write two ops).
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
  let arguments = (ins Pg_FloatTensor:$x, DenseI64ArrayAttr:$axes);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_RmsNormOp : Pg_PureOp<"rms_norm", [SameOperandsAndResultType,
    DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "x / sqrt(mean(x^2 over the last dimension) + eps)";
  let arguments = (ins Pg_FloatTensor:$x, F64Attr:$eps);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($result)";
  let hasVerifier = 1;
}

/// Made by fusion from a reduction over tokens.
def Pg_PartialSumOp : Pg_PureOp<"partial_sum", [
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "sums of `grain` consecutive rows: [N, F...] -> [chunks, F...]";
  let description = "Only inside kernels. The result type carries the grain: `tensor<?x512xf32, #pg.chunks<64>>`.";
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_CombineOp : Pg_PureOp<"combine", [
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "sum of partial sums over the chunk dimension, in chunk order";
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}
