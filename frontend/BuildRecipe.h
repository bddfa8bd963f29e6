//===- BuildRecipe.h - a resolved recipe as values and programs ------------===//
#ifndef PG_FRONTEND_BUILDRECIPE_H
#define PG_FRONTEND_BUILDRECIPE_H

#include "frontend/ModuleArguments.h"
#include "frontend/ParameterGroups.h"
#include "frontend/Resolve.h"

#include "mlir/IR/BuiltinOps.h"

#include <optional>
#include <string>
#include <vector>

namespace pg::frontend {

/// An optimizer module in use, and for which parameters.
struct OptimizerUse : ModuleUse {
  GroupSelector selector;
};

/// Every value of the recipe, defaults of the schema filled in, by dotted
/// path; checks what one key cannot say alone (multiples, limits).
RecipeValues flattenRecipe(const SpecNode &recipe, Reporter &reporter);

/// Finds the optimizer module of every group and checks its arguments.
std::vector<OptimizerUse> findOptimizers(const MergedFile &recipe,
                                         Project &project, Reporter &reporter);

/// Finds the optimizer module of the adapters; the recipe has a section `adapt`.
std::optional<OptimizerUse> findAdapterOptimizer(const MergedFile &recipe,
                                                 Project &project,
                                                 Reporter &reporter);

/// A tensor that an optimizer updates: a parameter, or an adapter (a state).
struct Trainable {
  std::string symbol;
  mlir::RankedTensorType type;
  size_t optimizer = 0; ///< index of the use that updates it
  bool isAdapter = false;
};

/// What a program of updates is made from.
struct UpdateProgram {
  std::string name;     ///< of the function
  std::string argsPath; ///< of a use's arguments in the recipe, {} its name
  SpecPos pos;
  const std::vector<OptimizerUse> &optimizers;
  std::vector<Trainable> targets;
  std::optional<SpecPos> average; ///< averaged copies of parameters, or none
};

/// Adds the program to the module, with gradients and optimizer states of its
/// targets, and the optimizers' arguments (defaults included) to `values`.
/// Scalars: `step`, `<use>.lr`, `<use>.<argument>`, `ema.decay`.
void buildUpdates(const UpdateProgram &program, mlir::ModuleOp module,
                  RecipeValues &values, Reporter &reporter);

/// Adds gradients, optimizer states and `@apply` to the module, and the
/// arguments of every group (defaults included) to `values`. Every parameter
/// must belong to exactly one group of the recipe. With `ema.decay` above 0
/// every parameter has an averaged copy, updated after it.
void buildOptimizer(const std::vector<OptimizerUse> &optimizers,
                    const SpecNode &recipe, mlir::ModuleOp module,
                    RecipeValues &values, Reporter &reporter);

/// A quantiser module in use; `name` is the quantisation group's label.
using QuantiserUse = ModuleUse;

/// Finds the quantiser module of every group of `qat`.
std::vector<QuantiserUse> findQuantisers(const MergedFile &recipe,
                                         Project &project, Reporter &reporter);

/// Gives every parameter of these quantisation groups the attribute
/// `pg.fake_quant`: a private function of the weight, which training computes
/// with in its place.
void buildQat(const std::vector<QuantiserUse> &quantisers, mlir::ModuleOp module,
              RecipeValues &values, Reporter &reporter);

/// Whether the recipe wants programs that read weights from codes.
bool readsCodes(const SpecNode *recipe);

/// With `weights: fused`, marks the matrices of the groups of `quantise`
/// `pg.codes`; every group must have parameters then.
void buildCodes(const SpecNode &recipe, mlir::ModuleOp module,
                const RecipeValues &values, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_BUILDRECIPE_H
