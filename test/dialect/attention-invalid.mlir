// RUN: pg-opt --split-input-file --verify-diagnostics %s

func.func @rotate_ranks(%x: tensor<?x8xf32>, %c: tensor<?x3xf32>) {
  // expected-error@+1 {{expects x [N, H, d], cos and sin [N, r] (C1)}}
  %0 = pg.rotate %x, %c, %c : tensor<?x8xf32>, tensor<?x3xf32>
  return
}

// -----

func.func @rotate_element_types(%x: tensor<?x2x8xf32>, %c: tensor<?x3xf64>) {
  // expected-error@+1 {{expects cos and sin of equal type and x's element type (C2)}}
  %0 = pg.rotate %x, %c, %c : tensor<?x2x8xf32>, tensor<?x3xf64>
  return
}

// -----

func.func @rotate_width(%x: tensor<?x2x8xf32>, %c: tensor<?x5xf32>) {
  // expected-error@+1 {{expects 2r <= d (C3), got r = 5, d = 8}}
  %0 = pg.rotate %x, %c, %c : tensor<?x2x8xf32>, tensor<?x5xf32>
  return
}

// -----

func.func @attention_ranks(%q: tensor<?x8xf32>, %k: tensor<?x2x8xf32>) {
  // expected-error@+1 {{expects token tensors of rank 3 for q, k, v (C1)}}
  %o, %lse = pg.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>) -> (tensor<?x2x8xf32>, tensor<?x2xf32>)
  return
}

// -----

func.func @attention_heads(%q: tensor<?x3x8xf32>, %k: tensor<?x2x8xf32>) {
  // expected-error@+1 {{H a multiple of G (C2)}}
  %o, %lse = pg.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<?x3x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>) -> (tensor<?x3x8xf32>, tensor<?x3xf32>)
  return
}

// -----

func.func @attention_results(%q: tensor<?x4x8xf32>, %k: tensor<?x2x8xf32>) {
  // expected-error@+1 {{expects results 'tensor<?x4x8xf32>' and 'tensor<?x4xf32>' (C2)}}
  %o, %lse = pg.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>) -> (tensor<?x4x8xf32>, tensor<?x2xf32>)
  return
}

// -----

func.func @attention_window(%q: tensor<?x4x8xf32>, %k: tensor<?x2x8xf32>) {
  // expected-error@+1 {{expects window >= 0 (C3), got -1}}
  %o, %lse = pg.attention %q, %k, %k {scale = 1.0 : f64, window = -1 : i64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>) -> (tensor<?x4x8xf32>, tensor<?x4xf32>)
  return
}

// -----

func.func @grad_operands(%q: tensor<?x4x8xf32>, %k: tensor<?x2x8xf32>, %s: tensor<?x2xf32>) {
  // expected-error@+1 {{expects dout 'tensor<?x4x8xf32>', lse and delta 'tensor<?x4xf32>' (C4)}}
  %dq, %dk, %dv = pg.attention_grad %q, %k, %k, %q, %s, %s {scale = 1.0 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>, tensor<?x4x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>) -> (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>)
  return
}

// -----

func.func @grad_results(%q: tensor<?x4x8xf32>, %k: tensor<?x2x8xf32>, %s: tensor<?x4xf32>) {
  // expected-error@+1 {{expects results of the types of q, k, v (C5)}}
  %dq, %dk, %dv = pg.attention_grad %q, %k, %k, %q, %s, %s {scale = 1.0 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>, tensor<?x4x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4x8xf32>, tensor<?x2x8xf32>)
  return
}

// -----

func.func @narrow_statistic(%q: tensor<?x4x8xbf16>) {
  // expected-error@+1 {{expects results 'tensor<?x4x8xf32>' and 'tensor<?x4xf32>' (C2)}}
  %o, %lse = pg.attention %q, %q, %q {scale = 0.125 : f64} : (tensor<?x4x8xbf16>, tensor<?x4x8xbf16>, tensor<?x4x8xbf16>) -> (tensor<?x4x8xf32>, tensor<?x4xbf16>)
  return
}

// -----

func.func @wide_cotangent(%q: tensor<?x4x8xbf16>, %dout: tensor<?x4x8xf32>, %s: tensor<?x4xf32>) {
  // expected-error@+1 {{expects dout 'tensor<?x4x8xbf16>', lse and delta 'tensor<?x4xf32>' (C4)}}
  %dq, %dk, %dv = pg.attention_grad %q, %q, %q, %dout, %s, %s {scale = 0.125 : f64} : (tensor<?x4x8xbf16>, tensor<?x4x8xbf16>, tensor<?x4x8xbf16>, tensor<?x4x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x4x8xf32>, tensor<?x4x8xf32>)
  return
}
