// Kernels of the backward part end at the gradients of streams, so that they
// are the same for every pair of neighbouring layers.
// RUN: pg-opt --split-input-file --pg-schedule --pg-fuse %s | FileCheck %s

// The sum is read here and by a later place: its readers get another kernel.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @stream_gradient
  func.func @stream_gradient() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK: %[[G:.*]] = pg.kernel
    // CHECK: pg.exp
    // CHECK: pg.add
    // CHECK: pg.kernel(%[[G]])
    // CHECK: pg.tanh
    // CHECK: pg.matmul
    %e = pg.exp %x {pg.backward} : tensor<?x8xf32>
    %g = pg.add %e, %x {pg.backward} : tensor<?x8xf32>
    %h = pg.tanh %g {pg.backward} : tensor<?x8xf32>
    %m = pg.matmul %h, %w {pg.backward} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %n = pg.matmul %m, %w {pg.backward} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %z = pg.add %n, %g {pg.backward} : tensor<?x8xf32>
    pg.output "z", %z : tensor<?x8xf32>
    return
  }
}

// -----

// The same ops of a forward part share one kernel.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @forward_stream
  func.func @forward_stream() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK: pg.kernel(%{{.*}}) : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
    // CHECK: pg.exp
    // CHECK-NOT: pg.kernel
    // CHECK: pg.tanh
    %e = pg.exp %x : tensor<?x8xf32>
    %g = pg.add %e, %x : tensor<?x8xf32>
    %h = pg.tanh %g : tensor<?x8xf32>
    %m = pg.matmul %h, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %n = pg.matmul %m, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %z = pg.add %n, %g : tensor<?x8xf32>
    pg.output "z", %z : tensor<?x8xf32>
    return
  }
}

// -----

// Rows picked by index are not rows of the token axis: a kernel of their own.
// CHECK-LABEL: func.func @picked_rows
func.func @picked_rows() {
  %x = pg.input "x" : tensor<?x8xf32>
  %rows = pg.input "rows" : tensor<4xi32>
  // CHECK: %[[R:.*]] = pg.kernel(%{{.*}}, %{{.*}}) : (tensor<?x8xf32>, tensor<4xi32>) -> tensor<4x8xf32>
  // CHECK-NEXT: ^bb0
  // CHECK-NEXT: pg.take_rows
  // CHECK-NEXT: pg.yield
  %r = pg.take_rows %x, %rows : tensor<?x8xf32>, tensor<4xi32> -> tensor<4x8xf32>
  %n = pg.neg %x : tensor<?x8xf32>
  %m = pg.neg %r : tensor<4x8xf32>
  pg.output "n", %n : tensor<?x8xf32>
  pg.output "m", %m : tensor<4x8xf32>
  return
}
