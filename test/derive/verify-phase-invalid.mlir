// RUN: pg-opt --pg-verify-phase=phase=spec --split-input-file --verify-diagnostics %s
// RUN: not pg-opt --split-input-file --pg-verify-phase=phase=inlined %s 2>&1 | FileCheck --check-prefix=INLINED %s
// RUN: not pg-opt --split-input-file --pg-verify-phase=phase=derived %s 2>&1 | FileCheck --check-prefix=DERIVED %s
// RUN: not pg-opt --split-input-file --pg-verify-phase=phase=decomposed %s 2>&1 | FileCheck --check-prefix=DECOMPOSED %s
// RUN: not pg-opt --split-input-file --pg-verify-phase=phase=fused %s 2>&1 | FileCheck --check-prefix=FUSED %s
// RUN: not pg-opt --split-input-file --pg-verify-phase=phase=planned %s 2>&1 | FileCheck --check-prefix=PLANNED %s
// RUN: not pg-opt --split-input-file --pg-verify-phase=phase=typo %s 2>&1 | FileCheck --check-prefix=TYPO %s

// TYPO: unknown phase 'typo'

// INLINED: 'func.func' op is private after inlining; not legal in phase 'inlined'
// INLINED: 'func.call' op is a call after inlining; not legal in phase 'inlined'
func.func private @block(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
// DERIVED: 'func.func' op is a forward entry after derivation; not legal in phase 'derived'
// DERIVED: 'pg.stop_gradient' op has no meaning after derivation
// DECOMPOSED: 'pg.rms_norm' op is left over by decomposition
// FUSED: 'pg.fill' op is outside a kernel; not legal in phase 'fused'
// PLANNED: 'func.func' op has no 'pg.arena_bytes'
func.func @"forward@main"() {
  %x = pg.fill 0.5 : tensor<4xf32>
  %y = func.call @block(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %s = pg.stop_gradient %y : tensor<4xf32>
  %n = pg.rms_norm %s {eps = 0.0 : f64} : tensor<4xf32>
  pg.output "nll", %n : tensor<4xf32>
  // expected-error@+1 {{names an output twice; not legal in phase 'spec'}}
  pg.output "nll", %n : tensor<4xf32>
  return
}

// -----

// expected-error@+1 {{is an entry with arguments or results; not legal in phase 'spec'}}
func.func @entry(%x: tensor<4xf32>) {
  return
}

// -----

// expected-error@+1 {{is made by outlining; not legal in phase 'spec'}}
pg.kernel_def @k attributes {modes = array<i64>} {
^bb0(%a: tensor<4xf32>):
  pg.yield
}
func.func @entry() {
  %x = pg.input "tokens" : tensor<4xf32>
  // expected-error@+1 {{is made by outlining; not legal in phase 'spec'}}
  pg.launch @k(%x) {scalars = array<f64>} : (tensor<4xf32>) -> ()
  // expected-error@+1 {{is made by fusion and then outlined; not legal in phase 'spec'}}
  pg.kernel(%x) : (tensor<4xf32>) -> () {
  ^bb0(%a: tensor<4xf32>):
    pg.yield
  }
  return
}
