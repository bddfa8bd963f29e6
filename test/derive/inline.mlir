// RUN: pg-opt --pg-inline --pg-verify-phase=phase=inlined %s | FileCheck %s
// RUN: pg-opt --pg-inline --mlir-print-debuginfo --mlir-print-local-scope %s | FileCheck --check-prefix=LOC %s

// Calls nest and repeat; every copy keeps the block's line inside the caller's.

func.func private @inner(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = pg.exp %x : tensor<?x4xf32> loc("inner.yaml":5:3)
  return %0 : tensor<?x4xf32>
}

func.func private @outer(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %0 = func.call @inner(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32> loc("outer.yaml":7:3)
  %1 = pg.neg %0 : tensor<?x4xf32> loc("outer.yaml":8:3)
  return %1, %x : tensor<?x4xf32>, tensor<?x4xf32>
}

// CHECK-NOT: func.func private
// CHECK-LABEL: func.func @"forward@main"
// CHECK-NEXT: %[[X:.*]] = pg.fill
// CHECK-NEXT: %[[E0:.*]] = pg.exp %[[X]]
// CHECK-NEXT: %[[N0:.*]] = pg.neg %[[E0]]
// CHECK-NEXT: %[[E1:.*]] = pg.exp %[[N0]]
// CHECK-NEXT: %[[N1:.*]] = pg.neg %[[E1]]
// CHECK-NEXT: pg.output "nll", %[[N1]]
// CHECK-NEXT: pg.output "logits", %[[N0]]
// CHECK-NEXT: return
// LOC: pg.exp {{.*}} loc(callsite(callsite("inner.yaml":5:3 at "outer.yaml":7:3) at "model.yaml":20:1))
// LOC: pg.neg {{.*}} loc(callsite("outer.yaml":8:3 at "model.yaml":20:1))
// LOC: pg.exp {{.*}} loc(callsite(callsite("inner.yaml":5:3 at "outer.yaml":7:3) at "model.yaml":21:1))
func.func @"forward@main"() {
  %x = pg.fill 0.5 : tensor<?x4xf32>
  %a:2 = func.call @outer(%x) : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) loc("model.yaml":20:1)
  %b:2 = func.call @outer(%a#0) : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) loc("model.yaml":21:1)
  pg.output "nll", %b#0 : tensor<?x4xf32>
  pg.output "logits", %b#1 : tensor<?x4xf32>
  return
}
