//===- Attention.td - attention core and rotation --------------------------===//

def Pg_RotateOp : Pg_PureOp<"rotate", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    AllTypesMatch<["x", "result"]>, AllTypesMatch<["cos", "sin"]>]> {
  let summary = "rotary position embedding of the first 2r features of each head";
  let description = [{
    x [N, H, d], cos and sin [N, r], 2r <= d. Half-split pairing (j, j + r):
    a' = a cos + b sin, b' = -a sin + b cos; features 2r.. pass through
    (stack-1693 §1.3). Gradient w.r.t. x: the inverse rotation (sin negated);
    cos and sin pass none. C1 ranks 3, 2, 2. C2 cos and sin equal types. C3 2r <= d.
    `%y = pg.rotate %x, %cos, %sin : tensor<?x8x64xf32>, tensor<?x8xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, Pg_FloatTensor:$cos, Pg_FloatTensor:$sin);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x `,` $cos `,` $sin attr-dict `:` type($x) `,` type($cos)";
  let hasVerifier = 1;
}

def Pg_AttentionOp : Pg_PureOp<"attention", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "causal softmax attention with grouped heads inside rows or segments";
  let description = [{
    q [N, H, d], k [N, G, d], v [N, G, e], H a multiple of G; query head h reads
    head floor(h G / H). Token t attends tokens s <= t of its segment (or row)
    with t - s < window (0 = no window). out [N, H, e] = softmax(scale q.k) v;
    lse [N, H] is the natural log-sum-exp of the scaled scores.
    C1 ranks 3. C2 head counts and dims fit; q, k, v of one element type, the
    results too; with bf16 operands they may be f32. C3 window >= 0.
    Gradient: attention_grad with delta = rowsum(dout out) - dlse.
    `%o, %lse = pg.attention %q, %k, %v {scale = 0.125 : f64} : (tensor<?x8x64xf32>,
    tensor<?x4x64xf32>, tensor<?x4x64xf32>) -> (tensor<?x8x64xf32>, tensor<?x8xf32>)`
  }];
  let arguments = (ins Pg_FloatTensor:$q, Pg_FloatTensor:$k, Pg_FloatTensor:$v,
                       F64Attr:$scale, DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<Pg_Within, "::pg::Within::segment">:$within);
  let results = (outs Pg_FloatTensor:$out, Pg_FloatTensor:$lse);
  let assemblyFormat = "$q `,` $k `,` $v attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Pg_AttentionGradOp : Pg_PureOp<"attention_grad", [
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_OperandStorageOpInterface>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface, ["getFlops"]>]> {
  let summary = "gradients of attention w.r.t. q, k, v";
  let description = [{
    delta [N, H] = sum over e of dout * out, computed outside. P = exp(scale q.k -
    lse) is recomputed; dS = P (dout.v - delta); dq = scale dS k, dk = scale dS^T q,
    dv = P^T dout, summed over the query heads of a group. C1, C2, C3 as attention.
    C4 dout is [N, H, e] of q's element type, lse and delta are [N, H] of the results'.
    C5 the results have the shapes of q, k, v and one element type: q's, or f32
    when that is bf16. No second derivative.
    `%dq, %dk, %dv = pg.attention_grad %q, %k, %v, %do, %lse, %delta {scale = 0.125 : f64} : ...`
  }];
  let arguments = (ins Pg_FloatTensor:$q, Pg_FloatTensor:$k, Pg_FloatTensor:$v,
                       Pg_FloatTensor:$dout, Pg_FloatTensor:$lse, Pg_FloatTensor:$delta,
                       F64Attr:$scale, DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<Pg_Within, "::pg::Within::segment">:$within);
  let results = (outs Pg_FloatTensor:$dq, Pg_FloatTensor:$dk, Pg_FloatTensor:$dv);
  let assemblyFormat = "$q `,` $k `,` $v `,` $dout `,` $lse `,` $delta attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
