// RUN: pg-opt %s --split-input-file --pg-emit-cpu -verify-diagnostics

// Fusion leaves no sum over tokens in a row kernel.
pg.kernel_def @over_tokens attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x8xf32>):
  // expected-error @below {{a reduction in a row kernel stays inside a row, found one over 'tensor<?x8xf32>'}}
  %s = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<?x8xf32> -> tensor<8xf32>
  %b = pg.broadcast %s {dims = array<i64: 1>} : tensor<8xf32> -> tensor<?x8xf32>
  pg.yield %b : tensor<?x8xf32>
}

// -----

// A shift reads memory; what the same kernel computes is not there yet.
pg.kernel_def @shifted_sum attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x8xf32>):
  // expected-error @below {{cannot emit 'pg.reduce_sum'}}
  %s = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
  %t = pg.broadcast %s {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x8xf32>
  %y = pg.token_shift %t within row {distance = 1 : i64} : tensor<?x8xf32>
  pg.yield %y : tensor<?x8xf32>
}

// -----

// Operations that other passes take apart first.
pg.kernel_def @norm attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x8xf32>):
  // expected-error @below {{cannot emit 'pg.rms_norm': it has no value element by element here}}
  %y = pg.rms_norm %x {eps = 1.0e-6 : f64} : tensor<?x8xf32>
  pg.yield %y : tensor<?x8xf32>
}

// -----

// A static result has no row of its own among tokens.
// expected-error @below {{a row kernel over tokens yields the static value 'tensor<8xf32>'}}
pg.kernel_def @static_yield attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<?x8xf32>, %w: tensor<8xf32>):
  %y = pg.neg %w : tensor<8xf32>
  pg.yield %x, %y : tensor<?x8xf32>, tensor<8xf32>
}
