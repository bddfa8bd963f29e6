// RUN: not pg-opt %s --pg-emit-cpu=level=x86-64-v9 2>&1 | FileCheck %s
// CHECK: unknown CPU level 'x86-64-v9': expected x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4-bf16 or native
module {}
