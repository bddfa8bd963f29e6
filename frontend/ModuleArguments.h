//===- ModuleArguments.h - a module's arguments, static and per step --------===//
//
// Optimizer and quantiser modules declare arguments; a recipe gives values. A
// number is a run-time scalar, so that `pgrun --set` and schedules reach it
// without a recompilation; anything else decides structure and stays static.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_MODULEARGUMENTS_H
#define PG_FRONTEND_MODULEARGUMENTS_H

#include "frontend/Interpreter.h"
#include "frontend/Resolve.h"

#include "runtime/package/Package.h"

#include <functional>
#include <map>
#include <string>

namespace pg::frontend {

using RecipeValues = std::map<std::string, pg::rt::RecipeValue>;

/// A module in use, as the recipe has it.
struct ModuleUse {
  std::string name;                 ///< of the group that uses it
  const SpecNode *module = nullptr; ///< the module file
  const SpecNode *args = nullptr;   ///< of the recipe, or null
  SpecPos pos;
};

/// Finds `models/<shelf>/<name>.yaml` and checks that it has every argument the
/// recipe gives. `what` names the kind of module in messages.
bool findModule(ModuleUse &use, const std::string &shelf,
                const std::string &what, const SpecNode &name,
                const MergedFile &recipe, const Schema &schema,
                Project &project, Reporter &reporter);

/// The scopes of one use.
struct ModuleScopes {
  Scope statics; ///< every argument as written: what `let` and sizes may use
  Scope body;    ///< numbers replaced by run-time scalars
};

/// Makes the run-time scalar `name`.
using ScalarMaker = std::function<Value(const std::string &name, SpecPos pos)>;

/// Evaluates the arguments of `use` into `scopes` (whose parents the caller
/// sets). Scalars are named `<scalarPrefix>.<argument>`. Values are recorded
/// under `<path>.<argument>`, defaults included; of a line over the steps its
/// parts, `<path>.<argument>.from` and so on.
void bindArguments(const ModuleUse &use, const std::string &scalarPrefix,
                   const std::string &path, const ScalarMaker &scalar,
                   ModuleScopes &scopes, RecipeValues &values,
                   Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_MODULEARGUMENTS_H
