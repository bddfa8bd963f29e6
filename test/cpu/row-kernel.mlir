// RUN: pg-opt %s --split-input-file --pg-emit-cpu=level=x86-64-v4 | FileCheck %s
// RUN: pg-opt %s --split-input-file --pg-emit-cpu=level=x86-64-v3 | FileCheck %s --check-prefix=V3

// One loop over rows, vectors of the level's width, no fast-math flag.
// CHECK-LABEL: func.func @scale(
// CHECK-SAME: pg.category = "row"
// CHECK-SAME: pg.items = array<i64: 1, 1, 32>
// CHECK: scf.for
// CHECK: scf.for
// CHECK: llvm.load {{.*}} -> vector<16xf32>
// CHECK: arith.mulf %{{[^ ]*}}, %{{[^ ]*}} : vector<16xf32>
// CHECK: llvm.store {{.*}} : vector<16xf32>
// CHECK-NOT: fastmath
// V3-LABEL: func.func @scale(
// V3: vector<8xf32>
pg.kernel_def @scale attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x512xf32>, %w: tensor<512xf32>):
  %b = pg.broadcast %w {dims = array<i64: 1>} : tensor<512xf32> -> tensor<?x512xf32>
  %y = pg.mul %x, %b : tensor<?x512xf32>
  pg.yield %y : tensor<?x512xf32>
}

// -----

// The gate of a head is computed outside the loop over its 64 features, and
// the rows' partial sums make a thread take whole chunks.
// CHECK-LABEL: func.func @gate(
// CHECK-SAME: pg.items = array<i64: 1, 1, 64>
// CHECK: scf.for
// CHECK: scf.for
// CHECK: math.exp {{.*}} : f32
// CHECK-NOT: math.exp
// CHECK: arith.mulf %{{[^ ]*}}, %{{[^ ]*}} : vector<16xf32>
pg.kernel_def @gate attributes {modes = array<i64: 0, 0>} {
^bb0(%x: tensor<?x8x256xf32>, %g: tensor<?x8xf32>):
  %s = pg.sigmoid %g : tensor<?x8xf32>
  %b = pg.broadcast %s {dims = array<i64: 0, 1>} : tensor<?x8xf32> -> tensor<?x8x256xf32>
  %y = pg.mul %x, %b : tensor<?x8x256xf32>
  %p = pg.partial_sum %y : tensor<?x8x256xf32> -> tensor<?x8x256xf32, #pg.chunks<64>>
  pg.yield %y, %p : tensor<?x8x256xf32>, tensor<?x8x256xf32, #pg.chunks<64>>
}

// -----

// A dear value needed by the sum and by the quotient is computed once and kept
// in the thread's scratch (2048 elements of four bytes, behind 64 bytes of header): the four vectors of
// the unrolled sum hold the only exponentials.
// CHECK-LABEL: func.func @softmax(
// CHECK-SAME: pg.scratch = 8256
// CHECK-COUNT-4: math.exp
// CHECK-NOT: math.exp
// CHECK: return
pg.kernel_def @softmax attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x2048xf32>):
  %e = pg.exp %x : tensor<?x2048xf32>
  %s = pg.reduce_sum %e {axes = array<i64: 1>} : tensor<?x2048xf32> -> tensor<?xf32>
  %b = pg.broadcast %s {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x2048xf32>
  %y = pg.div %e, %b : tensor<?x2048xf32>
  pg.yield %y : tensor<?x2048xf32>
}

// -----

// Pieces that do not fill vectors are loops of their own: nothing is assembled
// lane by lane.
// CHECK-LABEL: func.func @pieces(
// CHECK-NOT: vector.insert
// CHECK: return
pg.kernel_def @pieces attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x12xf32>, %y: tensor<?x500xf32>):
  %c = pg.concat %x, %y {axis = 1 : i64} : (tensor<?x12xf32>, tensor<?x500xf32>) -> tensor<?x512xf32>
  pg.yield %c : tensor<?x512xf32>
}

// -----

// Static tensors: a row is a leading index; without one the whole is a row.
// CHECK-LABEL: func.func @leading(
// CHECK-SAME: pg.items = array<i64: 0, 100, 32>
pg.kernel_def @leading attributes {modes = array<i64: 2>} {
^bb0(%x: tensor<100x512xf32>):
  %y = pg.neg %x : tensor<100x512xf32>
  pg.yield %y : tensor<100x512xf32>
}

// -----

// CHECK-LABEL: func.func @norm(
// CHECK-SAME: pg.items = array<i64: 0, 1, 1>
pg.kernel_def @norm attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<100x512xf32>):
  %y = pg.reduce_sum %x {axes = array<i64: 0, 1>} : tensor<100x512xf32> -> tensor<f32>
  pg.yield %y : tensor<f32>
}

// -----

// Columns in blocks of four vectors: 500 make seven whole ones and a rest.
// CHECK-LABEL: func.func @combine(
// CHECK-SAME: pg.category = "reduce"
// CHECK-SAME: pg.items = array<i64: 0, 8, 1>
pg.kernel_def @combine attributes {modes = array<i64: 2>} {
^bb0(%x: tensor<?x500xf32, #pg.chunks<64>>):
  %y = pg.combine %x : tensor<?x500xf32, #pg.chunks<64>> -> tensor<500xf32>
  pg.yield %y : tensor<500xf32>
}

// -----

// Values of a taken row are computed once per row of the list, norm included.
// CHECK-LABEL: func.func @taken(
// CHECK-SAME: pg.items = array<i64: 0, 8, 1>
// CHECK: math.sqrt
// CHECK-NOT: math.sqrt
// CHECK: return
pg.kernel_def @taken attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x512xf32>, %rows: tensor<8xi32>):
  %s = pg.reduce_sum %x {axes = array<i64: 1>} : tensor<?x512xf32> -> tensor<?xf32>
  %r = pg.rsqrt %s : tensor<?xf32>
  %b = pg.broadcast %r {dims = array<i64: 0>} : tensor<?xf32> -> tensor<?x512xf32>
  %n = pg.mul %x, %b : tensor<?x512xf32>
  %t = pg.take_rows %n, %rows : tensor<?x512xf32>, tensor<8xi32> -> tensor<8x512xf32>
  pg.yield %t : tensor<8x512xf32>
}
