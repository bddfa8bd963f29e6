//===- LowerToLLVM.cpp - emitted kernels to the LLVM dialect
//------------------===//
//
// 1. f32 exp, log, tanh and erf become polynomials (vectorisable, no call);
//    what is left (sin, cos: exact range reduction matters at positions near
//    100,000; everything in f64) becomes calls of libm.
// 2. scf to branches, then every dialect to LLVM.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/CpuBackend.h"
#include "passes/cpu/MicroKernel.h"

#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace pg::cpu {
namespace {

LogicalResult expandMath(ModuleOp module) {
  MLIRContext *context = module.getContext();
  {
    RewritePatternSet patterns(context);
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return name == math::ExpOp::getOperationName() ||
             name == math::LogOp::getOperationName() ||
             name == math::TanhOp::getOperationName() ||
             name == math::ErfOp::getOperationName();
    });
    if (failed(applyPatternsGreedily(module, std::move(patterns))))
      return failure();
  }
  RewritePatternSet patterns(context);
  populateMathToLibmConversionPatterns(patterns);
  ConversionTarget target(*context);
  target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
  target.addIllegalOp<math::ExpOp, math::LogOp, math::TanhOp, math::ErfOp,
                      math::SinOp, math::CosOp>();
  return applyPartialConversion(module, target, std::move(patterns));
}

} // namespace

LogicalResult lowerToLLVM(ModuleOp module) {
  if (failed(expandMath(module)))
    return failure();
  PassManager pm = PassManager::on<ModuleOp>(module.getContext());
  pm.enableVerifier(false); // once, after the last step
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  if (failed(pm.run(module)))
    return failure();
  // Functions that kernels share are found in another object of the same link:
  // called directly, not by a table of the loader.
  module.walk([](LLVM::LLVMFuncOp function) {
    if (isSharedFunction(function.getName()))
      function.setVisibility_(LLVM::Visibility::Hidden);
  });
  return verify(module);
}

} // namespace pg::cpu
