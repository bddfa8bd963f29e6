// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @products
func.func @products(%x: tensor<?x8xf32>, %dy: tensor<?x4xf32>, %w: tensor<3x4x8xf32>) {
  // CHECK: pg.grouped_matmul %{{.*}}, %{{.*}} {transpose_w} : tensor<?x8xf32>, tensor<3x4x8xf32> -> tensor<?x4xf32>
  %0 = pg.grouped_matmul %x, %w {transpose_w} : tensor<?x8xf32>, tensor<3x4x8xf32> -> tensor<?x4xf32>
  // CHECK: pg.grouped_matmul %{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<3x4x8xf32> -> tensor<?x8xf32>
  %1 = pg.grouped_matmul %dy, %w : tensor<?x4xf32>, tensor<3x4x8xf32> -> tensor<?x8xf32>
  // CHECK: pg.grouped_outer %{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<3x4x8xf32>
  %2 = pg.grouped_outer %dy, %x : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<3x4x8xf32>
  return
}

// Narrow factors may be summed in f32.
// CHECK-LABEL: func.func @narrow
func.func @narrow(%x: tensor<?x8xbf16>, %w: tensor<3x8x4xbf16>) {
  %0 = pg.grouped_matmul %x, %w : tensor<?x8xbf16>, tensor<3x8x4xbf16> -> tensor<?x4xf32>
  %1 = pg.grouped_outer %x, %x : tensor<?x8xbf16>, tensor<?x8xbf16> -> tensor<3x8x8xf32>
  return
}

// CHECK-LABEL: func.func @site
func.func @site(%x: tensor<?x8xf32>, %y: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: pg.site "q" %{{.*}} to %{{.*}} {index = 2 : i64} : tensor<?x8xf32>, tensor<?x4xf32>
  %0 = pg.site "q" %x to %y {index = 2 : i64} : tensor<?x8xf32>, tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}
