// Order before fusion.
// RUN: pg-opt --split-input-file --pg-schedule %s | FileCheck %s

// Row-wise ops sink to their first needer, behind a product they do not feed.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @sink
  func.func @sink() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    %n = pg.neg %x : tensor<?x8xf32>
    // CHECK: pg.matmul
    // CHECK: pg.neg
    // CHECK: pg.matmul
    %a = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %b = pg.matmul %n, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    pg.output "a", %a : tensor<?x8xf32>
    pg.output "b", %b : tensor<?x8xf32>
    return
  }
}

// -----

// A sum of two contributions runs as soon as both exist, so that they can die.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @sum_early
  func.func @sum_early() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK-COUNT-2: pg.matmul
    // CHECK: pg.add
    // CHECK-COUNT-3: pg.matmul
    %a = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %b = pg.matmul %a, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %c = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %d = pg.matmul %c, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %sum = pg.add %a, %b : tensor<?x8xf32>
    %e = pg.matmul %sum, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    pg.output "d", %d : tensor<?x8xf32>
    pg.output "e", %e : tensor<?x8xf32>
    return
  }
}

// -----

// Reductions over tokens and stores stay where their operands are.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.state @grad.s : tensor<8xf32> {role = "gradient"}
  // CHECK-LABEL: func.func @stores_early
  func.func @stores_early() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK: pg.reduce_sum
    // CHECK: pg.store
    // CHECK: pg.matmul
    %a = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %s = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<?x8xf32> -> tensor<8xf32>
    pg.store accumulate @grad.s, %s : tensor<8xf32>
    pg.output "a", %a : tensor<?x8xf32>
    return
  }
}

// -----

// Nobody reads it: it goes.
// CHECK-LABEL: func.func @dead
func.func @dead() {
  %x = pg.input "x" : tensor<?x8xf32>
  // CHECK-NOT: pg.exp
  %e = pg.exp %x : tensor<?x8xf32>
  pg.output "x", %x : tensor<?x8xf32>
  return
}
