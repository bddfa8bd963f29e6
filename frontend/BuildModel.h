//===- BuildModel.h - a resolved model as a pg module ----------------------===//
#ifndef PG_FRONTEND_BUILDMODEL_H
#define PG_FRONTEND_BUILDMODEL_H

#include "frontend/BlockBuilder.h"

namespace pg::frontend {

/// Fills `module` with parameters, block functions and one `forward@<phase>`
/// per phase, and sets its model attributes (pg.model, pg.vocabulary,
/// pg.phases). `library` is left with the blocks that were used.
void buildModel(const MergedFile &model, BlockLibrary &library,
                mlir::ModuleOp module, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_BUILDMODEL_H
