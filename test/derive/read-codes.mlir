// RUN: pg-opt --split-input-file --pg-read-codes --verify-diagnostics %s | FileCheck %s

// A weight gives way to its parts; other parameters stay.
// CHECK-NOT: pg.parameter @w :
// CHECK: pg.parameter @w.codes : tensor<6x8xi8> {group = "matrix", init = {kind = "zeros"}, pg.bits = 6 : i64, quant = "attn"}
// CHECK: pg.parameter @w.scale : tensor<6xf32> {group = "matrix", init = {kind = "ones"}, quant = "attn"}
// CHECK: pg.parameter @w.left : tensor<6x4xf32> {group = "matrix", init = {kind = "zeros"}, optional, quant = "attn"}
// CHECK: pg.parameter @w.right : tensor<4x8xf32> {{.*}}optional
// CHECK: pg.parameter @e.codes : tensor<16x8xi8> {{.*}}pg.bits = 8
// CHECK-NOT: @e.left
// CHECK: pg.parameter @gain : tensor<8xf32>
pg.parameter @w : tensor<6x8xf32> {init = {kind = "zeros"}, group = "matrix", quant = "attn", pg.codes = {bits = 6 : i64, rank = 4 : i64}}
pg.parameter @e : tensor<16x8xf32> {init = {kind = "zeros"}, group = "embed", quant = "embed", pg.codes = {bits = 8 : i64, rank = 0 : i64}}
pg.parameter @gain : tensor<8xf32> {init = {kind = "ones"}, group = "scalar"}

// CHECK-LABEL: func.func @"score@main"
func.func @"score@main"() {
  %t = pg.input "tokens" : tensor<?xi32>
  // CHECK-DAG: %[[EC:.*]] = pg.param @e.codes : tensor<16x8xi8>
  // CHECK-DAG: %[[ES:.*]] = pg.param @e.scale : tensor<16xf32>
  // CHECK: %[[E:.*]] = pg.dequantise %[[EC]], %[[ES]] : (tensor<16x8xi8>, tensor<16xf32>) -> tensor<16x8xf32>
  %e = pg.param @e : tensor<16x8xf32>
  // CHECK: pg.gather %[[E]]
  %x = pg.gather %e, %t : tensor<16x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // CHECK: %[[W:.*]] = pg.dequantise %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<6x8xi8>, tensor<6xf32>, tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
  %w = pg.param @w : tensor<6x8xf32>
  // CHECK: pg.matmul %{{.*}}, %[[W]] {transpose_b}
  %y = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<6x8xf32> -> tensor<?x6xf32>
  pg.output "logits", %y : tensor<?x6xf32>
  return
}

// -----

// expected-error@+1 {{is read from codes, but 'grad.w' belongs to it: programs that change a weight need the weight itself}}
pg.parameter @w : tensor<6x8xf32> {init = {kind = "zeros"}, group = "matrix", quant = "attn", pg.codes = {bits = 6 : i64, rank = 4 : i64}}
pg.state @grad.w : tensor<6x8xf32> {role = "gradient", of = @w}

// -----

// expected-error@+1 {{expects 'pg.codes' on a matrix of floats, with bits from 2 to 8 and a rank}}
pg.parameter @w : tensor<8xf32> {init = {kind = "zeros"}, group = "matrix", quant = "attn", pg.codes = {bits = 6 : i64, rank = 0 : i64}}
