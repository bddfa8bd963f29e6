// A loss and its gradients with the logits in memory, and when not.
// RUN: split-file %s %t
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits{small-bytes=102399})' %t/cases.mlir | FileCheck %s --check-prefixes=CHECK,AUTO
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits{small-bytes=102400})' %t/cases.mlir | FileCheck %s --check-prefixes=CHECK,KEEP
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits{rule=keep})' %t/cases.mlir | FileCheck %s --check-prefixes=CHECK,KEEP
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits{rule=rebuild})' %t/cases.mlir | FileCheck %s --check-prefix=REBUILD
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits{share=0.05 small-bytes=0})' %t/cases.mlir | FileCheck %s --check-prefix=SHARE
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits{rule=keep})' %t/rounded.mlir | FileCheck %s --check-prefix=ROUNDED
// RUN: not pg-opt --pass-pipeline='builtin.module(pg-keep-logits{rule=always})' %t/rounded.mlir 2>&1 | FileCheck %s --check-prefix=RULE
// RUN: pg-opt --pass-pipeline='builtin.module(pg-keep-logits,pg-recompute,pg-schedule,pg-fuse,pg-outline,pg-plan-memory{in-place=true})' %t/cases.mlir | FileCheck %s --check-prefix=PLAN

// RULE: error: unknown rule 'always': expected auto, keep or rebuild

//--- cases.mlir
module attributes {pg.max_tokens = 100 : i64, pg.precision = "f32"} {
  pg.parameter @v : tensor<1024x128xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @u : tensor<128x1024xf32> {init = {kind = "zeros"}, group = "matrix"}
  pg.parameter @w : tensor<256x128xf32> {init = {kind = "zeros"}, group = "embed"}
  pg.state @grad.w : tensor<256x128xf32> {role = "gradient", of = @w}

  // A forward part that leaves 4 * (1024 + 1024 + 128 + 1) = 8,708 bytes for a
  // token (the last number is the log-sum-exp); logits take 1,024: 12 %. A byte that crosses memory saves
  // 2 * 2 * 128 * 256 / (5 * 1024) = 26 flops.
  // CHECK-LABEL: func.func @accumulate() attributes {pg.logits = "kept"}
  // CHECK-NOT: pg.linear_cross_entropy
  // CHECK: %[[Z:.*]] = pg.matmul %[[X:.*]], %[[W:.*]] {pg.backward, pg.wide, transpose_b} : {{.*}} -> tensor<?x256xf32>
  // CHECK: %[[T:.*]] = pg.tanh
  // The softcap stands for the maximum.
  // CHECK-NOT: pg.reduce_max
  // CHECK: pg.exp
  // CHECK: pg.pick
  // CHECK: pg.compare eq
  // CHECK: %[[S:.*]] = pg.select
  // CHECK: %[[SQUARE:.*]] = pg.mul %[[T]], %[[T]]
  // CHECK: %[[SLOPE:.*]] = pg.sub %{{.*}}, %[[SQUARE]]
  // CHECK: %[[G:.*]] = pg.mul %[[S]], %[[SLOPE]]
  // CHECK: pg.matmul %[[G]], %[[W]] {pg.backward} : {{.*}} -> tensor<?x128xf32>
  // CHECK: pg.matmul %[[G]], %[[X]] {pg.backward, transpose_a} : {{.*}} -> tensor<256x128xf32>
  // CHECK-NOT: pg.linear_cross_entropy
  // CHECK: return
  // REBUILD-LABEL: func.func @accumulate() attributes {pg.logits = "rebuilt: asked for"}
  // REBUILD-COUNT-3: pg.linear_cross_entropy
  // SHARE-LABEL: func.func @accumulate() attributes {pg.logits = "rebuilt: they take 1024 bytes for a token, more than 5 % of the 8708 that wait for the gradients"}
  // SHARE-COUNT-3: pg.linear_cross_entropy
  //
  // The rows between the products are one kernel, and the logits' gradient lies
  // where the logits were.
  // PLAN: pg.kernel_def @[[ROWS:row_.*exp.*]] attributes {modes = array<i64: 0, 0>}
  // PLAN: pg.log
  // PLAN: pg.yield %{{.*}}, %{{.*}} : tensor<?xf32>, tensor<?x256xf32>
  // PLAN-LABEL: func.func @accumulate()
  // PLAN: %[[Z:.*]] = pg.launch @matmul{{.*}} {offsets = array<i64: [[AT:[0-9]+]]>, {{.*}} -> tensor<?x256xf32>
  // PLAN-NEXT: %[[ROW:.*]]:2 = pg.launch @[[ROWS]]({{.*}}%[[Z]]{{.*}}) {offsets = array<i64: {{[0-9]+}}, [[AT]]>,
  func.func @accumulate() {
    %x = pg.input "x" : tensor<?x128xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %s = pg.scalar "loss_scale" : tensor<f32>
    %v = pg.param @v : tensor<1024x128xf32>
    %u = pg.param @u : tensor<128x1024xf32>
    %w = pg.param @w : tensor<256x128xf32>
    %a = pg.matmul %x, %v {transpose_b} : tensor<?x128xf32>, tensor<1024x128xf32> -> tensor<?x1024xf32>
    %b = pg.matmul %x, %v {transpose_b} : tensor<?x128xf32>, tensor<1024x128xf32> -> tensor<?x1024xf32>
    %ab = pg.mul %a, %b : tensor<?x1024xf32>
    %h = pg.matmul %ab, %u {transpose_b} : tensor<?x1024xf32>, tensor<128x1024xf32> -> tensor<?x128xf32>
    %nll, %lse = pg.linear_cross_entropy %h, %w, %t {softcap = 30.0 : f64} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    pg.output "nll", %nll : tensor<?xf32>
    %d = pg.broadcast %s {dims = array<i64>} : tensor<f32> -> tensor<?xf32>
    %dh = pg.linear_cross_entropy_grad_x %h, %w, %t, %lse, %d {softcap = 30.0 : f64, pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x128xf32>
    %dw = pg.linear_cross_entropy_grad_w %h, %w, %t, %lse, %d {softcap = 30.0 : f64, pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<256x128xf32>
    pg.store accumulate @grad.w, %dw : tensor<256x128xf32>
    %dab = pg.matmul %dh, %u {pg.backward} : tensor<?x128xf32>, tensor<128x1024xf32> -> tensor<?x1024xf32>
    %da = pg.mul %dab, %b {pg.backward} : tensor<?x1024xf32>
    %db = pg.mul %dab, %a {pg.backward} : tensor<?x1024xf32>
    pg.output "da", %da : tensor<?x1024xf32>
    pg.output "db", %db : tensor<?x1024xf32>
    return
  }

  // Nothing waits but x: the logits would be most of the memory, 102,400 bytes at
  // 100 tokens. Kept when that is little or asked for; without a softcap, by their
  // maximum.
  // AUTO-LABEL: func.func @short() attributes {pg.logits = "rebuilt: they take 1024 bytes for a token, more than 25 % of the {{[0-9]+}} that wait for the gradients"}
  // KEEP-LABEL: func.func @short() attributes {pg.logits = "kept"}
  // KEEP: pg.matmul
  // KEEP-NOT: pg.tanh
  // KEEP: pg.reduce_max
  // KEEP: pg.exp
  // KEEP: pg.output "dx"
  func.func @short() {
    %x = pg.input "x" : tensor<?x128xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %d = pg.input "dnll" : tensor<?xf32>
    %w = pg.param @w : tensor<256x128xf32>
    %h = pg.neg %x : tensor<?x128xf32>
    %nll, %lse = pg.linear_cross_entropy %h, %w, %t : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    %dx = pg.linear_cross_entropy_grad_x %h, %w, %t, %lse, %d {pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x128xf32>
    pg.output "nll", %nll : tensor<?xf32>
    pg.output "dx", %dx : tensor<?x128xf32>
    return
  }

  // One gradient of depth 32 saves 2 * 32 * 64 / (5 * 256) = 3.2 flops a byte.
  // AUTO-LABEL: func.func @shallow() attributes {pg.logits = "rebuilt: a product of depth 32 costs less than moving them"}
  // AUTO: pg.linear_cross_entropy_grad_x
  func.func @shallow() {
    %x = pg.input "x" : tensor<?x32xf32>
    %w = pg.input "w" : tensor<64x32xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %d = pg.input "dnll" : tensor<?xf32>
    %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x32xf32>, tensor<64x32xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %lse, %d {pg.backward} : (tensor<?x32xf32>, tensor<64x32xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x32xf32>
    pg.output "nll", %nll : tensor<?xf32>
    pg.output "dx", %dx : tensor<?x32xf32>
    return
  }

  // Another reader of the log-sum-exp, or gradients that do not belong together:
  // not touched by any rule.
  // CHECK-LABEL: func.func @lse_read() {
  // CHECK: pg.linear_cross_entropy_grad_x
  func.func @lse_read() {
    %x = pg.input "x" : tensor<?x128xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %d = pg.input "dnll" : tensor<?xf32>
    %w = pg.param @w : tensor<256x128xf32>
    %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %lse, %d {pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x128xf32>
    pg.output "lse", %lse : tensor<?xf32>
    pg.output "dx", %dx : tensor<?x128xf32>
    return
  }
  // CHECK-LABEL: func.func @two_cotangents() {
  // CHECK: pg.linear_cross_entropy_grad_w
  func.func @two_cotangents() {
    %x = pg.input "x" : tensor<?x128xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %d = pg.input "dnll" : tensor<?xf32>
    %w = pg.param @w : tensor<256x128xf32>
    %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %lse, %d {pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x128xf32>
    %e = pg.neg %d : tensor<?xf32>
    %dw = pg.linear_cross_entropy_grad_w %x, %w, %t, %lse, %e {pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<256x128xf32>
    pg.output "nll", %nll : tensor<?xf32>
    pg.output "dx", %dx : tensor<?x128xf32>
    pg.store accumulate @grad.w, %dw : tensor<256x128xf32>
    return
  }
  // A loss without gradients has tiles only.
  // CHECK-LABEL: func.func @score() {
  // CHECK: pg.linear_cross_entropy
  func.func @score() {
    %x = pg.input "x" : tensor<?x128xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %w = pg.param @w : tensor<256x128xf32>
    %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    pg.output "nll", %nll : tensor<?xf32>
    return
  }
}

//--- rounded.mlir
// Where the policy rounds what lies between kernels, they are kept as wide as they are.
// ROUNDED-LABEL: func.func @accumulate() attributes {pg.logits = "kept"}
// ROUNDED: pg.matmul {{.*}}{pg.backward, pg.wide, transpose_b}
module attributes {pg.precision = "bf16"} {
  func.func @accumulate() {
    %x = pg.input "x" : tensor<?x128xf32>
    %w = pg.input "w" : tensor<256x128xf32>
    %t = pg.input "targets" : tensor<?xi32>
    %d = pg.input "dnll" : tensor<?xf32>
    %nll, %lse = pg.linear_cross_entropy %x, %w, %t : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?xf32>)
    %dx = pg.linear_cross_entropy_grad_x %x, %w, %t, %lse, %d {pg.backward} : (tensor<?x128xf32>, tensor<256x128xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?x128xf32>
    pg.output "nll", %nll : tensor<?xf32>
    pg.output "dx", %dx : tensor<?x128xf32>
    return
  }
}
