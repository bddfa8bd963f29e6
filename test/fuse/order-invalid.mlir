// Passes say which pass must come before.
// RUN: not pg-opt --split-input-file --pg-outline %s 2>&1 | FileCheck %s --check-prefix=OUTLINE
// RUN: not pg-opt --pg-plan-memory %s 2>&1 | FileCheck %s --check-prefix=PLAN

// OUTLINE: error: outlining expects fused entries, got 'pg.neg' outside a kernel; run pg-fuse first
// PLAN: error: memory planning expects launches, got a kernel in place; run pg-outline first
func.func @not_fused() {
  %x = pg.input "x" : tensor<?x8xf32>
  %n = pg.neg %x : tensor<?x8xf32>
  %a = pg.kernel(%n) : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%in: tensor<?x8xf32>):
    %y = pg.tanh %in : tensor<?x8xf32>
    pg.yield %y : tensor<?x8xf32>
  }
  pg.output "a", %a : tensor<?x8xf32>
  return
}
