// RUN: pg-opt --pg-decompose %s | FileCheck %s
// RUN: pg-opt --pg-decompose=small-product=31 %s | FileCheck --check-prefix=LIMIT %s

// x (mean(x^2) + eps)^(-1/2), over 4 features: 1/4.
// CHECK-LABEL: func.func @norm
// CHECK-DAG: %[[QUARTER:.*]] = pg.fill 2.500000e-01 : tensor<?xf32>
// CHECK-DAG: %[[EPS:.*]] = pg.fill 1.250000e-01 : tensor<?xf32>
// CHECK: %[[SQ:.*]] = pg.mul %[[X:.*]], %[[X]] : tensor<?x4xf32>
// CHECK: %[[SUM:.*]] = pg.reduce_sum %[[SQ]] {axes = array<i64: 1>}
// CHECK: %[[MEAN:.*]] = pg.mul %[[SUM]], %[[QUARTER]]
// CHECK: %[[SHIFTED:.*]] = pg.add %[[MEAN]], %[[EPS]]
// CHECK: %[[R:.*]] = pg.rsqrt %[[SHIFTED]]
// CHECK: %[[B:.*]] = pg.broadcast %[[R]] {dims = array<i64: 0>}
// CHECK: pg.mul %[[X]], %[[B]] : tensor<?x4xf32>
func.func @norm(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = pg.rms_norm %x {eps = 0.125 : f64} : tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @loss
// CHECK: %[[MAX:.*]] = pg.reduce_max %[[Z:.*]] {axes = array<i64: 1>}
// CHECK: %[[MAXB:.*]] = pg.broadcast %[[MAX]]
// CHECK: %[[D:.*]] = pg.sub %[[Z]], %[[MAXB]]
// CHECK: %[[E:.*]] = pg.exp %[[D]]
// CHECK: %[[S:.*]] = pg.reduce_sum %[[E]]
// CHECK: %[[LOG:.*]] = pg.log %[[S]]
// CHECK: %[[PICK:.*]] = pg.pick %[[Z]]
// CHECK: %[[LSE:.*]] = pg.add %[[LOG]], %[[MAX]]
// CHECK: pg.sub %[[LSE]], %[[PICK]]
func.func @loss(%z: tensor<?x8xf32>, %t: tensor<?xi32>) -> tensor<?xf32> {
  %0 = pg.cross_entropy %z, %t : tensor<?x8xf32>, tensor<?xi32> -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// A static matrix of 4 x 8 = 32 elements; above the limit the product stays.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<4x8xf32>)
// CHECK: %[[XB:.*]] = pg.broadcast %[[X]] {dims = array<i64: 0, 2>} : tensor<?x8xf32> -> tensor<?x4x8xf32>
// CHECK: %[[WB:.*]] = pg.broadcast %[[W]] {dims = array<i64: 1, 2>} : tensor<4x8xf32> -> tensor<?x4x8xf32>
// CHECK: %[[P:.*]] = pg.mul %[[XB]], %[[WB]]
// CHECK: pg.reduce_sum %[[P]] {axes = array<i64: 2>} : tensor<?x4x8xf32> -> tensor<?x4xf32>
// LIMIT-LABEL: func.func @linear
// LIMIT: pg.matmul
func.func @linear(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) -> tensor<?x4xf32> {
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// dX: the contracted dimension is the matrix's rows. The mark of the backward
// part is inherited.
// CHECK-LABEL: func.func @linear_input_gradient
// CHECK: %[[P:.*]] = pg.mul %{{.*}} {pg.backward} : tensor<?x4x8xf32>
// CHECK: pg.reduce_sum %[[P]] {axes = array<i64: 1>, pg.backward} : tensor<?x4x8xf32> -> tensor<?x8xf32>
func.func @linear_input_gradient(%dy: tensor<?x4xf32>, %w: tensor<4x8xf32>) -> tensor<?x8xf32> {
  %0 = pg.matmul %dy, %w {pg.backward} : tensor<?x4xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @linear_weight_gradient
// CHECK: pg.broadcast %{{.*}} {dims = array<i64: 0, 1>} : tensor<?x4xf32> -> tensor<?x4x8xf32>
// CHECK: pg.broadcast %{{.*}} {dims = array<i64: 0, 2>} : tensor<?x8xf32> -> tensor<?x4x8xf32>
// CHECK: pg.reduce_sum %{{.*}} {axes = array<i64: 0>} : tensor<?x4x8xf32> -> tensor<4x8xf32>
// LIMIT-LABEL: func.func @linear_weight_gradient
// LIMIT: pg.matmul
func.func @linear_weight_gradient(%dy: tensor<?x4xf32>, %x: tensor<?x8xf32>) -> tensor<4x8xf32> {
  %0 = pg.matmul %dy, %x {transpose_a} : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// Rows of the logits entry are static: their product keeps its kernel.
// CHECK-LABEL: func.func @static_product
// CHECK: pg.matmul
func.func @static_product(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  %0 = pg.matmul %x, %w {transpose_b} : tensor<2x8xf32>, tensor<4x8xf32> -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
