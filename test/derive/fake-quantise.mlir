// RUN: pg-opt --pg-inline --pg-derive --pg-verify-phase=phase=derived --split-input-file %s | FileCheck %s

// The weight is read twice; training computes with one rounded copy of it, and
// the gradient passes straight through. Scoring reads the weight as it is.
// CHECK: pg.parameter @w : tensor<2x2xf32> {group = "g", init = {kind = "ones"}}
// CHECK-NOT: @round
// CHECK: func.func @"score@main"
// CHECK-NOT: pg.round
// CHECK: func.func @"logits@main"
// CHECK-NOT: pg.round
// CHECK: func.func @"accumulate@main"
// CHECK: %[[W:.*]] = pg.param @w
// CHECK: %[[ON:.*]] = pg.scalar "qat.on"
// CHECK: %[[R:.*]] = pg.round %[[W]] to i32
// CHECK-NEXT: %[[D:.*]] = pg.sub %[[R]], %[[W]]
// CHECK: %[[M:.*]] = pg.mul %{{.*}}, %[[D]]
// CHECK-NEXT: %[[Q:.*]] = pg.add %[[W]], %[[M]]
// CHECK: pg.matmul %{{.*}}, %[[Q]] {transpose_b}
// CHECK: pg.matmul %{{.*}}, %[[Q]] {transpose_b}
// CHECK-NOT: pg.param
// CHECK-NOT: pg.round
// CHECK: return
module attributes {pg.logit_rows = 1 : i64} {
  pg.parameter @w : tensor<2x2xf32> {init = {kind = "ones"}, group = "g", pg.fake_quant = @round}
  func.func @"forward@main"() {
    %t = pg.input "tokens" : tensor<?xi32>
    %y = pg.input "targets" : tensor<?xi32>
    %w = pg.param @w : tensor<2x2xf32>
    %again = pg.param @w : tensor<2x2xf32>
    %e = pg.constant dense<[[0.5, 1.5], [2.5, 3.5]]> : tensor<2x2xf32>
    %x = pg.gather %e, %t : tensor<2x2xf32>, tensor<?xi32> -> tensor<?x2xf32>
    %h = pg.matmul %x, %w {transpose_b} : tensor<?x2xf32>, tensor<2x2xf32> -> tensor<?x2xf32>
    %z = pg.matmul %h, %again {transpose_b} : tensor<?x2xf32>, tensor<2x2xf32> -> tensor<?x2xf32>
    %nll = pg.cross_entropy %z, %y : tensor<?x2xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "logits", %z : tensor<?x2xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
  func.func private @round(%w: tensor<2x2xf32>) -> tensor<2x2xf32> {
    %on = pg.scalar "qat.on" : tensor<f32>
    %r = pg.round %w to i32 : tensor<2x2xf32>
    %d = pg.sub %r, %w : tensor<2x2xf32>
    %s = pg.stop_gradient %d : tensor<2x2xf32>
    %b = pg.broadcast %on {dims = array<i64>} : tensor<f32> -> tensor<2x2xf32>
    %m = pg.mul %b, %s : tensor<2x2xf32>
    %q = pg.add %w, %m : tensor<2x2xf32>
    return %q : tensor<2x2xf32>
  }
}
