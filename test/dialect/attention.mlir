// RUN: pg-opt --verify-roundtrip %s | FileCheck %s

// CHECK-LABEL: func.func @core
func.func @core(%q: tensor<?x4x8xf32>, %k: tensor<?x2x8xf32>, %v: tensor<?x2x6xf32>, %c: tensor<?x3xf32>, %dout: tensor<?x4x6xf32>, %delta: tensor<?x4xf32>) {
  // CHECK: pg.rotate %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x4x8xf32>, tensor<?x3xf32>
  %r = pg.rotate %q, %c, %c : tensor<?x4x8xf32>, tensor<?x3xf32>
  // CHECK: pg.attention %{{.*}}, %{{.*}}, %{{.*}} {scale = 1.250000e-01 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>) -> (tensor<?x4x6xf32>, tensor<?x4xf32>)
  %o, %lse = pg.attention %r, %k, %v {scale = 0.125 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>) -> (tensor<?x4x6xf32>, tensor<?x4xf32>)
  // CHECK: pg.attention {{.*}} {scale = 1.250000e-01 : f64, window = 5 : i64, within = 0 : i32}
  %o1, %lse1 = pg.attention %r, %k, %v {scale = 0.125 : f64, window = 5 : i64, within = 0 : i32} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>) -> (tensor<?x4x6xf32>, tensor<?x4xf32>)
  // CHECK: pg.attention_grad %{{.*}} {scale = 1.250000e-01 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>, tensor<?x4x6xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>)
  %dq, %dk, %dv = pg.attention_grad %r, %k, %v, %dout, %lse, %delta {scale = 0.125 : f64} : (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>, tensor<?x4x6xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>)
  return
}

// Factors may be narrower than sums; the statistics are as wide as the sums.
// CHECK-LABEL: func.func @narrow
func.func @narrow(%q: tensor<?x4x8xbf16>, %k: tensor<?x2x8xbf16>, %v: tensor<?x2x6xbf16>, %dout: tensor<?x4x6xbf16>, %delta: tensor<?x4xf32>) {
  // CHECK: pg.attention {{.*}} -> (tensor<?x4x6xf32>, tensor<?x4xf32>)
  %o, %lse = pg.attention %q, %k, %v {scale = 0.125 : f64} : (tensor<?x4x8xbf16>, tensor<?x2x8xbf16>, tensor<?x2x6xbf16>) -> (tensor<?x4x6xf32>, tensor<?x4xf32>)
  // CHECK: pg.attention_grad {{.*}} -> (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>)
  %dq, %dk, %dv = pg.attention_grad %q, %k, %v, %dout, %lse, %delta {scale = 0.125 : f64} : (tensor<?x4x8xbf16>, tensor<?x2x8xbf16>, tensor<?x2x6xbf16>, tensor<?x4x6xbf16>, tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4x8xf32>, tensor<?x2x8xf32>, tensor<?x2x6xf32>)
  return
}
