// RUN: pg-opt -o /dev/null --pg-emit-cuda %s | FileCheck %s

// A warp per row: one 16-byte load, kept in registers from the sum to the
// product; the row's total in every lane; rows behind the end store nothing.

// CHECK: #include <pg_prelude.cuh>
// CHECK: // norm
// CHECK: extern "C" __global__ void __launch_bounds__(128, 1) norm(
// CHECK-NEXT: const float *__restrict__ arg0, float *__restrict__ out0, double arg1, pg_batch batch,
// CHECK: const bool live = (int)(pg_block() * 4 + team) < rows;
// CHECK: pg_vec<float, 4> held;
// CHECK: const pg_vec<float, 4> x0 = pg_load<4>(arg0_row + p);
// CHECK: held[w] = x0[w];
// CHECK: const float total = pg_lanes_sum<32>(sum);
// CHECK-NOT: pg_load
// CHECK: held[w_2] * rsqrt
// CHECK: if (live)
// CHECK-NEXT: pg_store<4>(out0_row + p_2, y0);
// CHECK: // stage norm: 128 threads, 0 bytes of shared memory, blocks [4, 1]
pg.kernel_def @norm attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x128xf32>, %e: f64):
  %0 = pg.mul %x, %x : tensor<?x128xf32>
  %1 = pg.reduce_sum %0 {axes = array<i64: 1>} : tensor<?x128xf32> -> tensor<?xf32>
  %2 = pg.splat %e : tensor<?xf32>
  %3 = pg.add %1, %2 : tensor<?xf32>
  %4 = pg.rsqrt %3 : tensor<?xf32>
  %5 = pg.broadcast %4 {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x128xf32>
  %6 = pg.mul %x, %5 : tensor<?x128xf32>
  pg.yield %6 : tensor<?x128xf32>
}

// A symbol written in place may be one that is read: no __restrict__.
// CHECK: // update
// CHECK: const float *arg0, const float *arg1, float *out0
// CHECK: y[w] = add;
// CHECK: pg_store<4>(out0 + p, y);
pg.kernel_def @update attributes {modes = array<i64: 1>} {
^bb0(%p: tensor<64x12xf32>, %g: tensor<64x12xf32>):
  %0 = pg.add %p, %g : tensor<64x12xf32>
  pg.yield %0 : tensor<64x12xf32>
}
