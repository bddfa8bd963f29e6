// RUN: pg-opt --pg-derive --pg-verify-phase=phase=derived %s | FileCheck %s

// Two phases, an apply entry and a gradient state that the recipe has declared
// already: three entries per phase, in place; apply and the state untouched.
// CHECK: pg.parameter @w
// CHECK-NOT: pg.state
// CHECK: pg.state @grad.v
// CHECK: pg.state @grad.w : tensor<4xf32> {of = @w, role = "gradient"}
// CHECK-NOT: pg.state @grad
// CHECK: func.func @"score@plain"
// CHECK: func.func @"logits@plain"
// CHECK: func.func @"accumulate@plain"
// @v is not used in this phase: no store, so its gradient stays exactly zero.
// CHECK-NOT: @grad.v
// CHECK: func.func @"score@looped"
// CHECK: func.func @"logits@looped"
// A parameter used in static arithmetic is reduced before it, not after: one
// reduction over tokens, then the gradient of exp.
// CHECK: func.func @"accumulate@looped"
// CHECK: %[[E:.*]] = pg.exp %{{.*}} : tensor<4xf32>
// CHECK: %[[R:.*]] = pg.reduce_sum %{{.*}} {axes = array<i64: 0>, pg.backward} : tensor<?x4xf32> -> tensor<4xf32>
// CHECK-NEXT: %[[D:.*]] = pg.mul %[[R]], %[[E]] {pg.backward} : tensor<4xf32>
// CHECK-NEXT: pg.store accumulate @grad.v, %[[D]]
// CHECK-LABEL: func.func @apply
// CHECK: pg.store store @w
module attributes {pg.logit_rows = 1 : i64} {
  pg.parameter @w : tensor<4xf32> {init = {kind = "ones"}, group = "g"}
  pg.parameter @v : tensor<4xf32> {init = {kind = "ones"}, group = "g"}
  pg.state @"grad.w" : tensor<4xf32> {role = "gradient", of = @w}
  func.func @"forward@plain"() {
    %x = pg.input "x" : tensor<?x4xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %w = pg.param @w : tensor<4xf32>
    %wb = pg.broadcast %w {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
    %z = pg.mul %x, %wb : tensor<?x4xf32>
    %nll = pg.cross_entropy %z, %t : tensor<?x4xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "logits", %z : tensor<?x4xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
  func.func @"forward@looped"() {
    %x = pg.input "x" : tensor<?x4xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %v = pg.param @v : tensor<4xf32>
    %e = pg.exp %v : tensor<4xf32>
    %eb = pg.broadcast %e {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
    %z = pg.mul %x, %eb : tensor<?x4xf32>
    %nll = pg.cross_entropy %z, %t : tensor<?x4xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "logits", %z : tensor<?x4xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
  func.func @apply() {
    %g = pg.read_state @"grad.w" : tensor<4xf32>
    %w = pg.param @w : tensor<4xf32>
    %n = pg.sub %w, %g : tensor<4xf32>
    pg.store store @w, %n : tensor<4xf32>
    return
  }
}
