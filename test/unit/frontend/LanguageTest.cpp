//===- LanguageTest.cpp - what correct specifications become ---------------===//
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class LanguageTest : public SpecFixture {
protected:
  std::string builds(const std::string &text,
                     const std::vector<std::string> &sets = {}) {
    write("model.yaml", text);
    std::string ir = build(sets);
    EXPECT_NE(ir, "") << diagnostics;
    return ir;
  }
};

TEST_F(LanguageTest, TheSmallestModel) {
  std::string ir = builds(modelWith("  return linear(gather(w, tokens), w)\n"));
  EXPECT_HAS(ir, "pg.model = \"m\"");
  EXPECT_HAS(ir, "pg.vocabulary = 16 : i64");
  EXPECT_HAS(ir, "pg.max_tokens = 4096 : i64");
  EXPECT_HAS(ir, "pg.phases = [{name = \"main\", start = 0.000000e+00 : f64}]");
  EXPECT_HAS(ir, "func.func @\"forward@main\"()");
  EXPECT_HAS(ir, "pg.input \"tokens\" : tensor<?xi32>");
  EXPECT_HAS(ir, "pg.output \"logits\"");
  EXPECT_HAS(ir, "pg.cross_entropy");
  EXPECT_HAS(ir, "pg.output \"nll\"");
}

TEST_F(LanguageTest, OpsCarryLineAndColumn) {
  builds(modelWith("  x = gather(w, tokens)\n  return linear(tanh(x), w)\n"));
  std::string locations;
  built.module->walk([&](mlir::Operation *op) {
    if (auto loc = mlir::dyn_cast<mlir::FileLineColLoc>(op->getLoc()))
      locations += op->getName().getStringRef().str() + "@" +
                   std::to_string(loc.getLine()) + ":" +
                   std::to_string(loc.getColumn()) + "\n";
  });
  EXPECT_HAS(locations, "pg.gather@4:7");
  EXPECT_HAS(locations, "pg.tanh@5:17");
  EXPECT_HAS(locations, "pg.matmul@5:10");
  EXPECT_HAS(locations, "pg.parameter@6:10");
}

TEST_F(LanguageTest, BroadcastIsExplicit) {
  std::string ir = builds(modelWith("  x = gather(w, tokens)\n"
                                    "  g = sum(x)\n"
                                    "  return linear(x * w[3] * g[:, None], w)\n"));
  EXPECT_HAS(ir, "{dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>");
  EXPECT_HAS(ir, "{dims = array<i64: 0, 1>} : tensor<?x1xf32> -> tensor<?x8xf32>");
}

TEST_F(LanguageTest, StaticLoopsListsAndConditionsFold) {
  std::string ir = builds(modelWith(
      "  x = gather(w, tokens)\n  xs = []\n"
      "  for k, c in enumerate([2.0, 3.0, 5.0]):\n"
      "    if k % 2 == 0:\n      xs.append(x * c)\n    else:\n      x = -x\n"
      "  return linear(xs.pop() + xs[0], w)\n"));
  EXPECT_HAS(ir, "pg.fill 2.0");
  EXPECT_HAS(ir, "pg.fill 5.0");
  EXPECT_EQ(occurrences(ir, "pg.fill"), 2);
  EXPECT_EQ(occurrences(ir, "pg.neg"), 1);
}

TEST_F(LanguageTest, PythonIntegerAndSliceSemantics) {
  std::string ir = builds(
      "model: m\nlet:\n  order: range(0, 11)\n"
      "  twice: order[:3] + order[3:6] * 2 + order[6:]\n"
      "  back: order[::-1]\n"
      "  n: -7 // 2\n  r: -7 % 3\n  evens: '[k * k for k in order if k % 2 == 0]'\n"
      "forward: |\n  x = gather(w, tokens)\n"
      "  return linear(x * constant([len(twice), back[0], n, r, evens[-1], "
      "int(7 / 2), max(3, 4), order[-1]]), w)\n"
      "params: {w: {shape: [16, 8]}}\n");
  EXPECT_HAS(ir, "dense<[14, 10, -4, 2, 100, 3, 4, 10]>");
}

TEST_F(LanguageTest, RoundingIsStaticForNumbers) {
  std::string ir = builds(modelWith(
      "  c = round(10000.0 ** (-1 / 8), bf16)\n"
      "  return linear(gather(w, tokens) * c, w)\n"));
  EXPECT_HAS(ir, "pg.fill 0.31640625");
}

TEST_F(LanguageTest, PhasesSetOptions) {
  std::string ir = builds(
      "model: m\noptions: {deep: false}\nphases:\n"
      "  plain: {start: 0.0, set: {deep: false}}\n"
      "  looped: {start: 0.35, set: {deep: true}}\n"
      "let: {n: 3 if options.deep else 1}\nforward: |\n"
      "  x = gather(w, tokens)\n  for i in range(n): x = tanh(x)\n"
      "  return linear(x, w)\nparams: {w: {shape: [16, 8]}}\n");
  size_t second = ir.find("forward@looped");
  ASSERT_NE(second, std::string::npos);
  EXPECT_EQ(occurrences(ir.substr(0, second), "pg.tanh"), 1);
  EXPECT_EQ(occurrences(ir.substr(second), "pg.tanh"), 3);
  EXPECT_HAS(ir, "{name = \"looped\", start = 3.5");
  EXPECT_EQ(occurrences(ir, "pg.parameter"), 1);
}

const char *const kLayered =
    "model: m\ndims: {D: 8, L: 5}\nparams: {w: {shape: [16, D]}}\n"
    "blocks:\n"
    "  gain: {inputs: {x: [T, D]}, params: {g: {shape: [D], init: ones}}, "
    "body: return x * g}\n"
    "  layer:\n    inputs: {x: [T, D]}\n    args: {scale: 1.0}\n"
    "    params: {a: {shape: [D], init: {constant: {value: scale}}}}\n"
    "    uses: {inner: {block: gain, names: {g: inner_gain}}, other: {block: gain}}\n"
    "    body: |\n      return other(inner(x * a)) * 2\n"
    "  wide: {inputs: {x: [T, D]}, params: {b: {shape: [2 * D]}}, body: "
    "'return x * b[:D]'}\n"
    "layers:\n  blocks:\n    count: L\n    block: layer\n"
    "    ranges: [{layers: L-2..L-1, block: wide}, {layers: 0, args: {scale: 3.0}}]\n"
    "forward: |\n  x = gather(w, tokens)\n  for i in range(L): x = blocks[i](x)\n"
    "  return linear(x, w)\n";

TEST_F(LanguageTest, LayersOfOneKindShareAFunction) {
  std::string ir = builds(kLayered);
  // layer with scale 1 and 3, gain once, wide once, and the entry.
  EXPECT_EQ(occurrences(ir, "func.func"), 5);
  EXPECT_EQ(occurrences(ir, "call @block.wide.0("), 2);
  EXPECT_EQ(occurrences(ir, "call @block.layer.0("), 1);
}

TEST_F(LanguageTest, AChosenBlockTakesTheArgumentsItHas) {
  const std::string blocks =
      "blocks:\n"
      "  scaled: {inputs: {x: [T, D]}, args: {by: 1.0}, body: return x * by}\n"
      "  plain: {inputs: {x: [T, D]}, body: return x}\n"
      "  outer: {inputs: {x: [T, D]}, args: {inner: scaled}, "
      "uses: {f: {block: inner, args: {by: 3.0}}}, body: return f(x)}\n";
  const std::string rest =
      "model: m\ndims: {D: 8}\nparams: {w: {shape: [16, D]}}\n"
      "forward: return linear(f(gather(w, tokens)), w)\n" + blocks;
  EXPECT_HAS(builds(rest + "uses: {f: {block: outer}}\n"), "pg.fill 3.0");
  EXPECT_EQ(occurrences(builds(rest + "uses: {f: {block: outer, args: {inner: "
                                      "plain}}}\n"),
                        "pg.fill"),
            0);
}

TEST_F(LanguageTest, ParameterNamesAndOrder) {
  std::string ir = builds(kLayered);
  size_t at = 0;
  for (const char *name :
       {"@w :", "@blocks.0.a", "@blocks.0.inner_gain", "@blocks.0.other.g",
        "@blocks.1.a", "@blocks.2.other.g", "@blocks.3.b", "@blocks.4.b"}) {
    size_t found = ir.find(std::string("pg.parameter ") + name, at);
    ASSERT_NE(found, std::string::npos) << name << "\n" << ir;
    at = found;
  }
  EXPECT_EQ(occurrences(ir, "pg.parameter"), 12);
  EXPECT_HAS(ir, "kind = \"constant\", value = 3.0");
}

TEST_F(LanguageTest, UncalledLayersAreDeclared) {
  std::string ir = builds(kLayered, {"dims.L=6"});
  EXPECT_EQ(occurrences(ir, "pg.parameter"), 15);
  std::string some = kLayered;
  some.replace(some.find("range(L)"), 8, "range(1)");
  EXPECT_EQ(occurrences(builds(some), "pg.parameter"), 12);
}

TEST_F(LanguageTest, FunctionsDoNotGrowWithDepth) {
  int shallow = occurrences(builds(kLayered, {"dims.L=4"}), "func.func");
  EXPECT_EQ(occurrences(builds(kLayered, {"dims.L=12"}), "func.func"), shallow);
}

TEST_F(LanguageTest, StaticArgumentsInACallMakeAVariant) {
  std::string ir = builds(
      "model: m\nparams: {w: {shape: [16, 8]}}\nblocks:\n"
      "  b: {inputs: {x: [T, D]}, args: {turn: false}, body: "
      "'return -x if turn else x'}\n"
      "uses: {f: {block: b}}\nforward: |\n"
      "  return linear(f(f(gather(w, tokens)), turn=true), w)\n");
  EXPECT_HAS(ir, "call @block.b.1(");
  EXPECT_EQ(occurrences(ir, "pg.neg"), 1);
}

TEST_F(LanguageTest, BlockNameAsArgument) {
  std::string ir = builds(
      "model: m\nparams: {w: {shape: [16, 8]}}\nblocks:\n"
      "  b: {inputs: {x: [T, D]}, args: {act: required}, uses: {f: {block: "
      "act}}, body: return f(x)}\n"
      "  up: {inputs: {x: [T, D]}, body: return exp(x)}\n"
      "uses: {f: {block: b, args: {act: up}}}\nforward: |\n"
      "  return linear(f(gather(w, tokens)), w)\n");
  EXPECT_HAS(ir, "@block.up.0");
}

TEST_F(LanguageTest, BlocksComeFromFoldersAbove) {
  write("models/blocks/up.yaml",
        "block: up\ninputs: {x: [T, D]}\nbody: return exp(x)\n");
  write("model.yaml", "model: m\nparams: {w: {shape: [16, 8]}}\n"
                      "uses: {f: {block: up}}\nforward: |\n"
                      "  return linear(f(gather(w, tokens)), w)\n");
  EXPECT_HAS(build(), "pg.exp") << diagnostics;
}

TEST_F(LanguageTest, ExtendsMergesDeeplyAndReplacesLists) {
  write("base.yaml", modelWith("  return linear(gather(w, tokens) * c[0], w)\n",
                               "let: {c: [1.0, 2.0]}\n"));
  std::string ir = builds("model: n\nextends: base.yaml\ndims: {D: 4}\n"
                          "let: {c: [7.0]}\n");
  EXPECT_HAS(ir, "pg.model = \"n\"");
  EXPECT_HAS(ir, "pg.parameter @w : tensor<16x4xf32>");
  EXPECT_HAS(ir, "pg.fill 7.0");
}

TEST_F(LanguageTest, SetReachesEveryKindOfScalar) {
  std::string ir = builds(kLayered, {"dims.D=4", "model=other",
                                     "params.w.init.normal.std=0.5",
                                     "layers.blocks.ranges.1.args.scale=9.5"});
  EXPECT_HAS(ir, "pg.model = \"other\"");
  EXPECT_HAS(ir, "@w : tensor<16x4xf32> {group = \"default\", init = {kind = "
                 "\"normal\", std = 5.0");
  EXPECT_HAS(ir, "value = 9.5");
}

TEST_F(LanguageTest, SpecTextDoesNotDependOnTheFolder) {
  builds(kLayered);
  std::string first = built.spec;
  write("elsewhere/model.yaml", kLayered);
  folder += "/elsewhere";
  EXPECT_NE(build(), "");
  folder = folder.substr(0, folder.size() - 10);
  EXPECT_EQ(first, built.spec);
  EXPECT_EQ(first.find(folder), std::string::npos);
  EXPECT_HAS(first, "init: ones");
}

TEST_F(LanguageTest, EveryTensorFunctionBuilds) {
  std::string ir = builds(modelWith(
      "  x = rms_norm(gather(w, tokens))\n"
      "  h = reshape(x, [T, 2, 4])\n"
      "  at = position[:, None] * arange(2)\n"
      "  q = rotate(h, cos(at), sin(at))\n"
      "  y = attention(q, h, h, window=4, within=row)\n"
      "  y = y + linear(h, w[:4, :4])\n"
      "  y = reshape(transpose(y, [0, 2, 1]), [T, -1])\n"
      "  y = softmax(y) + mean(y, keepdims=true) + max(y, keepdims=true)\n"
      "  y = relu(y) + leaky_relu(y, 0.5) + gelu(y) + silu(y) + abs(y)\n"
      "  y = where(y > 0, exp(y), erf(y)) + y ** 3 + sqrt(square(y) + 1)\n"
      "  y = maximum(y, minimum(x, 0.0)) + log(1 + exp(y)) + rsqrt(2 + y * y)\n"
      "  y = round(stop_gradient(y), bf16) + shift(x, by=2, within=segment)\n"
      "  k = (tokens * 36313) ^ (shift(tokens) * 27191)\n"
      "  y = concat([y[:, :4], y[..., 4:]]) + gather(w, k % 16)\n"
      "  y = y + cast(tokens, f32)[:, None] + matmul(y, w, transpose_b=true)[:, :8]\n"
      "  return softcap(linear(y, w), 30.0)\n"));
  for (const char *op :
       {"rotate", "attention", "transpose", "reduce_max", "select", "erf",
        "token_shift", "rem", "xor", "concat", "cast", "iota", "stop_gradient"})
    EXPECT_HAS(ir, std::string("pg.") + op + " ");
}

TEST_F(LanguageTest, MaxTokensAndPrecision) {
  write("model.yaml", modelWith("  return linear(gather(w, tokens), w)\n"));
  pg::frontend::Sources sources;
  sources.modelPath = folder + "/model.yaml";
  sources.maxTokens = 96;
  sources.precision = "f64";
  auto result = pg::frontend::build(context, sources);
  ASSERT_TRUE(mlir::succeeded(result));
  mlir::ModuleOp module = *result->module;
  EXPECT_EQ(module->getAttrOfType<mlir::IntegerAttr>("pg.max_tokens").getInt(), 96);
  EXPECT_EQ(module->getAttrOfType<mlir::StringAttr>("pg.precision").getValue(), "f64");
}

} // namespace
