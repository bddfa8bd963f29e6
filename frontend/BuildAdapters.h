//===- BuildAdapters.h - the adapters a recipe asks for --------------------===//
#ifndef PG_FRONTEND_BUILDADAPTERS_H
#define PG_FRONTEND_BUILDADAPTERS_H

#include "frontend/BuildRecipe.h"

namespace pg::frontend {

/// Adds to the module, for the `adapt` section of a recipe, two states per
/// executed site: `adapter.<name>.<k>.a` [slots, rank, in], drawn uniformly
/// from +-1/sqrt(in), and `adapter.<name>.<k>.b` [slots, out, rank], zero; and the
/// program `adapt_apply` that updates them. k counts the sites of one name in
/// the order in which a forward pass meets them; phases share adapters. The
/// optimizer's arguments go to `values` under `adapt.optimizer.args`.
void buildAdapters(const SpecNode &adapt, const OptimizerUse &optimizer,
                   mlir::ModuleOp module, RecipeValues &values,
                   Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_BUILDADAPTERS_H
