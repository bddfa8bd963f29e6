// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @reductions
func.func @reductions(%x: tensor<?x4x6xf32>) {
  // CHECK: pg.reduce_sum %{{.*}} {axes = array<i64: 1, 2>} : tensor<?x4x6xf32> -> tensor<?xf32>
  %0 = pg.reduce_sum %x {axes = array<i64: 1, 2>} : tensor<?x4x6xf32> -> tensor<?xf32>
  // CHECK: pg.reduce_sum %{{.*}} {axes = array<i64: 0>} : tensor<?x4x6xf32> -> tensor<4x6xf32>
  %1 = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<?x4x6xf32> -> tensor<4x6xf32>
  // CHECK: pg.reduce_max %{{.*}} {axes = array<i64: 2>} : tensor<?x4x6xf32> -> tensor<?x4xf32>
  %2 = pg.reduce_max %x {axes = array<i64: 2>} : tensor<?x4x6xf32> -> tensor<?x4xf32>
  // CHECK: pg.rms_norm %{{.*}} {eps = {{.*}} : f64} : tensor<?x4x6xf32>
  %3 = pg.rms_norm %x {eps = 1.0e-6 : f64} : tensor<?x4x6xf32>
  // CHECK: pg.partial_sum %{{.*}} : tensor<?x4x6xf32> -> tensor<?x4x6xf32, #pg.chunks<64>>
  %4 = pg.partial_sum %x : tensor<?x4x6xf32> -> tensor<?x4x6xf32, #pg.chunks<64>>
  // CHECK: pg.combine %{{.*}} : tensor<?x4x6xf32, #pg.chunks<64>> -> tensor<4x6xf32>
  %5 = pg.combine %4 : tensor<?x4x6xf32, #pg.chunks<64>> -> tensor<4x6xf32>
  return
}
