//===- ExpressionErrorsTest.cpp - faults of bodies, with positions ---------===//
//
// The body of each model stands from line 4, column 3 on; w is [V=16, D=8].
//
//===----------------------------------------------------------------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

struct Fault {
  const char *name;
  const char *body; ///< lines of `forward`, indented by two spaces
  const char *expected;
};

class ExpressionErrorsTest : public SpecFixture,
                             public ::testing::WithParamInterface<Fault> {};

TEST_P(ExpressionErrorsTest, IsReportedAtItsPlace) {
  std::string got = errorsOf(modelWith(GetParam().body));
  EXPECT_HAS(got, std::string("model.yaml:") + GetParam().expected);
  EXPECT_EQ(occurrences(got, "model.yaml:"), 1) << got;
}

const Fault kFaults[] = {
    {"ShapeMismatch", "  x = gather(w, tokens)\n  return x + w\n",
     "5:12: shapes [T, D=8] and [V=16, D=8] do not fit"},
    {"UnknownName", "  x = gather(w, tokns)\n  return linear(x, w)\n",
     "4:17: unknown name 'tokns'; did you mean 'tokens'?"},
    {"UnknownFunction", "  x = gahter(w, tokens)\n  return linear(x, w)\n",
     "4:7: unknown function 'gahter'; did you mean 'gather'?"},
    {"MissingArgument", "  x = gather(w)\n  return linear(x, w)\n",
     "4:7: missing argument 'ids': gather(table, ids)"},
    {"TooManyArguments", "  x = gather(w, tokens, 3)\n  return linear(x, w)\n",
     "4:25: too many arguments: gather(table, ids)"},
    {"WrongKeyword", "  x = shift(gather(w, tokens), bye=1)\n  return linear(x, w)\n",
     "4:36: 'bye' is no argument of shift(x, by=1, within=row); did you mean "
     "'by'?"},
    {"ArgumentTwice", "  x = gather(w, tokens, table=w)\n  return linear(x, w)\n",
     "4:31: 'table' is given twice"},
    {"WeightOfLinear", "  x = gather(w, tokens)\n  return linear(x[:, :4], w)\n",
     "5:10: linear expects a weight of shape [outputs, 4], got input [T, 4] and "
     "weight [V=16, D=8]"},
    {"IndexOutOfRange", "  x = gather(w, tokens)\n  return linear(x[:, 8], w)\n",
     "5:22: index 8 is out of range of dimension 1 of shape [T, D=8]"},
    {"SliceOutOfRange", "  x = gather(w, tokens)\n  return linear(x[:, 4:9], w)\n",
     "5:22: slice 4:9 is out of range of dimension 1 of shape [T, D=8]"},
    {"TooManyIndices", "  x = gather(w, tokens)\n  return linear(x[:, 0, 0], w)\n",
     "5:18: too many indices: 3 for a tensor of shape [T, D=8]"},
    {"TokenAxisIsNotIndexed", "  x = gather(w, tokens)\n  return linear(x[1:], w)\n",
     "5:19: the token axis cannot be indexed"},
    {"TokenAxisIsNotReduced", "  x = gather(w, tokens)\n  return linear(x - mean(x, axis=0), w)\n",
     "5:21: mean cannot reduce the token axis of [T, D=8]"},
    {"ListIndexOutOfRange", "  xs = [1, 2]\n  return linear(gather(w, tokens) * xs[2], w)\n",
     "5:40: index 2 is out of range of a list of 2"},
    {"PopFromEmptyList", "  xs = []\n  return linear(xs.pop(), w)\n",
     "5:17: pop from an empty list"},
    {"UnknownMethod", "  xs = []\n  xs.apend(1)\n  return linear(gather(w, tokens), w)\n",
     "5:3: a list has no method 'apend'; did you mean 'append'?"},
    {"StaticDivisionByZero", "  c = 1 / (V - 16)\n  return linear(gather(w, tokens) * c, w)\n",
     "4:9: division by zero"},
    {"IntegerOverflow", "  c = V ** 40\n  return linear(gather(w, tokens) * c, w)\n",
     "4:9: the integer result does not fit 64 bits"},
    {"ListTooLong", "  c = range(10 ** 9)\n  return linear(gather(w, tokens), w)\n",
     "4:7: range makes a list of more than 65536 items"},
    {"ConditionOnATensor", "  x = gather(w, tokens)\n  if x:\n    x = 2 * x\n  return linear(x, w)\n",
     "5:6: a condition must be static, got a tensor; use where"},
    {"LoopOverANumber", "  x = gather(w, tokens)\n  for i in V:\n    x = 2 * x\n  return linear(x, w)\n",
     "5:12: 'for' needs a list, got an integer"},
    {"UnpackingCount", "  a, b = [1, 2, 3]\n  return linear(gather(w, tokens) * a, w)\n",
     "4:3: expected 2 values, got 3"},
    {"ReshapeOfAnotherSize", "  x = reshape(gather(w, tokens), [T, 3, 3])\n  return linear(x, w)\n",
     "4:7: reshape expects the same elements per token and T as first "
     "dimension, got shape [T, D=8]"},
    {"ShiftLooksBackOnly", "  x = shift(gather(w, tokens), by=-1)\n  return linear(x, w)\n",
     "4:7: shift looks back by a static number of tokens, got by=-1"},
    {"WithinRowOrSegment", "  x = shift(gather(w, tokens), within=\"all\")\n  return linear(x, w)\n",
     "4:7: shift expects within=row or within=segment, got 'all'"},
    {"ConcatOfUnequalShapes", "  x = gather(w, tokens)\n  x = concat([x, x[:, None, :4]])\n  return linear(x, w)\n",
     "5:7: concat expects equal shapes but for axis 1"},
    {"BitsOfFloats", "  x = gather(w, tokens) ^ 3\n  return linear(x, w)\n",
     "4:25: '^' on tensors needs integers"},
    {"StringAndTensor", "  x = gather(w, tokens) + \"a\"\n  return linear(x, w)\n",
     "4:25: '+' cannot join a tensor and a string"},
    {"SyntaxError", "  x = gather(w tokens)\n  return linear(x, w)\n",
     "4:16: expected ',', got 'tokens'"},
    {"UnclosedBracket", "  return linear(gather(w, tokens), w\n",
     "4:37: expected ',', got the end of the line"},
    {"LeadingZero", "  x = gather(w, tokens) * 010\n  return linear(x, w)\n",
     "4:27: '010' is not a number"},
    {"UnderscoreInANumber", "  x = gather(w, tokens) * 1_000\n  return linear(x, w)\n",
     "4:27: '1_000' is not a number"},
    {"CapitalTrue", "  x = where(True, 1, 2)\n  return linear(gather(w, tokens) * x, w)\n",
     "4:13: write true and false in lower case, got 'True'"},
    {"UnexpectedCharacter", "  x = gather(w, tokens) @ w\n  return linear(x, w)\n",
     "4:25: unexpected character '@'"},
    {"UnclosedString", "  x = \"abc\n  return linear(gather(w, tokens), w)\n",
     "4:7: the string has no closing quote"},
    {"ChainedComparison", "  x = 1 < V < 3\n  return linear(gather(w, tokens), w)\n",
     "4:13: comparisons do not chain"},
    {"ValueNotUsed", "  gather(w, tokens)\n  return linear(gather(w, tokens), w)\n",
     "4:3: the value is not used"},
    {"EmptyLoopBody", "  for i in [1]:\n  return linear(gather(w, tokens), w)\n",
     "5:3: expected an indented block"},
    {"FunctionAsValue", "  x = tanh + 1\n  return linear(gather(w, tokens) * x, w)\n",
     "4:7: 'tanh' is a function; call it"},
    {"EndlessLoop", "  n = 0\n  for a in range(2000):\n    for b in range(2000):\n      n = n + 1\n  return linear(gather(w, tokens), w)\n",
     "7:"},
};

INSTANTIATE_TEST_SUITE_P(Faults, ExpressionErrorsTest,
                         ::testing::ValuesIn(kFaults), [](const auto &info) {
                           return std::string(info.param.name);
                         });

class ExpressionRecoveryTest : public SpecFixture {};

TEST_F(ExpressionRecoveryTest, EveryFaultyStatementIsReported) {
  std::string got = errorsOf(modelWith("  a = 1 +\n  b = )\n  return a b\n"));
  EXPECT_HAS(got, "model.yaml:4:10: expected an expression");
  EXPECT_HAS(got, "model.yaml:5:7: expected an expression, got ')'");
  EXPECT_HAS(got, "model.yaml:6:12: expected the end of the line, got 'b'");
}

TEST_F(ExpressionRecoveryTest, FaultyValuesDoNotCauseMoreErrors) {
  std::string got = errorsOf(modelWith(
      "  a = nothing\n  b = a + 1\n  c = other * b\n  return linear(c, b)\n"));
  EXPECT_EQ(occurrences(got, "model.yaml:"), 2) << got;
  EXPECT_HAS(got, "4:7: unknown name 'nothing'");
  EXPECT_HAS(got, "6:7: unknown name 'other'");
}

TEST_F(ExpressionRecoveryTest, PositionsInsideFlowAndQuotedScalars) {
  std::string got = errorsOf("model: m\ndims: {A: 4, B: A + C}\n"
                             "let: {x: 'A + E'}\n"
                             "forward: |\n  return 1\n");
  EXPECT_HAS(got, "model.yaml:2:21: unknown name 'C'");
  EXPECT_HAS(got, "model.yaml:3:15: unknown name 'E'");
}

TEST_F(ExpressionRecoveryTest, DeepNestingIsAnError) {
  std::string got =
      errorsOf(modelWith("  x = " + std::string(5000, '(') + "\n  return x\n"));
  EXPECT_HAS(got, "model.yaml:4:106: the expression nests too deeply");
  std::string chain = "1";
  for (int i = 0; i < 5000; ++i)
    chain += "+1";
  EXPECT_HAS(errorsOf(modelWith("  x = " + chain + "\n  return x\n")),
             "the expression is too long");
}

} // namespace
