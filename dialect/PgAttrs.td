//===- PgAttrs.td - attributes of the dialect -----------------------------===//
#ifndef PG_ATTRS_TD
#define PG_ATTRS_TD

include "dialect/PgBase.td"
include "mlir/IR/EnumAttr.td"

/// What a shift, an attention or a hash may reach: the packed row or the
/// attention segment (document) inside it. In the originals shift and hash stop
/// at the row while attention stops at segments (stack-1693 §1.2, §1.3).
def Pg_Within : I32EnumAttr<"Within", "range that ends a look across tokens", [
    I32EnumAttrCase<"row", 0>, I32EnumAttrCase<"segment", 1>]> {
  let cppNamespace = "::pg";
}

def Pg_Predicate : I32EnumAttr<"Predicate", "comparison", [
    I32EnumAttrCase<"eq", 0>, I32EnumAttrCase<"ne", 1>,
    I32EnumAttrCase<"lt", 2>, I32EnumAttrCase<"le", 3>,
    I32EnumAttrCase<"gt", 4>, I32EnumAttrCase<"ge", 5>]> {
  let cppNamespace = "::pg";
}

/// What a kernel does with a symbol it writes.
def Pg_StoreMode : I32EnumAttr<"StoreMode", "store or add", [
    I32EnumAttrCase<"store", 0>, I32EnumAttrCase<"accumulate", 1>]> {
  let cppNamespace = "::pg";
}

/// Encoding of a tensor whose leading dimension counts chunks of `grain`
/// consecutive rows instead of rows: the partial sums of a reduction over the
/// token axis, cut by shape and never by thread.
def Pg_ChunksAttr : AttrDef<Pg_Dialect, "Chunks"> {
  let mnemonic = "chunks";
  let parameters = (ins "int64_t":$grain);
  let assemblyFormat = "`<` $grain `>`";
}

/// One symbol written by a kernel: `#pg.target<@"grad.w", accumulate>`.
def Pg_TargetAttr : AttrDef<Pg_Dialect, "Target"> {
  let mnemonic = "target";
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$symbol,
                        EnumParameter<Pg_StoreMode>:$mode);
  let assemblyFormat = "`<` $symbol `,` $mode `>`";
}

#endif // PG_ATTRS_TD
