//===- Linear.td - matrix products -----------------------------------------===//

def Pg_MatmulOp : Pg_PureOp<"matmul", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "op(a) op(b) of rank-2 tensors, op = transpose where asked; f32 accumulation at least";
  let description = [{
    A linear map y = x W^T is `matmul x, w {transpose_b}`; its weight gradient
    is `matmul dy, x {transpose_a}`, contracted over the token axis, static.
    C1 both operands rank 2. C2 contracted dimensions equal (the token axis only
    with the token axis). C3 result shape follows. C4 one element type; the result of
    bf16 operands may be f32. b may hold i8 codes instead, read as the numbers they
    are.
    Gradient (none with codes): da = dy op(b)^T and db = op(a)^T dy, each as one product that reads
    its operands as they lie.
    `%y = pg.matmul %x, %w {transpose_b} : tensor<?x512xf32>, tensor<1536x512xf32> -> tensor<?x1536xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$a, Pg_FloatOrCodeTensor:$b,
                       UnitAttr:$transpose_a, UnitAttr:$transpose_b);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($a) `,` type($b) `->` type($result)";
  let hasVerifier = 1;
}
