//===- OpCases.cpp - one small program per primitive
//-----------------------===//
#include "test/numerics/OpCases.h"

#include <cmath>
#include <random>

using namespace pg;
using namespace pg::numerics;
using reference::Shape;
using reference::Tensor;

std::string Operand::type(const std::string &element) const {
  std::string text = "tensor<";
  if (perToken)
    text += "?x";
  for (int64_t size : shape)
    text += std::to_string(size) + "x";
  const char *names[] = {element.c_str(), "i32", "i1"};
  return text + names[static_cast<int>(kind)] + ">";
}

Operand numerics::token(std::string name, Shape shape, double low,
                        double high) {
  return {
      std::move(name), std::move(shape), true, Operand::Kind::Float, low, high};
}

Operand numerics::weight(std::string name, Shape shape, double low,
                         double high) {
  return {std::move(name),
          std::move(shape),
          false,
          Operand::Kind::Float,
          low,
          high};
}

Operand numerics::tokenInt(std::string name, int below) {
  return {std::move(name),
          {},
          true,
          Operand::Kind::Int,
          0,
          static_cast<double>(below),
          false};
}

Operand numerics::tokenBool(std::string name, Shape shape) {
  return {std::move(name),
          std::move(shape),
          true,
          Operand::Kind::Bool,
          0,
          2,
          false};
}

reference::PackedBatch numerics::oddBatch() {
  return reference::PackedBatch({0, 10, 11, 23}, {0, 3, 4, 10, 11, 18, 23},
                                {2, 0, 2});
}

Tensor numerics::draw(const Operand &operand, int64_t tokens, uint64_t seed) {
  Shape shape = operand.shape;
  if (operand.perToken)
    shape.insert(shape.begin(), tokens);
  Tensor result(shape);
  std::mt19937_64 random(seed);
  for (double &value : result.data) {
    double unit = static_cast<double>(random() >> 11) * 0x1.0p-53;
    value = operand.low + unit * (operand.high - operand.low);
    // Floats that a 32-bit program holds exactly, so that it starts equal.
    value = operand.kind == Operand::Kind::Float
                ? static_cast<double>(static_cast<float>(value))
                : std::floor(value);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Cases
//===----------------------------------------------------------------------===//

static OpCase unary(const std::string &op, double low, double high) {
  return {op,
          {token("x", {3}, low, high)},
          "%y = pg." + op + " %x : tensor<?x3x$F>",
          {3}};
}

static OpCase binary(const std::string &op) {
  return {op,
          {token("a", {3}), token("b", {3}, 0.5, 2.0)},
          "%y = pg." + op + " %a, %b : tensor<?x3x$F>",
          {3}};
}

static OpCase product(const std::string &name, Shape a, Shape b,
                      const std::string &flags, Shape result, bool tokenA,
                      bool tokenB) {
  Operand left = tokenA ? token("a", a) : weight("a", a);
  Operand right = tokenB ? token("b", b) : weight("b", b);
  bool perToken = tokenA != tokenB;
  Operand y = perToken ? token("y", result) : weight("y", result);
  OpCase c{name,
           {left, right},
           "%y = pg.matmul %a, %b " + flags + " : " + left.type("$F") + ", " +
               right.type("$F") + " -> " + y.type("$F"),
           result,
           perToken};
  return c;
}

static OpCase attention(const std::string &name, int64_t heads, int64_t groups,
                        int64_t window, Within within) {
  std::string h = std::to_string(heads), g = std::to_string(groups);
  return {name,
          {token("q", {heads, 4}), token("k", {groups, 4}),
           token("v", {groups, 3})},
          "%y, %lse = pg.attention %q, %k, %v {scale = 0.5 : f64, window = " +
              std::to_string(window) +
              " : i64, within = " + std::to_string(static_cast<int>(within)) +
              " : i32} : (tensor<?x" + h + "x4x$F>, tensor<?x" + g +
              "x4x$F>, tensor<?x" + g + "x3x$F>) -> (tensor<?x" + h +
              "x3x$F>, tensor<?x" + h + "x$F>)",
          {heads, 3},
          true};
}

static OpCase head(const std::string &name, double softcap, int64_t words) {
  return {name,
          {token("x", {5}), weight("w", {words, 5}), tokenInt("t", words)},
          "%y, %lse = pg.linear_cross_entropy %x, %w, %t {softcap = " +
              std::to_string(softcap) + " : f64} : (tensor<?x5x$F>, tensor<" +
              std::to_string(words) +
              "x5x$F>, tensor<?xi32>) -> "
              "(tensor<?x$F>, tensor<?x$F>)",
          {},
          true};
}

static OpCase shift(const std::string &name, int distance,
                    const std::string &within) {
  return {name,
          {token("x", {3})},
          "%y = pg.token_shift %x within " + within + " {distance = " +
              std::to_string(distance) + " : i64} : tensor<?x3x$F>",
          {3}};
}

static std::vector<OpCase> makePointwise() {
  return {
      binary("add"),
      binary("sub"),
      binary("mul"),
      binary("div"),
      binary("max"),
      binary("min"),
      unary("neg", -2, 2),
      unary("exp", -3, 3),
      unary("log", 0.2, 4),
      unary("tanh", -3, 3),
      unary("sigmoid", -6, 6),
      unary("sqrt", 0.2, 4),
      unary("rsqrt", 0.2, 4),
      unary("abs", -2, 2),
      unary("sin", -30, 30),
      unary("cos", -30, 30),
      unary("erf", -3, 3),
      {"select",
       {tokenBool("c", {3}), token("a", {3}), token("b", {3})},
       "%y = pg.select %c, %a, %b : tensor<?x3xi1>, tensor<?x3x$F>",
       {3}},
      {"cast_same",
       {token("x", {3})},
       "%y = pg.cast %x : tensor<?x3x$F> -> tensor<?x3x$F>",
       {3}},
  };
}

static std::vector<OpCase> makeShape() {
  return {
      {"broadcast_weight",
       {weight("x", {4})},
       "%y = pg.broadcast %x {dims = array<i64: 1>} : tensor<4x$F> -> "
       "tensor<?x4x$F>",
       {4}},
      {"broadcast_token_unit",
       {token("x", {1, 2})},
       "%y = pg.broadcast %x {dims = array<i64: 0, 1, 3>} : "
       "tensor<?x1x2x$F> -> tensor<?x3x4x2x$F>",
       {3, 4, 2}},
      {"broadcast_scalar",
       {weight("x", {})},
       "%y = pg.broadcast %x {dims = array<i64>} : tensor<$F> -> "
       "tensor<?x2x$F>",
       {2}},
      {"broadcast_static",
       {weight("x", {3})},
       "%y = pg.broadcast %x {dims = array<i64: 0>} : tensor<3x$F> -> "
       "tensor<3x2x$F>",
       {3, 2},
       false},
      {"reshape",
       {token("x", {2, 6})},
       "%y = pg.reshape %x : tensor<?x2x6x$F> -> tensor<?x3x4x$F>",
       {3, 4}},
      {"transpose_weight",
       {weight("x", {2, 3, 4})},
       "%y = pg.transpose %x {permutation = array<i64: 2, 0, 1>} : "
       "tensor<2x3x4x$F> -> tensor<4x2x3x$F>",
       {4, 2, 3},
       false},
      {"transpose_token",
       {token("x", {2, 3})},
       "%y = pg.transpose %x {permutation = array<i64: 0, 2, 1>} : "
       "tensor<?x2x3x$F> -> tensor<?x3x2x$F>",
       {3, 2}},
      {"slice",
       {token("x", {7})},
       "%y = pg.slice %x {axis = 1 : i64, start = 2 : i64} : tensor<?x7x$F> "
       "-> tensor<?x3x$F>",
       {3}},
      {"pad",
       {token("x", {3})},
       "%y = pg.pad %x {axis = 1 : i64, low = 2 : i64} : tensor<?x3x$F> -> "
       "tensor<?x7x$F>",
       {7}},
      {"concat",
       {token("a", {2, 3}), token("b", {1, 3})},
       "%y = pg.concat %a, %b {axis = 1 : i64} : (tensor<?x2x3x$F>, "
       "tensor<?x1x3x$F>) -> tensor<?x3x3x$F>",
       {3, 3}},
      shift("token_shift_row", 1, "row"),
      shift("token_shift_segment", 2, "segment"),
      shift("token_shift_ahead", -1, "segment"),
      {"gather",
       {weight("table", {5, 3}), tokenInt("t", 5)},
       "%y = pg.gather %table, %t : tensor<5x3x$F>, tensor<?xi32> -> "
       "tensor<?x3x$F>",
       {3}},
      {"pick",
       {token("x", {5}), tokenInt("t", 5)},
       "%y = pg.pick %x, %t : tensor<?x5x$F>, tensor<?xi32> -> tensor<?x$F>",
       {}},
  };
}

static std::vector<OpCase> makeReductions() {
  return {
      {"reduce_sum_features",
       {token("x", {3, 4})},
       "%y = pg.reduce_sum %x {axes = array<i64: 1, 2>} : tensor<?x3x4x$F> "
       "-> tensor<?x$F>",
       {}},
      {"reduce_sum_tokens",
       {token("x", {5})},
       "%y = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<?x5x$F> -> "
       "tensor<5x$F>",
       {5},
       false},
      {"reduce_sum_weight",
       {weight("x", {3, 4})},
       "%y = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<3x4x$F> -> "
       "tensor<4x$F>",
       {4},
       false},
      {"reduce_max",
       {token("x", {3, 4})},
       "%y = pg.reduce_max %x {axes = array<i64: 2>} : tensor<?x3x4x$F> -> "
       "tensor<?x3x$F>",
       {3}},
      {"rms_norm",
       {token("x", {6})},
       "%y = pg.rms_norm %x {eps = 1.1920928955078125e-07 : f64} : "
       "tensor<?x6x$F>",
       {6}},
      {"rms_norm_large_eps",
       {token("x", {2, 4})},
       "%y = pg.rms_norm %x {eps = 0.5 : f64} : tensor<?x2x4x$F>",
       {2, 4}},
      {"rotate_all",
       {token("x", {2, 4}), token("c", {2}), token("s", {2})},
       "%y = pg.rotate %x, %c, %s : tensor<?x2x4x$F>, tensor<?x2x$F>",
       {2, 4}},
      {"rotate_part",
       {token("x", {2, 7}), token("c", {2}), token("s", {2})},
       "%y = pg.rotate %x, %c, %s : tensor<?x2x7x$F>, tensor<?x2x$F>",
       {2, 7}},
      {"cross_entropy",
       {token("z", {7}), tokenInt("t", 7)},
       "%y = pg.cross_entropy %z, %t : tensor<?x7x$F>, tensor<?xi32> -> "
       "tensor<?x$F>",
       {}},
  };
}

static std::vector<OpCase> makeStructured() {
  return {
      product("matmul_weight", {5}, {5, 3}, "", {3}, true, false),
      product("matmul_linear", {5}, {3, 5}, "{transpose_b}", {3}, true, false),
      product("matmul_over_tokens", {5}, {3}, "{transpose_a}", {5, 3}, true,
              true),
      product("matmul_static", {4, 5}, {5, 3}, "", {4, 3}, false, false),
      product("matmul_static_both", {5, 4}, {3, 5},
              "{transpose_a, transpose_b}", {4, 3}, false, false),
      // Three slots, one without tokens, one with two rows.
      {"grouped_matmul",
       {token("x", {5}), weight("w", {3, 5, 18})},
       "%y = pg.grouped_matmul %x, %w : tensor<?x5x$F>, tensor<3x5x18x$F> -> "
       "tensor<?x18x$F>",
       {18}},
      {"grouped_matmul_transposed",
       {token("x", {21}), weight("w", {3, 2, 21})},
       "%y = pg.grouped_matmul %x, %w {transpose_w} : tensor<?x21x$F>, "
       "tensor<3x2x21x$F> -> tensor<?x2x$F>",
       {2}},
      {"grouped_outer",
       {token("a", {3}), token("b", {19})},
       "%y = pg.grouped_outer %a, %b : tensor<?x3x$F>, tensor<?x19x$F> -> "
       "tensor<4x3x19x$F>",
       {4, 3, 19},
       false},
      attention("attention_single_head", 1, 1, 0, Within::segment),
      attention("attention_grouped", 4, 2, 0, Within::segment),
      attention("attention_row", 4, 1, 0, Within::row),
      attention("attention_window", 2, 2, 3, Within::row),
      {"attention_log_sum_exp",
       {token("q", {2, 4}), token("k", {1, 4})},
       "%out, %y = pg.attention %q, %k, %k {scale = 0.5 : f64} : "
       "(tensor<?x2x4x$F>, tensor<?x1x4x$F>, tensor<?x1x4x$F>) -> "
       "(tensor<?x2x4x$F>, tensor<?x2x$F>)",
       {2},
       true},
      head("linear_cross_entropy", 0.0, 7),
      head("linear_cross_entropy_softcap", 3.0, 7),
      // Whole vectors of words and a rest.
      head("linear_cross_entropy_words", 3.0, 83),
  };
}

std::vector<OpCase> numerics::headCases() {
  std::vector<OpCase> heads;
  for (const OpCase &c : opCases())
    if (c.text.find("linear_cross_entropy") != std::string::npos)
      heads.push_back(c);
  return heads;
}

const std::vector<OpCase> &numerics::opCases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    for (auto make : {makePointwise, makeShape, makeReductions, makeStructured})
      for (OpCase &c : make())
        all.push_back(std::move(c));
    return all;
  }();
  return cases;
}
