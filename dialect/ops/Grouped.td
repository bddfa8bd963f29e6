//===- Grouped.td - products with one matrix per slot ----------------------===//
//
// Adapters give every document its own small matrices: the row of a token says
// which one it meets (rt::Batch::slot). Tokens of a row share a slot, so these
// are plain products over runs of tokens.
//
//===----------------------------------------------------------------------===//

def Pg_GroupedMatmulOp : Pg_PureOp<"grouped_matmul", [
    DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "each token times the matrix of its slot";
  let description = [{
    x [N, K], w [S, K, M], or [S, M, K] with `transpose_w`; y_t = x_t op(w[s]), s
    the slot of token t, which the runtime keeps below S. Accumulates in f32 at
    least. C1 x is a token tensor of rank 2. C2 w is static of rank 3. C3 contracted
    dimensions equal. C4 result [N, M]. C5 one element type;
    the result of bf16 operands may be f32.
    Gradient: dx is the product with the other transpose; dw is `grouped_outer`.
    `%y = pg.grouped_matmul %x, %w {transpose_w} : tensor<?x512xf32>, tensor<64x96x512xf32> -> tensor<?x96xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, Pg_FloatTensor:$w, UnitAttr:$transpose_w);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x `,` $w attr-dict `:` type($x) `,` type($w) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_GroupedOuterOp : Pg_PureOp<"grouped_outer", [
    DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "sum over the tokens of each slot of an outer product";
  let description = [{
    a [N, M], b [N, K]; result [S, M, K]: r[s] = sum of a_t (outer) b_t over the
    tokens t of slot s, in their order; zero for a slot without tokens. C1 a and b
    are token tensors of rank 2. C2 the result is static of rank 3 with their widths.
    C3 one element type; the result of bf16 operands may be f32. Gradient: da_t = r'[s] b_t, db_t = a_t r'[s].
    `%dw = pg.grouped_outer %dy, %x : tensor<?x96xf32>, tensor<?x512xf32> -> tensor<64x96x512xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$a, Pg_FloatTensor:$b);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($a) `,` type($b) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_SiteOp : Pg_PureOp<"site", [AllTypesMatch<["to", "result"]>]> {
  let summary = "a place where an adapter may attach";
  let description = [{
    The value of `to`; an adapter attached here adds a function of `from` to it.
    `index` counts the sites of one name in the order of the program and is given
    by pg-inline. Gone after derivation. C1 `from` and `to` are token tensors of rank
    2. C2 one element type.
    `%z = pg.site "head" %x to %y : tensor<?x512xf32>, tensor<?x8192xf32>`
  }];
  let arguments = (ins StrAttr:$name, Pg_FloatTensor:$from, Pg_FloatTensor:$to,
                       OptionalAttr<I64Attr>:$index);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$name $from `to` $to attr-dict `:` type($from) `,` type($to)";
  let hasVerifier = 1;
}
