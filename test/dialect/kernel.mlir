// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

pg.state @"grad.w" : tensor<4xf32> {role = "gradient"}

// CHECK: pg.kernel_def @row_mul_0 attributes {modes = array<i64: 0, 2>} {
// CHECK-NEXT: ^bb0(%[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<4xf32>, %[[C:.*]]: f64):
// CHECK: pg.splat %[[C]] : tensor<?x4xf32>
// CHECK: pg.yield %{{.*}}, %[[W]] : tensor<?x4xf32>, tensor<4xf32>
pg.kernel_def @row_mul_0 attributes {modes = array<i64: 0, 2>} {
^bb0(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %c: f64):
  %s = pg.splat %c : tensor<?x4xf32>
  %y = pg.mul %x, %s : tensor<?x4xf32>
  pg.yield %y, %w : tensor<?x4xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @entry
func.func @entry(%x: tensor<?x4xf32>, %w: tensor<4xf32>) {
  // CHECK: pg.launch @row_mul_0(%{{.*}}, %{{.*}}) {offsets = array<i64: 128>, scalars = array<f64: 2.000000e+00>, targets = [#pg.target<@grad.w, accumulate>]} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %0 = pg.launch @row_mul_0(%x, %w) {scalars = array<f64: 2.0>, targets = [#pg.target<@"grad.w", accumulate>], offsets = array<i64: 128>} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  // CHECK: pg.kernel(%{{.*}}) {targets = [#pg.target<@grad.w, store>]} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = pg.kernel(%w) {targets = [#pg.target<@"grad.w", store>]} : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    %b = pg.neg %a : tensor<4xf32>
    pg.yield %b, %a : tensor<4xf32>, tensor<4xf32>
  }
  return
}
