// RUN: pg-opt --split-input-file --verify-diagnostics %s

// expected-error@+1 {{expects a tensor of static shape (C1), got 'tensor<?x3xf32>'}}
pg.parameter @w : tensor<?x3xf32> {init = {kind = "zeros"}, group = "g"}

// -----

// expected-error@+1 {{expects f32, f64, bf16, i32 or i8 elements (C2), got 'i1'}}
pg.parameter @w : tensor<3xi1> {init = {kind = "zeros"}, group = "g"}

// -----

// expected-error@+1 {{expects init with a string 'kind' (C3)}}
pg.parameter @w : tensor<3xf32> {init = {std = 1.0}, group = "g"}

// -----

// expected-error@+1 {{expects a tensor of static shape (C1), got 'f32'}}
pg.state @s : f32 {role = "gradient"}

// -----

// expected-error@+1 {{expects f32, f64, bf16, i32 or i8 elements (C2), got 'i16'}}
pg.state @s : tensor<3xi16> {role = "gradient"}

// -----

// expected-error@+1 {{expects a role (C3)}}
pg.state @s : tensor<3xf32> {role = ""}

// -----

// expected-error@+1 {{starts as a copy of a parameter and expects 'of' to name one of shape 'tensor<3xf32>' (C4)}}
pg.state @s : tensor<3xf32> {role = "ema", from_parameter}

// -----

pg.parameter @p : tensor<2xf32> {init = {kind = "ones"}, group = "g"}
// expected-error@+1 {{starts as a copy of a parameter and expects 'of' to name one of shape 'tensor<3xf32>' (C4)}}
pg.state @s : tensor<3xf32> {role = "ema", of = @p, from_parameter}

// -----

func.func @scalar_of_rank_1() {
  // expected-error@+1 {{expects a tensor of rank 0 (C1), got 'tensor<1xf32>'}}
  %0 = pg.scalar "lr" : tensor<1xf32>
  return
}

// -----

pg.state @s : tensor<3xf32> {role = "gradient"}
func.func @param_of_a_state() {
  // expected-error@+1 {{expects @s to be a parameter of the module (C1)}}
  %0 = pg.param @s : tensor<3xf32>
  return
}

// -----

// expected-note@+1 {{declared here}}
pg.parameter @w : tensor<3xf32> {init = {kind = "zeros"}, group = "g"}
func.func @param_of_another_type() {
  // expected-error@+1 {{expects the declared type 'tensor<3xf32>' of @w (C2), got 'tensor<4xf32>'}}
  %0 = pg.param @w : tensor<4xf32>
  return
}

// -----

// expected-note@+1 {{declared here}}
pg.state @s : tensor<3xf32> {role = "gradient"}
func.func @read_of_another_type() {
  // expected-error@+1 {{expects the declared type 'tensor<3xf32>' of @s (C2), got 'tensor<4xf32>'}}
  %0 = pg.read_state @s : tensor<4xf32>
  return
}

// -----

func.func @read_of_nothing() {
  // expected-error@+1 {{expects @s to be a state of the module (C1)}}
  %0 = pg.read_state @s : tensor<3xf32>
  return
}

// -----

func.func @store_to_nothing(%x: tensor<3xf32>) {
  // expected-error@+1 {{expects @s to be a parameter or state of the module (C1)}}
  pg.store store @s, %x : tensor<3xf32>
  return
}

// -----

// expected-note@+1 {{declared here}}
pg.state @s : tensor<3xf32> {role = "gradient"}
func.func @store_of_another_type(%x: tensor<3xf64>) {
  // expected-error@+1 {{expects the declared type 'tensor<3xf32>' of @s (C2)}}
  pg.store store @s, %x : tensor<3xf64>
  return
}

// -----

func.func @second_dynamic_dimension() {
  // expected-error@+1 {{at most the leading dimension dynamic}}
  %0 = pg.input "tokens" : tensor<?x?xi32>
  return
}

// -----

// expected-error@+1 {{'pg.state' op expects draw with a string 'kind' (C5), got {high = 1.000000e+00 : f64}}}
pg.state @s : tensor<3xf32> {role = "adapter", draw = {high = 1.0 : f64}}
