//===- ReportTest.cpp - figures of the report, by hand
//---------------------===//

#include "passes/fuse/Passes.h"
#include "passes/fuse/Report.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

namespace {

constexpr const char *kModel = R"mlir(
module attributes {pg.model = "m", pg.precision = "f32", pg.max_tokens = 100 : i64} {
  pg.parameter @w : tensor<512x256xf32> {init = {kind = "zeros"}, group = "matrix", quant = "attn"}
  pg.parameter @s : tensor<256xf32> {init = {kind = "ones"}, group = "scalar"}
  pg.state @grad.s : tensor<256xf32> {role = "gradient", of = @s}
  func.func @score() {
    %x = pg.input "x" : tensor<?x256xf32>
    %w = pg.param @w : tensor<512x256xf32>
    %y = pg.matmul %x, %w {transpose_b} : tensor<?x256xf32>, tensor<512x256xf32> -> tensor<?x512xf32>
    %z = pg.neg %y : tensor<?x512xf32>
    pg.output "z", %z : tensor<?x512xf32>
    return
  }
})mlir";

struct ReportTest : testing::Test {
  ReportTest() {
    context.loadDialect<pg::PgDialect, mlir::func::FuncDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(kModel, &context);
  }

  pg::Report plan() {
    EXPECT_TRUE(mlir::succeeded(pg::recompute(*module, 0, {})));
    int64_t absorbed = 0;
    for (mlir::func::FuncOp entry : pg::entriesOf(*module)) {
      pg::scheduleEntry(entry);
      EXPECT_TRUE(mlir::succeeded(pg::fuseEntry(entry, absorbed)));
    }
    EXPECT_TRUE(mlir::succeeded(pg::outlineKernels(*module)));
    EXPECT_TRUE(mlir::succeeded(pg::planMemory(*module)));
    return pg::buildReport(*module);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST_F(ReportTest, CountsParametersByGroup) {
  pg::Report report = plan();
  EXPECT_EQ(report.parameterValues, 512 * 256 + 256);
  EXPECT_EQ(report.parameterBytes, 4 * (512 * 256 + 256));
  EXPECT_EQ(report.stateBytes, 4 * 256);
  ASSERT_EQ(report.groups.size(), 2u);
  EXPECT_EQ(report.groups[0].name, "matrix");
  EXPECT_EQ(report.groups[0].values, 512 * 256);
  EXPECT_EQ(report.groups[1].tensors, 1);
}

TEST_F(ReportTest, MeasuresTrafficOfFusedAndUnfusedProgram) {
  pg::Report report = plan();
  ASSERT_EQ(report.entries.size(), 1u);
  const pg::Report::Entry &score = report.entries[0];
  // One kernel: the negation is the product's epilogue. It loads x (256 floats
  // a token) and w, and stores z (512 floats a token).
  EXPECT_EQ(score.launches, 1);
  EXPECT_DOUBLE_EQ(score.bytes.perToken, 4.0 * (256 + 512));
  EXPECT_DOUBLE_EQ(score.bytes.fixed, 4.0 * 512 * 256);
  // Unfused, y is stored and loaded once more.
  EXPECT_DOUBLE_EQ(score.unfusedBytes.perToken, 4.0 * (256 + 512 + 512 + 512));
  EXPECT_DOUBLE_EQ(score.unfusedBytes.fixed, 4.0 * 512 * 256);
  // 2 * 256 * 512 for the product, 512 for the negation.
  EXPECT_DOUBLE_EQ(score.flops.perToken, 2.0 * 256 * 512 + 512);
}

TEST_F(ReportTest, AddsUpPeakMemory) {
  pg::Report report = plan();
  // z at 100 tokens: 100 * 512 * 4 = 204,800, a multiple of 64.
  EXPECT_EQ(report.entries[0].arenaBytes, 204800);
  EXPECT_EQ(report.peakBytes(), 204800 + 4 * (512 * 256 + 256) + 4 * 256);
}

TEST_F(ReportTest, EstimatesArtifact) {
  // 131,072 weights at 3.301 bits, 512 row scales of 2 bytes, 256 halves.
  EXPECT_EQ(plan().artifactBytes,
            std::llround(131072 * 3.301 / 8 + 1024 + 512));
}

TEST_F(ReportTest, PrintsTextAndJson) {
  pg::Report report = plan();
  std::string text = report.text();
  EXPECT_NE(text.find("parameters: 131,328"), std::string::npos) << text;
  EXPECT_NE(text.find("matmul_neg_00 x1: matmul neg"), std::string::npos)
      << text;
  llvm::json::Value value = report.json();
  const llvm::json::Object *object = value.getAsObject();
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(object->getInteger("parameters"), 131328);
  EXPECT_EQ(object->getInteger("distinct_kernels"), 1);
  EXPECT_EQ(object->getArray("entries")->size(), 1u);
}

} // namespace
