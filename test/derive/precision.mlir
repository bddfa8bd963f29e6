// RUN: pg-opt --pg-precision=policy=f64 %s | FileCheck %s
// RUN: pg-opt --pg-precision %s | FileCheck --check-prefix=F32 %s
// RUN: not pg-opt --pg-precision=policy=f8 %s 2>&1 | FileCheck --check-prefix=ERR %s

// ERR: unknown precision policy 'f8'; expected f32, f64 or bf16
// CHECK: module attributes {pg.precision = "f64"}
// F32: module attributes {pg.precision = "f32"}
module {
  // CHECK: pg.parameter @w : tensor<2xf64>
  // F32: pg.parameter @w : tensor<2xf32>
  pg.parameter @w : tensor<2xf32> {init = {kind = "normal", std = 0.5 : f64}, group = "g"}
  // CHECK: pg.state @s : tensor<2xf64>
  pg.state @s : tensor<2xf32> {role = "optimizer"}
  // CHECK: func.func private @block(%{{.*}}: tensor<?x2xf64>) -> tensor<?x2xf64>
  func.func private @block(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
    return %x : tensor<?x2xf32>
  }
  // CHECK-LABEL: func.func @entry
  func.func @entry() {
    // The value of a constant does not change: 0.1 as f32, written in f64.
    // CHECK: pg.constant dense<[1.000000e+00, 0.10000000149011612]> : tensor<2xf64>
    // F32: pg.constant dense<[1.000000e+00, 1.000000e-01]> : tensor<2xf32>
    %c = pg.constant dense<[1.0, 0.1]> : tensor<2xf32>
    // CHECK: pg.round %{{.*}} to f32 : tensor<2xf64>
    %r = pg.round %c to f32 : tensor<2xf32>
    // CHECK: pg.iota {axis = 0 : i64} : tensor<2xi32>
    %i = pg.iota {axis = 0 : i64} : tensor<2xi32>
    // CHECK: pg.cast %{{.*}} : tensor<2xi32> -> tensor<2xf64>
    %f = pg.cast %i : tensor<2xi32> -> tensor<2xf32>
    // CHECK: pg.fill 1.000000e-01 : tensor<?x2xf64>
    %x = pg.fill 0.1 : tensor<?x2xf32>
    // CHECK: call @block(%{{.*}}) : (tensor<?x2xf64>) -> tensor<?x2xf64>
    %y = func.call @block(%x) : (tensor<?x2xf32>) -> tensor<?x2xf32>
    return
  }
}
