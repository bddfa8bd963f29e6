// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @ranks(%x: tensor<?x2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{expects operands of rank 2 (C1)}}
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x2x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @contracted(%x: tensor<?x8xf32>, %w: tensor<4x6xf32>) {
  // expected-error@+1 {{expects equal contracted dimensions (C2), got 'tensor<?x8xf32>' and 'tensor<4x6xf32>' transposed}}
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @contracted_tokens(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{expects equal contracted dimensions (C2)}}
  %0 = pg.matmul %x, %w {transpose_a} : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  return
}

// -----

func.func @result(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{expects result 'tensor<?x4xf32>' (C3), got 'tensor<?x8xf32>'}}
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @element_types(%x: tensor<?x8xf32>, %w: tensor<4x8xf64>) {
  // expected-error@+1 {{expects one element type (C4)}}
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x8xf64> -> tensor<?x4xf32>
  return
}

// -----

func.func @narrow_and_wide(%x: tensor<?x8xf32>, %w: tensor<4x8xbf16>) {
  // expected-error@+1 {{expects one element type (C4)}}
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x8xbf16> -> tensor<?x4xf32>
  return
}

// -----

func.func @narrow_sum(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{only the result of bf16 operands may be wider, f32}}
  %0 = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xbf16>
  return
}
