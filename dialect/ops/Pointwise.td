//===- Pointwise.td - maps over elements -----------------------------------===//
//
// Operands and results have one shape: broadcasting is an op of its own
// (Shape.td), so no rule here has to think about it.
//
//===----------------------------------------------------------------------===//

class Pg_UnaryFloatOp<string mnemonic, list<Trait> traits = []>
    : Pg_PureOp<mnemonic, !listconcat([SameOperandsAndResultType,
        DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>], traits)> {
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($result)";
}

class Pg_BinaryOp<string mnemonic, list<Trait> traits = []>
    : Pg_PureOp<mnemonic, !listconcat([SameOperandsAndResultType,
        DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>], traits)> {
  let arguments = (ins Pg_NumberTensor:$lhs, Pg_NumberTensor:$rhs);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

class Pg_IntBinaryOp<string mnemonic, list<Trait> traits = []>
    : Pg_PureOp<mnemonic, !listconcat([SameOperandsAndResultType], traits)> {
  let arguments = (ins Pg_IntTensor:$lhs, Pg_IntTensor:$rhs);
  let results = (outs Pg_IntTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def Pg_AddOp : Pg_BinaryOp<"add", [Commutative]> { let summary = "x + y"; let hasFolder = 1; }
def Pg_SubOp : Pg_BinaryOp<"sub"> { let summary = "x - y"; let hasFolder = 1; }
def Pg_MulOp : Pg_BinaryOp<"mul", [Commutative]> { let summary = "x * y"; let hasFolder = 1; }
def Pg_DivOp : Pg_BinaryOp<"div"> { let summary = "x / y"; let hasFolder = 1; }
def Pg_MaxOp : Pg_BinaryOp<"max", [Commutative]> { let summary = "max(x, y); a tie sends the gradient to x"; }
def Pg_MinOp : Pg_BinaryOp<"min", [Commutative]> { let summary = "min(x, y); a tie sends the gradient to x"; }

def Pg_NegOp : Pg_UnaryFloatOp<"neg"> { let summary = "-x"; }
def Pg_ExpOp : Pg_UnaryFloatOp<"exp"> { let summary = "e^x"; }
def Pg_LogOp : Pg_UnaryFloatOp<"log"> { let summary = "ln x"; }
def Pg_TanhOp : Pg_UnaryFloatOp<"tanh"> { let summary = "tanh x"; }
def Pg_SigmoidOp : Pg_UnaryFloatOp<"sigmoid"> { let summary = "1 / (1 + e^-x)"; }
def Pg_SqrtOp : Pg_UnaryFloatOp<"sqrt"> { let summary = "square root"; }
def Pg_RsqrtOp : Pg_UnaryFloatOp<"rsqrt"> { let summary = "1 / sqrt(x)"; }
def Pg_AbsOp : Pg_UnaryFloatOp<"abs"> { let summary = "|x|; gradient 0 at 0"; }
def Pg_SinOp : Pg_UnaryFloatOp<"sin"> { let summary = "sin x"; }
def Pg_CosOp : Pg_UnaryFloatOp<"cos"> { let summary = "cos x"; }
def Pg_ErfOp : Pg_UnaryFloatOp<"erf"> { let summary = "error function"; }

def Pg_XorOp : Pg_IntBinaryOp<"xor", [Commutative]> { let summary = "bitwise exclusive or"; }
def Pg_AndOp : Pg_IntBinaryOp<"and", [Commutative]> { let summary = "bitwise and"; }
def Pg_RemOp : Pg_IntBinaryOp<"rem"> { let summary = "remainder, sign of the dividend"; }

def Pg_CompareOp : Pg_PureOp<"compare", [SameTypeOperands]> {
  let summary = "elementwise comparison";
  let arguments = (ins Pg_Predicate:$predicate, Pg_NumberTensor:$lhs, Pg_NumberTensor:$rhs);
  let results = (outs Pg_BoolTensor:$result);
  let assemblyFormat = "$predicate $lhs `,` $rhs attr-dict `:` type($lhs) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_SelectOp : Pg_PureOp<"select", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    AllTypesMatch<["lhs", "rhs", "result"]>]> {
  let summary = "condition ? lhs : rhs";
  let arguments = (ins Pg_BoolTensor:$condition, Pg_NumberTensor:$lhs, Pg_NumberTensor:$rhs);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$condition `,` $lhs `,` $rhs attr-dict `:` type($condition) `,` type($result)";
  let hasVerifier = 1;
}

def Pg_CastOp : Pg_PureOp<"cast", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "conversion of the element type (int to float exact, float to float round to nearest even)";
  let arguments = (ins Pg_Tensor:$x);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Pg_RoundOp : Pg_UnaryFloatOp<"round"> {
  let summary = "rounds each element to the nearest value of a narrower type, ties to even; keeps the type";
  let description = "`pg.round %x to bf16 : tensor<8xf32>`; the gradient passes straight through.";
  let arguments = (ins Pg_FloatTensor:$x, TypeAttr:$to);
  let assemblyFormat = "$x `to` $to attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}
def Pg_StopGradientOp : Pg_PureOp<"stop_gradient", [SameOperandsAndResultType]> {
  let summary = "x, through which no gradient flows";
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($result)";
}
