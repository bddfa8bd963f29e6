// Offsets at pg.max_tokens = 100 tokens.
// RUN: pg-opt --pg-plan-memory %s | FileCheck %s
module attributes {pg.max_tokens = 100 : i64} {
  pg.kernel_def @unary attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.neg %in : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  pg.kernel_def @narrow attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.reduce_sum %in {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
    pg.yield %y : tensor<?xf32>
  }
  pg.kernel_def @partial attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.partial_sum %in : tensor<?x8xf32> -> tensor<?x8xf32, #pg.chunks<64>>
    pg.yield %y : tensor<?x8xf32, #pg.chunks<64>>
  }

  // [N, 8] f32: 100 * 8 * 4 = 3200 bytes, a multiple of 64.
  // %a lives in launches 0-1, %b in 1-2, %c in 2-3, %d to the end: two at a
  // time, 6400 bytes. %c takes the place of %a.
  // CHECK-LABEL: func.func @chain() attributes {pg.arena_bytes = 6400 : i64, pg.live_bytes = 6400 : i64}
  func.func @chain() {
    %x = pg.input "x" : tensor<?x8xf32>
    // CHECK: offsets = array<i64: 0>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    // CHECK: offsets = array<i64: 3200>
    %b = pg.launch @unary(%a) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    // CHECK: offsets = array<i64: 0>
    %c = pg.launch @unary(%b) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    // CHECK: offsets = array<i64: 3200>
    %d = pg.launch @unary(%c) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    pg.output "d", %d : tensor<?x8xf32>
    return
  }

  // %s is [N] f32: 400 bytes, rounded up to 448 (7 * 64). %p is [chunks, 8]:
  // ceil(100 / 64) = 2 chunks * 32 bytes = 64. An output lives to the end, so
  // %a (3200), %s and %p live together: 3200 + 448 + 64 = 3712. A view adds
  // nothing.
  // CHECK-LABEL: func.func @sizes() attributes {pg.arena_bytes = 3712 : i64, pg.live_bytes = 3712 : i64}
  func.func @sizes() {
    %x = pg.input "x" : tensor<?x8xf32>
    // CHECK: offsets = array<i64: 0>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %v = pg.reshape %a : tensor<?x8xf32> -> tensor<?x2x4xf32>
    // CHECK: offsets = array<i64: 3200>
    %s = pg.launch @narrow(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?xf32>
    // CHECK: offsets = array<i64: 3648>
    %p = pg.launch @partial(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32, #pg.chunks<64>>
    pg.output "v", %v : tensor<?x2x4xf32>
    pg.output "s", %s : tensor<?xf32>
    pg.output "p", %p : tensor<?x8xf32, #pg.chunks<64>>
    return
  }

  // No launches, no arena.
  // CHECK-LABEL: func.func @empty() attributes {pg.arena_bytes = 0 : i64, pg.live_bytes = 0 : i64}
  func.func @empty() {
    %x = pg.input "x" : tensor<?x8xf32>
    pg.output "x", %x : tensor<?x8xf32>
    return
  }
}
