//===- Compiled.h - a derived module through the whole compiler
//------------===//
#ifndef PG_TEST_NUMERICS_COMPILED_H
#define PG_TEST_NUMERICS_COMPILED_H

#include "passes/fuse/Passes.h"
#include "runtime/exec/Executor.h"
#include "test/reference/Interpreter.h"

#include <memory>

namespace pg::numerics {

/// Compiles `module` (phase "derived", changed by this) for this machine.
rt::StatusOr<rt::Package> compilePackage(mlir::ModuleOp module,
                                         const std::string &precision,
                                         LogitsRule logits = LogitsRule::Automatic);

/// The same, loaded.
rt::StatusOr<std::unique_ptr<rt::Executor>>
compile(mlir::ModuleOp module, const std::string &precision,
        LogitsRule logits = LogitsRule::Automatic);

/// Runs an entry of the executor on what `memory` holds: parameters, inputs and
/// scalars go in (gradients start at zero), outputs and gradients come back.
rt::Status run(rt::Executor &executor, const std::string &entry,
               const reference::PackedBatch &batch, reference::Memory &memory);

} // namespace pg::numerics

#endif // PG_TEST_NUMERICS_COMPILED_H
