// A program without a token axis keeps its buffers apart as far as the largest arena allows.
// RUN: pg-opt --pg-plan-memory %s | FileCheck %s --check-prefix=TIGHT
// RUN: pg-opt --pg-plan-memory=spread=true %s | FileCheck %s --check-prefix=SPREAD
module attributes {pg.max_tokens = 128 : i64} {
  pg.state @a : tensor<64x4xf32> {role = "gradient"}
  pg.state @b : tensor<64x4xf32> {role = "gradient"}
  pg.kernel_def @unary attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<64x4xf32>):
    %y = pg.neg %in : tensor<64x4xf32>
    pg.yield %y : tensor<64x4xf32>
  }
  pg.kernel_def @store attributes {modes = array<i64: 1>} {
  ^bb0(%in: tensor<64x4xf32>):
    %y = pg.neg %in : tensor<64x4xf32>
    pg.yield %y : tensor<64x4xf32>
  }
  pg.kernel_def @tokens attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.neg %in : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }

  // 128 * 8 * 4 = 4096 bytes. With or without: tokens decide.
  // TIGHT-LABEL: func.func @tokens_of() attributes {pg.arena_bytes = 4096 : i64
  // SPREAD-LABEL: func.func @tokens_of() attributes {pg.arena_bytes = 4096 : i64
  func.func @tokens_of() {
    %x = pg.input "x" : tensor<?x8xf32>
    %y = pg.launch @tokens(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    pg.output "y", %y : tensor<?x8xf32>
    return
  }

  // Two chains of two buffers of 1,024 bytes. Tight, the second takes the places of the first and so has to follow it;
  // with room for all four, nothing is shared.
  // TIGHT-LABEL: func.func @update() attributes {pg.arena_bytes = 2048 : i64, pg.live_bytes = 2048 : i64}
  // SPREAD-LABEL: func.func @update() attributes {pg.arena_bytes = 4096 : i64, pg.live_bytes = 2048 : i64}
  func.func @update() {
    %a = pg.read_state @a : tensor<64x4xf32>
    // SPREAD: offsets = array<i64: 0>
    %a1 = pg.launch @unary(%a) {scalars = array<f64>} : (tensor<64x4xf32>) -> tensor<64x4xf32>
    // SPREAD: offsets = array<i64: 1024>
    %a2 = pg.launch @unary(%a1) {scalars = array<f64>} : (tensor<64x4xf32>) -> tensor<64x4xf32>
    pg.launch @store(%a2) {scalars = array<f64>, targets = [#pg.target<@a, store>]} : (tensor<64x4xf32>) -> ()
    %b = pg.read_state @b : tensor<64x4xf32>
    // SPREAD: offsets = array<i64: 2048>
    %b1 = pg.launch @unary(%b) {scalars = array<f64>} : (tensor<64x4xf32>) -> tensor<64x4xf32>
    // SPREAD: offsets = array<i64: 3072>
    %b2 = pg.launch @unary(%b1) {scalars = array<f64>} : (tensor<64x4xf32>) -> tensor<64x4xf32>
    pg.launch @store(%b2) {scalars = array<f64>, targets = [#pg.target<@b, store>]} : (tensor<64x4xf32>) -> ()
    return
  }
}
