// RUN: pg-opt --canonicalize --split-input-file %s | FileCheck %s

// CHECK-LABEL: func.func @identities
// CHECK-SAME: (%[[X:.*]]: tensor<?x6xf32>)
// CHECK-NEXT: pg.output "a", %[[X]]
// CHECK-NEXT: pg.output "b", %[[X]]
// CHECK-NEXT: pg.output "c", %[[X]]
// CHECK-NEXT: pg.output "d", %[[X]]
// CHECK-NEXT: pg.output "e", %[[X]]
// CHECK-NEXT: pg.output "f", %[[X]]
func.func @identities(%x: tensor<?x6xf32>) {
  %a = pg.broadcast %x {dims = array<i64: 0, 1>} : tensor<?x6xf32> -> tensor<?x6xf32>
  %b0 = pg.reshape %x : tensor<?x6xf32> -> tensor<?x2x3xf32>
  %b = pg.reshape %b0 : tensor<?x2x3xf32> -> tensor<?x6xf32>
  %c = pg.slice %x {axis = 1 : i64, start = 0 : i64} : tensor<?x6xf32> -> tensor<?x6xf32>
  %d = pg.reduce_sum %x {axes = array<i64>} : tensor<?x6xf32> -> tensor<?x6xf32>
  %e = pg.concat %x {axis = 1 : i64} : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %f = pg.pad %x {axis = 1 : i64, low = 0 : i64} : tensor<?x6xf32> -> tensor<?x6xf32>
  pg.output "a", %a : tensor<?x6xf32>
  pg.output "b", %b : tensor<?x6xf32>
  pg.output "c", %c : tensor<?x6xf32>
  pg.output "d", %d : tensor<?x6xf32>
  pg.output "e", %e : tensor<?x6xf32>
  pg.output "f", %f : tensor<?x6xf32>
  return
}

// -----

// CHECK-LABEL: func.func @chains
// CHECK-SAME: (%[[X:.*]]: tensor<?x6xf32>, %[[W:.*]]: tensor<3xf32>)
// CHECK-NEXT: pg.reshape %[[X]] : tensor<?x6xf32> -> tensor<?x3x2xf32>
// CHECK-NEXT: pg.slice %[[X]] {axis = 1 : i64, start = 3 : i64} : tensor<?x6xf32> -> tensor<?x2xf32>
// CHECK-NEXT: pg.broadcast %[[W]] {dims = array<i64: 2>} : tensor<3xf32> -> tensor<?x2x3xf32>
// CHECK-NEXT: return
func.func @chains(%x: tensor<?x6xf32>, %w: tensor<3xf32>) -> (tensor<?x3x2xf32>, tensor<?x2xf32>, tensor<?x2x3xf32>) {
  %a = pg.reshape %x : tensor<?x6xf32> -> tensor<?x2x3xf32>
  %b = pg.reshape %a : tensor<?x2x3xf32> -> tensor<?x3x2xf32>
  %c = pg.slice %x {axis = 1 : i64, start = 1 : i64} : tensor<?x6xf32> -> tensor<?x5xf32>
  %d = pg.slice %c {axis = 1 : i64, start = 2 : i64} : tensor<?x5xf32> -> tensor<?x2xf32>
  %e = pg.broadcast %w {dims = array<i64: 1>} : tensor<3xf32> -> tensor<2x3xf32>
  %f = pg.broadcast %e {dims = array<i64: 1, 2>} : tensor<2x3xf32> -> tensor<?x2x3xf32>
  return %b, %d, %f : tensor<?x3x2xf32>, tensor<?x2xf32>, tensor<?x2x3xf32>
}

// -----

// CHECK-LABEL: func.func @inverse_transposes
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>)
// CHECK-NEXT: return %[[X]]
func.func @inverse_transposes(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %a = pg.transpose %x {permutation = array<i64: 1, 2, 0>} : tensor<2x3x4xf32> -> tensor<3x4x2xf32>
  %b = pg.transpose %a {permutation = array<i64: 2, 0, 1>} : tensor<3x4x2xf32> -> tensor<2x3x4xf32>
  return %b : tensor<2x3x4xf32>
}

// -----

// A moved fill is a fill, of a token tensor too.
// CHECK-LABEL: func.func @moved_fill
// CHECK-NEXT: %[[F:.*]] = pg.fill 5.000000e-01 : tensor<?x2xf32>
// CHECK-NEXT: return %[[F]]
func.func @moved_fill() -> tensor<?x2xf32> {
  %a = pg.fill 0.5 : tensor<6xf32>
  %b = pg.broadcast %a {dims = array<i64: 1>} : tensor<6xf32> -> tensor<?x6xf32>
  %c = pg.reshape %b : tensor<?x6xf32> -> tensor<?x2x3xf32>
  %d = pg.transpose %c {permutation = array<i64: 0, 2, 1>} : tensor<?x2x3xf32> -> tensor<?x3x2xf32>
  %e = pg.slice %d {axis = 1 : i64, start = 1 : i64} : tensor<?x3x2xf32> -> tensor<?x1x2xf32>
  %f = pg.reshape %e : tensor<?x1x2xf32> -> tensor<?x2xf32>
  return %f : tensor<?x2xf32>
}

// -----

// [[0,1,2],[3,4,5]] -> transposed, sliced, padded, joined, summed.
// CHECK-LABEL: func.func @moved_constant
// CHECK-DAG: %[[T:.*]] = pg.constant dense<{{\[\[}}0.000000e+00, 3.000000e+00], [1.000000e+00, 4.000000e+00], [2.000000e+00, 5.000000e+00]]> : tensor<3x2xf32>
// CHECK-DAG: %[[S:.*]] = pg.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [4.000000e+00, 5.000000e+00]]> : tensor<2x2xf32>
// CHECK-DAG: %[[P:.*]] = pg.constant dense<{{\[\[}}0.000000e+00, 1.000000e+00, 2.000000e+00], [0.000000e+00, 4.000000e+00, 5.000000e+00]]> : tensor<2x3xf32>
// CHECK-DAG: %[[J:.*]] = pg.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 0.000000e+00, 1.000000e+00, 2.000000e+00], [4.000000e+00, 5.000000e+00, 3.000000e+00, 4.000000e+00, 5.000000e+00]]> : tensor<2x5xf32>
// CHECK-DAG: %[[R:.*]] = pg.constant dense<[3.000000e+00, 1.200000e+01]> : tensor<2xf32>
// CHECK: return %[[T]], %[[S]], %[[P]], %[[J]], %[[R]]
func.func @moved_constant() -> (tensor<3x2xf32>, tensor<2x2xf32>, tensor<2x3xf32>, tensor<2x5xf32>, tensor<2xf32>) {
  %x = pg.constant dense<[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]> : tensor<2x3xf32>
  %t = pg.transpose %x {permutation = array<i64: 1, 0>} : tensor<2x3xf32> -> tensor<3x2xf32>
  %s = pg.slice %x {axis = 1 : i64, start = 1 : i64} : tensor<2x3xf32> -> tensor<2x2xf32>
  %p = pg.pad %s {axis = 1 : i64, low = 1 : i64} : tensor<2x2xf32> -> tensor<2x3xf32>
  %j = pg.concat %s, %x {axis = 1 : i64} : (tensor<2x2xf32>, tensor<2x3xf32>) -> tensor<2x5xf32>
  %r = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<2x3xf32> -> tensor<2xf32>
  return %t, %s, %p, %j, %r : tensor<3x2xf32>, tensor<2x2xf32>, tensor<2x3xf32>, tensor<2x5xf32>, tensor<2xf32>
}

// -----

// The sum of a fill over static axes is a fill: 0.5 * 6 = 3; over tokens it is
// not known at compile time.
// CHECK-LABEL: func.func @summed_fill
// CHECK-DAG: %[[A:.*]] = pg.fill 3.000000e+00 : tensor<?xf32>
// CHECK-DAG: %[[F:.*]] = pg.fill 5.000000e-01 : tensor<?x6xf32>
// CHECK: %[[B:.*]] = pg.reduce_sum %[[F]] {axes = array<i64: 0>}
// CHECK: return %[[A]], %[[B]]
func.func @summed_fill() -> (tensor<?xf32>, tensor<6xf32>) {
  %x = pg.fill 0.5 : tensor<?x6xf32>
  %a = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x6xf32> -> tensor<?xf32>
  %b = pg.reduce_sum %x {axes = array<i64: 0>} : tensor<?x6xf32> -> tensor<6xf32>
  return %a, %b : tensor<?xf32>, tensor<6xf32>
}

// -----

// No table above 65,536 elements is made.
// CHECK-LABEL: func.func @large_table
// CHECK: pg.iota
func.func @large_table() -> tensor<70000xf32> {
  %x = pg.iota {axis = 0 : i64} : tensor<70000xf32>
  return %x : tensor<70000xf32>
}
