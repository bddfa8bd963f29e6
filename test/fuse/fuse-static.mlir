// RUN: pg-opt --pg-schedule --pg-fuse --split-input-file %s | FileCheck %s

// The second state's new value is read by the arithmetic after the first
// product: its store waits for that, and one kernel does both.
// CHECK-LABEL: func.func @stores_wait_for_readers
// CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@m, store>]}
// CHECK: pg.matmul
// CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@n, store>]}
// CHECK-NEXT: ^bb0
// CHECK-NEXT: %[[NEW:.*]] = pg.add
// CHECK-NEXT: %[[U:.*]] = pg.mul %[[NEW]],
// CHECK-NEXT: pg.yield %[[U]], %[[NEW]]
// CHECK: pg.matmul
pg.parameter @p : tensor<4x4xf32> {init = {kind = "ones"}, group = "g"}
pg.parameter @q : tensor<4x4xf32> {init = {kind = "ones"}, group = "g"}
pg.state @m : tensor<4x4xf32> {role = "optimizer", of = @p}
pg.state @n : tensor<4x4xf32> {role = "optimizer", of = @q}
pg.state @g : tensor<4x4xf32> {role = "gradient", of = @p}
func.func @stores_wait_for_readers() {
  %g = pg.read_state @g : tensor<4x4xf32>
  %m = pg.read_state @m : tensor<4x4xf32>
  %n = pg.read_state @n : tensor<4x4xf32>
  %m1 = pg.add %m, %g : tensor<4x4xf32>
  %u = pg.mul %m1, %g : tensor<4x4xf32>
  %x = pg.matmul %u, %u : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  pg.store store @m, %m1 : tensor<4x4xf32>
  pg.store store @p, %x : tensor<4x4xf32>
  %n1 = pg.add %n, %g : tensor<4x4xf32>
  %v = pg.mul %n1, %g : tensor<4x4xf32>
  %y = pg.matmul %v, %v : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  pg.store store @n, %n1 : tensor<4x4xf32>
  pg.store store @q, %y : tensor<4x4xf32>
  return
}

// -----

// Sums of rows are made row by row; only their sum is one piece of work.
// CHECK-LABEL: func.func @sum_of_row_sums
// CHECK: pg.kernel
// CHECK: pg.mul
// CHECK-NEXT: pg.reduce_sum {{.*}} {axes = array<i64: 1>}
// CHECK-NEXT: pg.yield
// CHECK: pg.kernel
// CHECK: pg.reduce_sum {{.*}} {axes = array<i64: 0>}
// CHECK-NEXT: pg.yield
pg.state @g : tensor<64x32xf32> {role = "gradient"}
func.func @sum_of_row_sums() {
  %g = pg.read_state @g : tensor<64x32xf32>
  %s = pg.mul %g, %g : tensor<64x32xf32>
  %r = pg.reduce_sum %s {axes = array<i64: 1>} : tensor<64x32xf32> -> tensor<64xf32>
  %t = pg.reduce_sum %r {axes = array<i64: 0>} : tensor<64xf32> -> tensor<f32>
  pg.output "norm", %t : tensor<f32>
  return
}

// -----

// The second product's epilogue reads what the first one's left.
// CHECK-LABEL: func.func @epilogue_after_epilogue
// CHECK: pg.kernel
// CHECK: pg.matmul
// CHECK-NEXT: pg.round
// CHECK-NEXT: pg.yield
// CHECK: pg.kernel
// CHECK: pg.matmul
// CHECK-NEXT: pg.add
// CHECK-NEXT: pg.yield
// CHECK-NOT: pg.kernel
pg.state @g : tensor<4x4xf32> {role = "gradient"}
func.func @epilogue_after_epilogue() {
  %g = pg.read_state @g : tensor<4x4xf32>
  %a = pg.matmul %g, %g {transpose_b} : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  %r = pg.round %a to bf16 : tensor<4x4xf32>
  %b = pg.matmul %r, %r : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  %c = pg.add %r, %b : tensor<4x4xf32>
  pg.output "c", %c : tensor<4x4xf32>
  return
}
