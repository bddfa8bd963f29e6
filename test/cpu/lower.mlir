// RUN: pg-opt %s --pg-emit-cpu=lower=true | FileCheck %s

// Everything becomes the LLVM dialect; exp and tanh of f32 are polynomials,
// cos of f32 keeps libm's range reduction, f64 calls libm.
// CHECK-DAG: llvm.func @cosf(f32) -> f32
// CHECK-DAG: llvm.func @exp(f64) -> f64
// CHECK-NOT: llvm.func @expf
// CHECK-NOT: llvm.func @tanhf
// CHECK: llvm.func @f32(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr)
// CHECK: llvm.call @cosf
pg.kernel_def @f32 attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x64xf32>):
  %a = pg.exp %x : tensor<?x64xf32>
  %b = pg.tanh %a : tensor<?x64xf32>
  %c = pg.cos %b : tensor<?x64xf32>
  pg.yield %c : tensor<?x64xf32>
}
// CHECK: llvm.func @f64(
// CHECK: llvm.call @exp
pg.kernel_def @f64 attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x64xf64>):
  %a = pg.exp %x : tensor<?x64xf64>
  pg.yield %a : tensor<?x64xf64>
}
