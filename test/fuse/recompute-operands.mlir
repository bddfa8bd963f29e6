// Under a memory limit operands of both parts are rebuilt before any product is, and where
// they are not to be kept at all without one.
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=4096000})' %s | FileCheck %s --check-prefix=KEEP
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=3100000})' %s | FileCheck %s --check-prefix=REBUILD
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{keeps-operands=false})' %s | FileCheck %s --check-prefix=REBUILD
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=3100000},pg-schedule,pg-fuse,pg-outline,pg-plan-memory)' %s | FileCheck %s --check-prefix=PLAN

// At 1000 tokens a [N, 256] f32 tensor is 1,024,000 bytes. When %r is made, %p, %s, %q
// and %r live; without %s one less.
module attributes {pg.max_tokens = 1000 : i64} {
  pg.parameter @w : tensor<256x256xf32> {init = {kind = "zeros"}, group = "matrix"}
  // KEEP-NOT: pg.recompute
  // KEEP: pg.output
  // REBUILD: pg.sqrt %{{.*}} {pg.backward, pg.recompute}
  // REBUILD-NOT: pg.matmul {{.*}}pg.recompute
  // REBUILD: pg.output
  // PLAN: pg.arena_bytes = 3072000
  func.func @accumulate() {
    %x = pg.input "x" : tensor<?x256xf32>
    %w = pg.param @w : tensor<256x256xf32>
    %p = pg.matmul %x, %w : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %s = pg.sqrt %p : tensor<?x256xf32>
    %q = pg.matmul %s, %w : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %r = pg.matmul %q, %w {pg.backward} : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %rp = pg.mul %r, %p {pg.backward} : tensor<?x256xf32>
    %d = pg.matmul %rp, %w {pg.backward} : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %e = pg.matmul %s, %w {pg.backward} : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %f = pg.add %d, %e {pg.backward} : tensor<?x256xf32>
    pg.output "f", %f : tensor<?x256xf32>
    return
  }
}
