// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @losses
func.func @losses(%z: tensor<?x64xf32>, %x: tensor<?x8xf32>, %w: tensor<64x8xf32>, %t: tensor<?xi32>) {
  // CHECK: pg.cross_entropy %{{.*}}, %{{.*}} : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
  %0 = pg.cross_entropy %z, %t : tensor<?x64xf32>, tensor<?xi32> -> tensor<?xf32>
  // CHECK: pg.linear_cross_entropy %{{.*}} {softcap = 3.000000e+01 : f64} : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  %nll, %lse = pg.linear_cross_entropy %x, %w, %t {softcap = 30.0 : f64} : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  // CHECK: pg.linear_cross_entropy_grad_x %{{.*}} -> tensor<?x8xf32>
  %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %lse, %nll {softcap = 30.0 : f64} : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x8xf32>
  // CHECK: pg.linear_cross_entropy_grad_w %{{.*}} -> tensor<64x8xf32>
  %dw = pg.linear_cross_entropy_grad_w %x, %w, %t, %lse, %nll {softcap = 30.0 : f64} : (tensor<?x8xf32>, tensor<64x8xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<64x8xf32>
  return
}

// CHECK-LABEL: func.func @narrow
func.func @narrow(%x: tensor<?x8xbf16>, %w: tensor<64x8xbf16>, %t: tensor<?xi32>) {
  // CHECK: pg.linear_cross_entropy {{.*}} -> (tensor<?xf32>, tensor<?xf32>)
  %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x8xbf16>, tensor<64x8xbf16>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
  // CHECK: pg.linear_cross_entropy_grad_x {{.*}} -> tensor<?x8xf32>
  %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %lse, %nll : (tensor<?x8xbf16>, tensor<64x8xbf16>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x8xf32>
  // CHECK: pg.linear_cross_entropy_grad_w {{.*}} -> tensor<64x8xf32>
  %dw = pg.linear_cross_entropy_grad_w %x, %w, %t, %lse, %nll : (tensor<?x8xbf16>, tensor<64x8xbf16>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<64x8xf32>
  return
}
