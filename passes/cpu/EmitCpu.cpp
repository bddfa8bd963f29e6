//===- EmitCpu.cpp - the pass pg-emit-cpu
//--------------------------------------===//
#include "passes/cpu/CpuBackend.h"
#include "passes/cpu/Passes.h"
#include "passes/cpu/RowKernel.h"
#include "passes/cpu/StructuredKernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace pg {

#define GEN_PASS_DECL_EMITCPUPASS
#define GEN_PASS_DEF_EMITCPUPASS
#include "passes/cpu/CpuPasses.h.inc"

namespace {

struct EmitCpu : impl::EmitCpuPassBase<EmitCpu> {
  using EmitCpuPassBase::EmitCpuPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<cpu::Target> target = cpu::namedTarget(level);
    if (failed(target)) {
      module.emitError() << "unknown CPU level '" << level
                         << "': expected " << cpu::kLevels;
      return signalPassFailure();
    }
    // What launches a kernel goes: it could not refer to a plain function.
    for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
      if (!isa<KernelDefOp>(op))
        op.erase();
    for (KernelDefOp def :
         llvm::make_early_inc_range(module.getOps<KernelDefOp>())) {
      OwningOpRef<ModuleOp> emitted(ModuleOp::create(def.getLoc()));
      FailureOr<KernelShape> shape =
          emitKernel(def, *emitted, target->emission());
      if (failed(shape))
        return signalPassFailure();
      Builder b(&getContext());
      auto function = emitted->lookupSymbol<func::FuncOp>(def.getSymName());
      function->setAttr("pg.items",
                        b.getDenseI64ArrayAttr({shape->items.tokensPerItem,
                                                shape->items.multiplier,
                                                shape->items.grain}));
      if (shape->items.wantsRuns)
        function->setAttr("pg.wants_runs", b.getUnitAttr());
      function->setAttr("pg.scratch",
                        b.getI64IntegerAttr(int64_t(shape->scratchBytes)));
      function->setAttr("pg.category", b.getStringAttr(shape->category));
      for (Operation &op :
           llvm::make_early_inc_range(emitted->getBody()->getOperations())) {
        // What kernels share is declared once.
        auto shared = dyn_cast<func::FuncOp>(op);
        if (!shared || !module.lookupSymbol(shared.getSymName()) ||
            shared.getSymName() == def.getSymName())
          op.moveBefore(def);
      }
      def.erase();
    }
    if (lower && failed(cpu::lowerToLLVM(module)))
      signalPassFailure();
  }
};

} // namespace

void registerCpuPasses() {
  PassRegistration<EmitCpu>();
  registerPass([] { return createCpuPreparePass(); });
}

} // namespace pg
