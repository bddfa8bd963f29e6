//===- SpecErrorsTest.cpp - faults of models and blocks --------------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class SpecErrorsTest : public SpecFixture {
protected:
  const std::string forward = "forward: |\n  return linear(gather(w, tokens), w)\n"
                              "params: {w: {shape: [16, 8]}}\n";
  /// A model that calls the block `b` given by `block` on [T, 8]; the block's
  /// keys begin at line 6.
  std::string blockErrors(const std::string &block,
                          const std::string &use = "{block: b}") {
    return errorsOf("model: m\ndims: {D: 8}\nparams: {w: {shape: [16, D]}}\n"
                    "blocks:\n  b:\n" + block + "uses: {f: " + use +
                    "}\nforward: |\n  x = f(gather(w, tokens))\n"
                    "  return linear(x, w)\n");
  }
};

TEST_F(SpecErrorsTest, ExtendsCycle) {
  write("base.yaml", "extends: model.yaml\n");
  EXPECT_HAS(errorsOf("model: m\nextends: base.yaml\n"),
             "base.yaml:1:10: '");
  EXPECT_HAS(diagnostics, "' extends itself");
}

TEST_F(SpecErrorsTest, ExtendsOfAMissingFile) {
  EXPECT_HAS(errorsOf("model: m\nextends: none.yaml\n" + forward),
             "model.yaml:2:10: cannot read '");
}

TEST_F(SpecErrorsTest, ExtendsOutsideTheProject) {
  EXPECT_HAS(errorsOf("model: m\nextends: ../../secret.yaml\n" + forward),
             "model.yaml:2:10: '../../secret.yaml' is outside the project "
             "directory");
  EXPECT_HAS(errorsOf("model: m\nextends: /etc/passwd\n" + forward),
             "model.yaml:2:10: '/etc/passwd' is outside the project directory");
}

TEST_F(SpecErrorsTest, ErrorsOfTheBasePointIntoTheBase) {
  write("base.yaml", "model: b\ndims: {D: 2 *}\n" + forward);
  EXPECT_HAS(errorsOf("model: m\nextends: base.yaml\n"),
             "base.yaml:2:14: expected an expression, got the end of the line");
}

TEST_F(SpecErrorsTest, SizesAreIntegers) {
  EXPECT_HAS(errorsOf("model: m\ndims: {D: 3 / 2}\n" + forward),
             "model.yaml:2:11: 'D' expects an integer of at least 1, got 1.5");
}

TEST_F(SpecErrorsTest, SizesComeInOrder) {
  EXPECT_HAS(errorsOf("model: m\ndims: {D: heads * 2, heads: 4}\n" + forward),
             "model.yaml:2:11: unknown name 'heads'");
}

TEST_F(SpecErrorsTest, PhasesStartInOrder) {
  EXPECT_HAS(errorsOf("model: m\nphases:\n  a: {start: 0.5}\n  b: {start: 0.1}\n" +
                      forward),
             "model.yaml:3:14: the first phase must start at 0");
  EXPECT_HAS(diagnostics, "model.yaml:4:14: phases must start one after the "
                          "other, got 0.1 after 'a'");
}

TEST_F(SpecErrorsTest, PhaseSetsAnUnknownOption) {
  EXPECT_HAS(errorsOf("model: m\noptions: {looping: false}\nphases:\n"
                      "  a: {start: 0, set: {loping: true}}\n" + forward),
             "model.yaml:4:23: the model has no option 'loping'; did you mean "
             "'looping'?");
}

TEST_F(SpecErrorsTest, ParameterSize) {
  EXPECT_HAS(errorsOf("model: m\nforward: |\n  return linear(gather(w, tokens), w)\n"
                      "params: {w: {shape: [16, 0]}}\n"),
             "model.yaml:4:26: a size must be an integer of at least 1, got 0");
}

TEST_F(SpecErrorsTest, ParameterOfHugeSize) {
  EXPECT_HAS(errorsOf("model: m\nforward: |\n  return linear(gather(w, tokens), w)\n"
                      "params: {w: {shape: [4294967296, 4294967296]}}\n"),
             "model.yaml:4:34: with a size of 4294967296 the tensor has more than 2^40 elements");
}

TEST_F(SpecErrorsTest, RowsInitNeedsOneValuePerRow) {
  EXPECT_HAS(errorsOf("model: m\nforward: |\n  return linear(gather(w, tokens), w)\n"
                      "params:\n  w:\n    shape: [16, 8]\n"
                      "    init: {rows: {values: [1, 0]}}\n"),
             "model.yaml:7:27: 'values' expects a list of 16 numbers, one per "
             "row, got [1, 0]");
}

TEST_F(SpecErrorsTest, UnknownBlockSuggestsTheNearest) {
  write("blocks/smear.yaml", "block: smear\ninputs: {x: [T]}\nbody: return x\n");
  EXPECT_HAS(errorsOf("model: m\nuses: {s: {block: smaer}}\n" + forward),
             "model.yaml:2:19: no file 'blocks/smaer.yaml' beside the model or "
             "in a folder above it; did you mean 'smear'?");
}

TEST_F(SpecErrorsTest, BlockFileOfAnotherName) {
  write("blocks/smear.yaml", "block: other\ninputs: {x: [T]}\nbody: return x\n");
  EXPECT_HAS(errorsOf("model: m\nuses: {s: {block: smear}}\n" + forward),
             "blocks/smear.yaml:1:8: expected the block 'smear' in the file of "
             "that name, got 'other'");
}

TEST_F(SpecErrorsTest, MisspeltArgumentOfAChosenBlock) {
  write("blocks/inner.yaml", "block: inner\ninputs: {x: [T, D]}\nargs: {width: 2}\nbody: return x * width\n");
  write("blocks/outer.yaml", "block: outer\ninputs: {x: [T, D]}\nargs: {which: inner}\n"
                             "uses: {u: {block: which, args: {widht: 3, heads: 4}}}\nbody: return u(x)\n");
  std::string errors = errorsOf("model: m\nuses: {s: {block: outer}}\n" + forward);
  EXPECT_HAS(errors, "blocks/outer.yaml:4:33: block 'inner' has no argument 'widht'; did you mean 'width'?");
  // An argument for another candidate is none of this block's business.
  EXPECT_EQ(errors.find("heads"), std::string::npos);
}

TEST_F(SpecErrorsTest, UnknownArgument) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, D]}\n    args: {width: 2}\n"
                         "    body: return x\n",
                         "{block: b, args: {widht: 3}}"),
             "model.yaml:9:29: block 'b' has no argument 'widht'; did you mean "
             "'width'?");
}

TEST_F(SpecErrorsTest, RequiredArgument) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, D]}\n    args: {n: required}\n"
                         "    body: return x\n"),
             "model.yaml:11:7: block 'b' needs the argument 'n'");
  EXPECT_HAS(diagnostics, "model.yaml:7:12: note: declared here");
}

TEST_F(SpecErrorsTest, InputShapeNamesTheSizes) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, d, d]}\n    body: return x\n"),
             "model.yaml:10:7: block 'b' expects 'x' of shape [T, d, d], got "
             "[T, D=8]");
  EXPECT_HAS(diagnostics, "model.yaml:6:14: note: declared here");
}

TEST_F(SpecErrorsTest, InputSizesMustAgree) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, k]}\n    args: {k: 4}\n"
                         "    body: return x\n"),
             "block 'b' expects 'x' of shape [T, k] with k = 4, got [T, ");
}

TEST_F(SpecErrorsTest, TooManyInputs) {
  EXPECT_HAS(errorsOf("model: m\nparams: {w: {shape: [16, 8]}}\n"
                      "blocks: {b: {inputs: {x: [T, D]}, body: return x}}\n"
                      "uses: {f: {block: b}}\nforward: |\n"
                      "  x = gather(w, tokens)\n  return f(x, x)\n"),
             "model.yaml:7:15: too many inputs: b(x) takes 1");
}

TEST_F(SpecErrorsTest, MissingInput) {
  EXPECT_HAS(errorsOf("model: m\nparams: {w: {shape: [16, 8]}}\n"
                      "blocks: {b: {inputs: {x: [T, D]}, body: return x}}\n"
                      "uses: {f: {block: b}}\nforward: |\n  return f()\n"),
             "model.yaml:6:10: missing input 'x': b(x)");
}

TEST_F(SpecErrorsTest, BlocksThatUseEachOther) {
  EXPECT_HAS(errorsOf("model: m\nparams: {w: {shape: [16, 8]}}\nblocks:\n"
                      "  a: {inputs: {x: [T, D]}, uses: {f: {block: b}}, body: "
                      "return f(x)}\n"
                      "  b: {inputs: {x: [T, D]}, uses: {f: {block: a}}, body: "
                      "return f(x)}\n"
                      "uses: {f: {block: a}}\nforward: |\n"
                      "  return linear(f(gather(w, tokens)), w)\n"),
             "model.yaml:5:64: blocks use each other in a cycle: a -> b -> a");
}

TEST_F(SpecErrorsTest, BlockWithoutReturn) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, D]}\n    body: |\n      y = x\n"),
             "model.yaml:7:11: block 'b' returns nothing");
}

TEST_F(SpecErrorsTest, ParameterThatDoesNotExist) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, D]}\n"
                         "    params: {g: {shape: [D], when: false}}\n"
                         "    body: return x * g\n"),
             "model.yaml:8:22: unknown name 'g'");
}

TEST_F(SpecErrorsTest, NameOfAnUnknownParameter) {
  EXPECT_HAS(blockErrors("    inputs: {x: [T, D]}\n"
                         "    params: {gain: {shape: [D]}}\n"
                         "    body: return x * gain\n",
                         "{block: b, names: {gian: g}}"),
             "model.yaml:9:30: block 'b' has no parameter 'gian'; did you mean "
             "'gain'?");
}

TEST_F(SpecErrorsTest, TwoUsesWithOneParameterName) {
  EXPECT_HAS(errorsOf("model: m\ndims: {D: 8}\nparams: {w: {shape: [16, D]}}\n"
                      "blocks:\n  b: {inputs: {x: [T, D]}, params: {g: {shape: "
                      "[D]}}, body: return x * g}\n"
                      "uses:\n  p: {block: b, names: {g: same}}\n"
                      "  q: {block: b, names: {g: same}}\nforward: |\n"
                      "  return linear(q(p(gather(w, tokens))), w)\n"),
             "model.yaml:10:17: parameter 'same' is declared twice");
}

TEST_F(SpecErrorsTest, LayerRangeOutOfBounds) {
  EXPECT_HAS(errorsOf("model: m\ndims: {L: 4}\n"
                      "blocks: {b: {inputs: {x: [T, D]}, body: return x}}\n"
                      "layers:\n  h: {count: L, block: b, ranges: [{layers: "
                      "L-1..L}]}\n" + forward),
             "model.yaml:5:45: the range is 3..4, there are layers 0..3");
}

TEST_F(SpecErrorsTest, ForwardMustReturnLogits) {
  EXPECT_HAS(errorsOf("model: m\nparams: {w: {shape: [16, 8]}}\nforward: |\n"
                      "  return w\n"),
             "model.yaml:3:10: 'forward' must return the logits [T, V], got a "
             "tensor of shape [16, 8]");
}

TEST_F(SpecErrorsTest, NameTakenTwice) {
  EXPECT_HAS(errorsOf("model: m\nlet: {w: 3}\n" + forward),
             "the name 'w' is already taken here");
}

TEST_F(SpecErrorsTest, AtMostFiftyErrors) {
  std::string text = "model: m\n";
  for (int i = 0; i < 60; ++i)
    text += "wrong_" + std::to_string(i) + ": 1\n";
  errorsOf(text + forward);
  EXPECT_EQ(occurrences(diagnostics, "unknown key"), 50);
  EXPECT_EQ(occurrences(diagnostics, "too many errors"), 1);
}

} // namespace
