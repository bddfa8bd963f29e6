// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @values
func.func @values(%c: tensor<6x8xi8>, %s: tensor<6xf32>, %l: tensor<6x2xf32>, %r: tensor<2x8xf32>) {
  // CHECK: pg.dequantise %{{.*}}, %{{.*}} : (tensor<6x8xi8>, tensor<6xf32>) -> tensor<6x8xf32>
  %0 = pg.dequantise %c, %s : (tensor<6x8xi8>, tensor<6xf32>) -> tensor<6x8xf32>
  // CHECK: pg.dequantise %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<6x8xi8>, tensor<6xf32>, tensor<6x2xf32>, tensor<2x8xf32>) -> tensor<6x8xf32>
  %1 = pg.dequantise %c, %s, %l, %r : (tensor<6x8xi8>, tensor<6xf32>, tensor<6x2xf32>, tensor<2x8xf32>) -> tensor<6x8xf32>
  return
}

// Products, look-ups and the head read the codes themselves.
// CHECK-LABEL: func.func @readers
func.func @readers(%x: tensor<?x8xbf16>, %y: tensor<?x8xf32>, %c: tensor<6x8xi8>, %t: tensor<?xi32>,
                   %s: tensor<6xf32>, %p: tensor<?x2xf32>, %q: tensor<6x2xf32>) {
  // CHECK: pg.matmul {{.*}} {transpose_b} : tensor<?x8xbf16>, tensor<6x8xi8> -> tensor<?x6xf32>
  %0 = pg.matmul %x, %c {transpose_b} : tensor<?x8xbf16>, tensor<6x8xi8> -> tensor<?x6xf32>
  // CHECK: pg.gather {{.*}} : tensor<6x8xi8>, tensor<?xi32> -> tensor<?x8xi8>
  %1 = pg.gather %c, %t : tensor<6x8xi8>, tensor<?xi32> -> tensor<?x8xi8>
  // CHECK: pg.linear_cross_entropy %{{.*}}, %{{.*}}, %{{.*}} scaled %{{.*}} : (
  %2, %3 = pg.linear_cross_entropy %y, %c, %t scaled %s : (tensor<?x8xf32>, tensor<6x8xi8>, tensor<?xi32>, tensor<6xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  // CHECK: pg.linear_cross_entropy %{{.*}}, %{{.*}}, %{{.*}} scaled %{{.*}} plus %{{.*}}, %{{.*}} {softcap = 3.000000e+01 : f64} : (
  %4, %5 = pg.linear_cross_entropy %x, %c, %t scaled %s plus %p, %q {softcap = 30.0 : f64} : (tensor<?x8xbf16>, tensor<6x8xi8>, tensor<?xi32>, tensor<6xf32>, tensor<?x2xf32>, tensor<6x2xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  return
}
