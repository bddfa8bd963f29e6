//===- InterfaceTest.cpp - what ops answer to passes ----------------------===//
#include "dialect/Pg.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace mlir;

namespace pg {
namespace {

class InterfaceTest : public testing::Test {
protected:
  InterfaceTest() {
    context.loadDialect<PgDialect, func::FuncDialect>();
    builder = std::make_unique<OpBuilder>(&context);
  }

  /// The first op named `name` in `text`, a list of ops over function arguments
  /// `arguments`.
  Operation *parse(StringRef arguments, StringRef text, StringRef name) {
    std::string source =
        ("func.func @f(" + arguments + ") {\n" + text + "\nreturn\n}").str();
    module = parseSourceString<ModuleOp>(source, &context);
    Operation *found = nullptr;
    if (module)
      module->walk([&](Operation *op) {
        if (!found && op->getName().getStringRef() == name)
          found = op;
      });
    return found;
  }

  RankedTensorType tensor(ArrayRef<int64_t> shape, Attribute encoding = {}) {
    return RankedTensorType::get(shape, builder->getF32Type(), encoding);
  }

  MLIRContext context;
  std::unique_ptr<OpBuilder> builder;
  OwningOpRef<ModuleOp> module;
  static constexpr int64_t kTokens = ShapedType::kDynamic;
};

TEST_F(InterfaceTest, knowsTokenAndChunkTensors) {
  auto chunks = ChunksAttr::get(&context, 64);
  EXPECT_TRUE(isTokenTensor(tensor({kTokens, 4})));
  EXPECT_TRUE(isTokenTensor(tensor({kTokens})));
  EXPECT_FALSE(isTokenTensor(tensor({3, 4})));
  EXPECT_FALSE(isTokenTensor(tensor({})));
  EXPECT_FALSE(isTokenTensor(tensor({kTokens, 4}, chunks)));
  EXPECT_TRUE(isChunkTensor(tensor({kTokens, 4}, chunks)));
  EXPECT_FALSE(isChunkTensor(tensor({kTokens, 4})));
  EXPECT_FALSE(hasPackedShape(tensor({kTokens, kTokens})));
}

TEST_F(InterfaceTest, countsElementsAndBytes) {
  EXPECT_EQ(elementsPerToken(tensor({kTokens, 4, 6})), 24);
  EXPECT_EQ(elementsPerToken(tensor({3, 4})), 12);
  EXPECT_EQ(elementsPerToken(tensor({})), 1);
  EXPECT_EQ(elementBytes(builder->getF32Type()), 4);
  EXPECT_EQ(elementBytes(builder->getF64Type()), 8);
  EXPECT_EQ(elementBytes(builder->getBF16Type()), 2);
  EXPECT_EQ(elementBytes(builder->getI32Type()), 4);
  EXPECT_EQ(elementBytes(builder->getI1Type()), 1);
}

TEST_F(InterfaceTest, reductionRoleFollowsTheAxis) {
  Operation *tokens = parse("%x: tensor<?x4xf32>",
                            "%0 = pg.reduce_sum %x {axes = array<i64: 0>} : "
                            "tensor<?x4xf32> -> tensor<4xf32>",
                            "pg.reduce_sum");
  ASSERT_TRUE(tokens);
  EXPECT_EQ(cast<FusionOpInterface>(tokens).getFusionRole(),
            FusionRole::TokenReduce);
  Operation *features = parse("%x: tensor<?x4xf32>",
                              "%0 = pg.reduce_sum %x {axes = array<i64: 1>} : "
                              "tensor<?x4xf32> -> tensor<?xf32>",
                              "pg.reduce_sum");
  ASSERT_TRUE(features);
  EXPECT_EQ(cast<FusionOpInterface>(features).getFusionRole(),
            FusionRole::RowReduce);
  Operation *leading = parse("%x: tensor<3x4xf32>",
                             "%0 = pg.reduce_sum %x {axes = array<i64: 0>} : "
                             "tensor<3x4xf32> -> tensor<4xf32>",
                             "pg.reduce_sum");
  ASSERT_TRUE(leading);
  EXPECT_EQ(cast<FusionOpInterface>(leading).getFusionRole(),
            FusionRole::RowReduce);
}

TEST_F(InterfaceTest, horizonOfShiftFollowsItsSign) {
  Operation *back = parse("%x: tensor<?x4xf32>",
                          "%0 = pg.token_shift %x within row {distance = 2 : "
                          "i64} : tensor<?x4xf32>",
                          "pg.token_shift");
  ASSERT_TRUE(back);
  Horizon earlier = cast<HorizonOpInterface>(back).getHorizon();
  EXPECT_EQ(earlier.kind, Horizon::Kind::Earlier);
  EXPECT_EQ(earlier.distance, 2);
  EXPECT_EQ(cast<FusionOpInterface>(back).getFusionRole(),
            FusionRole::Neighbour);
  Operation *ahead = parse("%x: tensor<?x4xf32>",
                           "%0 = pg.token_shift %x within row {distance = -3 : "
                           "i64} : tensor<?x4xf32>",
                           "pg.token_shift");
  ASSERT_TRUE(ahead);
  Horizon later = cast<HorizonOpInterface>(ahead).getHorizon();
  EXPECT_EQ(later.kind, Horizon::Kind::Later);
  EXPECT_EQ(later.distance, 3);
}

TEST_F(InterfaceTest, flopsOfProductsAndAttention) {
  // 2 K M per token.
  Operation *linear = parse("%x: tensor<?x8xf32>, %w: tensor<4x8xf32>",
                            "%0 = pg.matmul %x, %w {transpose_b} : "
                            "tensor<?x8xf32>, tensor<4x8xf32> -> "
                            "tensor<?x4xf32>",
                            "pg.matmul");
  ASSERT_TRUE(linear);
  EXPECT_EQ(cast<CostOpInterface>(linear).getFlops(0), 2 * 8 * 4);
  // Each token adds an outer product: 2 M K.
  Operation *weight = parse("%d: tensor<?x4xf32>, %x: tensor<?x8xf32>",
                            "%0 = pg.matmul %d, %x {transpose_a} : "
                            "tensor<?x4xf32>, tensor<?x8xf32> -> "
                            "tensor<4x8xf32>",
                            "pg.matmul");
  ASSERT_TRUE(weight);
  EXPECT_EQ(cast<CostOpInterface>(weight).getFlops(0), 2 * 4 * 8);
  // Of a symmetric result one triangle: 4 * 5 / 2 elements of 8 multiply-adds.
  Operation *gram = parse("%x: tensor<4x8xf32>",
                          "%0 = pg.matmul %x, %x {transpose_b} : "
                          "tensor<4x8xf32>, tensor<4x8xf32> -> "
                          "tensor<4x4xf32>",
                          "pg.matmul");
  ASSERT_TRUE(gram);
  EXPECT_EQ(cast<CostOpInterface>(gram).getFlops(0), 4 * 5 * 8);
  // 4 heads, 10 keys, scores over 8 and values of 6 features.
  Operation *core =
      parse("%q: tensor<?x4x8xf32>, %k: tensor<?x2x8xf32>, %v: "
            "tensor<?x2x6xf32>",
            "%o, %l = pg.attention %q, %k, %v {scale = 1.0 : f64} : "
            "(tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>) -> "
            "(tensor<?x4x6xf32>, tensor<?x4xf32>)",
            "pg.attention");
  ASSERT_TRUE(core);
  EXPECT_EQ(cast<CostOpInterface>(core).getFlops(10), 2 * 10 * 4 * (8 + 6));
  // Of ten keys a window of 3 leaves three.
  core->setAttr("window", IntegerAttr::get(IntegerType::get(core->getContext(), 64), 3));
  EXPECT_EQ(cast<CostOpInterface>(core).getFlops(10), 2 * 3 * 4 * (8 + 6));
  EXPECT_EQ(cast<CostOpInterface>(core).getFlops(2), 2 * 2 * 4 * (8 + 6));
  EXPECT_EQ(cast<HorizonOpInterface>(core).getHorizon().kind,
            Horizon::Kind::Prefix);
}

} // namespace
} // namespace pg
