// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @compare_shape(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects a result of the operands' shape 'tensor<4xf32>' (C1), got 'tensor<3xi1>'}}
  %0 = pg.compare eq %x, %x : tensor<4xf32> -> tensor<3xi1>
  return
}

// -----

func.func @select_condition_shape(%c: tensor<3xi1>, %x: tensor<4xf32>) {
  // expected-error@+1 {{expects a condition of the result's shape 'tensor<4xf32>' (C1), got 'tensor<3xi1>'}}
  %0 = pg.select %c, %x, %x : tensor<3xi1>, tensor<4xf32>
  return
}

// -----

func.func @cast_shape(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects to keep the shape of 'tensor<4xf32>' (C1), got 'tensor<3xf64>'}}
  %0 = pg.cast %x : tensor<4xf32> -> tensor<3xf64>
  return
}

// -----

func.func @cast_to_truth(%x: tensor<4xf32>) {
  // expected-error@+1 {{does not make truth values (C2)}}
  %0 = pg.cast %x : tensor<4xf32> -> tensor<4xi1>
  return
}

// -----

func.func @round_to_wider(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects i32 or a float type not wider than 'f32' (C1), got 'f64'}}
  %0 = pg.round %x to f64 : tensor<4xf32>
  return
}

// -----

func.func @round_to_narrow_integers(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects i32 or a float type not wider than 'f32' (C1), got 'i8'}}
  %0 = pg.round %x to i8 : tensor<4xf32>
  return
}

// -----

func.func @add_of_truth(%x: tensor<4xi1>) {
  // expected-error@+1 {{operand #0 must be}}
  %0 = pg.add %x, %x : tensor<4xi1>
  return
}

// -----

func.func @exp_of_integers(%x: tensor<4xi32>) {
  // expected-error@+1 {{operand #0 must be}}
  %0 = pg.exp %x : tensor<4xi32>
  return
}

// -----

func.func @token_axis_meets_static(%x: tensor<?x4xf32>, %y: tensor<8x4xf32>) {
  // expected-error@+1 {{operands and result have one type}}
  %0 = "pg.add"(%x, %y) : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @unary_result_type(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{operands and result have one type}}
  %0 = "pg.exp"(%x) : (tensor<?x4xf32>) -> tensor<8x4xf32>
  return
}

// -----

func.func @integer_operand_types(%x: tensor<?xi32>, %y: tensor<8xi32>) {
  // expected-error@+1 {{operands and result have one type}}
  %0 = "pg.xor"(%x, %y) : (tensor<?xi32>, tensor<8xi32>) -> tensor<?xi32>
  return
}
