// In-place updates: who writes a symbol, and when.
// RUN: pg-opt --split-input-file --pg-fuse %s | FileCheck %s

// The update of w and of its state is one kernel; the arithmetic on run-time
// scalars is shared, in a kernel of its own.
module {
  pg.parameter @w : tensor<8x4xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.state @m.w : tensor<8x4xf32> {role = "optimizer", of = @w}
  // CHECK-LABEL: func.func @apply
  func.func @apply() {
    %lr = pg.scalar "lr" : tensor<f32>
    %step = pg.scalar "step" : tensor<f32>
    %w = pg.param @w : tensor<8x4xf32>
    %m = pg.read_state @m.w : tensor<8x4xf32>
    // CHECK: %[[RATE:.*]] = pg.kernel(%{{.*}}, %{{.*}}) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %rate = pg.mul %lr, %step : tensor<f32>
    %r = pg.broadcast %rate {dims = array<i64>} : tensor<f32> -> tensor<8x4xf32>
    // CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@m.w, store>, #pg.target<@w, store>]}
    // CHECK-NOT: pg.kernel
    %new_m = pg.add %m, %w : tensor<8x4xf32>
    %d = pg.mul %new_m, %r : tensor<8x4xf32>
    %new_w = pg.sub %w, %d : tensor<8x4xf32>
    pg.store store @m.w, %new_m : tensor<8x4xf32>
    pg.store store @w, %new_w : tensor<8x4xf32>
    return
  }
}

// -----

// The transpose reads w after its new value exists: the store waits for it, in
// a kernel that copies.
module {
  pg.parameter @w : tensor<4x4xf32> {init = {kind = "zeros"}, group = "matrix"}
  // CHECK-LABEL: func.func @in_place_waits
  func.func @in_place_waits() {
    %w = pg.param @w : tensor<4x4xf32>
    // CHECK: pg.transpose
    // CHECK: %[[NEW:.*]] = pg.kernel
    // CHECK: pg.concat
    // CHECK: pg.add
    %t = pg.transpose %w {permutation = array<i64: 1, 0>} : tensor<4x4xf32> -> tensor<4x4xf32>
    %s = pg.slice %w {axis = 1 : i64, start = 0 : i64} : tensor<4x4xf32> -> tensor<4x2xf32>
    %c = pg.concat %s, %s {axis = 1 : i64} : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x4xf32>
    %new = pg.add %t, %c : tensor<4x4xf32>
    // CHECK: pg.kernel(%[[NEW]]) {targets = [#pg.target<@w, store>]}
    // CHECK-NEXT: ^bb0(%[[ARG:.*]]: tensor<4x4xf32>):
    // CHECK-NEXT: pg.yield %[[ARG]]
    pg.store store @w, %new : tensor<4x4xf32>
    return
  }
}

// -----

// A read behind a store sees the stored value.
module {
  pg.state @a : tensor<4xf32> {role = "ema"}
  pg.state @b : tensor<4xf32> {role = "ema"}
  // CHECK-LABEL: func.func @read_after_store
  func.func @read_after_store() {
    %old = pg.read_state @a : tensor<4xf32>
    %two = pg.add %old, %old : tensor<4xf32>
    // CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@a, store>]}
    pg.store store @a, %two : tensor<4xf32>
    %new = pg.read_state @a : tensor<4xf32>
    %four = pg.mul %new, %new : tensor<4xf32>
    // CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@b, store>]}
    pg.store store @b, %four : tensor<4xf32>
    return
  }
}

// -----

// Contributions to one gradient keep their program order.
module {
  pg.parameter @w : tensor<8x4xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.state @grad.w : tensor<8x4xf32> {role = "gradient", of = @w}
  // CHECK-LABEL: func.func @accumulate
  func.func @accumulate() {
    %x = pg.input "x" : tensor<?x4xf32>
    %y = pg.input "y" : tensor<?x8xf32>
    // CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@grad.w, accumulate>]}
    // CHECK: pg.matmul %{{.*}}, %{{.*}} {transpose_a} : tensor<?x8xf32>, tensor<?x4xf32>
    %g0 = pg.matmul %y, %x {transpose_a} : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<8x4xf32>
    pg.store accumulate @grad.w, %g0 : tensor<8x4xf32>
    // CHECK: pg.kernel({{.*}}) {targets = [#pg.target<@grad.w, accumulate>]}
    // CHECK: pg.neg
    %n = pg.neg %g0 : tensor<8x4xf32>
    pg.store accumulate @grad.w, %n : tensor<8x4xf32>
    return
  }
}
