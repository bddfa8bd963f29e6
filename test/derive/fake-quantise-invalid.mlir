// RUN: pg-opt --pg-derive --split-input-file --verify-diagnostics %s

module attributes {pg.logit_rows = 1 : i64} {
  // expected-error@+1 {{expects 'pg.fake_quant' to name a function from 'tensor<2xf32>' to itself}}
  pg.parameter @w : tensor<2xf32> {init = {kind = "ones"}, group = "g", pg.fake_quant = @wrong}
  func.func private @wrong(%w: tensor<3xf32>) -> tensor<3xf32> {
    return %w : tensor<3xf32>
  }
  func.func @"forward@main"() {
    %w = pg.param @w : tensor<2xf32>
    %t = pg.input "tokens" : tensor<?xi32>
    %x = pg.cast %t : tensor<?xi32> -> tensor<?xf32>
    %b = pg.broadcast %w {dims = array<i64: 1>} : tensor<2xf32> -> tensor<?x2xf32>
    pg.output "logits", %b : tensor<?x2xf32>
    pg.output "nll", %x : tensor<?xf32>
    return
  }
}
