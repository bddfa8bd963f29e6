//===- Programs.h - which programs are derived ----------------------------===//
#ifndef PG_PASSES_DERIVE_PROGRAMS_H
#define PG_PASSES_DERIVE_PROGRAMS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"

#include "llvm/ADT/STLExtras.h"

namespace pg {

/// Module attribute: the programs to derive, an array of strings. Without it
/// those every run needs: score, logits, accumulate.
inline constexpr llvm::StringLiteral kProgramsAttr = "pg.programs";

/// True when `program` shall be derived from the forward functions.
inline bool isWanted(mlir::ModuleOp module, llvm::StringRef program) {
  auto programs = module->getAttrOfType<mlir::ArrayAttr>(kProgramsAttr);
  if (!programs)
    return program == "score" || program == "logits" || program == "accumulate";
  return llvm::any_of(programs.getAsRange<mlir::StringAttr>(),
                      [&](mlir::StringAttr each) {
                        return each.getValue() == program;
                      });
}

} // namespace pg

#endif // PG_PASSES_DERIVE_PROGRAMS_H
