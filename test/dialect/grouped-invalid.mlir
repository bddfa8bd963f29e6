// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @rank_of_tokens(%x: tensor<?x2x8xf32>, %w: tensor<3x8x4xf32>) {
  // expected-error@+1 {{'pg.grouped_matmul' op expects a token tensor of rank 2 (C1), got 'tensor<?x2x8xf32>'}}
  %0 = pg.grouped_matmul %x, %w : tensor<?x2x8xf32>, tensor<3x8x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @static_rows(%x: tensor<5x8xf32>, %w: tensor<3x8x4xf32>) {
  // expected-error@+1 {{expects a token tensor of rank 2 (C1)}}
  %0 = pg.grouped_matmul %x, %w : tensor<5x8xf32>, tensor<3x8x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @no_slots(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>) {
  // expected-error@+1 {{'pg.grouped_matmul' op expects static matrices of rank 3 (C2), got 'tensor<8x4xf32>'}}
  %0 = pg.grouped_matmul %x, %w : tensor<?x8xf32>, tensor<8x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @contracted(%x: tensor<?x8xf32>, %w: tensor<3x8x4xf32>) {
  // expected-error@+1 {{'pg.grouped_matmul' op expects equal contracted dimensions (C3), got 'tensor<?x8xf32>' and 'tensor<3x8x4xf32>' transposed}}
  %0 = pg.grouped_matmul %x, %w {transpose_w} : tensor<?x8xf32>, tensor<3x8x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @result(%x: tensor<?x8xf32>, %w: tensor<3x8x4xf32>) {
  // expected-error@+1 {{'pg.grouped_matmul' op expects result 'tensor<?x4xf32>' (C4), got 'tensor<?x8xf32>'}}
  %0 = pg.grouped_matmul %x, %w : tensor<?x8xf32>, tensor<3x8x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @elements(%x: tensor<?x8xf32>, %w: tensor<3x8x4xf64>) {
  // expected-error@+1 {{'pg.grouped_matmul' op expects one element type (C5)}}
  %0 = pg.grouped_matmul %x, %w : tensor<?x8xf32>, tensor<3x8x4xf64> -> tensor<?x4xf32>
  return
}

// -----

func.func @outer_of_static(%a: tensor<5x4xf32>, %b: tensor<?x8xf32>) {
  // expected-error@+1 {{'pg.grouped_outer' op expects token tensors of rank 2 (C1), got 'tensor<5x4xf32>' and 'tensor<?x8xf32>'}}
  %0 = pg.grouped_outer %a, %b : tensor<5x4xf32>, tensor<?x8xf32> -> tensor<3x4x8xf32>
  return
}

// -----

func.func @outer_result(%a: tensor<?x4xf32>, %b: tensor<?x8xf32>) {
  // expected-error@+1 {{'pg.grouped_outer' op expects a static result of rank 3 with the widths of the operands (C2), got 'tensor<3x8x4xf32>'}}
  %0 = pg.grouped_outer %a, %b : tensor<?x4xf32>, tensor<?x8xf32> -> tensor<3x8x4xf32>
  return
}

// -----

func.func @outer_elements(%a: tensor<?x4xf32>, %b: tensor<?x8xf64>) {
  // expected-error@+1 {{'pg.grouped_outer' op expects one element type (C3)}}
  %0 = pg.grouped_outer %a, %b : tensor<?x4xf32>, tensor<?x8xf64> -> tensor<3x4x8xf32>
  return
}

// -----

func.func @site_of_heads(%x: tensor<?x8xf32>, %y: tensor<?x2x4xf32>) {
  // expected-error@+1 {{'pg.site' op expects token tensors of rank 2 (C1), got 'tensor<?x8xf32>' and 'tensor<?x2x4xf32>'}}
  %0 = pg.site "q" %x to %y : tensor<?x8xf32>, tensor<?x2x4xf32>
  return
}

// -----

func.func @site_elements(%x: tensor<?x8xf32>, %y: tensor<?x4xf64>) {
  // expected-error@+1 {{'pg.site' op expects one element type (C2), got 'tensor<?x8xf32>' and 'tensor<?x4xf64>'}}
  %0 = pg.site "q" %x to %y : tensor<?x8xf32>, tensor<?x4xf64>
  return
}
