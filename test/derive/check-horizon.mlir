// RUN: pg-opt --pg-check-horizon --split-input-file --verify-diagnostics %s

// Legal: earlier tokens, the prefix, the loss's own use of the targets, and
// sums over parameters.
func.func @legal() {
  %t = pg.input "tokens" : tensor<?xi32>
  %y = pg.input "targets" : tensor<?xi32>
  %w = pg.fill 0.5 : tensor<9x4xf32>
  %x = pg.gather %w, %t : tensor<9x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  %s = pg.token_shift %x within row {distance = 1 : i64} : tensor<?x4xf32>
  %h = pg.reshape %s : tensor<?x4xf32> -> tensor<?x1x4xf32>
  %a, %lse = pg.attention %h, %h, %h {scale = 1.0 : f64} : (tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x4xf32>) -> (tensor<?x1x4xf32>, tensor<?x1xf32>)
  %b = pg.reshape %a : tensor<?x1x4xf32> -> tensor<?x4xf32>
  %v = pg.reduce_sum %w {axes = array<i64: 0>} : tensor<9x4xf32> -> tensor<4xf32>
  %vb = pg.broadcast %v {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
  %z = pg.add %b, %vb : tensor<?x4xf32>
  %nll = pg.cross_entropy %z, %y : tensor<?x4xf32>, tensor<?xi32> -> tensor<?xf32>
  pg.output "nll", %nll : tensor<?xf32>
  return
}

// -----

func.func @looks_ahead() {
  %y = pg.input "targets" : tensor<?xi32>
  %z = pg.input "z" : tensor<?x4xf32>
  // expected-note@+1 {{which enters here}}
  %s = pg.token_shift %z within row {distance = -1 : i64} : tensor<?x4xf32>
  %r = pg.exp %s : tensor<?x4xf32>
  %nll = pg.cross_entropy %r, %y : tensor<?x4xf32>, tensor<?xi32> -> tensor<?xf32>
  // expected-error@+1 {{nll of a token may depend on a later token}}
  pg.output "nll", %nll : tensor<?xf32>
  return
}

// -----

func.func @mean_over_tokens() {
  %y = pg.input "targets" : tensor<?xi32>
  %z = pg.input "z" : tensor<?x4xf32>
  // expected-note@+1 {{which enters here}}
  %m = pg.reduce_sum %z {axes = array<i64: 0>} : tensor<?x4xf32> -> tensor<4xf32>
  %b = pg.broadcast %m {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
  %nll = pg.cross_entropy %b, %y : tensor<?x4xf32>, tensor<?xi32> -> tensor<?xf32>
  // expected-error@+1 {{nll of a token may depend on a later token}}
  pg.output "nll", %nll : tensor<?xf32>
  return
}

// -----

func.func @reads_the_answer() {
  // expected-note@+1 {{which enters here}}
  %y = pg.input "targets" : tensor<?xi32>
  %f = pg.cast %y : tensor<?xi32> -> tensor<?xf32>
  %z = pg.broadcast %f {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x4xf32>
  %nll = pg.cross_entropy %z, %y : tensor<?x4xf32>, tensor<?xi32> -> tensor<?xf32>
  // expected-error@+1 {{nll of a token may depend on a later token}}
  pg.output "nll", %nll : tensor<?xf32>
  return
}
