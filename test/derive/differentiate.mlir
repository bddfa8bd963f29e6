// RUN: pg-opt %s --pg-fuse-head --pg-derive --pg-verify-phase=phase=derived --pg-check-horizon | FileCheck %s

// One attention layer and one row-wise layer that share the matrix @shared, as
// a looped or tied model does. Everything about the gradient is visible here:
// order, sharing, reductions of repeated parameters, what has no gradient.

module attributes {pg.logit_rows = 2 : i64} {
  pg.parameter @emb : tensor<64x8xf32> {init = {kind = "zeros"}, group = "embed"}
  pg.parameter @shared : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @scale : tensor<8xf32> {init = {kind = "ones"}, group = "scalar"}
  pg.parameter @unused : tensor<3xf32> {init = {kind = "ones"}, group = "scalar"}

  func.func @"forward@main"() {
    %tokens = pg.input "tokens" : tensor<?xi32>
    %targets = pg.input "targets" : tensor<?xi32>
    %emb = pg.param @emb : tensor<64x8xf32>
    %shared = pg.param @shared : tensor<8x8xf32>
    %scale = pg.param @scale : tensor<8xf32>
    %x0 = pg.gather %emb, %tokens : tensor<64x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    %s = pg.broadcast %scale {dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>
    %x1 = pg.mul %x0, %s : tensor<?x8xf32>
    %q = pg.matmul %x1, %shared {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %qh = pg.reshape %q : tensor<?x8xf32> -> tensor<?x2x4xf32>
    %kh = pg.reshape %x1 : tensor<?x8xf32> -> tensor<?x2x4xf32>
    %a, %lse = pg.attention %qh, %kh, %kh {scale = 5.0e-01 : f64} : (tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x4xf32>) -> (tensor<?x2x4xf32>, tensor<?x2xf32>)
    %y = pg.reshape %a : tensor<?x2x4xf32> -> tensor<?x8xf32>
    %x2 = pg.add %x1, %y : tensor<?x8xf32>
    %h = pg.matmul %x2, %shared {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %hs = pg.mul %h, %s : tensor<?x8xf32>
    %stopped = pg.stop_gradient %hs : tensor<?x8xf32>
    %t = pg.tanh %hs : tensor<?x8xf32>
    %ts = pg.add %t, %stopped : tensor<?x8xf32>
    %n = pg.rms_norm %ts {eps = 1.0e-6 : f64} : tensor<?x8xf32>
    %z = pg.matmul %n, %emb {transpose_b} : tensor<?x8xf32>, tensor<64x8xf32> -> tensor<?x64xf32>
    %nll = pg.cross_entropy %z, %targets : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "logits", %z : tensor<?x64xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
}

// Every parameter gets a gradient, also the one no program reads.
// CHECK: pg.parameter @unused
// CHECK-NEXT: pg.state @grad.emb : tensor<64x8xf32> {of = @emb, role = "gradient"}
// CHECK-NEXT: pg.state @grad.shared
// CHECK-NEXT: pg.state @grad.scale
// CHECK-NEXT: pg.state @grad.unused : tensor<3xf32> {of = @unused, role = "gradient"}

// CHECK-LABEL: func.func @"score@main"
// CHECK-NOT: pg.stop_gradient
// CHECK: %[[NLL:.*]], %{{.*}} = pg.linear_cross_entropy
// CHECK-NOT: pg.backward
// CHECK: pg.output "nll", %[[NLL]]
// CHECK-NEXT: return

// The rows are taken under the norm; add has two chains, so it stays above.
// CHECK-LABEL: func.func @"logits@main"
// CHECK-NOT: pg.input "targets"
// CHECK: pg.tanh
// CHECK-NEXT: %[[TS:.*]] = pg.add %{{.*}} : tensor<?x8xf32>
// CHECK: %[[ROWS:.*]] = pg.input "rows" : tensor<2xi32>
// CHECK: %[[TAKEN:.*]] = pg.take_rows %[[TS]], %[[ROWS]] : tensor<?x8xf32>, tensor<2xi32> -> tensor<2x8xf32>
// CHECK: %[[NORM:.*]] = pg.rms_norm %[[TAKEN]]{{.*}} : tensor<2x8xf32>
// CHECK: %[[Z:.*]] = pg.matmul %[[NORM]], %{{.*}} : tensor<2x8xf32>, tensor<64x8xf32> -> tensor<2x64xf32>
// CHECK: pg.output "logits", %[[Z]] : tensor<2x64xf32>

// CHECK-LABEL: func.func @"accumulate@main"
// CHECK: %[[SHARED:.*]] = pg.param @shared
// CHECK: pg.output "nll"
// CHECK-NEXT: %[[LS:.*]] = pg.scalar "loss_scale" {pg.backward} : tensor<f32>
// CHECK-NEXT: %[[SEED:.*]] = pg.broadcast %[[LS]] {dims = array<i64>, pg.backward} : tensor<f32> -> tensor<?xf32>
// CHECK-NEXT: pg.linear_cross_entropy_grad_x {{.*}}pg.backward
// CHECK-NEXT: %[[DEMB:.*]] = pg.linear_cross_entropy_grad_w
// CHECK-NEXT: pg.store accumulate @grad.emb, %[[DEMB]] {pg.backward} : tensor<64x8xf32>
// The later use of @scale and @shared comes first.
// CHECK: %[[DS2:.*]] = pg.reduce_sum %{{.*}} {axes = array<i64: 0>, pg.backward} : tensor<?x8xf32> -> tensor<8xf32>
// CHECK-NEXT: pg.store accumulate @grad.scale, %[[DS2]]
// CHECK: pg.matmul %{{.*}}, %[[SHARED]] {pg.backward} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
// CHECK-NEXT: %[[DW2:.*]] = pg.matmul {{.*}}pg.backward, transpose_a} : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<8x8xf32>
// CHECK-NEXT: pg.store accumulate @grad.shared, %[[DW2]]
// CHECK: %[[DELTA:.*]] = pg.reduce_sum %{{.*}} {axes = array<i64: 2>, pg.backward} : tensor<?x2x4xf32> -> tensor<?x2xf32>
// CHECK: %{{.*}}, %[[DK:.*]], %[[DV:.*]] = pg.attention_grad {{.*}}%[[DELTA]]
// keys and values are one value: its cotangent is summed at once.
// CHECK: pg.add %[[DK]], %[[DV]] {pg.backward}
// CHECK: pg.store accumulate @grad.shared
// CHECK: pg.store accumulate @grad.scale
// CHECK: pg.gather_grad
// CHECK-NEXT: pg.store accumulate @grad.emb
// CHECK-NOT: @grad.unused
