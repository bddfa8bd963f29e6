//===- ModelGenerator.cpp ----------------------------------------------------===//
//
// 1. Draws the sizes.
// 2. Draws two or three private blocks: feed-forward parts and layers made of
//    random expressions over streams [T, D].
// 3. Draws the entry (embedding, smear, hash), the layers (library or private),
//    the wiring of the forward text and the head.
//
//===----------------------------------------------------------------------===//
#include "test/random/ModelGenerator.h"

#include "test/random/Draw.h"

#include <vector>

using namespace pg::random;

namespace {

using Text = std::string;

/// A scalar factor that keeps values of order one.
Text number(Draw &draw) { return draw.pick<Text>({"0.5", "0.25", "-0.75", "1.5", "0.1", "2"}); }

class Generator {
public:
  explicit Generator(uint64_t seed) : draw(seed) {}

  RandomModel run() {
    sizes();
    Text mlps = feedForwardBlocks();
    Text layerBlocks = layerBlock();
    Text body = forward();
    RandomModel model;
    model.vocabulary = vocabulary;
    model.isSmooth = isSmooth;
    model.text = "model: random\ndims: {V: " + std::to_string(vocabulary) + ", D: " + std::to_string(width) +
                 ", E: " + std::to_string(tableWidth) + ", H: " + std::to_string(heads) + ", G: " +
                 std::to_string(groups) + ", d: " + std::to_string(headWidth) + ", L: " + std::to_string(layers) + "}\n" +
                 phases + "params:\n" + params + "uses:\n" + uses + "layers:\n" + families + "blocks:\n" + mlps +
                 layerBlocks + "forward: |\n" + body;
    return model;
  }

private:
  void sizes() {
    vocabulary = draw.pick<int64_t>({5, 17, 33, 64});
    groups = draw.pick<int64_t>({1, 1, 2});
    heads = groups * draw.range(1, 2);
    headWidth = 2 * draw.range(1, 4);
    // The model's width need not be that of all heads together.
    width = draw.chance(60) ? heads * headWidth : draw.range(3, 20);
    tableWidth = draw.chance(75) ? width : draw.range(2, 12);
    layers = draw.range(1, 3);
    rotated = 2 * draw.range(1, headWidth / 2);
    isTied = tableWidth == width && draw.chance(60);
  }

  //===--- expressions over [T, D] ------------------------------------------===//

  /// An expression of the shape [T, D] over the given streams, the block's
  /// vectors p0 p1 [D] and scalar r0 []. Bounded growth: every product has a
  /// squashed factor.
  Text stream(const std::vector<Text> &values, int depth) {
    auto any = [&] { return values[size_t(draw.range(0, int64_t(values.size()) - 1))]; };
    if (depth <= 0)
      return any();
    Text a = stream(values, depth - 1);
    switch (draw.range(0, 23)) {
    case 0: return "(" + a + " + " + number(draw) + " * " + stream(values, depth - 2) + ")";
    case 1: return "(" + a + " - p0 * " + stream(values, depth - 2) + ")";
    case 2: return "(sigmoid(" + a + ") * " + stream(values, depth - 1) + ")";
    case 3: return "tanh(" + a + ")";
    case 4: return "softcap(" + a + ", " + draw.pick<Text>({"2.0", "5", "30"}) + ")";
    case 5: return "silu(" + a + ")";
    case 6: return "rms_norm(" + a + ")";
    case 7: return "(" + a + " / (1 + square(" + any() + ")))";
    case 8: return "where(" + any() + " > " + any() + ", " + a + ", p1)";
    case 9: return draw.pick<Text>({"maximum", "minimum"}) + "(" + a + ", " + any() + " * r0)";
    case 10: return "(exp(-square(" + a + ")) + p0)";
    case 11: return "(" + a + " * rsqrt(1 + " + draw.pick<Text>({"mean", "sum", "max"}) + "(square(" + any() +
                    "), axis=-1))[:, None])";
    case 12: return draw.pick<Text>({"sin", "cos", "erf", "gelu"}) + "(" + a + ")";
    case 13: return "(p0 * " + a + " + p1 * " + any() + ")";
    case 14: return "(" + a + " * softmax(" + any() + "))";
    case 15: return "concat([" + a + "[:, " + half() + ":], " + any() + "[:, :" + half() + "]])";
    case 16: return "shift(" + a + ", by=" + draw.pick<Text>({"1", "2", "3"}) + ", within=" +
                    draw.pick<Text>({"row", "segment"}) + ")";
    case 17: return "(" + a + " - mean(" + a + ", axis=-1, keepdims=true))";
    case 18: return "(leaky_relu(" + a + ", " + draw.pick<Text>({"0.5", "0.9", "0"}) + ") * sigmoid(r0))";
    case 19: return "sqrt(1 + square(" + a + "))";
    case 20: return "(" + a + " + sum(tanh(" + any() + ") * p0, axis=-1)[:, None])";
    case 21: return "(log(1 + square(" + a + ")) - abs(" + any() + "))";
    case 22:
      if (draw.chance(70))
        return "(relu(" + a + ") ** 2 / (1 + square(" + a + ")))";
      isSmooth = false;
      return draw.pick<Text>({"round(" + a + ", bf16)", "(" + a + " + stop_gradient(" + any() + "))"});
    default: return "(" + a + " * r0)";
    }
  }

  Text half() { return std::to_string(width / 2); }

  /// Parameters that every private block of expressions has.
  Text vectors() {
    return "      p0: {shape: [D], init: {normal: {std: 0.5}}, group: scalar}\n"
           "      p1: {shape: [D], init: ones, group: scalar}\n"
           "      r0: {shape: [], init: ones, group: scalar}\n";
  }

  Text matrix(const Text &name, const Text &rows, const Text &columns) {
    return "      " + name + ": {shape: [" + rows + ", " + columns +
           "], init: {orthogonal: {gain: 1.0}}, group: matrix, quant: mlp}\n";
  }

  //===--- blocks ------------------------------------------------------------===//

  Text feedForwardBlocks() {
    Text hidden = std::to_string(draw.range(1, 30));
    Text inner;
    switch (draw.range(0, 4)) {
    case 0: inner = "silu(linear(n, gate.weight)) * linear(n, fc.weight)"; break;
    case 1: inner = "square(leaky_relu(linear(n, fc.weight), 0.5)) * sigmoid(linear(n, gate.weight))"; break;
    case 2: inner = "tanh(linear(n, fc.weight) + linear(n, gate.weight) * r0)"; break;
    case 3: inner = "gelu(linear(n * p0, fc.weight)) - softmax(linear(n, gate.weight))"; break;
    default: inner = "concat([relu(linear(n, fc.weight)), linear(n, gate.weight)])[:, 1:" + hidden + " + 1]"; break;
    }
    Text text = "  drawn_mlp:\n    inputs: {n: [T, D]}\n    args: {hidden: " + hidden + "}\n    params:\n" + vectors() +
                matrix("gate.weight", hidden, "D") + matrix("fc.weight", hidden, "D") +
                matrix("proj.weight", "D", hidden) + "    body: |\n      h = " + inner +
                "\n      y = linear(h, proj.weight)\n      return " + stream({"y", "n"}, int(draw.range(0, 2))) + "\n";
    return text;
  }

  /// A layer: norm, attention, feed-forward and residuals in a drawn order.
  Text layerBlock() {
    Text body, blockUses;
    bool isGated = draw.chance(50);
    Text window = draw.pick<Text>({"0", "0", "1", "3", "16"});
    if (isGated) {
      Text gate = draw.pick<Text>({"attn_out_gate", "sparse_head_gate", "dense_head_gate", "biased_head_gate"});
      Text gateWidth = std::to_string(draw.range(1, width));
      blockUses += "      attn: {block: gated_attention, args: {heads: H, kv_heads: G, head_dim: d, gain: " +
                   draw.pick<Text>({"1.0", "1.5"}) + ", drop_own_value: " + draw.pick<Text>({"true", "false"}) +
                   ", use_gate: " + draw.pick<Text>({"true", "false"}) + ", gate_block: " + gate +
                   ", gate_width: " + gateWidth + "}}\n";
    } else {
      blockUses += "      attn: {block: plain_attention, args: {heads: H, kv_heads: G, head_dim: d, window: " + window + "}}\n";
    }
    Text mlp = draw.pick<Text>({"drawn_mlp", "drawn_mlp", "relu_square_mlp", "leaky_square_mlp"});
    blockUses += "      mlp: {block: " + mlp + (mlp == "drawn_mlp" ? "" : ", args: {hidden: " + std::to_string(draw.range(1, 40)) + "}") + "}\n";
    bool mixes = draw.chance(50);
    if (mixes)
      blockUses += "      mix: {block: residual_mix}\n";
    auto indent = [&](const Text &line) { body += "      " + line + "\n"; };
    auto norm = [&](const Text &of) {
      return draw.pick<Text>({"rms_norm(" + of + ")", "rms_norm(" + of + ")", "p1 * rms_norm(" + of + ")", "tanh(" + of + ")"});
    };
    if (mixes)
      indent("x = mix(x, x0, resid_mix)");
    Text call = isGated ? "attn(n, x, c, s)" : "attn(n, c, s)";
    indent("n = " + norm("x"));
    if (draw.chance(30)) { // side by side
      indent("y = x + attn_scale * " + call + " + mlp(" + norm("x0") + ")");
    } else {
      indent("a = " + call);
      indent("y = x + attn_scale * " + stream({"a", "a", "n"}, int(draw.range(0, 2))));
      indent("y = y + " + draw.pick<Text>({"", "0.5 * ", "p0 * "}) + "mlp(" + norm("y") + ")");
    }
    indent("return " + stream({"y"}, 0) + (draw.chance(40) ? " + 0.1 * " + stream({"x0", "y", "x"}, int(draw.range(1, 3))) : ""));
    Text text = "  drawn_layer:\n    inputs: {x: [T, D], x0: [T, D], c: [T, r], s: [T, r]}\n    params:\n" + vectors() +
                "      attn_scale: {shape: [D], init: ones, group: scalar}\n";
    if (mixes)
      text += "      resid_mix: {shape: [2, D], init: {rows: {values: [1, 0]}}, group: scalar}\n";
    text += "    uses:\n" + blockUses + "    body: |\n" + body;
    return text;
  }

  //===--- the model ----------------------------------------------------------===//

  Text forward() {
    Text body;
    auto line = [&](const Text &text) { body += "  " + text + "\n"; };
    params = "  tok_emb.weight: {shape: [V, E], init: {normal: {std: 0.1}}, group: embed, quant: embed}\n";
    if (!isTied)
      params += "  lm_head.weight: {shape: [V, D], init: zeros, group: head, quant: embed}\n";
    uses = "  rotary: {block: rotary_table, args: {features: " + std::to_string(rotated) + ", base: " +
           draw.pick<Text>({"100.0", "10000.0"}) + ", round_to_bf16: " + draw.pick<Text>({"true", "false"}) + "}}\n";
    families = "  blocks:\n    count: L\n    block: drawn_layer\n";
    if (draw.chance(30))
      families += "    ranges: [{layers: 0, block: plain_layer, args: {heads: H, kv_heads: G, head_dim: d, hidden: " +
                  std::to_string(draw.range(1, 24)) + "}}]\n";

    enter(line);
    if (tableWidth != width) {
      params += "  embed_proj.weight: {shape: [D, E], init: {orthogonal: {gain: 1.0}}, group: matrix, quant: matrix}\n";
      line("x = linear(x, embed_proj.weight)");
    }
    if (draw.chance(30)) {
      uses += "  smear: {block: smear_static}\n";
      line("x = smear(x)");
    }
    line("x0 = x");
    line("c, s = rotary(position)");
    wire(line);
    if (draw.chance(25)) {
      uses += "  refine: {block: flow_refiner, args: {latent: 3, hidden: 5}}\n";
      line("x = refine(x)");
    }
    if (draw.chance(80))
      line("x = rms_norm(x)");
    line(Text("z = linear(x, ") + (isTied ? "tok_emb" : "lm_head") + ".weight)");
    line(draw.chance(70) ? "return softcap(z, " + draw.pick<Text>({"30.0", "5.0"}) + ")" : Text("return z"));
    return body;
  }

  template <typename Line> void enter(Line line) {
    switch (draw.range(0, 4)) {
    case 0:
    case 1: {
      Text block = draw.pick<Text>({"smear_after_norm", "smear_before_norm", "smear_before_norm_masked"});
      uses += "  enter: {block: " + block + ", args: {width: " + std::to_string(draw.range(1, tableWidth)) + "}}\n";
      line("x = enter(tokens, tok_emb.weight)");
      break;
    }
    case 2:
      uses += "  hashed: {block: bigram_hash, args: {buckets: " + std::to_string(draw.range(3, 40)) + ", width: E}}\n";
      line("x = rms_norm(gather(tok_emb.weight, tokens) + " + number(draw) + " * hashed(tokens, position))");
      break;
    case 3: line("x = gather(tok_emb.weight, tokens)"); break;
    default: line("x = rms_norm(gather(tok_emb.weight, tokens))"); break;
    }
  }

  /// The order of layers and what joins them.
  template <typename Line> void wire(Line line) {
    switch (draw.range(0, 3)) {
    case 0: // one after the other, some twice
      if (draw.chance(50)) {
        phases = "options: {again: false}\nphases:\n  first: {start: 0.0, set: {again: false}}\n"
                 "  second: {start: 0.5, set: {again: true}}\n";
        line("order = list_of if options.again else range(0, L)");
        phases += "let: {list_of: \"range(0, L) + range(0, L)\"}\n";
      } else {
        line("order = range(0, L)" + draw.pick<Text>({"", " + [0]", " + [L - 1, 0]"}));
      }
      line("for i in order:");
      line("    x = blocks[i](x, x0, c, s)");
      break;
    case 1: // skips, added or blended
      params += "  skip_weights: {shape: [L, D], init: ones, group: scalar}\n"
                "  skip_gates: {shape: [L, D], init: zeros, group: scalar}\n";
      uses += "  join: {block: skip_add}\n  blend: {block: skip_blend}\n";
      line("stack = []");
      line("for i in range(0, L):");
      line("    x = blocks[i](x, x0, c, s)");
      line("    stack.append(x)");
      line("for i in range(0, L):");
      line(draw.chance(50) ? "    x = join(x, stack.pop(), skip_weights[i])"
                           : "    x = blend(x, stack.pop(), skip_weights[i], skip_gates[i])");
      line("    x = blocks[i](x, x0, c, s)");
      break;
    case 2: // two lanes
      params += "  keep: {shape: [L, 2], init: ones, group: scalar}\n"
                "  post: {shape: [L, 2, 2], init: ones, group: scalar}\n";
      uses += "  update: {block: lane_update}\n";
      line("first, second = x, x0");
      line("for i in range(0, L):");
      line("    a = blocks[i](first, x0, c, s)");
      line("    m = tanh(second) * 0.5");
      line("    first, second = update(first, second, a, m, keep[i], post[i])");
      line(draw.pick<Text>({"x = 0.5 * (first + second)", "x = first", "x = second + a"}));
      break;
    default: // every layer reads a mean of all before
      line("seen = [x]");
      line("for i in range(0, L):");
      line("    x = blocks[i](x, x0, c, s)");
      line("    seen.append(x)");
      line("x = 0");
      line("for value in seen:");
      line("    x = x + value / (L + 1)");
      break;
    }
  }

  Draw draw;
  int64_t vocabulary = 0, groups = 0, heads = 0, headWidth = 0, width = 0, tableWidth = 0, layers = 0, rotated = 0;
  bool isTied = true, isSmooth = true;
  Text phases, params, uses, families;
};

} // namespace

RandomModel pg::random::generateModel(uint64_t seed) { return Generator(seed).run(); }
