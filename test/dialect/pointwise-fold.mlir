// RUN: pg-opt --canonicalize --split-input-file %s | FileCheck %s

// A constant equal to 1 leaves nothing; another leaves one op. Layers therefore
// differ only by that op.
// CHECK-LABEL: func.func @neutral_elements
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>)
// CHECK-NEXT: pg.output "a", %[[X]]
// CHECK-NEXT: pg.output "b", %[[X]]
// CHECK-NEXT: pg.output "c", %[[X]]
// CHECK-NEXT: pg.output "d", %[[X]]
// CHECK-NEXT: pg.output "e", %[[X]]
// CHECK-NEXT: return
func.func @neutral_elements(%x: tensor<?x4xf32>) {
  %one = pg.fill 1.0 : tensor<?x4xf32>
  %zero = pg.fill 0.0 : tensor<?x4xf32>
  %ones = pg.constant dense<1.0> : tensor<4xf32>
  %wide = pg.broadcast %ones {dims = array<i64: 1>} : tensor<4xf32> -> tensor<?x4xf32>
  %a = pg.mul %one, %x : tensor<?x4xf32>
  %b = pg.add %zero, %x : tensor<?x4xf32>
  %c = pg.sub %x, %zero : tensor<?x4xf32>
  %d = pg.div %x, %one : tensor<?x4xf32>
  %e = pg.mul %x, %wide : tensor<?x4xf32>
  pg.output "a", %a : tensor<?x4xf32>
  pg.output "b", %b : tensor<?x4xf32>
  pg.output "c", %c : tensor<?x4xf32>
  pg.output "d", %d : tensor<?x4xf32>
  pg.output "e", %e : tensor<?x4xf32>
  return
}

// -----

// 2 * 3 + 1 = 7; 7 is not neutral, so the product stays.
// CHECK-LABEL: func.func @fills
// CHECK: %[[C:.*]] = pg.fill 7.000000e+00 : tensor<?x4xf32>
// CHECK-NEXT: pg.mul %{{.*}}, %[[C]]
func.func @fills(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = pg.fill 2.0 : tensor<?x4xf32>
  %b = pg.fill 3.0 : tensor<?x4xf32>
  %c = pg.fill 1.0 : tensor<?x4xf32>
  %ab = pg.mul %a, %b : tensor<?x4xf32>
  %abc = pg.add %ab, %c : tensor<?x4xf32>
  %y = pg.mul %abc, %x : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// The table of rotary frequencies: 1 / 100^(i / 2) for i = 0, 1, 2 through the
// host's exp and log in double, rounded once: 1, 0.1, 0.01.
// CHECK-LABEL: func.func @frequencies
// CHECK-NEXT: pg.constant dense<[1.000000e+00, 1.000000e-01, 0.00999999977]> : tensor<3xf32>
func.func @frequencies() -> tensor<3xf32> {
  %i = pg.iota {axis = 0 : i64} : tensor<3xf64>
  %base = pg.fill 100.0 : tensor<3xf64>
  %two = pg.fill 2.0 : tensor<3xf64>
  %log = pg.log %base : tensor<3xf64>
  %e = pg.div %i, %two : tensor<3xf64>
  %p = pg.mul %e, %log : tensor<3xf64>
  %n = pg.neg %p : tensor<3xf64>
  %f = pg.exp %n : tensor<3xf64>
  %y = pg.cast %f : tensor<3xf64> -> tensor<3xf32>
  return %y : tensor<3xf32>
}

// -----

// bf16 has 8 bits of significand: 1 + 2^-8 lies half way and goes to even (1),
// 1 + 3 2^-8 to 1 + 2^-6.
// CHECK-LABEL: func.func @rounding
// CHECK-NEXT: pg.constant dense<[1.000000e+00, 1.015625]> : tensor<2xf32>
func.func @rounding() -> tensor<2xf32> {
  %x = pg.constant dense<[1.00390625, 1.01171875]> : tensor<2xf32>
  %y = pg.round %x to bf16 : tensor<2xf32>
  return %y : tensor<2xf32>
}

// -----

// Halves go to the even neighbour.
// CHECK-LABEL: func.func @rounding_to_integers
// CHECK-NEXT: pg.constant dense<[2.000000e+00, 4.000000e+00, -0.000000e+00, 3.000000e+00]> : tensor<4xf32>
func.func @rounding_to_integers() -> tensor<4xf32> {
  %x = pg.constant dense<[2.5, 3.5, -0.5, 2.6]> : tensor<4xf32>
  %y = pg.round %x to i32 : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// Products wrap to 32 bits: 65537 * 65537 = 2^32 + 131073.
// CHECK-LABEL: func.func @integers
// CHECK-NEXT: pg.constant dense<[131073, 12]> : tensor<2xi32>
func.func @integers() -> tensor<2xi32> {
  %x = pg.constant dense<[65537, 4]> : tensor<2xi32>
  %y = pg.constant dense<[65537, 3]> : tensor<2xi32>
  %z = pg.mul %x, %y : tensor<2xi32>
  return %z : tensor<2xi32>
}

// -----

// A remainder by zero is not folded.
// CHECK-LABEL: func.func @remainder_by_zero
// CHECK: pg.rem
func.func @remainder_by_zero() -> tensor<2xi32> {
  %x = pg.constant dense<[5, 4]> : tensor<2xi32>
  %y = pg.constant dense<[2, 0]> : tensor<2xi32>
  %z = pg.rem %x, %y : tensor<2xi32>
  return %z : tensor<2xi32>
}

// -----

// CHECK-LABEL: func.func @choices
// CHECK-SAME: (%[[X:.*]]: tensor<2xf32>, %[[Y:.*]]: tensor<2xf32>)
// CHECK-NEXT: return %[[X]], %[[Y]]
func.func @choices(%x: tensor<2xf32>, %y: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %a = pg.fill 1.0 : tensor<2xf32>
  %b = pg.fill 2.0 : tensor<2xf32>
  %lt = pg.compare lt %a, %b : tensor<2xf32> -> tensor<2xi1>
  %ge = pg.compare ge %a, %b : tensor<2xf32> -> tensor<2xi1>
  %p = pg.select %lt, %x, %y : tensor<2xi1>, tensor<2xf32>
  %q = pg.select %ge, %x, %y : tensor<2xi1>, tensor<2xf32>
  return %p, %q : tensor<2xf32>, tensor<2xf32>
}

// -----

// CHECK-LABEL: func.func @involutions
// CHECK-SAME: (%[[X:.*]]: tensor<2xf32>)
// CHECK-NEXT: %[[R:.*]] = pg.round %[[X]] to bf16
// CHECK-NEXT: return %[[X]], %[[R]]
func.func @involutions(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %n = pg.neg %x : tensor<2xf32>
  %nn = pg.neg %n : tensor<2xf32>
  %r = pg.round %x to bf16 : tensor<2xf32>
  %rr = pg.round %r to bf16 : tensor<2xf32>
  return %nn, %rr : tensor<2xf32>, tensor<2xf32>
}
