// RUN: pg-opt --pg-emit-cpu=level=x86-64-v4 %s | FileCheck %s

// Work items follow the shape: [tokensPerItem, multiplier, grain].

// 48 rows of one of 2 column blocks of 256; what is packed stays between pieces.
// CHECK-DAG: func.func @forward({{.*}}pg.category = "matmul"{{.*}}pg.items = array<i64: 48, 2, 1>{{.*}}pg.scratch
pg.kernel_def @forward attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<?x512xf32>, %w: tensor<512x512xf32>):
  %y = pg.matmul %x, %w {transpose_b} : tensor<?x512xf32>, tensor<512x512xf32> -> tensor<?x512xf32>
  pg.yield %y : tensor<?x512xf32>
}

// 512 rows are 11 items of 48, in long runs.
// CHECK-DAG: func.func @weight_gradient({{.*}}pg.category = "matmul"{{.*}}pg.items = array<i64: 0, 22, 1>{{.*}}pg.wants_runs
pg.kernel_def @weight_gradient attributes {modes = array<i64: 2>} {
^bb0(%dy: tensor<?x512xf32>, %x: tensor<?x512xf32>):
  %dw = pg.matmul %dy, %x {transpose_a} : tensor<?x512xf32>, tensor<?x512xf32> -> tensor<512x512xf32>
  pg.yield %dw : tensor<512x512xf32>
}

// A matrix times its transpose: column blocks of 128 with the rows from the diagonal
// down, 11 + 9 + 6 + 3 items.
// CHECK-DAG: func.func @gram({{.*}}pg.category = "matmul"{{.*}}pg.items = array<i64: 0, 29, 1>
pg.kernel_def @gram attributes {modes = array<i64: 0>} {
^bb0(%x: tensor<512x512xf32>):
  %y = pg.matmul %x, %x {transpose_b} : tensor<512x512xf32>, tensor<512x512xf32> -> tensor<512x512xf32>
  pg.yield %y : tensor<512x512xf32>
}

// Blocks of 96 queries, once per key head.
// CHECK-DAG: func.func @attention({{.*}}pg.category = "attention"{{.*}}pg.items = array<i64: 96, 4, 1>
pg.kernel_def @attention attributes {modes = array<i64: 0, 0>} {
^bb0(%q: tensor<?x8x64xf32>, %k: tensor<?x4x64xf32>, %v: tensor<?x4x64xf32>):
  %o, %l = pg.attention %q, %k, %v {scale = 0.125 : f64} : (tensor<?x8x64xf32>, tensor<?x4x64xf32>, tensor<?x4x64xf32>) -> (tensor<?x8x64xf32>, tensor<?x8xf32>)
  pg.yield %o, %l : tensor<?x8x64xf32>, tensor<?x8xf32>
}

// The word gradient is cut by words: 8192 / 128.
// CHECK-DAG: func.func @words({{.*}}pg.category = "head"{{.*}}pg.items = array<i64: 0, 64, 1>
pg.kernel_def @words attributes {modes = array<i64: 2>} {
^bb0(%x: tensor<?x512xf32>, %w: tensor<8192x512xf32>, %t: tensor<?xi32>, %l: tensor<?xf32>, %d: tensor<?xf32>):
  %dw = pg.linear_cross_entropy_grad_w %x, %w, %t, %l, %d {softcap = 30.0 : f64} : (tensor<?x512xf32>, tensor<8192x512xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<8192x512xf32>
  pg.yield %dw : tensor<8192x512xf32>
}
