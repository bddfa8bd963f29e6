// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @axes_order(%x: tensor<?x4x6xf32>) {
  // expected-error@+1 {{expects strictly increasing axes inside rank 3 (C1), got axis 1}}
  %0 = pg.reduce_sum %x {axes = array<i64: 2, 1>} : tensor<?x4x6xf32> -> tensor<?xf32>
  return
}

// -----

func.func @axes_inside(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects strictly increasing axes inside rank 2 (C1), got axis 2}}
  %0 = pg.reduce_max %x {axes = array<i64: 2>} : tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @result_shape(%x: tensor<?x4x6xf32>) {
  // expected-error@+1 {{expects result 'tensor<?x6xf32>' (C2), got 'tensor<?x4xf32>'}}
  %0 = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @tokens_with_features(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{reduces the token axis together with others (C3)}}
  %0 = pg.reduce_sum %x {axes = array<i64: 0, 1>} : tensor<?x4xf32> -> tensor<f32>
  return
}

// -----

func.func @maximum_over_tokens(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{takes no maximum over tokens (C4)}}
  %0 = pg.reduce_max %x {axes = array<i64: 0>} : tensor<?x4xf32> -> tensor<4xf32>
  return
}

// -----

func.func @norm_over_tokens(%x: tensor<?xf32>) {
  // expected-error@+1 {{expects a static last dimension to normalise over (C1)}}
  %0 = pg.rms_norm %x {eps = 1.0e-6 : f64} : tensor<?xf32>
  return
}

// -----

func.func @norm_negative_eps(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects eps >= 0 (C2)}}
  %0 = pg.rms_norm %x {eps = -1.0 : f64} : tensor<?x4xf32>
  return
}

// -----

func.func @partial_of_static(%x: tensor<8x4xf32>) {
  // expected-error@+1 {{expects a token tensor (C1)}}
  %0 = pg.partial_sum %x : tensor<8x4xf32> -> tensor<?x4xf32, #pg.chunks<64>>
  return
}

// -----

func.func @partial_without_grain(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects a result with a positive #pg.chunks grain (C2)}}
  %0 = pg.partial_sum %x : tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @partial_of_other_rows(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects to keep rows of 'tensor<?x4xf32>' (C3)}}
  %0 = pg.partial_sum %x : tensor<?x4xf32> -> tensor<?x5xf32, #pg.chunks<64>>
  return
}

// -----

func.func @combine_of_tokens(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects partial sums (#pg.chunks) (C1)}}
  %0 = pg.combine %x : tensor<?x4xf32> -> tensor<4xf32>
  return
}

// -----

func.func @combine_result(%x: tensor<?x4xf32, #pg.chunks<64>>) {
  // expected-error@+1 {{expects result 'tensor<4xf32>' (C2), got 'tensor<5xf32>'}}
  %0 = pg.combine %x : tensor<?x4xf32, #pg.chunks<64>> -> tensor<5xf32>
  return
}
