// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @shapes
func.func @shapes(%x: tensor<?x6xf32>, %w: tensor<6xf32>, %table: tensor<9x6xf32>, %i: tensor<?xi32>, %rows: tensor<2xi32>) {
  // CHECK: pg.constant dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>
  %0 = pg.constant dense<[1.0, 2.0]> : tensor<2xf32>
  // CHECK: pg.fill 5.000000e-01 : tensor<?x6xf32>
  %1 = pg.fill 0.5 : tensor<?x6xf32>
  // CHECK: pg.broadcast %{{.*}} {dims = array<i64: 1>} : tensor<6xf32> -> tensor<?x6xf32>
  %2 = pg.broadcast %w {dims = array<i64: 1>} : tensor<6xf32> -> tensor<?x6xf32>
  // CHECK: pg.reshape %{{.*}} : tensor<?x6xf32> -> tensor<?x2x3xf32>
  %3 = pg.reshape %x : tensor<?x6xf32> -> tensor<?x2x3xf32>
  // CHECK: pg.transpose %{{.*}} {permutation = array<i64: 0, 2, 1>} : tensor<?x2x3xf32> -> tensor<?x3x2xf32>
  %4 = pg.transpose %3 {permutation = array<i64: 0, 2, 1>} : tensor<?x2x3xf32> -> tensor<?x3x2xf32>
  // CHECK: pg.slice %{{.*}} {axis = 1 : i64, start = 2 : i64} : tensor<?x6xf32> -> tensor<?x3xf32>
  %5 = pg.slice %x {axis = 1 : i64, start = 2 : i64} : tensor<?x6xf32> -> tensor<?x3xf32>
  // CHECK: pg.pad %{{.*}} {axis = 1 : i64, low = 2 : i64} : tensor<?x3xf32> -> tensor<?x6xf32>
  %6 = pg.pad %5 {axis = 1 : i64, low = 2 : i64} : tensor<?x3xf32> -> tensor<?x6xf32>
  // CHECK: pg.concat %{{.*}}, %{{.*}} {axis = 1 : i64} : (tensor<?x6xf32>, tensor<?x3xf32>) -> tensor<?x9xf32>
  %7 = pg.concat %x, %5 {axis = 1 : i64} : (tensor<?x6xf32>, tensor<?x3xf32>) -> tensor<?x9xf32>
  // CHECK: pg.token_shift %{{.*}} within row {distance = 1 : i64} : tensor<?x6xf32>
  %8 = pg.token_shift %x within row {distance = 1 : i64} : tensor<?x6xf32>
  // CHECK: pg.gather %{{.*}}, %{{.*}} : tensor<9x6xf32>, tensor<?xi32> -> tensor<?x6xf32>
  %9 = pg.gather %table, %i : tensor<9x6xf32>, tensor<?xi32> -> tensor<?x6xf32>
  // CHECK: pg.gather_grad %{{.*}}, %{{.*}} : tensor<?x6xf32>, tensor<?xi32> -> tensor<9x6xf32>
  %10 = pg.gather_grad %x, %i : tensor<?x6xf32>, tensor<?xi32> -> tensor<9x6xf32>
  // CHECK: pg.pick %{{.*}}, %{{.*}} : tensor<?x6xf32>, tensor<?xi32> -> tensor<?xf32>
  %11 = pg.pick %x, %i : tensor<?x6xf32>, tensor<?xi32> -> tensor<?xf32>
  // CHECK: pg.iota {axis = 1 : i64} : tensor<?x6xi32>
  %12 = pg.iota {axis = 1 : i64} : tensor<?x6xi32>
  // CHECK: pg.take_rows %{{.*}}, %{{.*}} : tensor<?x6xf32>, tensor<2xi32> -> tensor<2x6xf32>
  %13 = pg.take_rows %x, %rows : tensor<?x6xf32>, tensor<2xi32> -> tensor<2x6xf32>
  return
}

// Narrow rows are added up wide.
// CHECK-LABEL: func.func @narrow_rows
func.func @narrow_rows(%dy: tensor<?x6xbf16>, %i: tensor<?xi32>) {
  // CHECK: pg.gather_grad {{.*}} : tensor<?x6xbf16>, tensor<?xi32> -> tensor<9x6xf32>
  %0 = pg.gather_grad %dy, %i : tensor<?x6xbf16>, tensor<?xi32> -> tensor<9x6xf32>
  return
}
