// RUN: pg-opt --pg-decompose %s | FileCheck %s
// RUN: pg-opt --pg-decompose=small-product=0 %s | FileCheck %s --check-prefix=WHOLE

// The scale is a factor of the product's columns; a correction is two thin products.
// WHOLE-LABEL: func.func @product
// WHOLE-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[C:.*]]: tensor<6x8xi8>, %[[S:.*]]: tensor<6xf32>, %[[L:.*]]: tensor<6x2xf32>, %[[R:.*]]: tensor<2x8xf32>)
func.func @product(%x: tensor<?x8xf32>, %c: tensor<6x8xi8>, %s: tensor<6xf32>, %l: tensor<6x2xf32>, %r: tensor<2x8xf32>) -> tensor<?x6xf32> {
  // WHOLE: %[[T:.*]] = pg.matmul %[[X]], %[[R]] {transpose_b} : tensor<?x8xf32>, tensor<2x8xf32> -> tensor<?x2xf32>
  // WHOLE: %[[P:.*]] = pg.matmul %[[T]], %[[L]] {transpose_b}
  // WHOLE: %[[Y:.*]] = pg.matmul %[[X]], %[[C]] {transpose_b} : tensor<?x8xf32>, tensor<6x8xi8> -> tensor<?x6xf32>
  // WHOLE: %[[B:.*]] = pg.broadcast %[[S]] {dims = array<i64: 1>} : tensor<6xf32> -> tensor<?x6xf32>
  // WHOLE: %[[M:.*]] = pg.mul %[[Y]], %[[B]]
  // WHOLE: pg.add %[[M]], %[[P]]
  %w = pg.dequantise %c, %s, %l, %r : (tensor<6x8xi8>, tensor<6xf32>, tensor<6x2xf32>, tensor<2x8xf32>) -> tensor<6x8xf32>
  %y = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<6x8xf32> -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// Contracted over the rows of codes, the scale goes to the other factor.
// WHOLE-LABEL: func.func @by_rows
func.func @by_rows(%x: tensor<?x6xf32>, %c: tensor<6x8xi8>, %s: tensor<6xf32>) -> tensor<?x8xf32> {
  // WHOLE: %[[B:.*]] = pg.broadcast %{{.*}} {dims = array<i64: 1>} : tensor<6xf32> -> tensor<?x6xf32>
  // WHOLE: %[[X:.*]] = pg.mul %{{.*}}, %[[B]]
  // WHOLE: pg.matmul %[[X]], %{{.*}} : tensor<?x6xf32>, tensor<6x8xi8> -> tensor<?x8xf32>
  %w = pg.dequantise %c, %s : (tensor<6x8xi8>, tensor<6xf32>) -> tensor<6x8xf32>
  %y = pg.matmul %x, %w : tensor<?x6xf32>, tensor<6x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// A table that is looked up and tied to the head is read as codes in both places.
// CHECK-LABEL: func.func @tied
// CHECK-SAME: (%[[T:.*]]: tensor<?xi32>, %[[C:.*]]: tensor<16x8xi8>, %[[S:.*]]: tensor<16xf32>, %[[L:.*]]: tensor<16x2xf32>
func.func @tied(%t: tensor<?xi32>, %c: tensor<16x8xi8>, %s: tensor<16xf32>, %l: tensor<16x2xf32>, %r: tensor<2x8xf32>) -> tensor<?xf32> {
  %w = pg.dequantise %c, %s, %l, %r : (tensor<16x8xi8>, tensor<16xf32>, tensor<16x2xf32>, tensor<2x8xf32>) -> tensor<16x8xf32>
  // CHECK: %[[G:.*]] = pg.gather %[[C]], %[[T]] : tensor<16x8xi8>, tensor<?xi32> -> tensor<?x8xi8>
  // CHECK: pg.cast %[[G]] : tensor<?x8xi8> -> tensor<?x8xf32>
  // CHECK: pg.gather %[[S]], %[[T]] : tensor<16xf32>, tensor<?xi32> -> tensor<?xf32>
  // CHECK: pg.gather %[[L]], %[[T]] : tensor<16x2xf32>, tensor<?xi32> -> tensor<?x2xf32>
  %x = pg.gather %w, %t : tensor<16x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // CHECK-NOT: pg.matmul
  // CHECK: pg.linear_cross_entropy %{{.*}}, %[[C]], %[[T]] scaled %[[S]] plus %{{.*}}, %[[L]] {softcap = 3.000000e+01 : f64}
  %nll, %lse = pg.linear_cross_entropy %x, %w, %t {softcap = 30.0 : f64} : (tensor<?x8xf32>, tensor<16x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  return %nll : tensor<?xf32>
}

// A product small enough for a row reads codes there.
// CHECK-LABEL: func.func @small
func.func @small(%x: tensor<?x8xf32>, %c: tensor<6x8xi8>, %s: tensor<6xf32>) -> tensor<?x6xf32> {
  // CHECK: %[[B:.*]] = pg.broadcast %{{.*}} : tensor<6x8xi8> -> tensor<?x6x8xi8>
  // CHECK: pg.cast %[[B]] : tensor<?x6x8xi8> -> tensor<?x6x8xf32>
  // CHECK: pg.reduce_sum
  // CHECK-NOT: pg.matmul
  %w = pg.dequantise %c, %s : (tensor<6x8xi8>, tensor<6xf32>) -> tensor<6x8xf32>
  %y = pg.matmul %x, %w {transpose_b} : tensor<?x8xf32>, tensor<6x8xf32> -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// Any other reader gets the value, made once.
// CHECK-LABEL: func.func @value
func.func @value(%c: tensor<6x8xi8>, %s: tensor<6xf32>) -> (tensor<6x8xf32>, tensor<6x8xf32>) {
  // CHECK: %[[N:.*]] = pg.cast %{{.*}} : tensor<6x8xi8> -> tensor<6x8xf32>
  // CHECK: %[[B:.*]] = pg.broadcast %{{.*}} {dims = array<i64: 0>} : tensor<6xf32> -> tensor<6x8xf32>
  // CHECK: %[[W:.*]] = pg.mul %[[N]], %[[B]]
  // CHECK-NOT: pg.mul
  %w = pg.dequantise %c, %s : (tensor<6x8xi8>, tensor<6xf32>) -> tensor<6x8xf32>
  // CHECK: pg.exp %[[W]]
  %0 = pg.exp %w : tensor<6x8xf32>
  // CHECK: pg.neg %[[W]]
  %1 = pg.neg %w : tensor<6x8xf32>
  return %0, %1 : tensor<6x8xf32>, tensor<6x8xf32>
}
