// RUN: pg-opt --pg-tap --pg-derive --pg-verify-phase=phase=derived %s | FileCheck %s

// Only labelled parameters are tapped, wherever the type changes on the way;
// weights that read one value share its moment; a second use adds; a table that
// is looked up as well has the moment of its product; what leads to no moment
// is not computed.
// CHECK: pg.state @hessian.q : tensor<8x8xf32> {of = @q, role = "hessian"}
// CHECK-NOT: @hessian.plain
// CHECK-LABEL: func.func @"calibrate@main"
// CHECK-NOT: "targets"
// CHECK: %[[X:.*]] = pg.gather
// CHECK: %[[M:.*]] = pg.matmul %[[X]], %[[X]] {transpose_a} : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<8x8xf32>
// CHECK-NEXT: pg.store accumulate @hessian.q, %[[M]]
// CHECK: pg.store accumulate @hessian.k, %[[M]]
// CHECK: pg.matmul {{.*}} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
// CHECK: %[[Y:.*]] = pg.matmul %{{.*}}, %{{.*}} {transpose_b}
// CHECK-NEXT: %[[N:.*]] = pg.matmul %[[Y]], %[[Y]] {transpose_a}
// CHECK-NEXT: pg.store accumulate @hessian.q, %[[N]]
// CHECK: pg.store accumulate @hessian.table
// CHECK-NOT: pg.matmul
// CHECK-NOT: pg.output
// CHECK: return
module attributes {pg.logit_rows = 1 : i64, pg.programs = ["calibrate"]} {
  pg.parameter @table : tensor<16x8xf32> {init = {kind = "ones"}, group = "g", quant = "embed"}
  pg.parameter @q : tensor<8x8xf32> {init = {kind = "ones"}, group = "g", quant = "attn"}
  pg.parameter @k : tensor<8x8xf32> {init = {kind = "ones"}, group = "g", quant = "attn"}
  pg.parameter @plain : tensor<8x8xf32> {init = {kind = "ones"}, group = "g"}
  func.func @"forward@main"() {
    %tokens = pg.input "tokens" : tensor<?xi32>
    %targets = pg.input "targets" : tensor<?xi32>
    %table = pg.param @table : tensor<16x8xf32>
    %q = pg.param @q : tensor<8x8xf32>
    %k = pg.param @k : tensor<8x8xf32>
    %plain = pg.param @plain : tensor<8x8xf32>
    %x = pg.gather %table, %tokens : tensor<16x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    %rounded = pg.round %q to bf16 : tensor<8x8xf32>
    %a = pg.matmul %x, %rounded {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %b = pg.matmul %x, %k : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %c = pg.matmul %b, %plain {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %d = pg.matmul %c, %q {transpose_b} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %e = pg.add %a, %d : tensor<?x8xf32>
    %z = pg.matmul %e, %table {transpose_b} : tensor<?x8xf32>, tensor<16x8xf32> -> tensor<?x16xf32>
    %nll = pg.cross_entropy %z, %targets : tensor<?x16xf32>, tensor<?xi32> -> tensor<?xf32>
    pg.output "logits", %z : tensor<?x16xf32>
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
}
