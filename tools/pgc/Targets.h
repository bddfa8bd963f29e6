//===- Targets.h - what --target asks for --------------------------------------===//
#ifndef PG_TOOLS_PGC_TARGETS_H
#define PG_TOOLS_PGC_TARGETS_H

#include "passes/cpu/CpuBackend.h"
#include "runtime/support/Status.h"

#include <optional>
#include <string>
#include <vector>

namespace pg::tool {

/// Code to put into a package.
struct Targets {
  std::optional<cpu::Target> cpu;
  bool cuda = false;
  std::vector<std::string> cudaArchs; ///< none: source and launch tables only
};

/// A comma list of `cpu[:level]` and `cuda[:arch,arch...]`, where `cuda:source`
/// asks for no machine code; `cuda` alone is sm_80 and sm_90a. Usage says what is
/// wrong.
rt::StatusOr<Targets> parseTargets(const std::string &text);

} // namespace pg::tool

#endif // PG_TOOLS_PGC_TARGETS_H
