//===- Passes.h - passes of the CPU target ------------------------------------===//
#ifndef PG_PASSES_CPU_PASSES_H
#define PG_PASSES_CPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace pg {

/// Registers `pg-cpu-prepare` and `pg-emit-cpu`.
void registerCpuPasses();

} // namespace pg

#endif // PG_PASSES_CPU_PASSES_H
