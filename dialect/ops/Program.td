//===- Program.td - symbols, inputs, outputs and state of an entry --------===//
//
// A module holds `pg.parameter` and `pg.state` symbols and one `func.func` per
// entry (named `score@looped` and so on). An entry has no arguments: it reads
// through the ops here and ends with a bare `func.return`.
//
//===----------------------------------------------------------------------===//

def Pg_ParameterOp : Pg_Op<"parameter", [Symbol]> {
  let summary = "a trainable tensor of the model";
  let description = [{
    `init` names a runtime initialiser and its numbers ({kind = "normal", std =
    5.0e-3}); `group` is the optimizer group label; `quant` the quantisation
    group label ("" = passed through). C1 static shape. C2 f32, f64, bf16, i32 or
    i8 elements. C3 `init` has a string `kind`. An `optional` parameter keeps its
    initial value when a weights file does not have it.
    ```mlir
    pg.parameter @"blocks.0.attn.c_q.weight" : tensor<512x512xf32>
        {init = {kind = "orthogonal", gain = 1.0 : f64}, group = "matrix", quant = "attn"}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type,
                       DictionaryAttr:$init, StrAttr:$group,
                       DefaultValuedAttr<StrAttr, "\"\"">:$quant,
                       UnitAttr:$optional);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 1;
}

def Pg_StateOp : Pg_Op<"state", [Symbol,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a tensor that outlives a run of an entry";
  let description = [{
    Gradients (`role = "gradient"`, named `grad.<parameter>`), optimizer state
    (`role = "optimizer"`, `<optimizer state>.<parameter>`), EMA, second moments of
    a weight's input (`role = "hessian"`, `hessian.<parameter>`). `of` is the
    parameter it belongs to. Adapters (`role = "adapter"`, leading dimension the
    slots) with their `"adapter_gradient"` and `"adapter_optimizer"` belong to none.
    Starts filled with `init`, or, with `from_parameter`, as a copy of that
    parameter's initial value; `draw` names a runtime initialiser with its numbers
    that an adapter is drawn from before each use. C1, C2 as parameter. C3 the role
    is not empty. C4 `from_parameter` needs `of`, a parameter of this shape. C5 `draw`
    has a string `kind`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, StrAttr:$role,
                       OptionalAttr<FlatSymbolRefAttr>:$of,
                       DefaultValuedAttr<F64Attr, "0.0">:$init,
                       OptionalAttr<DictionaryAttr>:$draw,
                       UnitAttr:$from_parameter);
  let builders = [OpBuilder<(ins "::mlir::StringAttr":$sym_name, "::mlir::TypeAttr":$type,
                                 "::mlir::StringAttr":$role, "::mlir::FlatSymbolRefAttr":$of,
                                 "::mlir::FloatAttr":$init,
                                 CArg<"::mlir::UnitAttr", "{}">:$from_parameter),
    [{ build($_builder, $_state, sym_name, type, role, of, init, ::mlir::DictionaryAttr(), from_parameter); }]>];
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 1;
}

def Pg_ParamOp : Pg_Op<"param", [DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                 MemoryEffects<[MemRead]>]> {
  let summary = "the value of a parameter";
  let description = [{
    C1 the symbol is a `pg.parameter`. C2 of this type. Gradient: each contribution
    is added to the state `grad.<parameter>`.
    `%w = pg.param @"tok_emb.weight" : tensor<8192x512xf32>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$name);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Pg_ReadStateOp : Pg_Op<"read_state", [DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                          MemoryEffects<[MemRead]>]> {
  let summary = "the value of a state tensor";
  let description = [{
    C1 the symbol is a `pg.state`. C2 of this type. No gradient.
    `%m = pg.read_state @"first_moment.tok_emb.weight" : tensor<8192x512xf32>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$name);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Pg_InputOp : Pg_Op<"input", [Pure]> {
  let summary = "a tensor the runtime supplies for every run";
  let description = [{
    Known names: "tokens", "targets", "position" (index in the row plus the
    row's start position), all `tensor<?xi32>`; "rows" `tensor<Mxi32>` (token
    indices wanted by the logits entry); "loss_weight" `tensor<?xf32>` (factor of
    each token's loss in the adapt entry).
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Pg_ScalarOp : Pg_Op<"scalar", [Pure]> {
  let summary = "a number the runtime supplies for every run (lr, step, loss_scale)";
  let description = [{
    C1 rank 0. No gradient.
    `%lr = pg.scalar "matrix.lr" : tensor<f32>`
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Pg_OutputOp : Pg_Op<"output", []> {
  let summary = "names a result of the entry";
  let description = [{
    Names are unique in an entry (checked by pg-verify-phase).
    `pg.output "nll", %nll : tensor<?xf32>`
  }];
  let arguments = (ins StrAttr:$name, Pg_Tensor:$value);
  let assemblyFormat = "$name `,` $value attr-dict `:` type($value)";
}

def Pg_StoreOp : Pg_Op<"store", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "writes or adds to a parameter or state tensor";
  let description = [{
    `pg.store accumulate @"grad.w", %g : tensor<512x512xf32>`. Several stores
    that accumulate into one symbol run in program order.
  }];
  let arguments = (ins Pg_StoreMode:$mode, FlatSymbolRefAttr:$name, Pg_Tensor:$value);
  let assemblyFormat = "$mode $name `,` $value attr-dict `:` type($value)";
}
