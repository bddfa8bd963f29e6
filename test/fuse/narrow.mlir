// Storage types of the bf16 policy: what is narrow between kernels, what stays
// wide and who casts.
// RUN: pg-opt --split-input-file --pg-narrow="policy=bf16" %s | FileCheck %s
// RUN: pg-opt --split-input-file --pg-narrow="policy=f32" %s | FileCheck %s --check-prefix=SAME
// SAME-NOT: bf16

// A weight is cast once for all products of an entry, in front of the first;
// the product's result is narrow in memory, its sum is not. The norm reads the
// stored number, also in the kernel that makes it, and leaves its statistic wide.
module {
  pg.parameter @w : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.state @"grad.w" : tensor<8x16xf32> {role = "gradient", of = @w}
  // CHECK-LABEL: func.func @products
  func.func @products() {
    %t = pg.input "tokens" : tensor<?xi32>
    %w = pg.param @w : tensor<8x16xf32>
    // CHECK: %[[X:.*]]:2 = pg.kernel(%[[W:[^,]*]], %{{.*}}) : (tensor<8x16xf32>, tensor<?xi32>) -> (tensor<?x16xbf16>, tensor<?xf32>)
    // CHECK: %[[G:.*]] = pg.gather {{.*}} : tensor<8x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
    // CHECK: %[[G16:.*]] = pg.cast %[[G]] : tensor<?x16xf32> -> tensor<?x16xbf16>
    // CHECK: %[[G32:.*]] = pg.cast %[[G16]] : tensor<?x16xbf16> -> tensor<?x16xf32>
    // CHECK: pg.mul %[[G32]], %[[G32]]
    // CHECK: %[[S:.*]] = pg.reduce_sum
    // CHECK: pg.yield %[[G16]], %[[S]] : tensor<?x16xbf16>, tensor<?xf32>
    %x:2 = pg.kernel(%w, %t) : (tensor<8x16xf32>, tensor<?xi32>) -> (tensor<?x16xf32>, tensor<?xf32>) {
    ^bb0(%a: tensor<8x16xf32>, %b: tensor<?xi32>):
      %0 = pg.gather %a, %b : tensor<8x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
      %1 = pg.mul %0, %0 : tensor<?x16xf32>
      %2 = pg.reduce_sum %1 {axes = array<i64: 1>} : tensor<?x16xf32> -> tensor<?xf32>
      pg.yield %0, %2 : tensor<?x16xf32>, tensor<?xf32>
    }
    // CHECK: %[[W16:.*]] = pg.kernel(%[[W]]) : (tensor<8x16xf32>) -> tensor<8x16xbf16>
    // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<8x16xf32>)
    // CHECK-NEXT: %[[C:.*]] = pg.cast %[[A]] : tensor<8x16xf32> -> tensor<8x16xbf16>
    // CHECK-NEXT: pg.yield %[[C]]
    // CHECK: %[[Y:.*]] = pg.kernel(%[[X]]#0, %[[W16]]) : (tensor<?x16xbf16>, tensor<8x16xbf16>) -> tensor<?x8xbf16>
    // CHECK: %[[P:.*]] = pg.matmul {{.*}} : tensor<?x16xbf16>, tensor<8x16xbf16> -> tensor<?x8xf32>
    // CHECK: pg.cast %[[P]] : tensor<?x8xf32> -> tensor<?x8xbf16>
    %y = pg.kernel(%x#0, %w) : (tensor<?x16xf32>, tensor<8x16xf32>) -> tensor<?x8xf32> {
    ^bb0(%a: tensor<?x16xf32>, %b: tensor<8x16xf32>):
      %0 = pg.matmul %a, %b {transpose_b} : tensor<?x16xf32>, tensor<8x16xf32> -> tensor<?x8xf32>
      pg.yield %0 : tensor<?x8xf32>
    }
    // A prologue is computed wide and rounded before the product.
    // CHECK: pg.kernel(%[[Y]], %[[W16]], %[[X]]#1) : (tensor<?x8xbf16>, tensor<8x16xbf16>, tensor<?xf32>) -> tensor<?x16xbf16>
    // CHECK: %[[WIDE:.*]] = pg.cast {{.*}} : tensor<?x8xbf16> -> tensor<?x8xf32>
    // CHECK: %[[SQUARE:.*]] = pg.mul %[[WIDE]], %[[WIDE]]
    // CHECK: %[[FACTOR:.*]] = pg.cast %[[SQUARE]] : tensor<?x8xf32> -> tensor<?x8xbf16>
    // CHECK: pg.matmul %[[FACTOR]], {{.*}} -> tensor<?x16xf32>
    %z = pg.kernel(%y, %w, %x#1) : (tensor<?x8xf32>, tensor<8x16xf32>, tensor<?xf32>) -> tensor<?x16xf32> {
    ^bb0(%a: tensor<?x8xf32>, %b: tensor<8x16xf32>, %s: tensor<?xf32>):
      %0 = pg.mul %a, %a : tensor<?x8xf32>
      %1 = pg.matmul %0, %b : tensor<?x8xf32>, tensor<8x16xf32> -> tensor<?x16xf32>
      %2 = pg.broadcast %s {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x16xf32>
      %3 = pg.mul %1, %2 : tensor<?x16xf32>
      pg.yield %3 : tensor<?x16xf32>
    }
    // A gradient adds up wide numbers.
    // CHECK: pg.kernel(%[[Y]], %{{.*}}) {targets = {{.*}}} : (tensor<?x8xbf16>, tensor<?x16xbf16>) -> ()
    // CHECK: %[[D:.*]] = pg.matmul {{.*}} : tensor<?x8xbf16>, tensor<?x16xbf16> -> tensor<8x16xf32>
    // CHECK: pg.yield %[[D]] : tensor<8x16xf32>
    pg.kernel(%y, %z) {targets = [#pg.target<@"grad.w", accumulate>]} : (tensor<?x8xf32>, tensor<?x16xf32>) -> () {
    ^bb0(%a: tensor<?x8xf32>, %b: tensor<?x16xf32>):
      %0 = pg.matmul %a, %b {transpose_a} : tensor<?x8xf32>, tensor<?x16xf32> -> tensor<8x16xf32>
      pg.yield %0 : tensor<8x16xf32>
    }
    return
  }
}

// -----

// What looks at other tokens moves narrow numbers; a named output stays wide.
module {
  pg.parameter @t : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @neighbours
  func.func @neighbours() {
    %t = pg.input "tokens" : tensor<?xi32>
    %w = pg.param @t : tensor<8x16xf32>
    %x = pg.kernel(%w, %t) : (tensor<8x16xf32>, tensor<?xi32>) -> tensor<?x16xf32> {
    ^bb0(%a: tensor<8x16xf32>, %b: tensor<?xi32>):
      %0 = pg.gather %a, %b : tensor<8x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
      pg.yield %0 : tensor<?x16xf32>
    }
    // CHECK: pg.kernel({{.*}}) : (tensor<?x16xbf16>) -> tensor<?x16xf32>
    // CHECK: %[[SHIFTED:.*]] = pg.token_shift %{{.*}} within row {distance = 1 : i64} : tensor<?x16xbf16>
    // CHECK: pg.cast %[[SHIFTED]] : tensor<?x16xbf16> -> tensor<?x16xf32>
    // CHECK: pg.yield %{{.*}} : tensor<?x16xf32>
    %y = pg.kernel(%x) : (tensor<?x16xf32>) -> tensor<?x16xf32> {
    ^bb0(%a: tensor<?x16xf32>):
      %0 = pg.token_shift %a within row {distance = 1 : i64} : tensor<?x16xf32>
      %1 = pg.add %a, %0 : tensor<?x16xf32>
      pg.yield %1 : tensor<?x16xf32>
    }
    // CHECK: pg.output "y", %{{.*}} : tensor<?x16xf32>
    pg.output "y", %y : tensor<?x16xf32>
    return
  }
}

// -----

// Log-sum-exps and delta stay wide beside narrow q, k, v; a table made of
// positions alone stays wide; the gradients of q, k, v are narrow in memory.
module {
  pg.parameter @t : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @u : tensor<8x4xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @attention
  func.func @attention() {
    %t = pg.input "tokens" : tensor<?xi32>
    %w = pg.param @t : tensor<8x16xf32>
    // CHECK: %[[Q:.*]]:2 = pg.kernel({{.*}}) : (tensor<8x16xf32>, tensor<?xi32>) -> (tensor<?x16xbf16>, tensor<?x4xf32>)
    %x:2 = pg.kernel(%w, %t) : (tensor<8x16xf32>, tensor<?xi32>) -> (tensor<?x16xf32>, tensor<?x4xf32>) {
    ^bb0(%a: tensor<8x16xf32>, %b: tensor<?xi32>):
      %0 = pg.gather %a, %b : tensor<8x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
      %1 = pg.cast %b : tensor<?xi32> -> tensor<?xf32>
      %2 = pg.broadcast %1 {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x4xf32>
      %3 = pg.cos %2 : tensor<?x4xf32>
      pg.yield %0, %3 : tensor<?x16xf32>, tensor<?x4xf32>
    }
    %q = pg.reshape %x#0 : tensor<?x16xf32> -> tensor<?x4x4xf32>
    // CHECK: %[[HEADS:.*]] = pg.reshape %[[Q]]#0 : tensor<?x16xbf16> -> tensor<?x4x4xbf16>
    // CHECK: %[[O:.*]]:2 = pg.kernel(%[[HEADS]]) : (tensor<?x4x4xbf16>) -> (tensor<?x4x4xbf16>, tensor<?x4xf32>)
    // CHECK: pg.attention {{.*}} -> (tensor<?x4x4xf32>, tensor<?x4xf32>)
    %o:2 = pg.kernel(%q) : (tensor<?x4x4xf32>) -> (tensor<?x4x4xf32>, tensor<?x4xf32>) {
    ^bb0(%a: tensor<?x4x4xf32>):
      %out, %lse = pg.attention %a, %a, %a {scale = 0.5 : f64} : (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>) -> (tensor<?x4x4xf32>, tensor<?x4xf32>)
      pg.yield %out, %lse : tensor<?x4x4xf32>, tensor<?x4xf32>
    }
    // CHECK: %[[DELTA:.*]] = pg.kernel(%[[O]]#0, %[[Q]]#1) : (tensor<?x4x4xbf16>, tensor<?x4xf32>) -> tensor<?x4xf32>
    %d = pg.kernel(%o#0, %x#1) : (tensor<?x4x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
    ^bb0(%a: tensor<?x4x4xf32>, %c: tensor<?x4xf32>):
      %0 = pg.mul %a, %a : tensor<?x4x4xf32>
      %1 = pg.reduce_sum %0 {axes = array<i64: 2>} : tensor<?x4x4xf32> -> tensor<?x4xf32>
      %2 = pg.mul %1, %c : tensor<?x4xf32>
      pg.yield %2 : tensor<?x4xf32>
    }
    // CHECK: pg.kernel(%[[HEADS]], %[[O]]#0, %[[O]]#1, %[[DELTA]]) : (tensor<?x4x4xbf16>, tensor<?x4x4xbf16>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4x4xbf16>
    // CHECK: pg.attention_grad {{.*}} -> (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>)
    %g = pg.kernel(%q, %o#0, %o#1, %d) : (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4x4xf32> {
    ^bb0(%a: tensor<?x4x4xf32>, %b: tensor<?x4x4xf32>, %c: tensor<?x4xf32>, %e: tensor<?x4xf32>):
      %dq, %dk, %dv = pg.attention_grad %a, %a, %a, %b, %c, %e {scale = 0.5 : f64} : (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>)
      pg.yield %dq : tensor<?x4x4xf32>
    }
    // What an op reads beside its sums stays wide whatever it is made of.
    // CHECK: %[[SHORT:.*]] = pg.kernel({{.*}}) : (tensor<8x4xf32>, tensor<?xi32>) -> tensor<?x4xf32>
    %u = pg.param @u : tensor<8x4xf32>
    %short = pg.kernel(%u, %t) : (tensor<8x4xf32>, tensor<?xi32>) -> tensor<?x4xf32> {
    ^bb0(%a: tensor<8x4xf32>, %b: tensor<?xi32>):
      %0 = pg.gather %a, %b : tensor<8x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
      pg.yield %0 : tensor<?x4xf32>
    }
    // CHECK: pg.kernel(%[[HEADS]], %[[O]]#0, %[[O]]#1, %[[SHORT]])
    %h = pg.kernel(%q, %o#0, %o#1, %short) : (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4x4xf32> {
    ^bb0(%a: tensor<?x4x4xf32>, %b: tensor<?x4x4xf32>, %c: tensor<?x4xf32>, %e: tensor<?x4xf32>):
      %dq, %dk, %dv = pg.attention_grad %a, %a, %a, %b, %c, %e {scale = 0.5 : f64} : (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?x4x4xf32>)
      pg.yield %dk : tensor<?x4x4xf32>
    }
    // Sums over tokens stay wide on their way to a gradient.
    // CHECK: pg.kernel(%{{.*}}) : (tensor<?x4x4xbf16>) -> tensor<?x4x4xf32, #pg.chunks<64>>
    %p = pg.kernel(%g) : (tensor<?x4x4xf32>) -> tensor<?x4x4xf32, #pg.chunks<64>> {
    ^bb0(%a: tensor<?x4x4xf32>):
      %0 = pg.partial_sum %a : tensor<?x4x4xf32> -> tensor<?x4x4xf32, #pg.chunks<64>>
      pg.yield %0 : tensor<?x4x4xf32, #pg.chunks<64>>
    }
    %s = pg.kernel(%p) : (tensor<?x4x4xf32, #pg.chunks<64>>) -> tensor<4x4xf32> {
    ^bb0(%a: tensor<?x4x4xf32, #pg.chunks<64>>):
      %0 = pg.combine %a : tensor<?x4x4xf32, #pg.chunks<64>> -> tensor<4x4xf32>
      pg.yield %0 : tensor<4x4xf32>
    }
    pg.output "s", %s : tensor<4x4xf32>
    return
  }
}

// -----

// A static value that a product and something else read is left twice; without
// a token axis nothing changes.
module {
  pg.parameter @w : tensor<16x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @two_readers
  func.func @two_readers() {
    %t = pg.input "tokens" : tensor<?xi32>
    %w = pg.param @w : tensor<16x16xf32>
    // CHECK: %[[V:.*]]:2 = pg.kernel({{.*}}) : (tensor<16x16xf32>) -> (tensor<16x16xf32>, tensor<16x16xbf16>)
    %v = pg.kernel(%w) : (tensor<16x16xf32>) -> tensor<16x16xf32> {
    ^bb0(%a: tensor<16x16xf32>):
      %0 = pg.tanh %a : tensor<16x16xf32>
      pg.yield %0 : tensor<16x16xf32>
    }
    // CHECK: pg.kernel(%[[V]]#0, %{{.*}}) : (tensor<16x16xf32>, tensor<?xi32>) -> tensor<?x16xbf16>
    %x = pg.kernel(%v, %t) : (tensor<16x16xf32>, tensor<?xi32>) -> tensor<?x16xf32> {
    ^bb0(%a: tensor<16x16xf32>, %b: tensor<?xi32>):
      %0 = pg.gather %a, %b : tensor<16x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
      pg.yield %0 : tensor<?x16xf32>
    }
    // CHECK: pg.kernel(%{{.*}}, %[[V]]#1) : (tensor<?x16xbf16>, tensor<16x16xbf16>) -> tensor<?x16xf32>
    %y = pg.kernel(%x, %v) : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32> {
    ^bb0(%a: tensor<?x16xf32>, %b: tensor<16x16xf32>):
      %0 = pg.matmul %a, %b : tensor<?x16xf32>, tensor<16x16xf32> -> tensor<?x16xf32>
      pg.yield %0 : tensor<?x16xf32>
    }
    pg.output "y", %y : tensor<?x16xf32>
    return
  }
  // CHECK-LABEL: func.func @apply
  // CHECK-NOT: bf16
  func.func @apply() {
    %w = pg.param @w : tensor<16x16xf32>
    pg.kernel(%w) {targets = [#pg.target<@w, store>]} : (tensor<16x16xf32>) -> () {
    ^bb0(%a: tensor<16x16xf32>):
      %0 = pg.matmul %a, %a : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
      pg.yield %0 : tensor<16x16xf32>
    }
    return
  }
}

// -----

// What is marked so stays wide between kernels.
module {
  pg.parameter @w : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @wide
  func.func @wide() {
    %x = pg.input "x" : tensor<?x16xf32>
    %w = pg.param @w : tensor<8x16xf32>
    // CHECK: pg.kernel({{.*}}) : (tensor<?x16xbf16>, tensor<8x16xbf16>) -> tensor<?x8xf32>
    %z = pg.kernel(%x, %w) : (tensor<?x16xf32>, tensor<8x16xf32>) -> tensor<?x8xf32> {
    ^bb0(%a: tensor<?x16xf32>, %b: tensor<8x16xf32>):
      %0 = pg.matmul %a, %b {pg.wide, transpose_b} : tensor<?x16xf32>, tensor<8x16xf32> -> tensor<?x8xf32>
      pg.yield %0 : tensor<?x8xf32>
    }
    // CHECK: pg.kernel({{.*}}) : (tensor<?x8xf32>) -> tensor<?xf32>
    %n = pg.kernel(%z) : (tensor<?x8xf32>) -> tensor<?xf32> {
    ^bb0(%a: tensor<?x8xf32>):
      %0 = pg.reduce_sum %a {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
      pg.yield %0 : tensor<?xf32>
    }
    pg.output "n", %n : tensor<?xf32>
    return
  }
}
