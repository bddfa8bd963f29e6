// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @logits_rank(%z: tensor<?xf32>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects logits [N, V] and targets [N] (C1)}}
  %0 = pg.cross_entropy %z, %t : tensor<?xf32>, tensor<?xi32> -> tensor<?xf32>
  return
}

// -----

func.func @nll_shape(%z: tensor<?x64xf32>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects result 'tensor<?xf32>' (C2), got 'tensor<?x64xf32>'}}
  %0 = pg.cross_entropy %z, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return
}

// -----

func.func @head_widths(%x: tensor<?x6xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects x [N, D], w [V, D] and targets [N] (C1)}}
  %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x6xf32>, tensor<64x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}

// -----

func.func @head_softcap(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects softcap >= 0 (C2)}}
  %nll, %lse = pg.linear_cross_entropy %x, %w, %t {softcap = -1.0 : f64} : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}

// -----

func.func @head_results(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects results 'tensor<?xf32>' (C3)}}
  %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x8xf32>)
  return
}

// -----

func.func @head_grad_operands(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) {
  // expected-error@+1 {{expects lse and dnll 'tensor<?xf32>' (C3)}}
  %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %x, %x : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>, tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @head_grad_result(%x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>, %l: tensor<?xf32>) {
  // expected-error@+1 {{expects result 'tensor<64x8xf32>' (C4), got 'tensor<?x8xf32>'}}
  %dw = pg.linear_cross_entropy_grad_w %x, %w, %t, %l, %l : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @narrow_statistic(%x: tensor<?x8xbf16>, %w: tensor<64x8xbf16>, %t: tensor<?xi32>, %s: tensor<?xf32>, %n: tensor<?xbf16>) {
  // expected-error@+1 {{expects lse and dnll 'tensor<?xf32>' (C3)}}
  %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %n, %s : (tensor<?x8xbf16>, tensor<64x8xbf16>, tensor<?xi32>, tensor<?xbf16>, tensor<?xf32>) -> tensor<?x8xf32>
  return
}
