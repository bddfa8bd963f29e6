// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @products
func.func @products(%x: tensor<?x8xf32>, %dy: tensor<?x4xf32>, %w: tensor<4x8xf32>) {
  // CHECK: pg.matmul %{{.*}}, %{{.*}} {transpose_b} : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  // CHECK: pg.matmul %{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  %1 = pg.matmul %dy, %w : tensor<?x4xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  // CHECK: pg.matmul %{{.*}}, %{{.*}} {transpose_a} : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<4x8xf32>
  %2 = pg.matmul %dy, %x {transpose_a} : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<4x8xf32>
  return
}

// Factors may be narrower than their sum.
// CHECK-LABEL: func.func @narrow
func.func @narrow(%x: tensor<?x8xbf16>, %w: tensor<4x8xbf16>) {
  // CHECK: pg.matmul {{.*}} : tensor<?x8xbf16>, tensor<4x8xbf16> -> tensor<?x4xf32>
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xbf16>, tensor<4x8xbf16> -> tensor<?x4xf32>
  return
}
