//===- main.cpp - pg-opt: runs passes over pg IR ---------------------------===//
#include "dialect/Pg.h"
#ifdef HAVE_PgDerive
#include "passes/derive/Passes.h"
#endif
#ifdef HAVE_PgFuse
#include "passes/fuse/Passes.h"
#endif
#ifdef HAVE_PgCpu
#include "passes/cpu/Passes.h"
#endif
#ifdef HAVE_PgCuda
#include "passes/cuda/Passes.h"
#endif

#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<pg::PgDialect, mlir::func::FuncDialect>();
  mlir::func::registerInlinerExtension(registry);
  mlir::registerTransformsPasses();
#ifdef HAVE_PgDerive
  pg::registerDerivePasses();
#endif
#ifdef HAVE_PgFuse
  pg::registerFusePasses();
#endif
#ifdef HAVE_PgCpu
  pg::registerCpuPasses();
#endif
#ifdef HAVE_PgCuda
  pg::registerCudaPasses();
#endif
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "pg optimizer driver\n", registry));
}
