//===- ToolkitLibraries.cpp --------------------------------------------------===//
#include "runtime/support/ToolkitLibraries.h"

#include <cstdlib>

namespace pg::rt {

std::vector<std::string> toolkitLibraries(const char *variable, const std::vector<std::string> &names) {
  if (const char *path = variable ? std::getenv(variable) : nullptr; path && *path)
    return {path};
  std::vector<std::string> folders, paths;
  for (const char *root : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *prefix = std::getenv(root); prefix && *prefix)
      folders.push_back(std::string(prefix) + "/lib64/");
  folders.push_back("/usr/local/cuda/lib64/");
  folders.push_back("");
  for (const std::string &folder : folders)
    for (const std::string &name : names)
      paths.push_back(folder + name);
  return paths;
}

std::vector<std::string> nvrtcLibraries() {
  return toolkitLibraries("PG_NVRTC", {"libnvrtc.so.13", "libnvrtc.so.12"});
}

} // namespace pg::rt
