// RUN: pg-opt --pg-derive --split-input-file --verify-diagnostics %s

// expected-error@+1 {{expects a positive module attribute 'pg.logit_rows'}}
module {
  func.func @"forward@main"() {
    return
  }
}

// -----

module attributes {pg.logit_rows = 2 : i64} {
  // expected-error@+2 {{entry 'forward@main' has no output 'nll'}}
  // expected-error@+1 {{entry 'forward@main' has no output 'logits'}}
  func.func @"forward@main"() {
    return
  }
}

// -----

module attributes {pg.logit_rows = 2 : i64} {
  // expected-error@+1 {{entry 'forward@main' has no output 'logits'}}
  func.func @"forward@main"() {
    %x = pg.input "x" : tensor<?xf32>
    pg.output "nll", %x : tensor<?xf32>
    return
  }
}

// -----

module attributes {pg.logit_rows = 2 : i64} {
  pg.parameter @w : tensor<64x8xf32> {init = {kind = "zeros"}, group = "g"}
  func.func @"forward@main"() {
    %x = pg.input "x" : tensor<?x8xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %w = pg.param @w : tensor<64x8xf32>
    %z = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<64x8xf32> -> tensor<?x64xf32>
    // expected-error@+1 {{has no gradient through its log-sum-exp}}
    %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    pg.output "logits", %z : tensor<?x64xf32>
    pg.output "nll", %lse : tensor<?xf32>
    return
  }
}
