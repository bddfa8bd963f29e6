// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @codes_rank(%c: tensor<6xi8>, %s: tensor<6xf32>) {
  // expected-error@+1 {{expects static codes of rank 2 (C1), got 'tensor<6xi8>'}}
  %0 = pg.dequantise %c, %s : (tensor<6xi8>, tensor<6xf32>) -> tensor<6xf32>
  return
}

// -----

func.func @scale_by_column(%c: tensor<6x8xi8>, %s: tensor<8xf32>) {
  // expected-error@+1 {{expects a scale for each of 6 rows (C2), got 'tensor<8xf32>'}}
  %0 = pg.dequantise %c, %s : (tensor<6x8xi8>, tensor<8xf32>) -> tensor<6x8xf32>
  return
}

// -----

func.func @ranks_differ(%c: tensor<6x8xi8>, %s: tensor<6xf32>, %l: tensor<6x2xf32>, %r: tensor<3x8xf32>) {
  // expected-error@+1 {{expects left [6, r] and right [r, 8] (C3), got}}
  %0 = pg.dequantise %c, %s, %l, %r : (tensor<6x8xi8>, tensor<6xf32>, tensor<6x2xf32>, tensor<3x8xf32>) -> tensor<6x8xf32>
  return
}

// -----

func.func @correction_of_another_type(%c: tensor<6x8xi8>, %s: tensor<6xf32>, %l: tensor<6x2xf64>, %r: tensor<2x8xf64>) {
  // expected-error@+1 {{expects one float type (C4), got}}
  %0 = pg.dequantise %c, %s, %l, %r : (tensor<6x8xi8>, tensor<6xf32>, tensor<6x2xf64>, tensor<2x8xf64>) -> tensor<6x8xf32>
  return
}

// -----

func.func @result_of_another_type(%c: tensor<6x8xi8>, %s: tensor<6xf32>) {
  // expected-error@+1 {{expects result 'tensor<6x8xf32>' (C4), got 'tensor<6x8xf64>'}}
  %0 = pg.dequantise %c, %s : (tensor<6x8xi8>, tensor<6xf32>) -> tensor<6x8xf64>
  return
}

// -----

func.func @codes_on_the_left(%c: tensor<6x8xi8>, %w: tensor<4x8xf32>) {
  // expected-error@+1 {{operand #0 must be packed tensor}}
  %0 = pg.matmul %c, %w {transpose_b} : tensor<6x8xi8>, tensor<4x8xf32> -> tensor<6x4xf32>
  return
}

// -----

func.func @integer_product(%x: tensor<?x8xf32>, %c: tensor<6x8xi8>) {
  // expected-error@+1 {{result #0 must be packed tensor}}
  %0 = pg.matmul %x, %c {transpose_b} : tensor<?x8xf32>, tensor<6x8xi8> -> tensor<?x6xi8>
  return
}

// -----

func.func @head_without_scale(%x: tensor<?x8xf32>, %c: tensor<6x8xi8>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects codes with a scale [V] and, together or neither, p [N, r] and q [V, r] of the results' type, and floats without (C4)}}
  %0, %1 = pg.linear_cross_entropy %x, %c, %t : (tensor<?x8xf32>, tensor<6x8xi8>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}

// -----

func.func @head_of_floats_scaled(%x: tensor<?x8xf32>, %w: tensor<6x8xf32>, %t: tensor<?xi32>, %s: tensor<6xf32>) {
  // expected-error@+1 {{and floats without (C4)}}
  %0, %1 = pg.linear_cross_entropy %x, %w, %t scaled %s : (tensor<?x8xf32>, tensor<6x8xf32>, tensor<?xi32>, tensor<6xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}

// -----

func.func @head_ranks(%x: tensor<?x8xf32>, %c: tensor<6x8xi8>, %t: tensor<?xi32>, %s: tensor<6xf32>, %p: tensor<?x2xf32>, %q: tensor<6x3xf32>) {
  // expected-error@+1 {{(C4), got}}
  %0, %1 = pg.linear_cross_entropy %x, %c, %t scaled %s plus %p, %q : (tensor<?x8xf32>, tensor<6x8xi8>, tensor<?xi32>, tensor<6xf32>, tensor<?x2xf32>, tensor<6x3xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}
