// Factors of channels in front of products move to weights and results.
// RUN: pg-opt --pg-cpu-prepare %s | FileCheck %s
// RUN: pg-opt --pg-cpu-prepare --pg-schedule --pg-fuse --pg-outline %s | FileCheck %s --check-prefix=FUSED
// RUN: sed 's/"f32"}/"bf16"}/' %s | pg-opt --pg-cpu-prepare | FileCheck %s --check-prefix=OFF

module attributes {pg.precision = "f32"} {
pg.parameter @s : tensor<4xf32> {init = {kind = "ones"}, group = "scalar"}
pg.parameter @w : tensor<4x8xf32> {init = {kind = "zeros"}, group = "matrix"}
pg.parameter @v : tensor<8x4xf32> {init = {kind = "zeros"}, group = "matrix"}
pg.state @grad.w : tensor<4x8xf32> {role = "gradient", of = @w}

// What the gradient of a scaled linear map is made of: nothing reads y in the end.
// CHECK-LABEL: func.func @gradient
// OFF-LABEL: func.func @gradient
// FUSED: pg.kernel_def @matmul_mul{{.*}}
// FUSED-LABEL: func.func @gradient
func.func @gradient() {
  // CHECK: %[[X:.*]] = pg.input "x"
  // CHECK: %[[H:.*]] = pg.input "h"
  // CHECK: %[[S:.*]] = pg.param @s
  // CHECK: %[[W:.*]] = pg.param @w
  %x = pg.input "x" : tensor<?x4xf32>
  %h = pg.input "h" : tensor<?x8xf32>
  %s = pg.param @s : tensor<4xf32>
  %w = pg.param @w : tensor<4x8xf32>
  %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
  // OFF: %[[Y:.*]] = pg.mul %{{.*}}, %{{.*}} {pg.backward} : tensor<?x4xf32>
  %y = pg.mul %x, %b {pg.backward} : tensor<?x4xf32>
  // CHECK: %[[ROWS:.*]] = pg.broadcast %[[S]] {dims = array<i64: 0>, pg.backward} : tensor<4xf32> -> tensor<4x8xf32>
  // CHECK: %[[SW:.*]] = pg.mul %[[W]], %[[ROWS]] {pg.backward, pg.into_product} : tensor<4x8xf32>
  // CHECK: pg.matmul %[[X]], %[[SW]] {pg.backward} :
  // OFF: pg.matmul %[[Y]], %{{.*}} {pg.backward} :
  %dx = pg.matmul %y, %w {pg.backward} : tensor<?x4xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  // CHECK: %[[DW:.*]] = pg.matmul %[[X]], %[[H]] {pg.backward, transpose_a}
  // CHECK: %[[OUT:.*]] = pg.broadcast %[[S]] {dims = array<i64: 0>, pg.backward}
  // CHECK: %[[SDW:.*]] = pg.mul %[[DW]], %[[OUT]]
  // CHECK: pg.store accumulate @grad.w, %[[SDW]]
  // OFF: pg.matmul %[[Y]], %{{.*}} {pg.backward, transpose_a}
  %dw = pg.matmul %y, %h {pg.backward, transpose_a} : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<4x8xf32>
  pg.store accumulate @grad.w, %dw {pg.backward} : tensor<4x8xf32>
  // Two kernels: each product makes its part of the factors.
  // FUSED-COUNT-2: pg.launch @{{.*}}mul
  // FUSED-NOT: pg.launch
  pg.output "dx", %dx : tensor<?x8xf32>
  return
}

// On the right, and in front of a transposed weight.
// CHECK-LABEL: func.func @other_sides
// FUSED-LABEL: func.func @other_sides
func.func @other_sides() {
  // CHECK: %[[X:.*]] = pg.input "x"
  %x = pg.input "x" : tensor<?x4xf32>
  %h = pg.input "h" : tensor<?x8xf32>
  %s = pg.param @s : tensor<4xf32>
  %v = pg.param @v : tensor<8x4xf32>
  %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
  // CHECK-NOT: pg.mul
  %y = pg.mul %b, %x : tensor<?x4xf32>
  // CHECK: pg.broadcast %{{.*}} {dims = array<i64: 1>} : tensor<4xf32> -> tensor<8x4xf32>
  // CHECK: %[[SV:.*]] = pg.mul
  // CHECK: pg.matmul %[[X]], %[[SV]] {transpose_b}
  %z = pg.matmul %y, %v {transpose_b} : tensor<?x4xf32>, tensor<8x4xf32> -> tensor<?x8xf32>
  // CHECK: %[[G:.*]] = pg.matmul %{{.*}}, %[[X]] {transpose_a}
  // CHECK: pg.broadcast %{{.*}} {dims = array<i64: 1>} : tensor<4xf32> -> tensor<8x4xf32>
  // CHECK: pg.mul %[[G]]
  %g = pg.matmul %h, %y {transpose_a} : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<8x4xf32>
  pg.output "z", %z : tensor<?x8xf32>
  pg.output "g", %g : tensor<8x4xf32>
  return
}

// Somebody else reads y, or it meets itself: it is made, and the products read it.
// CHECK-LABEL: func.func @stays
func.func @stays() {
  %x = pg.input "x" : tensor<?x4xf32>
  %s = pg.param @s : tensor<4xf32>
  %w = pg.param @w : tensor<4x8xf32>
  %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
  // CHECK: %[[Y:.*]] = pg.mul
  // CHECK: pg.matmul %[[Y]], %{{.*}}
  %y = pg.mul %x, %b : tensor<?x4xf32>
  %z = pg.matmul %y, %w : tensor<?x4xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  // CHECK: %[[T:.*]] = pg.mul
  // CHECK: pg.matmul %[[T]], %[[T]] {transpose_a}
  %t = pg.mul %b, %y : tensor<?x4xf32>
  %m = pg.matmul %t, %t {transpose_a} : tensor<?x4xf32>, tensor<?x4xf32> -> tensor<4x4xf32>
  pg.output "z", %z : tensor<?x8xf32>
  pg.output "y", %y : tensor<?x4xf32>
  pg.output "m", %m : tensor<4x4xf32>
  return
}
}
