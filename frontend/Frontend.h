//===- Frontend.h - YAML to a pg module -------------------------------------===//
//
// The room's one public header.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_FRONTEND_H
#define PG_FRONTEND_FRONTEND_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/package/Package.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pg::frontend {

/// What to build from. Paths are kept as given in all locations.
struct Sources {
  std::string modelPath;
  std::string recipePath;        ///< may be empty
  std::vector<std::string> sets; ///< "path=value", into model or recipe
  int64_t maxTokens = 0;         ///< 0 = batch.micro_tokens of the recipe, or 4096
  std::string precision;         ///< "" = of the recipe, or "f32"
  /// Programs to derive, of `programNames`; empty = score, logits, accumulate,
  /// with a recipe apply, and those its sections ask for.
  std::vector<std::string> programs;
};

/// The programs a model can become.
const std::vector<std::string> &programNames();

struct Built {
  mlir::OwningOpRef<mlir::ModuleOp> module; ///< phase "spec", verified
  std::map<std::string, pg::rt::RecipeValue> recipe;
  /// Resolved model, blocks, recipe and optimizers as canonical YAML: the same
  /// for the same meaning, whatever the directory.
  std::string spec;
};

/// Reads, checks and builds. All errors of the files are emitted as MLIR
/// diagnostics with file, line and column.
mlir::FailureOr<Built> build(mlir::MLIRContext &context,
                             const Sources &sources);

/// JSON Schema of "model", "block", "recipe" or "optimizer" files; the table
/// of the language's functions for "functions"; "" for anything else.
std::string schemaJson(llvm::StringRef which);

/// The reference page of the language (docs/language.md), Markdown.
std::string languageReference();

} // namespace pg::frontend

#endif // PG_FRONTEND_FRONTEND_H
