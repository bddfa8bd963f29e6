// Forward values rebuilt in the backward part.
// RUN: pg-opt --split-input-file --pg-recompute %s | FileCheck %s

// A map of one stored value is cloned, and one clone serves both readers.
// CHECK-LABEL: func.func @cheap_map
func.func @cheap_map() {
  %x = pg.input "x" : tensor<?x8xf32>
  // CHECK: %[[F:.*]] = pg.neg
  // CHECK: %[[C:.*]] = pg.neg %{{.*}} {pg.backward, pg.recompute}
  // CHECK: pg.mul %[[C]], %[[C]] {pg.backward}
  // CHECK-NOT: pg.recompute
  // CHECK: pg.add %{{.*}}, %[[C]] {pg.backward}
  // CHECK: pg.output "f", %[[F]]
  %f = pg.neg %x : tensor<?x8xf32>
  %m = pg.mul %f, %f {pg.backward} : tensor<?x8xf32>
  %a = pg.add %m, %f {pg.backward} : tensor<?x8xf32>
  pg.output "f", %f : tensor<?x8xf32>
  pg.output "a", %a : tensor<?x8xf32>
  return
}

// -----

// A sum of two streams costs two loads for one kept tensor: it is kept. So is
// the result of a product.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @residual_kept
  func.func @residual_kept() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK: %[[P:.*]] = pg.matmul
    // CHECK: %[[S:.*]] = pg.add
    // CHECK-NOT: pg.recompute
    // CHECK: pg.mul %[[P]], %[[S]] {pg.backward}
    %p = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %s = pg.add %x, %p : tensor<?x8xf32>
    %m = pg.mul %p, %s {pg.backward} : tensor<?x8xf32>
    pg.output "m", %m : tensor<?x8xf32>
    return
  }
}

// -----

// A row sum is one number a row: loading it is cheaper than loading the row.
// CHECK-LABEL: func.func @row_sum_kept
func.func @row_sum_kept() {
  %x = pg.input "x" : tensor<?x8xf32>
  // CHECK: %[[S:.*]] = pg.reduce_sum
  // CHECK-NOT: pg.reduce_sum
  // CHECK: pg.neg %[[S]] {pg.backward}
  %s = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
  %m = pg.neg %s {pg.backward} : tensor<?xf32>
  pg.output "m", %m : tensor<?xf32>
  return
}

// -----

// Entries without a backward part stay as they are.
// CHECK-LABEL: func.func @score
func.func @score() {
  %x = pg.input "x" : tensor<?x8xf32>
  // CHECK: pg.neg
  // CHECK-NOT: pg.neg
  %f = pg.neg %x : tensor<?x8xf32>
  pg.output "f", %f : tensor<?x8xf32>
  return
}

// -----

// What products of both parts read, and none of them can make for itself, is in memory
// anyway: it is kept. A map that they can repeat is rebuilt.
module {
  pg.parameter @w : tensor<8x8xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @operands_of_both_parts_kept
  func.func @operands_of_both_parts_kept() {
    %x = pg.input "x" : tensor<?x8xf32>
    %w = pg.param @w : tensor<8x8xf32>
    // CHECK: %[[S:.*]] = pg.sqrt
    // CHECK: %[[N:.*]] = pg.neg
    // CHECK: pg.matmul %[[S]],
    // CHECK: pg.matmul %[[N]],
    // CHECK-NOT: pg.sqrt
    // CHECK: pg.matmul %[[S]], %{{.*}} {pg.backward}
    // CHECK: %[[C:.*]] = pg.neg %{{.*}} {pg.backward, pg.recompute}
    // CHECK: pg.matmul %[[C]], %{{.*}} {pg.backward}
    %p = pg.matmul %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %s = pg.sqrt %p : tensor<?x8xf32>
    %n = pg.neg %p : tensor<?x8xf32>
    %a = pg.matmul %s, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %b = pg.matmul %n, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %c = pg.matmul %s, %w {pg.backward} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %d = pg.matmul %n, %w {pg.backward} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    pg.output "a", %a : tensor<?x8xf32>
    pg.output "b", %b : tensor<?x8xf32>
    pg.output "c", %c : tensor<?x8xf32>
    pg.output "d", %d : tensor<?x8xf32>
    return
  }
}
