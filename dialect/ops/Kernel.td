//===- Kernel.td - fused kernels and their launches ------------------------===//
//
// Fusion groups value-level ops into `pg.kernel` regions; outlining turns equal
// regions into one `pg.kernel_def` and the ops into `pg.launch`. Both targets
// emit code from kernel_def alone.
//
//===----------------------------------------------------------------------===//

def Pg_KernelOp : Pg_Op<"kernel", [IsolatedFromAbove, SingleBlock]> {
  let summary = "one fused kernel in place";
  let description = [{
    Block arguments: one per operand (tensors, then f64 scalars are operands of
    type f64 hoisted by outlining). The region holds value-level ops and ends in
    `pg.yield`. The first yields are the op's results; the remaining yields go
    to `targets`, one `#pg.target` each, in order. C1 the body ends in `pg.yield`. C2
    at most one structured op. C3 block arguments have the operands' types. C4 one
    yield per result and target. C5 the first yields have the results' types.
  }];
  let arguments = (ins Variadic<AnyTypeOf<[Pg_Tensor, F64]>>:$inputs,
                       OptionalAttr<TypedArrayAttrBase<Pg_TargetAttr, "targets">>:$targets);
  let results = (outs Variadic<Pg_Tensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`(` $inputs `)` attr-dict `:` functional-type($inputs, $results) $body";
  let hasVerifier = 1;
}

def Pg_YieldOp : Pg_Op<"yield", [Terminator, Pure, ParentOneOf<["KernelOp", "KernelDefOp"]>]> {
  let summary = "values a kernel hands out";
  let arguments = (ins Variadic<Pg_Tensor>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Pg_KernelDefOp : Pg_Op<"kernel_def", [IsolatedFromAbove, Symbol, SingleBlock]> {
  let summary = "a distinct fused kernel";
  let description = [{
    `modes` has one entry per yield: 0 = fresh result, 1 = store to symbol,
    2 = accumulate into symbol. The launch supplies buffers in the order:
    tensor block arguments, then yields. C1, C2 as kernel. C3 one mode per yield.
    C4 modes 0, 1 or 2. C5 tensor arguments come before f64 scalars.
    ```mlir
    pg.kernel_def @row_rms_norm_0 {modes = array<i64: 0>} {
    ^bb0(%x: tensor<?x512xf32>, %c: f64):
      ...
      pg.yield %y : tensor<?x512xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DenseI64ArrayAttr:$modes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Pg_LaunchOp : Pg_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel";
  let description = [{
    `scalars` are the f64 arguments (constants of this launch) in block-argument
    order. `targets` as in pg.kernel. After memory planning `offsets` holds, per
    result, the arena offset in bytes at Nmax. C1 the symbol is a kernel_def. C2
    operands have its tensor argument types. C3 one scalar per f64 argument. C4
    results have the types of its fresh yields. C5 one target per stored yield. C6
    with the mode of that yield. C7 targets are parameters or states.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<Pg_Tensor>:$inputs,
                       DenseF64ArrayAttr:$scalars,
                       OptionalAttr<TypedArrayAttrBase<Pg_TargetAttr, "targets">>:$targets,
                       OptionalAttr<DenseI64ArrayAttr>:$offsets);
  let results = (outs Variadic<Pg_Tensor>:$results);
  let assemblyFormat = "$kernel `(` $inputs `)` attr-dict `:` functional-type($inputs, $results)";
}
