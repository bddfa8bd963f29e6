// RUN: pg-opt --pg-inline --split-input-file --verify-diagnostics %s

// expected-error@+1 {{function 'loop' calls itself}}
func.func private @loop(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-remark@+1 {{called from here}}
  %0 = func.call @loop(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @entry() {
  %x = pg.fill 0.5 : tensor<4xf32>
  // expected-remark@+1 {{called from here}}
  %0 = func.call @loop(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func private @declared(tensor<4xf32>) -> tensor<4xf32>
func.func @entry() {
  %x = pg.fill 0.5 : tensor<4xf32>
  // expected-error@+1 {{callee 'declared' has no body in this module}}
  %0 = func.call @declared(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

// A table that some token ids are outside of.
module attributes {pg.vocabulary = 16 : i64} {
  pg.parameter @"w" : tensor<8x4xf32> {init = {kind = "zeros"}, group = "embed", quant = ""}
  func.func private @look(%w: tensor<8x4xf32>, %t: tensor<?xi32>) -> tensor<?x4xf32> {
    // expected-error@+1 {{token ids up to 15 are looked up in a table of 8 rows}}
    %0 = pg.gather %w, %t : tensor<8x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  }
  func.func @entry() {
    %w = pg.param @"w" : tensor<8x4xf32>
    %t = pg.input "tokens" : tensor<?xi32>
    %0 = func.call @look(%w, %t) : (tensor<8x4xf32>, tensor<?xi32>) -> tensor<?x4xf32>
    pg.output "x", %0 : tensor<?x4xf32>
    return
  }
}
