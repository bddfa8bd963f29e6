//===- CompileLog.h - what the assembler says about a kernel ----------------===//
#ifndef PG_PASSES_NVRTC_COMPILELOG_H
#define PG_PASSES_NVRTC_COMPILELOG_H

#include <cstdint>
#include <string>
#include <vector>

namespace pg::nvrtc {

/// One "Function properties" paragraph of the log.
struct Resources {
  std::string kernel;
  int64_t registers = 0, stackBytes = 0, spillStores = 0, spillLoads = 0, sharedBytes = 0, barriers = 0;
};

/// The resource report of --ptxas-options=-v, in the log's order.
std::vector<Resources> resourcesOf(const std::string &log);

/// Lines that mean slow or wrong code although it compiled: an ignored
/// setmaxnreg, serialised wgmma, an injected warpgroup.arrive, too much shared
/// memory; and, unless `mayUseLocal`, spills and stack frames.
std::vector<std::string> problemsOf(const std::string &log, bool mayUseLocal);

/// A kernel whose text says this may spill and keep arrays in local memory.
inline constexpr const char *kLocalMemoryMark = "pg: local memory expected";

} // namespace pg::nvrtc

#endif // PG_PASSES_NVRTC_COMPILELOG_H
