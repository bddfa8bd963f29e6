//===- Passes.td - passes of the CPU target ---------------------------------===//
#ifndef PG_PASSES_CPU_PASSES_TD
#define PG_PASSES_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def EmitCpuPass : Pass<"pg-emit-cpu", "::mlir::ModuleOp"> {
  let summary = "replaces every kernel_def by the function that computes it";
  let description = [{
    Before: `pg.kernel_def` symbols (entries, parameters and states are
    dropped: only the kernels are of interest). After: one `func.func` of the kernel ABI
    (runtime/package/KernelAbi.h) per kernel in scf, arith, math, vector and
    llvm ops, with what a launch must know as attributes (`pg.items` =
    [tokensPerItem, multiplier, grain], `pg.scratch`, `pg.category`); with
    `lower`, the LLVM dialect. For reading and testing: the package is made by
    pg::cpu::emitCpu, which takes the same steps kernel by kernel.
  }];
  let options = [
    Option<"level", "level", "std::string", "\"x86-64-v4\"",
           "x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4-bf16 (the second "
           "versions) or native">,
    Option<"lower", "lower", "bool", "false", "go on to the LLVM dialect">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

#endif // PG_PASSES_CPU_PASSES_TD
