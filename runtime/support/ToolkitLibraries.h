//===- ToolkitLibraries.h - where NVIDIA's toolkit may keep a library --------===//
#ifndef PG_RUNTIME_SUPPORT_TOOLKITLIBRARIES_H
#define PG_RUNTIME_SUPPORT_TOOLKITLIBRARIES_H

#include <string>
#include <vector>

namespace pg::rt {

/// Paths for dlopen, best first: the file that the environment variable `variable`
/// names and nothing else; without it, or when null, each of `names` in lib64 of $CUDA_HOME,
/// $CUDA_PATH and /usr/local/cuda, and where the loader looks.
std::vector<std::string> toolkitLibraries(const char *variable, const std::vector<std::string> &names);

/// NVRTC, which pgc compiles with and pgrun doctor looks for; PG_NVRTC names it.
std::vector<std::string> nvrtcLibraries();

} // namespace pg::rt

#endif // PG_RUNTIME_SUPPORT_TOOLKITLIBRARIES_H
