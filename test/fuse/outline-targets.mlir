// Stores are part of a kernel's identity by mode, not by symbol.
// RUN: pg-opt --pg-outline %s | FileCheck %s
module {
  pg.state @a : tensor<8xf32> {role = "gradient"}
  pg.state @b : tensor<8xf32> {role = "gradient"}
  // CHECK: pg.kernel_def @[[ADD:.*]] attributes {modes = array<i64: 2>}
  // CHECK: pg.kernel_def @[[PUT:.*]] attributes {modes = array<i64: 1>}
  // CHECK-NOT: pg.kernel_def
  // CHECK-LABEL: func.func @entry
  func.func @entry() {
    %x = pg.read_state @a : tensor<8xf32>
    // CHECK: pg.launch @[[ADD]]({{.*}}) {{.*}}targets = [#pg.target<@a, accumulate>]
    pg.kernel(%x) {targets = [#pg.target<@a, accumulate>]} : (tensor<8xf32>) -> () {
    ^bb0(%in: tensor<8xf32>):
      %y = pg.neg %in : tensor<8xf32>
      pg.yield %y : tensor<8xf32>
    }
    // CHECK: pg.launch @[[ADD]]({{.*}}) {{.*}}targets = [#pg.target<@b, accumulate>]
    pg.kernel(%x) {targets = [#pg.target<@b, accumulate>]} : (tensor<8xf32>) -> () {
    ^bb0(%in: tensor<8xf32>):
      %y = pg.neg %in : tensor<8xf32>
      pg.yield %y : tensor<8xf32>
    }
    // CHECK: pg.launch @[[PUT]]({{.*}}) {{.*}}targets = [#pg.target<@b, store>]
    pg.kernel(%x) {targets = [#pg.target<@b, store>]} : (tensor<8xf32>) -> () {
    ^bb0(%in: tensor<8xf32>):
      %y = pg.neg %in : tensor<8xf32>
      pg.yield %y : tensor<8xf32>
    }
    return
  }
}
