// Rows of one stacked parameter: views at the launch, one kernel for all of them.
// RUN: pg-opt %s --pg-outline | FileCheck %s

pg.parameter @gains : tensor<3x8xf32> {init = {kind = "ones"}, group = "scalar", quant = ""}
pg.state @grad.gains : tensor<3x8xf32> {role = "gradient", of = @gains}

// CHECK-COUNT-2: pg.kernel_def
// CHECK-NOT: pg.kernel_def
// CHECK-LABEL: func.func @entry
// CHECK-DAG: %[[P:.*]] = pg.param @gains
// CHECK-DAG: %[[A:.*]] = pg.slice %[[P]] {axis = 0 : i64, start = 0 : i64}
// CHECK-DAG: %[[B:.*]] = pg.slice %[[P]] {axis = 0 : i64, start = 2 : i64}
// CHECK: pg.launch @static_mul_00(%[[A]])
// CHECK: pg.launch @static_mul_00(%[[B]])
// CHECK: pg.launch @[[SUM:.*]](%{{.*}}) {
// CHECK-NOT: pg.target_offsets
// CHECK: pg.launch @[[SUM]](%{{.*}}) {{.*}}pg.target_offsets = array<i64: 16>
func.func @entry() {
  %p = pg.param @gains : tensor<3x8xf32>
  %a = pg.kernel (%p) : (tensor<3x8xf32>) -> tensor<1x8xf32> {
  ^bb0(%whole: tensor<3x8xf32>):
    %row = pg.slice %whole {axis = 0 : i64, start = 0 : i64} : tensor<3x8xf32> -> tensor<1x8xf32>
    %y = pg.mul %row, %row : tensor<1x8xf32>
    pg.yield %y : tensor<1x8xf32>
  }
  %b = pg.kernel (%p) : (tensor<3x8xf32>) -> tensor<1x8xf32> {
  ^bb0(%whole: tensor<3x8xf32>):
    %row = pg.slice %whole {axis = 0 : i64, start = 2 : i64} : tensor<3x8xf32> -> tensor<1x8xf32>
    %y = pg.mul %row, %row : tensor<1x8xf32>
    pg.yield %y : tensor<1x8xf32>
  }
  pg.kernel (%a) {targets = [#pg.target<@grad.gains, accumulate>]} : (tensor<1x8xf32>) -> () {
  ^bb0(%g: tensor<1x8xf32>):
    %z = pg.pad %g {axis = 0 : i64, low = 0 : i64} : tensor<1x8xf32> -> tensor<3x8xf32>
    pg.yield %z : tensor<3x8xf32>
  }
  pg.kernel (%b) {targets = [#pg.target<@grad.gains, accumulate>]} : (tensor<1x8xf32>) -> () {
  ^bb0(%g: tensor<1x8xf32>):
    %z = pg.pad %g {axis = 0 : i64, low = 2 : i64} : tensor<1x8xf32> -> tensor<3x8xf32>
    pg.yield %z : tensor<3x8xf32>
  }
  return
}
