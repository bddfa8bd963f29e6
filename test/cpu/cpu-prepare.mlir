// RUN: pg-opt --pg-cpu-prepare %s | FileCheck %s

// A transposed weight becomes a flag of the product, a second transpose takes
// the flag away again; a transpose somebody else reads stays.

pg.parameter @w : tensor<8x4xf32> {init = {kind = "zeros"}, group = "matrix"}
pg.parameter @v : tensor<4x8xf32> {init = {kind = "zeros"}, group = "matrix"}

// CHECK-LABEL: func.func @folds_into_the_right_operand
func.func @folds_into_the_right_operand() {
  // CHECK: %[[X:.*]] = pg.input "x"
  // CHECK: %[[W:.*]] = pg.param @w
  %x = pg.input "x" : tensor<?x4xf32>
  %w = pg.param @w : tensor<8x4xf32>
  // CHECK-NOT: pg.transpose
  %t = pg.transpose %w {permutation = array<i64: 1, 0>} : tensor<8x4xf32> -> tensor<4x8xf32>
  // CHECK: pg.matmul %[[X]], %[[W]] {transpose_b} : tensor<?x4xf32>, tensor<8x4xf32> -> tensor<?x8xf32>
  %y = pg.matmul %x, %t : tensor<?x4xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  pg.output "y", %y : tensor<?x8xf32>
  return
}

// CHECK-LABEL: func.func @undoes_a_flag_and_keeps_a_shared_transpose
func.func @undoes_a_flag_and_keeps_a_shared_transpose() {
  // CHECK: %[[W:.*]] = pg.param @w
  // CHECK: %[[V:.*]] = pg.param @v
  // CHECK: %[[T:.*]] = pg.transpose %[[W]]
  %w = pg.param @w : tensor<8x4xf32>
  %v = pg.param @v : tensor<4x8xf32>
  %t = pg.transpose %w {permutation = array<i64: 1, 0>} : tensor<8x4xf32> -> tensor<4x8xf32>
  // CHECK: pg.matmul %[[V]], %[[W]] : tensor<4x8xf32>, tensor<8x4xf32> -> tensor<4x4xf32>
  %y = pg.matmul %v, %t {transpose_b} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
  // CHECK: pg.matmul %[[W]], %[[V]] {transpose_a, transpose_b} : tensor<8x4xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
  %z = pg.matmul %t, %v {transpose_b} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
  pg.output "t", %t : tensor<4x8xf32>
  pg.output "y", %y : tensor<4x4xf32>
  pg.output "z", %z : tensor<4x4xf32>
  return
}

// A gram matrix, scaled and rounded, is symmetric, and so is its square: both are
// products of a value with its own transpose. The last one is not.
// CHECK-LABEL: func.func @squares_of_symmetric_matrices
func.func @squares_of_symmetric_matrices() {
  // CHECK: %[[W:.*]] = pg.param @w
  %w = pg.param @w : tensor<8x4xf32>
  // CHECK: %[[G:.*]] = pg.matmul %[[W]], %[[W]] {transpose_a}
  %g = pg.matmul %w, %w {transpose_a} : tensor<8x4xf32>, tensor<8x4xf32> -> tensor<4x4xf32>
  %f = pg.fill 0.5 : tensor<4x4xf32>
  // CHECK: %[[H:.*]] = pg.mul
  %h = pg.mul %g, %f : tensor<4x4xf32>
  // CHECK: %[[S:.*]] = pg.matmul %[[H]], %[[H]] {transpose_b}
  %s = pg.matmul %h, %h : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  // CHECK: pg.matmul %[[S]], %[[S]] {transpose_b}
  %t = pg.matmul %s, %s : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  // CHECK: %[[P:.*]] = pg.matmul %[[T:.*]], %[[G]] :
  %p = pg.matmul %t, %g : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  // CHECK: pg.matmul %[[P]], %[[P]] :
  %q = pg.matmul %p, %p : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  pg.output "q", %q : tensor<4x4xf32>
  return
}
