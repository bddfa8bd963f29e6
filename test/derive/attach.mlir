// RUN: pg-opt --pg-inline --pg-attach --split-input-file --verify-diagnostics %s | FileCheck %s

// A block that runs twice has a site of its own each time; a site without
// states and every site of another program are the value of `to`.
// CHECK-LABEL: func.func @"forward@main"
// CHECK-NOT: pg.site
// CHECK-NOT: pg.grouped_matmul
// CHECK-LABEL: func.func @"adapted@main"
// CHECK: %[[X:.*]] = pg.input "x"
// CHECK: %[[Y0:.*]] = pg.matmul %[[X]]
// CHECK: %[[A0:.*]] = pg.read_state @adapter.q.0.a : tensor<2x3x8xf32>
// CHECK: %[[N0:.*]] = pg.grouped_matmul %[[X]], %[[A0]] {transpose_w} : tensor<?x8xf32>, tensor<2x3x8xf32> -> tensor<?x3xf32>
// CHECK: %[[C:.*]] = pg.scalar "adapter_scale" : tensor<f32>
// CHECK: %[[F:.*]] = pg.broadcast %[[C]]
// CHECK: %[[S0:.*]] = pg.mul %[[N0]], %[[F]]
// CHECK: %[[B0:.*]] = pg.read_state @adapter.q.0.b : tensor<2x8x3xf32>
// CHECK: %[[D0:.*]] = pg.grouped_matmul %[[S0]], %[[B0]] {transpose_w} : tensor<?x3xf32>, tensor<2x8x3xf32> -> tensor<?x8xf32>
// CHECK: %[[Z0:.*]] = pg.add %[[Y0]], %[[D0]]
// CHECK: %[[Y1:.*]] = pg.matmul %[[Z0]]
// CHECK: pg.read_state @adapter.q.1.a
// CHECK: %[[Z1:.*]] = pg.add %[[Y1]], %{{.*}}
// CHECK-NOT: pg.site
// CHECK: pg.output "nll", %{{.*}}
module attributes {pg.programs = ["adapt"]} {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "ones"}, group = "g"}
  pg.state @"adapter.q.0.a" : tensor<2x3x8xf32> {role = "adapter"}
  pg.state @"adapter.q.0.b" : tensor<2x8x3xf32> {role = "adapter"}
  pg.state @"adapter.q.1.a" : tensor<2x3x8xf32> {role = "adapter"}
  pg.state @"adapter.q.1.b" : tensor<2x8x3xf32> {role = "adapter"}
  func.func private @block(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) -> tensor<?x8xf32> {
    %y = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %z = pg.site "q" %x to %y : tensor<?x8xf32>, tensor<?x8xf32>
    return %z : tensor<?x8xf32>
  }
  func.func @"forward@main"() {
    %x = pg.input "x" : tensor<?x8xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %w = pg.param @w : tensor<8x8xf32>
    %a = func.call @block(%x, %w) : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    %b = func.call @block(%a, %w) : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    %c = pg.site "other" %x to %b : tensor<?x8xf32>, tensor<?x8xf32>
    %nll = pg.cross_entropy %c, %t : tensor<?x8xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
}

// -----

module attributes {pg.programs = ["adapt"]} {
  pg.state @"adapter.q.0.a" : tensor<2x3x8xf32> {role = "adapter"}
  pg.state @"adapter.q.0.b" : tensor<2x8x4xf32> {role = "adapter"}
  func.func @"forward@main"() {
    %x = pg.input "x" : tensor<?x8xf32>
    // expected-error@+1 {{the states of adapter 'adapter.q.0' do not fit a site from 'tensor<?x8xf32>' to 'tensor<?x8xf32>'}}
    %y = pg.site "q" %x to %x : tensor<?x8xf32>, tensor<?x8xf32>
    pg.output "y", %y : tensor<?x8xf32>
    return
  }
}
