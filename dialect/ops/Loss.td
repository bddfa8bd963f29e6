//===- Loss.td - softcapped cross-entropy ----------------------------------===//

def Pg_CrossEntropyOp : Pg_PureOp<"cross_entropy", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>]> {
  let summary = "negative log-likelihood of each target under softmax(logits)";
  let description = [{
    nll_t = logsumexp(z_t) - z_t[target_t]; logits [N, V], targets [N] i32,
    nll [N]. Decomposed by pg-decompose, or merged with the product that makes
    the logits by pg-fuse-head so that no [N, V] tensor exists.
  }];
  let arguments = (ins Pg_FloatTensor:$logits, Pg_IntTensor:$targets);
  let results = (outs Pg_FloatTensor:$nll);
  let assemblyFormat = "$logits `,` $targets attr-dict `:` type($logits) `,` type($targets) `->` type($nll)";
  let hasVerifier = 1;
}

def Pg_LinearCrossEntropyOp : Pg_PureOp<"linear_cross_entropy", [
    DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface>]> {
  let summary = "cross-entropy of softcap(x w^T) in vocabulary tiles";
  let description = [{
    x [N, D], w [V, D], targets [N]; z = c tanh(x w^T / c) with softcap c, or
    x w^T when c = 0; nll [N], lse [N].
  }];
  let arguments = (ins Pg_FloatTensor:$x, Pg_FloatTensor:$w, Pg_IntTensor:$targets,
                       DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let results = (outs Pg_FloatTensor:$nll, Pg_FloatTensor:$lse);
  let assemblyFormat = "$x `,` $w `,` $targets attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

/// Two ops, because the two results are cut differently (by tokens, by words).
class Pg_LinearCrossEntropyGradBase<string mnemonic> : Pg_PureOp<mnemonic, [
    DeclareOpInterfaceMethods<Pg_HorizonOpInterface>,
    DeclareOpInterfaceMethods<Pg_FusionOpInterface, ["getFusionRole"]>,
    DeclareOpInterfaceMethods<Pg_CostOpInterface>]> {
  let arguments = (ins Pg_FloatTensor:$x, Pg_FloatTensor:$w, Pg_IntTensor:$targets,
                       Pg_FloatTensor:$lse, Pg_FloatTensor:$dnll,
                       DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x `,` $w `,` $targets `,` $lse `,` $dnll attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}
def Pg_LinearCrossEntropyGradXOp : Pg_LinearCrossEntropyGradBase<"linear_cross_entropy_grad_x"> {
  let summary = "dx [N, D] of linear_cross_entropy; logits recomputed tile by tile";
}
def Pg_LinearCrossEntropyGradWOp : Pg_LinearCrossEntropyGradBase<"linear_cross_entropy_grad_w"> {
  let summary = "dw [V, D] of linear_cross_entropy; logits recomputed tile by tile";
}
