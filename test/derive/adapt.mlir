// RUN: pg-opt --pg-inline --pg-attach --pg-derive --pg-verify-phase=phase=derived %s | FileCheck %s

// With adapters the gradient is that of the adapters alone: the parameter has
// no gradient, and the loss of each token has its own weight.
// CHECK: pg.state @adapter.q.0.a
// CHECK: pg.state @grad.adapter.q.0.a : tensor<2x3x8xf32> {role = "adapter_gradient"}
// CHECK: pg.state @adapter.q.0.b
// CHECK: pg.state @grad.adapter.q.0.b : tensor<2x8x3xf32> {role = "adapter_gradient"}
// CHECK-NOT: @grad.w
// CHECK-NOT: "score@main"
// CHECK-LABEL: func.func @"adapt_score@main"
// CHECK-NOT: pg.store
// CHECK: pg.output "nll"
// CHECK-LABEL: func.func @"adapt@main"
// CHECK: pg.output "nll"
// CHECK-DAG: %[[S:.*]] = pg.scalar "loss_scale" {pg.backward}
// CHECK-DAG: %[[W:.*]] = pg.input "loss_weight" {pg.backward} : tensor<?xf32>
// CHECK: pg.mul %{{.*}}, %[[W]] {pg.backward} : tensor<?xf32>
// CHECK-NOT: pg.matmul
// CHECK: %[[DB:.*]] = pg.grouped_outer %{{.*}}, %{{.*}} {pg.backward} : tensor<?x8xf32>, tensor<?x3xf32> -> tensor<2x8x3xf32>
// CHECK: pg.store accumulate @grad.adapter.q.0.b, %[[DB]]
// CHECK: %[[DA:.*]] = pg.grouped_outer %{{.*}}, %{{.*}} {pg.backward} : tensor<?x3xf32>, tensor<?x8xf32> -> tensor<2x3x8xf32>
// CHECK: pg.store accumulate @grad.adapter.q.0.a, %[[DA]]
// CHECK-NOT: pg.store
module attributes {pg.logit_rows = 1 : i64, pg.programs = ["adapt"]} {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "ones"}, group = "g"}
  pg.state @"adapter.q.0.a" : tensor<2x3x8xf32> {role = "adapter"}
  pg.state @"adapter.q.0.b" : tensor<2x8x3xf32> {role = "adapter"}
  func.func @"forward@main"() {
    %x = pg.input "x" : tensor<?x8xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %w = pg.param @w : tensor<8x8xf32>
    %y = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %z = pg.site "q" %x to %y : tensor<?x8xf32>, tensor<?x8xf32>
    %nll = pg.cross_entropy %z, %t : tensor<?x8xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "logits", %z : tensor<?x8xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
}
