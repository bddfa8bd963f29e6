// One definition for equal kernels, numbers as arguments.
// RUN: pg-opt --pg-outline %s | FileCheck %s

// CHECK: pg.kernel_def @row_mul_00 attributes {modes = array<i64: 0>}
// CHECK-NEXT: ^bb0(%[[X:.*]]: tensor<?x8xf32>, %[[C:.*]]: f64):
// CHECK-NEXT: %[[S:.*]] = pg.splat %[[C]] : tensor<?x8xf32>
// CHECK-NEXT: pg.mul %[[X]], %[[S]]
// CHECK: pg.kernel_def @row_tanh_01
// CHECK-NOT: pg.kernel_def
// CHECK-LABEL: func.func @forward
func.func @forward() {
  %x = pg.input "x" : tensor<?x8xf32>
  // Two layers that differ in a constant share a kernel.
  // CHECK: pg.launch @row_mul_00({{.*}}) {scalars = array<f64: 5.000000e-01>}
  %a = pg.kernel(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%in: tensor<?x8xf32>):
    %c = pg.fill 5.0e-01 : tensor<?x8xf32>
    %y = pg.mul %in, %c : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  // CHECK: pg.launch @row_tanh_01({{.*}}) {scalars = array<f64>}
  %t = pg.kernel(%a) : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.tanh %in : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  // CHECK: pg.launch @row_mul_00({{.*}}) {scalars = array<f64: 2.500000e-01>}
  %b = pg.kernel(%t) : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%in: tensor<?x8xf32>):
    %c = pg.fill 2.5e-01 : tensor<?x8xf32>
    %y = pg.mul %in, %c : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  pg.output "b", %b : tensor<?x8xf32>
  return
}
