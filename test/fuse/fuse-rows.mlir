// Which row-wise ops share a kernel.
// RUN: pg-opt --split-input-file --pg-schedule --pg-fuse %s | FileCheck %s

// One chain with a reduction inside the row: one kernel.
// CHECK-LABEL: func.func @chain
func.func @chain() {
  %x = pg.input "x" : tensor<?x8xf32>
  // CHECK: pg.kernel(%{{.*}}) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: pg.reduce_sum
  // CHECK: pg.rsqrt
  // CHECK-NOT: pg.kernel
  %q = pg.mul %x, %x : tensor<?x8xf32>
  %s = pg.reduce_sum %q {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
  %r = pg.rsqrt %s : tensor<?xf32>
  %b = pg.broadcast %r {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x8xf32>
  %y = pg.mul %x, %b : tensor<?x8xf32>
  pg.output "y", %y : tensor<?x8xf32>
  return
}

// -----

// Nothing in common: two kernels.
// CHECK-LABEL: func.func @apart
func.func @apart() {
  %a = pg.input "a" : tensor<?x8xf32>
  %b = pg.input "b" : tensor<?x8xf32>
  // CHECK-COUNT-2: pg.kernel
  // CHECK-NOT: pg.kernel
  %p = pg.neg %a : tensor<?x8xf32>
  %q = pg.neg %b : tensor<?x8xf32>
  pg.output "p", %p : tensor<?x8xf32>
  pg.output "q", %q : tensor<?x8xf32>
  return
}

// -----

// Two readers of one token tensor: one kernel, which loads it once.
// CHECK-LABEL: func.func @siblings
func.func @siblings() {
  %a = pg.input "a" : tensor<?x8xf32>
  // CHECK: pg.kernel(%{{.*}}) : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  // CHECK-NOT: pg.kernel
  %p = pg.neg %a : tensor<?x8xf32>
  %q = pg.abs %a : tensor<?x8xf32>
  pg.output "p", %p : tensor<?x8xf32>
  pg.output "q", %q : tensor<?x8xf32>
  return
}

// -----

// A look at other tokens needs its operand in memory: the kernel before makes it.
// CHECK-LABEL: func.func @neighbour
func.func @neighbour() {
  %x = pg.input "x" : tensor<?x8xf32>
  // CHECK: %[[E:.*]] = pg.kernel
  // CHECK: pg.exp
  // CHECK: pg.kernel(%[[E]])
  // CHECK: pg.token_shift
  // CHECK: pg.add
  %e = pg.exp %x : tensor<?x8xf32>
  %s = pg.token_shift %e within row {distance = 1 : i64} : tensor<?x8xf32>
  %y = pg.add %e, %s : tensor<?x8xf32>
  pg.output "y", %y : tensor<?x8xf32>
  return
}

// -----

// A sum over tokens: partial sums of 64 rows in the row kernel, added up in a
// kernel of its own, which performs the store.
module {
  pg.state @grad.s : tensor<8xf32> {role = "gradient"}
  // CHECK-LABEL: func.func @token_sum
  func.func @token_sum() {
    %x = pg.input "x" : tensor<?x8xf32>
    // CHECK: %[[P:.*]] = pg.kernel({{.*}}) : (tensor<?x8xf32>) -> tensor<?x8xf32, #pg.chunks<64>>
    // CHECK: pg.partial_sum
    // CHECK: pg.kernel(%[[P]]) {targets = [#pg.target<@grad.s, accumulate>]} : (tensor<?x8xf32, #pg.chunks<64>>) -> ()
    // CHECK-NEXT: ^bb0
    // CHECK-NEXT: pg.combine
    // CHECK-NEXT: pg.yield
    %q = pg.mul %x, %x : tensor<?x8xf32>
    %s = pg.reduce_sum %q {axes = array<i64: 0>} : tensor<?x8xf32> -> tensor<8xf32>
    pg.store accumulate @grad.s, %s : tensor<8xf32>
    return
  }
}

// -----

// Arithmetic on parameters alone runs once; only its broadcast is copied into
// the row kernels.
module {
  pg.parameter @g : tensor<8xf32> {init = {kind = "zeros"}, group = "scalar"}
  // CHECK-LABEL: func.func @static_once
  func.func @static_once() {
    %x = pg.input "x" : tensor<?x8xf32>
    %g = pg.param @g : tensor<8xf32>
    // CHECK: %[[S:.*]] = pg.kernel(%{{.*}}) : (tensor<8xf32>) -> tensor<8xf32>
    // CHECK-NEXT: ^bb0
    // CHECK-NEXT: pg.sigmoid
    // CHECK-NEXT: pg.yield
    // CHECK: pg.kernel(%{{.*}}, %[[S]]) : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    // CHECK: pg.broadcast
    // CHECK: pg.mul
    %s = pg.sigmoid %g : tensor<8xf32>
    %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>
    %y = pg.mul %x, %b : tensor<?x8xf32>
    pg.output "y", %y : tensor<?x8xf32>
    return
  }
}

// -----

// A reshape between a product and attention is a view, not a copy.
// CHECK-LABEL: func.func @view
func.func @view() {
  %x = pg.input "x" : tensor<?x8xf32>
  %y = pg.input "y" : tensor<?x8xf32>
  // CHECK: %[[Q:.*]] = pg.kernel
  // CHECK: pg.matmul
  %w = pg.matmul %y, %x {transpose_a} : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<8x8xf32>
  // CHECK: %[[M:.*]] = pg.kernel(%{{.*}}, %[[Q]])
  %m = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  // CHECK: %[[V:.*]] = pg.reshape %[[M]] : tensor<?x8xf32> -> tensor<?x2x4xf32>
  // CHECK: pg.kernel(%[[V]])
  // CHECK: pg.attention
  %h = pg.reshape %m : tensor<?x8xf32> -> tensor<?x2x4xf32>
  %o, %l = pg.attention %h, %h, %h {scale = 0.5} : (tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>) -> (tensor<?x2x4xf32>, tensor<?x2xf32>)
  pg.output "o", %o : tensor<?x2x4xf32>
  return
}
