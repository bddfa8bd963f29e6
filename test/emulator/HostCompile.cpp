//===- HostCompile.cpp - kernel text through the host compiler ----------------===//
#include "Emulator.h"

#include "Folder.h"

#include <cstdlib>
#include <dlfcn.h>

namespace pg::emulator {

std::string compileKernels(const std::string &source,
                           const std::vector<std::string> &symbols,
                           const std::string &path) {
  Folder folder;
  if (folder.path.empty())
    return "no temporary directory";
  // The text itself is not touched: callers stand in a file that includes it.
  std::ofstream(folder.path + "/kernels.cu") << source;
  std::ofstream callers(folder.path + "/callers.cpp");
  callers << "#include \"kernels.cu\"\n#include <pg_parameters.h>\n";
  for (const std::string &symbol : symbols)
    callers << "extern \"C\" void pg_call_" << symbol
            << "(void **params) { pg_call(" << symbol << ", params); }\n"
            << "extern \"C\" const unsigned *pg_sizes_" << symbol
            << "() { return pg_sizes_of(" << symbol << "); }\n";
  callers.close();
  // No contraction: sums and products round as written. Optimising would take ten times as long as what tests run:
  // loops are unrolled as the text asks for a GPU.
  std::string log = folder.path + "/log";
  std::string command = std::string(PG_HOST_COMPILER) +
                        " -std=c++20 -O0 -march=x86-64-v3 -fPIC -shared -ffp-contract=off -w"
                        " -I" PG_SOURCE_DIR "/test/emulator/include"
                        " -I" PG_SOURCE_DIR " -I" +
                        folder.path + " " + folder.path + "/callers.cpp -o '" +
                        path + "' 2> " + log;
  return std::system(command.c_str()) == 0 ? "" : contents(log) + " ";
}

Kernels::Kernels(const std::string &source,
                 const std::vector<std::string> &symbols) {
  Folder folder;
  std::string object = folder.path + "/kernels.so";
  message = compileKernels(source, symbols, object);
  if (!message.empty())
    return;
  handle = dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    message = dlerror();
}

Kernels::~Kernels() {
  if (handle && isOwner)
    dlclose(handle);
}

} // namespace pg::emulator
