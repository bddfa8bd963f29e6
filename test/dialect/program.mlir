// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK: pg.parameter @blocks.0.w : tensor<4x3xf32> {group = "matrix", init = {kind = "normal", std = 5.000000e-03 : f64}, quant = "attn"}
pg.parameter @"blocks.0.w" : tensor<4x3xf32> {init = {kind = "normal", std = 5.0e-3 : f64}, group = "matrix", quant = "attn"}
// CHECK: pg.state @m.w : tensor<4x3xf32> {init = 1.000000e+00 : f64, of = @blocks.0.w, role = "optimizer"}
pg.state @"m.w" : tensor<4x3xf32> {role = "optimizer", of = @"blocks.0.w", init = 1.0 : f64}

// CHECK: pg.state @ema.w : tensor<4x3xf32> {from_parameter, of = @blocks.0.w, role = "ema"}
pg.state @"ema.w" : tensor<4x3xf32> {role = "ema", of = @"blocks.0.w", from_parameter}

// CHECK-LABEL: func.func @apply
func.func @apply() {
  // CHECK: pg.param @blocks.0.w : tensor<4x3xf32>
  %p = pg.param @"blocks.0.w" : tensor<4x3xf32>
  // CHECK: pg.read_state @m.w : tensor<4x3xf32>
  %m = pg.read_state @"m.w" : tensor<4x3xf32>
  // CHECK: pg.scalar "lr" : tensor<f32>
  %lr = pg.scalar "lr" : tensor<f32>
  // CHECK: pg.input "tokens" : tensor<?xi32>
  %t = pg.input "tokens" : tensor<?xi32>
  // CHECK: pg.store store @m.w, %{{.*}} : tensor<4x3xf32>
  pg.store store @"m.w", %p : tensor<4x3xf32>
  // CHECK: pg.store accumulate @blocks.0.w, %{{.*}} : tensor<4x3xf32>
  pg.store accumulate @"blocks.0.w", %m : tensor<4x3xf32>
  // CHECK: pg.output "lr", %{{.*}} : tensor<f32>
  pg.output "lr", %lr : tensor<f32>
  return
}
