// A memory limit turns kept products into rebuilt ones.
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=0})' %s | FileCheck %s --check-prefix=KEEP
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=4096000})' %s | FileCheck %s --check-prefix=KEEP
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=3100000})' %s | FileCheck %s --check-prefix=REBUILD
// RUN: pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=3100000},pg-schedule,pg-fuse,pg-outline,pg-plan-memory)' %s | FileCheck %s --check-prefix=PLAN
// RUN: not pg-opt --pass-pipeline='builtin.module(pg-recompute{memory-limit=1000000})' %s 2>&1 | FileCheck %s --check-prefix=FAIL

// At 1000 tokens a [N, 256] f32 tensor is 1,024,000 bytes (16,000 * 64). When
// %c is made, %p, %q, %r and %c live: 4,096,000 bytes. With %q or %p rebuilt one
// of them is missing there, and never more than three live: 3,072,000 bytes.
// A product needs its operand, its result and a kept or rebuilt %p: no choice
// needs less.
module attributes {pg.max_tokens = 1000 : i64} {
  pg.parameter @w : tensor<256x256xf32> {init = {kind = "zeros"}, group = "matrix"}
  // KEEP-NOT: pg.recompute
  // KEEP: pg.output
  // REBUILD: pg.matmul %{{.*}}, %{{.*}} {pg.backward, pg.recompute}
  // PLAN: pg.arena_bytes = 3072000
  // FAIL: error: the memory plan needs at least {{[0-9]+}} arena bytes with everything rebuilt that can be, the limit is 1000000 bytes; raise the limit or lower the maximum of tokens (now 1000)
  func.func @accumulate() {
    %x = pg.input "x" : tensor<?x256xf32>
    %w = pg.param @w : tensor<256x256xf32>
    %p = pg.matmul %x, %w : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %q = pg.matmul %p, %w : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %r = pg.matmul %q, %w : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %c = pg.matmul %r, %w {pg.backward} : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %cq = pg.mul %c, %q {pg.backward} : tensor<?x256xf32>
    %d = pg.matmul %cq, %w {pg.backward} : tensor<?x256xf32>, tensor<256x256xf32> -> tensor<?x256xf32>
    %dp = pg.mul %d, %p {pg.backward} : tensor<?x256xf32>
    pg.output "dp", %dp : tensor<?x256xf32>
    return
  }
}
