// Prologues and epilogues of products.
// RUN: pg-opt --split-input-file --pg-schedule --pg-fuse %s | FileCheck %s

// The scaled product and the sum with the stream stay in the product's kernel:
// operands exist before it, and one tensor is left to store.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @s : tensor<8xf32> {init = {kind = "ones"}, group = "scalar"}
  // CHECK-LABEL: func.func @epilogue
  func.func @epilogue() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    %s = pg.param @s : tensor<8xf32>
    // CHECK: pg.kernel
    // CHECK: pg.matmul
    // CHECK: pg.mul
    // CHECK: pg.add
    // CHECK-NOT: pg.kernel
    %p = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>
    %ps = pg.mul %p, %b : tensor<?x8xf32>
    %y = pg.add %x, %ps : tensor<?x8xf32>
    pg.output "y", %y : tensor<?x8xf32>
    return
  }
}

// -----

// The product's own result is read elsewhere and must be stored: nothing is
// absorbed.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @result_read_elsewhere
  func.func @result_read_elsewhere() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK: %[[P:.*]] = pg.kernel
    // CHECK: pg.matmul
    // CHECK-NEXT: pg.yield
    // CHECK: pg.kernel(%{{.*}}, %[[P]])
    // CHECK: pg.add
    %p = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %y = pg.add %x, %p : tensor<?x8xf32>
    pg.output "p", %p : tensor<?x8xf32>
    pg.output "y", %y : tensor<?x8xf32>
    return
  }
}

// -----

// The activation of a stored product is evaluated by both products that read
// it, and stored by nobody.
module {
  pg.parameter @u : tensor<16x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @d : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @e : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @prologue
  func.func @prologue() {
    %x = pg.input "x" : tensor<?x8xf32>
    %u = pg.param @u : tensor<16x8xf32>
    %d = pg.param @d : tensor<8x16xf32>
    %e = pg.param @e : tensor<8x16xf32>
    // CHECK: %[[H:.*]] = pg.kernel({{.*}}) : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
    %h = pg.matmul %x, %u {transpose_b} : tensor<?x8xf32>, tensor<16x8xf32> -> tensor<?x16xf32>
    %zero = pg.fill 0.0 : tensor<?x16xf32>
    %a = pg.max %h, %zero : tensor<?x16xf32>
    // CHECK: pg.kernel(%[[H]]
    // CHECK: pg.max
    // CHECK: pg.matmul
    // CHECK: pg.kernel(%[[H]]
    // CHECK: pg.max
    // CHECK: pg.matmul
    // CHECK-NOT: pg.kernel
    %y = pg.matmul %a, %d {transpose_b} : tensor<?x16xf32>, tensor<8x16xf32> -> tensor<?x8xf32>
    %z = pg.matmul %a, %e {transpose_b} : tensor<?x16xf32>, tensor<8x16xf32> -> tensor<?x8xf32>
    pg.output "h", %h : tensor<?x16xf32>
    pg.output "y", %y : tensor<?x8xf32>
    pg.output "z", %z : tensor<?x8xf32>
    return
  }
}

// -----

// A transcendental function is too dear to repeat: it gets a row kernel.
module {
  pg.parameter @u : tensor<16x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @d : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @no_transcendental_prologue
  func.func @no_transcendental_prologue() {
    %x = pg.input "x" : tensor<?x8xf32>
    %u = pg.param @u : tensor<16x8xf32>
    %d = pg.param @d : tensor<8x16xf32>
    %h = pg.matmul %x, %u {transpose_b} : tensor<?x8xf32>, tensor<16x8xf32> -> tensor<?x16xf32>
    // CHECK: pg.matmul
    // CHECK: %[[A:.*]] = pg.kernel
    // CHECK-NEXT: ^bb0
    // CHECK-NEXT: pg.tanh
    // CHECK-NEXT: pg.yield
    // CHECK: pg.kernel(%[[A]]
    // CHECK-NEXT: ^bb0
    // CHECK-NEXT: pg.matmul
    %a = pg.tanh %h : tensor<?x16xf32>
    %y = pg.matmul %a, %d {transpose_b} : tensor<?x16xf32>, tensor<8x16xf32> -> tensor<?x8xf32>
    pg.output "h", %h : tensor<?x16xf32>
    pg.output "y", %y : tensor<?x8xf32>
    return
  }
}
