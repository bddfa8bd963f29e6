// Results of row kernels where an operand ends. 100 tokens: [N, 8] f32 is 3200
// bytes, [N] 400, rounded up to 448.
// RUN: pg-opt --pass-pipeline='builtin.module(pg-plan-memory{in-place=true})' %s | FileCheck %s
// RUN: pg-opt --pg-plan-memory %s | FileCheck %s --check-prefix=APART
module attributes {pg.max_tokens = 100 : i64} {
  pg.kernel_def @unary attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.neg %in : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  // A softmax: the row is read for its sum before any of it is written, and then
  // at the place that is written.
  pg.kernel_def @softmax attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %e = pg.exp %in : tensor<?x8xf32>
    %s = pg.reduce_sum %e {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
    %b = pg.broadcast %s {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x8xf32>
    %y = pg.div %e, %b : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  // Rows turned round: element i is written when element 7 - i must still be read.
  pg.kernel_def @halves attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %l = pg.slice %in {axis = 1 : i64, start = 0 : i64} : tensor<?x8xf32> -> tensor<?x4xf32>
    %r = pg.slice %in {axis = 1 : i64, start = 4 : i64} : tensor<?x8xf32> -> tensor<?x4xf32>
    %y = pg.concat %r, %l {axis = 1 : i64} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  pg.kernel_def @shift attributes {modes = array<i64: 0>} {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.token_shift %in within row {distance = 1 : i64} : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  // The picked element is read after the row has been written, for it waits for
  // the sum of what is written.
  pg.kernel_def @late_read attributes {modes = array<i64: 0, 0>} {
  ^bb0(%in: tensor<?x8xf32>, %t: tensor<?xi32>):
    %y = pg.neg %in : tensor<?x8xf32>
    %s = pg.reduce_sum %y {axes = array<i64: 1>} : tensor<?x8xf32> -> tensor<?xf32>
    %p = pg.pick %in, %t : tensor<?x8xf32>, tensor<?xi32> -> tensor<?xf32>
    %z = pg.mul %s, %p : tensor<?xf32>
    pg.yield %y, %z : tensor<?x8xf32>, tensor<?xf32>
  }
  pg.kernel_def @both attributes {modes = array<i64: 0>} {
  ^bb0(%a: tensor<?x8xf32>, %b: tensor<?x2x4xf32>):
    %r = pg.reshape %b : tensor<?x2x4xf32> -> tensor<?x8xf32>
    %y = pg.add %a, %r : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }

  // One place for the whole chain.
  // CHECK-LABEL: func.func @chain() attributes {pg.arena_bytes = 3200 : i64, pg.live_bytes = 3200 : i64}
  // APART-LABEL: func.func @chain() attributes {pg.arena_bytes = 6400 : i64, pg.live_bytes = 6400 : i64}
  func.func @chain() {
    %x = pg.input "x" : tensor<?x8xf32>
    // CHECK-COUNT-3: offsets = array<i64: 0>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %b = pg.launch @softmax(%a) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %c = pg.launch @unary(%b) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    pg.output "c", %c : tensor<?x8xf32>
    return
  }

  // Read again afterwards, read at other places of the row, at other tokens, after
  // the write, or through a view: two places. Inputs are never written.
  // CHECK-LABEL: func.func @read_again() attributes {pg.arena_bytes = 6400 : i64
  func.func @read_again() {
    %x = pg.input "x" : tensor<?x8xf32>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %b = pg.launch @unary(%a) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    pg.output "a", %a : tensor<?x8xf32>
    pg.output "b", %b : tensor<?x8xf32>
    return
  }
  // CHECK-LABEL: func.func @other_place() attributes {pg.arena_bytes = 6400 : i64
  func.func @other_place() {
    %x = pg.input "x" : tensor<?x8xf32>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %b = pg.launch @halves(%a) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    pg.output "b", %b : tensor<?x8xf32>
    return
  }
  // CHECK-LABEL: func.func @other_token() attributes {pg.arena_bytes = 6400 : i64
  func.func @other_token() {
    %x = pg.input "x" : tensor<?x8xf32>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %b = pg.launch @shift(%a) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    pg.output "b", %b : tensor<?x8xf32>
    return
  }
  // CHECK-LABEL: func.func @after_the_write() attributes {pg.arena_bytes = 6848 : i64
  func.func @after_the_write() {
    %x = pg.input "x" : tensor<?x8xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %b, %z = pg.launch @late_read(%a, %t) {scalars = array<f64>} : (tensor<?x8xf32>, tensor<?xi32>) -> (tensor<?x8xf32>, tensor<?xf32>)
    pg.output "b", %b : tensor<?x8xf32>
    pg.output "z", %z : tensor<?xf32>
    return
  }
  // CHECK-LABEL: func.func @through_a_view() attributes {pg.arena_bytes = 6400 : i64
  func.func @through_a_view() {
    %x = pg.input "x" : tensor<?x8xf32>
    %a = pg.launch @unary(%x) {scalars = array<f64>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %v = pg.reshape %a : tensor<?x8xf32> -> tensor<?x2x4xf32>
    %b = pg.launch @both(%a, %v) {scalars = array<f64>} : (tensor<?x8xf32>, tensor<?x2x4xf32>) -> tensor<?x8xf32>
    pg.output "b", %b : tensor<?x8xf32>
    return
  }
}
