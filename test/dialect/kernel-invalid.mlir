// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @kernel_without_yield(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects a body that ends in pg.yield (C1)}}
  pg.kernel(%x) : (tensor<4xf32>) -> () {
  ^bb0(%a: tensor<4xf32>):
    func.return
  }
  return
}

// -----

func.func @kernel_two_structured(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>) {
  pg.kernel(%x, %w) : (tensor<?x4xf32>, tensor<4x4xf32>) -> () {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4x4xf32>):
    // expected-note@+1 {{the first one}}
    %0 = pg.matmul %a, %b : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    // expected-error@+1 {{is a second structured op in one kernel (C2)}}
    %1 = pg.matmul %0, %b : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    pg.yield
  }
  return
}

// -----

func.func @kernel_arguments(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects block arguments of the operands' types (C3)}}
  pg.kernel(%x) : (tensor<4xf32>) -> () {
  ^bb0(%a: tensor<5xf32>):
    pg.yield
  }
  return
}

// -----

func.func @kernel_yields(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects one yield per result and target, 1 (C4), got 2}}
  %0 = pg.kernel(%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    pg.yield %a, %a : tensor<4xf32>, tensor<4xf32>
  }
  return
}

// -----

func.func @kernel_yield_type(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects yield 0 of type 'tensor<5xf32>' (C5), got 'tensor<4xf32>'}}
  %0 = pg.kernel(%x) : (tensor<4xf32>) -> tensor<5xf32> {
  ^bb0(%a: tensor<4xf32>):
    pg.yield %a : tensor<4xf32>
  }
  return
}

// -----

// expected-error@+1 {{expects one mode per yield, 1 (C3), got 2}}
pg.kernel_def @modes attributes {modes = array<i64: 0, 0>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}

// -----

// expected-error@+1 {{expects modes 0, 1 or 2 (C4), got 3}}
pg.kernel_def @mode_range attributes {modes = array<i64: 3>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}

// -----

// expected-error@+1 {{expects tensor arguments before f64 scalars (C5)}}
pg.kernel_def @argument_order attributes {modes = array<i64: 0>} {
^bb0(%c: f64, %a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}

// -----

func.func @launch_of_nothing(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects @k to be a kernel_def of the module (C1)}}
  pg.launch @k(%x) {scalars = array<f64>} : (tensor<4xf32>) -> ()
  return
}

// -----

// expected-note@+1 {{defined here}}
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}
func.func @launch_operands(%x: tensor<5xf32>) {
  // expected-error@+1 {{expects operands of the tensor argument types (C2) of @k}}
  %0 = pg.launch @k(%x) {scalars = array<f64>} : (tensor<5xf32>) -> tensor<4xf32>
  return
}

// -----

// expected-note@+1 {{defined here}}
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%a: tensor<4xf32>, %c: f64):
  pg.yield %a : tensor<4xf32>
}
func.func @launch_scalars(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects as many scalars as f64 arguments (C3) of @k}}
  %0 = pg.launch @k(%x) {scalars = array<f64>} : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

// expected-note@+1 {{defined here}}
pg.kernel_def @k attributes {modes = array<i64: 0>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}
func.func @launch_results(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects results of the types of the fresh yields (C4) of @k}}
  pg.launch @k(%x) {scalars = array<f64>} : (tensor<4xf32>) -> ()
  return
}

// -----

// expected-note@+1 {{defined here}}
pg.kernel_def @k attributes {modes = array<i64: 1>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}
func.func @launch_targets(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects one target per stored yield (C5) of @k}}
  pg.launch @k(%x) {scalars = array<f64>} : (tensor<4xf32>) -> ()
  return
}

// -----

pg.state @s : tensor<4xf32> {role = "gradient"}
// expected-note@+1 {{defined here}}
pg.kernel_def @k attributes {modes = array<i64: 1>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}
func.func @launch_modes(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects targets with the modes (C6) of @k}}
  pg.launch @k(%x) {scalars = array<f64>, targets = [#pg.target<@s, accumulate>]} : (tensor<4xf32>) -> ()
  return
}

// -----

pg.kernel_def @k attributes {modes = array<i64: 1>} {
^bb0(%a: tensor<4xf32>):
  pg.yield %a : tensor<4xf32>
}
func.func @launch_target_symbol(%x: tensor<4xf32>) {
  // expected-error@+1 {{expects target @s to be a parameter or state (C7)}}
  pg.launch @k(%x) {scalars = array<f64>, targets = [#pg.target<@s, store>]} : (tensor<4xf32>) -> ()
  return
}
