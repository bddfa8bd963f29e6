// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @broadcast_size(%x: tensor<3xf32>) {
  // expected-error@+1 {{to be 1 or equal dimension 1 of 'tensor<?x4xf32>' (C1)}}
  %0 = pg.broadcast %x {dims = array<i64: 1>} : tensor<3xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @broadcast_token_axis(%x: tensor<?xf32>) {
  // expected-error@+1 {{expects the token axis to stay dimension 0 (C2), got dimension 1}}
  %0 = pg.broadcast %x {dims = array<i64: 1>} : tensor<?xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @broadcast_dims_count(%x: tensor<3xf32>) {
  // expected-error@+1 {{expects one result dimension per operand dimension, 1 (C3), got 2}}
  %0 = pg.broadcast %x {dims = array<i64: 0, 1>} : tensor<3xf32> -> tensor<3x3xf32>
  return
}

// -----

func.func @broadcast_dims_order(%x: tensor<3x3xf32>) {
  // expected-error@+1 {{expects strictly increasing dims inside rank 2 (C3), got 0}}
  %0 = pg.broadcast %x {dims = array<i64: 1, 0>} : tensor<3x3xf32> -> tensor<3x3xf32>
  return
}

// -----

func.func @broadcast_element_type(%x: tensor<3xf32>) {
  // expected-error@+1 {{expects to keep the element type of 'tensor<3xf32>' (C4)}}
  %0 = pg.broadcast %x {dims = array<i64: 0>} : tensor<3xf32> -> tensor<3xf64>
  return
}

// -----

func.func @reshape_count(%x: tensor<?x6xf32>) {
  // expected-error@+1 {{expects as many elements as 'tensor<?x6xf32>' (C1)}}
  %0 = pg.reshape %x : tensor<?x6xf32> -> tensor<?x2x2xf32>
  return
}

// -----

func.func @reshape_element_type(%x: tensor<6xf32>) {
  // expected-error@+1 {{expects to keep the element type of 'tensor<6xf32>' (C2)}}
  %0 = pg.reshape %x : tensor<6xf32> -> tensor<2x3xf64>
  return
}

// -----

func.func @reshape_loses_token_axis(%x: tensor<?x6xf32>) {
  // expected-error@+1 {{expects the token axis on both sides or neither (C3)}}
  %0 = pg.reshape %x : tensor<?x6xf32> -> tensor<6xf32>
  return
}

// -----

func.func @transpose_permutation(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{expects a permutation of 2 dimensions (C1)}}
  %0 = pg.transpose %x {permutation = array<i64: 1, 1>} : tensor<2x3xf32> -> tensor<3x3xf32>
  return
}

// -----

func.func @transpose_shape(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{expects the permuted shape of 'tensor<2x3xf32>' (C2), got 'tensor<2x3xf32>'}}
  %0 = pg.transpose %x {permutation = array<i64: 1, 0>} : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @slice_token_axis(%x: tensor<?x3xf32>) {
  // expected-error@+1 {{expects a static axis of 'tensor<?x3xf32>' (C1), got 0}}
  %0 = pg.slice %x {axis = 0 : i64, start = 0 : i64} : tensor<?x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @slice_other_axis(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{only along axis 1 (C2)}}
  %0 = pg.slice %x {axis = 1 : i64, start = 0 : i64} : tensor<4x3xf32> -> tensor<3x2xf32>
  return
}

// -----

func.func @slice_outside(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{expects elements inside dimension 1 of 'tensor<4x3xf32>' (C3), got [2, 4)}}
  %0 = pg.slice %x {axis = 1 : i64, start = 2 : i64} : tensor<4x3xf32> -> tensor<4x2xf32>
  return
}

// -----

func.func @pad_axis(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{expects a static axis of 'tensor<4x3xf32>' (C1), got 2}}
  %0 = pg.pad %x {axis = 2 : i64, low = 0 : i64} : tensor<4x3xf32> -> tensor<4x5xf32>
  return
}

// -----

func.func @pad_other_axis(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{only along axis 1 (C2)}}
  %0 = pg.pad %x {axis = 1 : i64, low = 0 : i64} : tensor<4x3xf32> -> tensor<5x5xf32>
  return
}

// -----

func.func @pad_does_not_fit(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{to fit into 'tensor<4x5xf32>' (C3)}}
  %0 = pg.pad %x {axis = 1 : i64, low = 3 : i64} : tensor<4x3xf32> -> tensor<4x5xf32>
  return
}

// -----

func.func @concat_of_nothing() {
  // expected-error@+1 {{expects at least one operand (C1)}}
  %0 = "pg.concat"() {axis = 0 : i64} : () -> tensor<4xf32>
  return
}

// -----

func.func @concat_token_axis(%x: tensor<?x3xf32>) {
  // expected-error@+1 {{expects a static axis of 'tensor<?x3xf32>' (C2), got 0}}
  %0 = pg.concat %x, %x {axis = 0 : i64} : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @concat_other_axis(%x: tensor<4x3xf32>, %y: tensor<5x3xf32>) {
  // expected-error@+1 {{only along axis 1 (C3), got 'tensor<5x3xf32>'}}
  %0 = pg.concat %x, %y {axis = 1 : i64} : (tensor<4x3xf32>, tensor<5x3xf32>) -> tensor<4x6xf32>
  return
}

// -----

func.func @concat_total(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{expects dimension 1 of the result to be 6 (C4)}}
  %0 = pg.concat %x, %x {axis = 1 : i64} : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x7xf32>
  return
}

// -----

func.func @shift_of_static(%x: tensor<4x3xf32>) {
  // expected-error@+1 {{expects a token tensor (C1)}}
  %0 = pg.token_shift %x within row {distance = 1 : i64} : tensor<4x3xf32>
  return
}

// -----

func.func @shift_by_nothing(%x: tensor<?x3xf32>) {
  // expected-error@+1 {{expects a distance other than 0 (C2)}}
  %0 = pg.token_shift %x within segment {distance = 0 : i64} : tensor<?x3xf32>
  return
}

// -----

func.func @gather_from_tokens(%x: tensor<?x3xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects a static table [V, ...] (C1)}}
  %0 = pg.gather %x, %i : tensor<?x3xf32>, tensor<?xi32> -> tensor<?x3xf32>
  return
}

// -----

func.func @gather_result(%x: tensor<9x3xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects result 'tensor<?x3xf32>' (C2), got 'tensor<?x4xf32>'}}
  %0 = pg.gather %x, %i : tensor<9x3xf32>, tensor<?xi32> -> tensor<?x4xf32>
  return
}

// -----

func.func @gather_index_rank(%x: tensor<9x3xf32>, %i: tensor<?x1xi32>) {
  // expected-error@+1 {{expects an index of rank 1 (C2)}}
  %0 = pg.gather %x, %i : tensor<9x3xf32>, tensor<?x1xi32> -> tensor<?x3xf32>
  return
}

// -----

func.func @gather_grad_result(%dy: tensor<?x3xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects a static result [V, ...] (C1)}}
  %0 = pg.gather_grad %dy, %i : tensor<?x3xf32>, tensor<?xi32> -> tensor<?x3xf32>
  return
}

// -----

func.func @gather_grad_cotangent(%dy: tensor<?x4xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects dy 'tensor<?x3xf32>' (C2), got 'tensor<?x4xf32>'}}
  %0 = pg.gather_grad %dy, %i : tensor<?x4xf32>, tensor<?xi32> -> tensor<9x3xf32>
  return
}

// -----

func.func @pick_ranks(%x: tensor<?x3x3xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects x [N, V] and index [N] (C1)}}
  %0 = pg.pick %x, %i : tensor<?x3x3xf32>, tensor<?xi32> -> tensor<?xf32>
  return
}

// -----

func.func @pick_result(%x: tensor<?x3xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects result 'tensor<?xf32>' (C2)}}
  %0 = pg.pick %x, %i : tensor<?x3xf32>, tensor<?xi32> -> tensor<?x1xf32>
  return
}

// -----

func.func @iota_axis() {
  // expected-error@+1 {{expects a static axis of 'tensor<?x3xi32>' (C1), got 0}}
  %0 = pg.iota {axis = 0 : i64} : tensor<?x3xi32>
  return
}

// -----

func.func @take_rows_of_static(%x: tensor<4x3xf32>, %i: tensor<2xi32>) {
  // expected-error@+1 {{expects a token tensor (C1)}}
  %0 = pg.take_rows %x, %i : tensor<4x3xf32>, tensor<2xi32> -> tensor<2x3xf32>
  return
}

// -----

func.func @take_rows_dynamic(%x: tensor<?x3xf32>, %i: tensor<?xi32>) {
  // expected-error@+1 {{expects a static list of rows (C2)}}
  %0 = pg.take_rows %x, %i : tensor<?x3xf32>, tensor<?xi32> -> tensor<?x3xf32>
  return
}

// -----

func.func @take_rows_result(%x: tensor<?x3xf32>, %i: tensor<2xi32>) {
  // expected-error@+1 {{expects result 'tensor<2x3xf32>' (C3)}}
  %0 = pg.take_rows %x, %i : tensor<?x3xf32>, tensor<2xi32> -> tensor<3x3xf32>
  return
}
