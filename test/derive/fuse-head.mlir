// RUN: pg-opt --pg-fuse-head %s | FileCheck %s

// CHECK-LABEL: func.func @softcap_by_division
// CHECK: pg.linear_cross_entropy %{{.*}}, %{{.*}}, %{{.*}} {softcap = 3.000000e+01 : f64}
func.func @softcap_by_division(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) -> tensor<?xf32> {
  %c = pg.fill 30.0 : tensor<?x64xf32>
  %z = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<64x8xf32> -> tensor<?x64xf32>
  %d = pg.div %z, %c : tensor<?x64xf32>
  %h = pg.tanh %d : tensor<?x64xf32>
  %s = pg.mul %h, %c : tensor<?x64xf32>
  %nll = pg.cross_entropy %s, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
  return %nll : tensor<?xf32>
}

// The number may come from a broadcast and stand on the left; its inverse may
// be a product.
// CHECK-LABEL: func.func @softcap_by_product
// CHECK: pg.linear_cross_entropy %{{.*}}, %{{.*}}, %{{.*}} {softcap = 1.500000e+01 : f64}
func.func @softcap_by_product(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) -> tensor<?xf32> {
  %c = pg.constant dense<15.0> : tensor<f32>
  %cb = pg.broadcast %c {dims = array<i64>} : tensor<f32> -> tensor<?x64xf32>
  %i = pg.fill 0.066666666666666666 : tensor<?x64xf32>
  %z = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<64x8xf32> -> tensor<?x64xf32>
  %d = pg.mul %i, %z : tensor<?x64xf32>
  %h = pg.tanh %d : tensor<?x64xf32>
  %s = pg.mul %cb, %h : tensor<?x64xf32>
  %nll = pg.cross_entropy %s, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
  return %nll : tensor<?xf32>
}

// Other users keep the logits.
// CHECK-LABEL: func.func @bare_product
// CHECK: %[[Z:.*]] = pg.matmul
// CHECK: %[[NLL:.*]], %{{.*}} = pg.linear_cross_entropy %{{.*}}, %{{.*}}, %{{.*}} : (
// CHECK: return %[[NLL]], %[[Z]]
func.func @bare_product(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) -> (tensor<?xf32>, tensor<?x64xf32>) {
  %z = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<64x8xf32> -> tensor<?x64xf32>
  %nll = pg.cross_entropy %z, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
  return %nll, %z : tensor<?xf32>, tensor<?x64xf32>
}

// 30 tanh(z / 20) is no softcap.
// CHECK-LABEL: func.func @unequal_caps
// CHECK-NOT: pg.linear_cross_entropy
// CHECK: pg.cross_entropy
func.func @unequal_caps(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) -> tensor<?xf32> {
  %c = pg.fill 30.0 : tensor<?x64xf32>
  %b = pg.fill 20.0 : tensor<?x64xf32>
  %z = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<64x8xf32> -> tensor<?x64xf32>
  %d = pg.div %z, %b : tensor<?x64xf32>
  %h = pg.tanh %d : tensor<?x64xf32>
  %s = pg.mul %h, %c : tensor<?x64xf32>
  %nll = pg.cross_entropy %s, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
  return %nll : tensor<?xf32>
}
