//===- BuildRecipe.h - a resolved recipe as values and programs ------------===//
#ifndef PG_FRONTEND_BUILDRECIPE_H
#define PG_FRONTEND_BUILDRECIPE_H

#include "frontend/Resolve.h"

#include "mlir/IR/BuiltinOps.h"
#include "runtime/package/Package.h"

#include <map>
#include <string>
#include <vector>

namespace pg::frontend {

using RecipeValues = std::map<std::string, pg::rt::RecipeValue>;

/// An optimizer module in use.
struct OptimizerUse {
  std::string group;
  const SpecNode *module = nullptr; ///< the module file
  const SpecNode *args = nullptr;   ///< of the recipe, or null
  SpecPos pos;
};

/// Every value of the recipe, defaults of the schema filled in, by dotted
/// path; checks what one key cannot say alone (multiples, limits).
RecipeValues flattenRecipe(const SpecNode &recipe, Reporter &reporter);

/// Finds the optimizer module of every group and checks its arguments.
std::vector<OptimizerUse> findOptimizers(const MergedFile &recipe,
                                         Project &project, Reporter &reporter);

/// Adds gradients, optimizer states and `@apply` to the module, and the
/// arguments of every group (defaults included) to `values`. Every parameter
/// must belong to a group of the recipe.
void buildOptimizer(const std::vector<OptimizerUse> &optimizers,
                    const SpecNode &recipe, mlir::ModuleOp module,
                    RecipeValues &values, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_BUILDRECIPE_H
