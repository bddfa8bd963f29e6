//===- Pointwise.td - maps over elements -----------------------------------===//
//
// Operands and results have one shape: broadcasting is an op of its own
// (Shape.td), so no rule here has to think about it.
//
//===----------------------------------------------------------------------===//

class Pg_UnaryFloatOp<string mnemonic, string formula, string gradient,
                      list<Trait> traits = []>
    : Pg_PureOp<mnemonic, !listconcat([SameOperandsAndResultType, Pg_OneType,
        DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>], traits)> {
  let summary = formula;
  let description = "y = " # formula # ", element by element, in x's type; constants fold on the host in double.\n"
      # "Gradient: dx = " # gradient # ".\n"
      # "`%y = pg." # mnemonic # " %x : tensor<?x512xf32>`";
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($result)";
  let hasFolder = 1;
}

class Pg_BinaryOp<string mnemonic, string formula, string gradient,
                  list<Trait> traits = []>
    : Pg_PureOp<mnemonic, !listconcat([SameOperandsAndResultType, Pg_OneType,
        DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>], traits)> {
  let summary = formula;
  let description = "z = " # formula # " of two tensors of one type (float, or i32 modulo 2^32).\n"
      # "Gradient: " # gradient # "; none for integers.\n"
      # "`%z = pg." # mnemonic # " %x, %y : tensor<?x512xf32>`";
  let arguments = (ins Pg_NumberTensor:$lhs, Pg_NumberTensor:$rhs);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
  let hasFolder = 1;
}

class Pg_IntBinaryOp<string mnemonic, string formula, list<Trait> traits = []>
    : Pg_PureOp<mnemonic, !listconcat([SameOperandsAndResultType, Pg_OneType], traits)> {
  let summary = formula;
  let description = formula # " of two i32 tensors of one type; no gradient.\n"
      # "`%z = pg." # mnemonic # " %x, %y : tensor<?xi32>`";
  let arguments = (ins Pg_IntTensor:$lhs, Pg_IntTensor:$rhs);
  let results = (outs Pg_IntTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
  let hasFolder = 1;
}

def Pg_AddOp : Pg_BinaryOp<"add", "x + y", "dx = dz, dy = dz", [Commutative]>;
def Pg_SubOp : Pg_BinaryOp<"sub", "x - y", "dx = dz, dy = -dz">;
def Pg_MulOp : Pg_BinaryOp<"mul", "x * y", "dx = dz y, dy = dz x", [Commutative]>;
def Pg_DivOp : Pg_BinaryOp<"div", "x / y", "dx = dz / y, dy = -dz z / y">;
def Pg_MaxOp : Pg_BinaryOp<"max", "max(x, y)", "dz goes to the larger one, to x in a tie", [Commutative]>;
def Pg_MinOp : Pg_BinaryOp<"min", "min(x, y)", "dz goes to the smaller one, to x in a tie", [Commutative]>;

def Pg_NegOp : Pg_UnaryFloatOp<"neg", "-x", "-dy">;
def Pg_ExpOp : Pg_UnaryFloatOp<"exp", "e^x", "dy y">;
def Pg_LogOp : Pg_UnaryFloatOp<"log", "ln x", "dy / x">;
def Pg_TanhOp : Pg_UnaryFloatOp<"tanh", "tanh x", "dy (1 - y^2)">;
def Pg_SigmoidOp : Pg_UnaryFloatOp<"sigmoid", "1 / (1 + e^-x)", "dy y (1 - y)">;
def Pg_SqrtOp : Pg_UnaryFloatOp<"sqrt", "sqrt(x)", "dy / (2 y)">;
def Pg_RsqrtOp : Pg_UnaryFloatOp<"rsqrt", "1 / sqrt(x)", "-dy y^3 / 2">;
def Pg_AbsOp : Pg_UnaryFloatOp<"abs", "|x|", "dy sign(x), 0 at 0">;
def Pg_SinOp : Pg_UnaryFloatOp<"sin", "sin x", "dy cos x">;
def Pg_CosOp : Pg_UnaryFloatOp<"cos", "cos x", "-dy sin x">;
def Pg_ErfOp : Pg_UnaryFloatOp<"erf", "erf x", "dy 2 e^(-x^2) / sqrt(pi)">;

def Pg_XorOp : Pg_IntBinaryOp<"xor", "bitwise exclusive or", [Commutative]>;
def Pg_AndOp : Pg_IntBinaryOp<"and", "bitwise and", [Commutative]>;
def Pg_RemOp : Pg_IntBinaryOp<"rem", "remainder with the sign of the dividend">;

def Pg_CompareOp : Pg_PureOp<"compare", [SameTypeOperands]> {
  let summary = "elementwise comparison";
  let description = [{
    truth = x predicate y, predicate one of eq, ne, lt, le, gt, ge; comparisons
    with NaN are false but for ne. C1 the result has the operands' shape. No
    gradient.
    `%c = pg.compare lt %x, %y : tensor<?x4xf32> -> tensor<?x4xi1>`
  }];
  let arguments = (ins Pg_Predicate:$predicate, Pg_NumberTensor:$lhs, Pg_NumberTensor:$rhs);
  let results = (outs Pg_BoolTensor:$result);
  let assemblyFormat = "$predicate $lhs `,` $rhs attr-dict `:` type($lhs) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_SelectOp : Pg_PureOp<"select", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>,
    AllTypesMatch<["lhs", "rhs", "result"]>]> {
  let summary = "condition ? lhs : rhs";
  let description = [{
    z = condition ? lhs : rhs, element by element. C1 the condition has the
    operands' shape. Gradient: dz goes to the operand that was chosen, 0 to the
    other; none for integers.
    `%z = pg.select %c, %x, %y : tensor<?x4xi1>, tensor<?x4xf32>`
  }];
  let arguments = (ins Pg_BoolTensor:$condition, Pg_NumberTensor:$lhs, Pg_NumberTensor:$rhs);
  let results = (outs Pg_NumberTensor:$result);
  let assemblyFormat = "$condition `,` $lhs `,` $rhs attr-dict `:` type($condition) `,` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_CastOp : Pg_PureOp<"cast", [DeclareOpInterfaceMethods<Pg_DifferentiableOpInterface>]> {
  let summary = "conversion of the element type (int to float exact, float to float round to nearest even)";
  let description = [{
    Integer to float is exact where the type can hold it, float to float rounds to
    nearest even, float to integer truncates. C1 the shape is kept. C2 a number is
    not cast to i1 (compare it). Gradient: cast back between floats, none for
    integers.
    `%y = pg.cast %x : tensor<?xi32> -> tensor<?xf32>`
  }];
  let arguments = (ins Pg_Tensor:$x);
  let results = (outs Pg_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Pg_RoundOp : Pg_UnaryFloatOp<"round", "x rounded to a narrower type", "dy"> {
  let summary = "rounds each element to the nearest value of a narrower type, ties to even; keeps the type";
  let description = [{
    The value of x in the type `to`, held in x's own type: a rounding that
    belongs to the model. `to i32` is the nearest integer, also beyond the range
    of i32. C1 `to` is a float type not wider than the element type, or i32.
    Gradient: passes straight through, dx = dy.
    `%y = pg.round %x to bf16 : tensor<8xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x, TypeAttr:$to);
  let assemblyFormat = "$x `to` $to attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Pg_StopGradientOp : Pg_PureOp<"stop_gradient", [SameOperandsAndResultType, Pg_OneType]> {
  let summary = "x, through which no gradient flows";
  let description = [{
    y = x. Gradient: none. Removed by pg-derive once the gradient programs exist.
    `%y = pg.stop_gradient %x : tensor<?x512xf32>`
  }];
  let arguments = (ins Pg_FloatTensor:$x);
  let results = (outs Pg_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($result)";
}
