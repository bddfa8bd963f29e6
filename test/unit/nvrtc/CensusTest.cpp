//===- CensusTest.cpp - what NVRTC makes of products, attention and head ------===//
//
// The structured kernels at the sizes of full models, compiled for both
// architectures: tensor-core instructions in the machine code and in the PTX,
// no local memory, and asynchronous copies in what has a pipeline. Skipped where
// this machine has no NVRTC.
//
//===----------------------------------------------------------------------===//
#include "dialect/Pg.h"
#include "passes/cuda/CudaBackend.h"
#include "passes/nvrtc/Cubin.h"
#include "passes/nvrtc/CudaImages.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

namespace pg::nvrtc {
namespace {

// Forward, input gradient and weight gradient of an MLP whose activation is computed while the operand lands; attention;
// the head; adapters; a product and a head that read codes; the three products of an iteration in bf16.
const char *const kKernels = R"mlir(
pg.kernel_def @up attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<?x512xbf16>, %w: tensor<2048x512xbf16>):
    %y = pg.matmul %x, %w {transpose_b} : tensor<?x512xbf16>, tensor<2048x512xbf16> -> tensor<?x2048xf32>
    %n = pg.cast %y : tensor<?x2048xf32> -> tensor<?x2048xbf16>
    pg.yield %n : tensor<?x2048xbf16>
}
pg.kernel_def @down attributes {modes = array<i64: 0>} {
  ^bb0(%r: tensor<?x512xbf16>, %h: tensor<?x2048xbf16>, %w: tensor<512x2048xbf16>, %s: f64):
    %f = pg.cast %h : tensor<?x2048xbf16> -> tensor<?x2048xf32>
    %q = pg.mul %f, %f : tensor<?x2048xf32>
    %p = pg.cast %q : tensor<?x2048xf32> -> tensor<?x2048xbf16>
    %y = pg.matmul %p, %w {transpose_b} : tensor<?x2048xbf16>, tensor<512x2048xbf16> -> tensor<?x512xf32>
    %c = pg.splat %s : tensor<?x512xf32>
    %z = pg.mul %y, %c : tensor<?x512xf32>
    %e = pg.cast %r : tensor<?x512xbf16> -> tensor<?x512xf32>
    %a = pg.add %e, %z : tensor<?x512xf32>
    %n = pg.cast %a : tensor<?x512xf32> -> tensor<?x512xbf16>
    pg.yield %n : tensor<?x512xbf16>
}
pg.kernel_def @weight_gradient attributes {modes = array<i64: 2>} {
  ^bb0(%d: tensor<?x512xbf16>, %h: tensor<?x2048xbf16>):
    %f = pg.cast %h : tensor<?x2048xbf16> -> tensor<?x2048xf32>
    %q = pg.mul %f, %f : tensor<?x2048xf32>
    %p = pg.cast %q : tensor<?x2048xf32> -> tensor<?x2048xbf16>
    %g = pg.matmul %d, %p {transpose_a} : tensor<?x512xbf16>, tensor<?x2048xbf16> -> tensor<512x2048xf32>
    pg.yield %g : tensor<512x2048xf32>
}
pg.kernel_def @attention attributes {modes = array<i64: 0, 0>} {
  ^bb0(%q: tensor<?x8x64xbf16>, %k: tensor<?x4x64xbf16>, %v: tensor<?x4x64xbf16>):
    %o, %l = pg.attention %q, %k, %v {scale = 0.125 : f64, window = 0 : i64, within = 1 : i32}
      : (tensor<?x8x64xbf16>, tensor<?x4x64xbf16>, tensor<?x4x64xbf16>) -> (tensor<?x8x64xf32>, tensor<?x8xf32>)
    %n = pg.cast %o : tensor<?x8x64xf32> -> tensor<?x8x64xbf16>
    pg.yield %n, %l : tensor<?x8x64xbf16>, tensor<?x8xf32>
}
pg.kernel_def @attention_gradient attributes {modes = array<i64: 0, 0, 0>} {
  ^bb0(%q: tensor<?x8x64xbf16>, %k: tensor<?x4x64xbf16>, %v: tensor<?x4x64xbf16>, %d: tensor<?x8x64xbf16>,
       %l: tensor<?x8xf32>, %t: tensor<?x8xf32>):
    %0, %1, %2 = pg.attention_grad %q, %k, %v, %d, %l, %t {scale = 0.125 : f64, window = 0 : i64, within = 1 : i32}
      : (tensor<?x8x64xbf16>, tensor<?x4x64xbf16>, tensor<?x4x64xbf16>, tensor<?x8x64xbf16>, tensor<?x8xf32>, tensor<?x8xf32>)
      -> (tensor<?x8x64xf32>, tensor<?x4x64xf32>, tensor<?x4x64xf32>)
    %3 = pg.cast %0 : tensor<?x8x64xf32> -> tensor<?x8x64xbf16>
    %4 = pg.cast %1 : tensor<?x4x64xf32> -> tensor<?x4x64xbf16>
    %5 = pg.cast %2 : tensor<?x4x64xf32> -> tensor<?x4x64xbf16>
    pg.yield %3, %4, %5 : tensor<?x8x64xbf16>, tensor<?x4x64xbf16>, tensor<?x4x64xbf16>
}
pg.kernel_def @loss attributes {modes = array<i64: 0, 0>} {
  ^bb0(%x: tensor<?x512xbf16>, %w: tensor<8192x512xbf16>, %t: tensor<?xi32>):
    %n, %l = pg.linear_cross_entropy %x, %w, %t {softcap = 30.0 : f64}
      : (tensor<?x512xbf16>, tensor<8192x512xbf16>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    pg.yield %n, %l : tensor<?xf32>, tensor<?xf32>
}
pg.kernel_def @loss_gradient attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<?x512xbf16>, %w: tensor<8192x512xbf16>, %t: tensor<?xi32>, %l: tensor<?xf32>, %n: tensor<?xf32>):
    %g = pg.linear_cross_entropy_grad_x %x, %w, %t, %l, %n {softcap = 30.0 : f64}
      : (tensor<?x512xbf16>, tensor<8192x512xbf16>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x512xf32>
    %c = pg.cast %g : tensor<?x512xf32> -> tensor<?x512xbf16>
    pg.yield %c : tensor<?x512xbf16>
}
pg.kernel_def @up_from_codes attributes {modes = array<i64: 0>} {
  ^bb0(%s: tensor<2048xf32>, %x: tensor<?x512xbf16>, %w: tensor<2048x512xi8>):
    %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<2048xf32> -> tensor<?x2048xf32>
    %y = pg.matmul %x, %w {transpose_b} : tensor<?x512xbf16>, tensor<2048x512xi8> -> tensor<?x2048xf32>
    %z = pg.mul %y, %b : tensor<?x2048xf32>
    %n = pg.cast %z : tensor<?x2048xf32> -> tensor<?x2048xbf16>
    pg.yield %n : tensor<?x2048xbf16>
}
pg.kernel_def @loss_from_codes attributes {modes = array<i64: 0, 0>} {
  ^bb0(%x: tensor<?x512xbf16>, %w: tensor<8192x512xi8>, %t: tensor<?xi32>, %s: tensor<8192xf32>, %p: tensor<?x4xf32>,
       %q: tensor<8192x4xf32>):
    %n, %l = pg.linear_cross_entropy %x, %w, %t scaled %s plus %p, %q {softcap = 30.0 : f64}
      : (tensor<?x512xbf16>, tensor<8192x512xi8>, tensor<?xi32>, tensor<8192xf32>, tensor<?x4xf32>, tensor<8192x4xf32>)
      -> (tensor<?xf32>, tensor<?xf32>)
    pg.yield %n, %l : tensor<?xf32>, tensor<?xf32>
}
pg.kernel_def @adapter attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<?x512xbf16>, %w: tensor<64x96x512xbf16>):
    %y = pg.grouped_matmul %x, %w {transpose_w} : tensor<?x512xbf16>, tensor<64x96x512xbf16> -> tensor<?x96xf32>
    %n = pg.cast %y : tensor<?x96xf32> -> tensor<?x96xbf16>
    pg.yield %n : tensor<?x96xbf16>
}
pg.kernel_def @adapter_gradient attributes {modes = array<i64: 2>} {
  ^bb0(%a: tensor<?x96xbf16>, %b: tensor<?x512xbf16>):
    %r = pg.grouped_outer %a, %b : tensor<?x96xbf16>, tensor<?x512xbf16> -> tensor<64x96x512xf32>
    pg.yield %r : tensor<64x96x512xf32>
}
pg.kernel_def @gram attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<2048x512xbf16>):
    %p = pg.matmul %x, %x {transpose_a} : tensor<2048x512xbf16>, tensor<2048x512xbf16> -> tensor<512x512xf32>
    %r = pg.round %p to bf16 : tensor<512x512xf32>
    %n = pg.cast %r : tensor<512x512xf32> -> tensor<512x512xbf16>
    pg.yield %n : tensor<512x512xbf16>
}
pg.kernel_def @mix attributes {modes = array<i64: 0>} {
  ^bb0(%g: tensor<512x512xbf16>, %b: f64, %c: f64):
    %w = pg.cast %g : tensor<512x512xbf16> -> tensor<512x512xf32>
    %0 = pg.splat %b : tensor<512x512xf32>
    %1 = pg.mul %0, %w : tensor<512x512xf32>
    %2 = pg.round %1 to bf16 : tensor<512x512xf32>
    %p = pg.matmul %g, %g {transpose_b} : tensor<512x512xbf16>, tensor<512x512xbf16> -> tensor<512x512xf32>
    %r = pg.round %p to bf16 : tensor<512x512xf32>
    %3 = pg.splat %c : tensor<512x512xf32>
    %4 = pg.mul %3, %r : tensor<512x512xf32>
    %5 = pg.round %4 to bf16 : tensor<512x512xf32>
    %6 = pg.add %2, %5 : tensor<512x512xf32>
    %7 = pg.round %6 to bf16 : tensor<512x512xf32>
    %n = pg.cast %7 : tensor<512x512xf32> -> tensor<512x512xbf16>
    pg.yield %n : tensor<512x512xbf16>
}
pg.kernel_def @next attributes {modes = array<i64: 0>} {
  ^bb0(%x: tensor<2048x512xbf16>, %m: tensor<512x512xbf16>, %a: f64):
    %w = pg.cast %x : tensor<2048x512xbf16> -> tensor<2048x512xf32>
    %0 = pg.splat %a : tensor<2048x512xf32>
    %1 = pg.mul %0, %w : tensor<2048x512xf32>
    %2 = pg.round %1 to bf16 : tensor<2048x512xf32>
    %p = pg.matmul %x, %m : tensor<2048x512xbf16>, tensor<512x512xbf16> -> tensor<2048x512xf32>
    %r = pg.round %p to bf16 : tensor<2048x512xf32>
    %3 = pg.add %2, %r : tensor<2048x512xf32>
    %4 = pg.round %3 to bf16 : tensor<2048x512xf32>
    %n = pg.cast %4 : tensor<2048x512xf32> -> tensor<2048x512xbf16>
    pg.yield %n : tensor<2048x512xbf16>
}
)mlir";

/// Stages that only add up what others have made.
bool isCombine(const std::string &stage) {
  return stage.find("combine") != std::string::npos;
}

TEST(NvrtcCensus, StructuredKernelsUseTensorCoresAndNoLocalMemory) {
  if (!Library::get())
    GTEST_SKIP() << "not run: " << Library::get().status().message();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<PgDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(kKernels, &context);
  ASSERT_TRUE(module);
  auto emitted = cuda::emitCuda(*module);
  ASSERT_TRUE(succeeded(emitted));
  CudaSource source{cuda::includeLine().str(), "pg_prelude.cuh", cuda::preludeText().str(), {}};
  for (const cuda::EmittedKernel &kernel : emitted->kernels) {
    source.kernels.push_back({kernel.symbol, kernel.source, {}, 0, 0});
    for (const cuda::Stage &stage : kernel.stages)
      source.kernels.back().stages.push_back({stage.symbol, stage.threads, uint64_t(stage.sharedBytes), stage.blocks});
  }
  CompileOptions options;
  options.archs = {"sm_80", "sm_90a"};
  options.jobs = 2;
  options.spillsAreErrors = true; // by the assembler's own report
  auto images = buildImages(source, options);
  ASSERT_TRUE(images.isOk()) << images.status().message();
  for (size_t a = 0; a < options.archs.size(); ++a)
    for (size_t k = 0; k < emitted->kernels.size(); ++k) {
      const Output &output = images->compiled[a][k].output;
      auto stages = readCubin(output.cubin);
      ASSERT_TRUE(stages.isOk()) << stages.status().message();
      EXPECT_EQ(stages->size(), emitted->kernels[k].stages.size());
      EXPECT_NE(output.ptx.find("mma.sync"), std::string::npos) << emitted->kernels[k].symbol;
      for (const CubinKernel &stage : *stages) {
        std::string where = stage.name + " for " + options.archs[a];
        EXPECT_FALSE(stage.usesLocalMemory()) << where;
        EXPECT_EQ(stage.frameBytes, 0u) << where;
        EXPECT_LE(stage.registers, 255u) << where;
        EXPECT_NE(stage.usesTensorCores(), isCombine(stage.name)) << where;
        if (!isCombine(stage.name)) {
          EXPECT_GT(stage.count(kLdgsts), 0u) << where;
          EXPECT_GT(stage.count(kLdsm), 0u) << where;
        }
      }
    }
}

} // namespace
} // namespace pg::nvrtc
