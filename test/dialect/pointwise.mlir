// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @floats
func.func @floats(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>) {
  // CHECK: pg.add %{{.*}}, %{{.*}} : tensor<?x4xf32>
  %0 = pg.add %x, %y : tensor<?x4xf32>
  // CHECK: pg.sub
  %1 = pg.sub %x, %y : tensor<?x4xf32>
  // CHECK: pg.mul
  %2 = pg.mul %x, %y : tensor<?x4xf32>
  // CHECK: pg.div
  %3 = pg.div %x, %y : tensor<?x4xf32>
  // CHECK: pg.max
  %4 = pg.max %x, %y : tensor<?x4xf32>
  // CHECK: pg.min
  %5 = pg.min %x, %y : tensor<?x4xf32>
  // CHECK: pg.neg %{{.*}} : tensor<?x4xf32>
  %6 = pg.neg %x : tensor<?x4xf32>
  // CHECK: pg.exp
  %7 = pg.exp %x : tensor<?x4xf32>
  // CHECK: pg.log
  %8 = pg.log %x : tensor<?x4xf32>
  // CHECK: pg.tanh
  %9 = pg.tanh %x : tensor<?x4xf32>
  // CHECK: pg.sigmoid
  %10 = pg.sigmoid %x : tensor<?x4xf32>
  // CHECK: pg.sqrt
  %11 = pg.sqrt %x : tensor<?x4xf32>
  // CHECK: pg.rsqrt
  %12 = pg.rsqrt %x : tensor<?x4xf32>
  // CHECK: pg.abs
  %13 = pg.abs %x : tensor<?x4xf32>
  // CHECK: pg.sin
  %14 = pg.sin %x : tensor<?x4xf32>
  // CHECK: pg.cos
  %15 = pg.cos %x : tensor<?x4xf32>
  // CHECK: pg.erf
  %16 = pg.erf %x : tensor<?x4xf32>
  // CHECK: pg.round %{{.*}} to bf16 : tensor<?x4xf32>
  %17 = pg.round %x to bf16 : tensor<?x4xf32>
  // CHECK: pg.round %{{.*}} to i32 : tensor<?x4xf32>
  %int = pg.round %x to i32 : tensor<?x4xf32>
  // CHECK: pg.stop_gradient %{{.*}} : tensor<?x4xf32>
  %18 = pg.stop_gradient %x : tensor<?x4xf32>
  // CHECK: pg.cast %{{.*}} : tensor<?x4xf32> -> tensor<?x4xbf16>
  %19 = pg.cast %x : tensor<?x4xf32> -> tensor<?x4xbf16>
  // CHECK: pg.compare lt %{{.*}}, %{{.*}} : tensor<?x4xf32> -> tensor<?x4xi1>
  %20 = pg.compare lt %x, %y : tensor<?x4xf32> -> tensor<?x4xi1>
  // CHECK: pg.select %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x4xi1>, tensor<?x4xf32>
  %21 = pg.select %20, %x, %y : tensor<?x4xi1>, tensor<?x4xf32>
  return
}

// CHECK-LABEL: func.func @integers
func.func @integers(%x: tensor<?xi32>, %y: tensor<?xi32>) {
  // CHECK: pg.xor %{{.*}}, %{{.*}} : tensor<?xi32>
  %0 = pg.xor %x, %y : tensor<?xi32>
  // CHECK: pg.and
  %1 = pg.and %x, %y : tensor<?xi32>
  // CHECK: pg.rem
  %2 = pg.rem %x, %y : tensor<?xi32>
  // CHECK: pg.mul %{{.*}} : tensor<?xi32>
  %3 = pg.mul %x, %y : tensor<?xi32>
  return
}
