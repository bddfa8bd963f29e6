// What a program without a token axis rounds to bf16 itself is stored as bf16, where the target asks for it.
// RUN: pg-opt --split-input-file --pg-narrow="policy=f32 rounded=true" %s | FileCheck %s
// RUN: pg-opt --split-input-file --pg-narrow="policy=bf16 rounded=true" %s | FileCheck %s
// RUN: pg-opt --split-input-file --pg-narrow="policy=f32" %s | FileCheck %s --check-prefix=SAME
// SAME-NOT: xbf16

// An iteration x <- (b A + c A^2) x with A = x x^T. Its products multiply what lies in memory and stay products of a
// value with its own transpose; maths reads widened numbers; the parameter keeps its type. A view between kernels
// follows its value, and so does one inside.
module {
  pg.parameter @w : tensor<16x4xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @iterate
  func.func @iterate() {
    %w = pg.param @w : tensor<16x4xf32>
    // CHECK: %[[X:.*]] = pg.kernel(%{{.*}}) : (tensor<16x4xf32>) -> tensor<16x4xbf16>
    // CHECK: %[[R:.*]] = pg.round %{{.*}} to bf16 : tensor<16x4xf32>
    // CHECK: %[[R16:.*]] = pg.cast %[[R]] : tensor<16x4xf32> -> tensor<16x4xbf16>
    // CHECK: pg.yield %[[R16]] : tensor<16x4xbf16>
    %x = pg.kernel(%w) : (tensor<16x4xf32>) -> tensor<16x4xf32> {
    ^bb0(%a: tensor<16x4xf32>):
      %0 = pg.round %a to bf16 : tensor<16x4xf32>
      pg.yield %0 : tensor<16x4xf32>
    }
    // CHECK: %[[VIEW:.*]] = pg.reshape %[[X]] : tensor<16x4xbf16> -> tensor<8x8xbf16>
    %v = pg.reshape %x : tensor<16x4xf32> -> tensor<8x8xf32>
    // CHECK: %[[GRAM:.*]] = pg.kernel(%[[VIEW]]) : (tensor<8x8xbf16>) -> tensor<8x8xbf16>
    // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<8x8xbf16>):
    // CHECK-NEXT: %[[P:.*]] = pg.matmul %[[A]], %[[A]] {transpose_b} : tensor<8x8xbf16>, tensor<8x8xbf16> -> tensor<8x8xf32>
    // CHECK-NEXT: %[[PR:.*]] = pg.round %[[P]] to bf16 : tensor<8x8xf32>
    // CHECK-NEXT: %[[P16:.*]] = pg.cast %[[PR]]
    // CHECK-NEXT: pg.yield %[[P16]]
    %gram = pg.kernel(%v) : (tensor<8x8xf32>) -> tensor<8x8xf32> {
    ^bb0(%a: tensor<8x8xf32>):
      %0 = pg.matmul %a, %a {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      %1 = pg.round %0 to bf16 : tensor<8x8xf32>
      pg.yield %1 : tensor<8x8xf32>
    }
    // CHECK: %[[MIX:.*]] = pg.kernel(%[[GRAM]]) : (tensor<8x8xbf16>) -> tensor<8x8xbf16>
    // CHECK-NEXT: ^bb0(%[[G:.*]]: tensor<8x8xbf16>):
    // CHECK-NEXT: %[[WIDE:.*]] = pg.cast %[[G]] : tensor<8x8xbf16> -> tensor<8x8xf32>
    // CHECK-NEXT: %[[S:.*]] = pg.matmul %[[G]], %[[G]] {transpose_b} : tensor<8x8xbf16>, tensor<8x8xbf16> -> tensor<8x8xf32>
    // CHECK-NEXT: %[[SR:.*]] = pg.round %[[S]]
    // CHECK-NEXT: pg.add %[[WIDE]], %[[SR]] : tensor<8x8xf32>
    %mix = pg.kernel(%gram) : (tensor<8x8xf32>) -> tensor<8x8xf32> {
    ^bb0(%a: tensor<8x8xf32>):
      %0 = pg.matmul %a, %a {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      %1 = pg.round %0 to bf16 : tensor<8x8xf32>
      %2 = pg.add %a, %1 : tensor<8x8xf32>
      %3 = pg.round %2 to bf16 : tensor<8x8xf32>
      pg.yield %3 : tensor<8x8xf32>
    }
    // CHECK: %[[Y:.*]] = pg.kernel(%[[MIX]], %[[X]]) : (tensor<8x8xbf16>, tensor<16x4xbf16>) -> tensor<2x4x8xbf16>
    // CHECK: %[[INNER:.*]] = pg.reshape %{{.*}} : tensor<16x4xbf16> -> tensor<8x8xbf16>
    // CHECK: pg.matmul %{{.*}}, %[[INNER]] : tensor<8x8xbf16>, tensor<8x8xbf16> -> tensor<8x8xf32>
    // CHECK: %[[C:.*]] = pg.cast %{{.*}} : tensor<8x8xf32> -> tensor<8x8xbf16>
    // CHECK: %[[OUT:.*]] = pg.reshape %[[C]] : tensor<8x8xbf16> -> tensor<2x4x8xbf16>
    // CHECK: pg.yield %[[OUT]]
    %y = pg.kernel(%mix, %x) : (tensor<8x8xf32>, tensor<16x4xf32>) -> tensor<2x4x8xf32> {
    ^bb0(%a: tensor<8x8xf32>, %b: tensor<16x4xf32>):
      %0 = pg.reshape %b : tensor<16x4xf32> -> tensor<8x8xf32>
      %1 = pg.matmul %a, %0 : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      %2 = pg.round %1 to bf16 : tensor<8x8xf32>
      %3 = pg.reshape %2 : tensor<8x8xf32> -> tensor<2x4x8xf32>
      pg.yield %3 : tensor<2x4x8xf32>
    }
    // CHECK: pg.kernel(%{{.*}}, %[[Y]]) {targets = {{.*}}} : (tensor<16x4xf32>, tensor<2x4x8xbf16>) -> ()
    // CHECK: %[[W32:.*]] = pg.cast %{{.*}} : tensor<2x4x8xbf16> -> tensor<2x4x8xf32>
    // CHECK: pg.reshape %[[W32]] : tensor<2x4x8xf32> -> tensor<16x4xf32>
    // CHECK: pg.yield %{{.*}} : tensor<16x4xf32>
    pg.kernel(%w, %y) {targets = [#pg.target<@w, store>]} : (tensor<16x4xf32>, tensor<2x4x8xf32>) -> () {
    ^bb0(%a: tensor<16x4xf32>, %b: tensor<2x4x8xf32>):
      %0 = pg.reshape %b : tensor<2x4x8xf32> -> tensor<16x4xf32>
      %1 = pg.add %a, %0 : tensor<16x4xf32>
      %2 = pg.round %1 to bf16 : tensor<16x4xf32>
      pg.yield %2 : tensor<16x4xf32>
    }
    return
  }
}

// -----

// A product has one type of factors: one that is not rounded keeps the other as it is, and what that one meets
// elsewhere. Other types than bf16, outputs, and what is computed from rounded values change nothing either.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @mixed
  // CHECK-NOT: xbf16
  func.func @mixed() {
    %w = pg.param @w : tensor<8x8xf32>
    %x:5 = pg.kernel(%w) : (tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
    ^bb0(%a: tensor<8x8xf32>):
      %0 = pg.round %a to bf16 : tensor<8x8xf32>
      %1 = pg.neg %0 : tensor<8x8xf32>
      %2 = pg.round %1 to bf16 : tensor<8x8xf32>
      %3 = pg.exp %a : tensor<8x8xf32>
      %4 = pg.round %3 to i32 : tensor<8x8xf32>
      %5 = pg.round %3 to bf16 : tensor<8x8xf32>
      %6 = pg.add %0, %2 : tensor<8x8xf32>
      pg.yield %0, %2, %4, %5, %6 : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>
    }
    %y = pg.kernel(%x#0, %x#1) : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32> {
    ^bb0(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>):
      %0 = pg.matmul %a, %b : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      pg.yield %0 : tensor<8x8xf32>
    }
    pg.kernel(%x#1, %x#2, %y, %x#4) {targets = [#pg.target<@w, store>]} : (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) -> () {
    ^bb0(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>, %c: tensor<8x8xf32>, %d: tensor<8x8xf32>):
      %0 = pg.add %d, %c : tensor<8x8xf32>
      %1 = pg.matmul %a, %b : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      %2 = pg.add %0, %1 : tensor<8x8xf32>
      pg.yield %2 : tensor<8x8xf32>
    }
    pg.output "x", %x#3 : tensor<8x8xf32>
    return
  }
}

// -----

// Beside tokens the policy decides alone.
module {
  pg.parameter @w : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @tokens
  func.func @tokens() {
    %t = pg.input "tokens" : tensor<?xi32>
    %w = pg.param @w : tensor<8x16xf32>
    // CHECK: pg.kernel(%{{.*}}) : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %r = pg.kernel(%w) : (tensor<8x16xf32>) -> tensor<8x16xf32> {
    ^bb0(%a: tensor<8x16xf32>):
      %0 = pg.round %a to bf16 : tensor<8x16xf32>
      pg.yield %0 : tensor<8x16xf32>
    }
    %x = pg.kernel(%r, %t) : (tensor<8x16xf32>, tensor<?xi32>) -> tensor<?x16xf32> {
    ^bb0(%a: tensor<8x16xf32>, %b: tensor<?xi32>):
      %0 = pg.gather %a, %b : tensor<8x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
      pg.yield %0 : tensor<?x16xf32>
    }
    pg.output "x", %x : tensor<?x16xf32>
    return
  }
}

// -----

// A stored value is transposed as it is stored.
module {
  pg.parameter @w : tensor<8x16xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @v : tensor<16x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @transposed
  func.func @transposed() {
    %w = pg.param @w : tensor<8x16xf32>
    %r = pg.kernel(%w) : (tensor<8x16xf32>) -> tensor<8x16xf32> {
    ^bb0(%a: tensor<8x16xf32>):
      %0 = pg.round %a to bf16 : tensor<8x16xf32>
      pg.yield %0 : tensor<8x16xf32>
    }
    // CHECK: ^bb0(%[[A:.*]]: tensor<8x16xbf16>):
    // CHECK-NEXT: %[[T:.*]] = pg.transpose %[[A]] {{.*}} : tensor<8x16xbf16> -> tensor<16x8xbf16>
    // CHECK-NEXT: pg.yield %[[T]]
    %t = pg.kernel(%r) : (tensor<8x16xf32>) -> tensor<16x8xf32> {
    ^bb0(%a: tensor<8x16xf32>):
      %0 = pg.transpose %a {permutation = array<i64: 1, 0>} : tensor<8x16xf32> -> tensor<16x8xf32>
      pg.yield %0 : tensor<16x8xf32>
    }
    pg.kernel(%t) {targets = [#pg.target<@v, store>]} : (tensor<16x8xf32>) -> () {
    ^bb0(%a: tensor<16x8xf32>):
      %0 = pg.neg %a : tensor<16x8xf32>
      pg.yield %0 : tensor<16x8xf32>
    }
    return
  }
}
