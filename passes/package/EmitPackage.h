//===- EmitPackage.h - planned module and code to package structs -----------===//
#ifndef PG_PASSES_PACKAGE_EMITPACKAGE_H
#define PG_PASSES_PACKAGE_EMITPACKAGE_H

#include "passes/cpu/CpuBackend.h"
#include "runtime/package/Package.h"

#include "mlir/IR/BuiltinOps.h"

#include <map>
#include <string>

namespace pg {

/// What goes into a package besides the planned module.
struct PackageParts {
  std::string compiler;                          ///< version text
  std::string spec;                              ///< resolved model and recipe
  std::string program;                           ///< canonical IR after "decomposed"
  std::map<std::string, rt::RecipeValue> recipe; ///< numbers pgrun may change
  cpu::Target target;
  cpu::EmittedCode code;                         ///< no elf: the package holds no CPU code
  rt::CudaCode cuda;                             ///< kernels in the order of the module's kernel_defs, or none
  std::string cudaCompiler;                      ///< "NVRTC 13.0"
  std::map<std::string, std::string> cudaCategories; ///< by symbol, for a package without CPU code
};

/// Builds the package of `module` (phase "planned"). Fails with a diagnostic
/// when a launch argument has no place or a kernel no code.
mlir::FailureOr<rt::Package> buildPackage(mlir::ModuleOp module,
                                          PackageParts parts);

/// The module's text without locations: the identity of a program.
std::string canonicalText(mlir::ModuleOp module);

} // namespace pg

#endif // PG_PASSES_PACKAGE_EMITPACKAGE_H
