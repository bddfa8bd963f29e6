//===- Codes.td - weights held as integer codes ----------------------------===//

def Pg_DequantiseOp : Pg_PureOp<"dequantise", [AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "w[i, j] = scale[i] codes[i, j] + sum over k of left[i, k] right[k, j]";
  let description = [{
    A weight w [R, C] from codes [R, C] of 8 bits, a scale for each row and, where
    given, a correction of low rank r: left [R, r] times right [r, C]. C1 codes i8
    of rank 2, static. C2 scale [R]. C3 left and right together or neither, of these
    shapes, with r >= 1. C4 the result is [R, C] of the scale's type, which left and
    right have too. Constant: no gradient passes. Decomposed by pg-decompose: products
    and look-ups read the codes themselves, and scale and correct their results; any
    other reader gets the value.
    `%w = pg.dequantise %c, %s : (tensor<48x96xi8>, tensor<48xf32>) -> tensor<48x96xf32>`
  }];
  let arguments = (ins Pg_CodeTensor:$codes, Pg_FloatTensor:$scale,
                       Optional<Pg_FloatTensor>:$left, Optional<Pg_FloatTensor>:$right);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = [{
    $codes `,` $scale (`,` $left^ `,` $right)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}
