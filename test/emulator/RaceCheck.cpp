//===- RaceCheck.cpp - ThreadSanitizer over emulated kernels ------------------===//
#include "RaceCheck.h"

#include "Folder.h"

namespace pg::emulator {

namespace {

/// Any compiler that has the library; clang needs a package of its own for it.
std::string sanitizingCompiler(const Folder &folder) {
  std::string probe = folder.path + "/probe.cpp";
  std::ofstream(probe) << "int main() {}\n";
  for (std::string compiler : {"g++", PG_HOST_COMPILER})
    if (std::system((compiler + " -fsanitize=thread " + probe + " -o " +
                     folder.path + "/probe > /dev/null 2>&1 && " +
                     folder.path + "/probe > /dev/null 2>&1")
                        .c_str()) == 0)
      return compiler;
  return "";
}

} // namespace

RaceCheck checkRaces(const std::string &source, const std::string &symbol,
                     const std::string &main, int64_t blocks, int threads,
                     int64_t sharedBytes) {
  RaceCheck check;
  Folder folder;
  std::string compiler = sanitizingCompiler(folder);
  if (compiler.empty()) {
    check.isMissing = true;
    check.message = "no compiler with ThreadSanitizer's library";
    return check;
  }
  std::ofstream(folder.path + "/kernels.cu") << source;
  std::ofstream(folder.path + "/callers.cpp")
      << "#include \"kernels.cu\"\nextern \"C\" void pg_call_" << symbol
      << "(void **params) { pg_call(" << symbol << ", params); }\n";
  // The program has the kernel itself: no loading, no handle.
  std::ofstream(folder.path + "/main.cpp")
      << "#include \"test/emulator/Emulator.h\"\n#include <cstdio>\n"
         "#include <vector>\nint main() {\n"
      << main << "\npg::emulator::Launch launch;\nlaunch.blocks = " << blocks
      << ";\nlaunch.threads = " << threads
      << ";\nlaunch.sharedBytes = " << sharedBytes
      << ";\nlaunch.params = params;\nstd::string error = "
         "pg::emulator::runLinked(\""
      << symbol
      << "\", launch, {});\nif (!error.empty()) "
         "std::fprintf(stderr, \"failed: %s\\n\", error.c_str());\n"
         "return error.empty() ? 0 : 3;\n}\n";
  std::string flags = " -std=c++20 -O1 -g -w -fPIC -I" PG_SOURCE_DIR
                      "/test/emulator/include -I" PG_SOURCE_DIR " -I" +
                      folder.path;
  std::string log = folder.path + "/log", at = folder.path + "/";
  std::string build =
      "(" + compiler + flags + " -fsanitize=thread -c " + at + "callers.cpp -o " +
      at + "callers.o && " + compiler + flags + " -c " PG_SOURCE_DIR
      "/test/emulator/Emulator.cpp -o " + at + "emulator.o && " + compiler +
      flags + " -c " + at + "main.cpp -o " + at + "main.o && " + compiler +
      " -fsanitize=thread -rdynamic " + at + "callers.o " + at + "emulator.o " +
      at + "main.o -ldl -o " + at + "check) > " + log + " 2>&1";
  if (std::system(build.c_str()) != 0) {
    check.message = contents(log);
    return check;
  }
  std::string run = "TSAN_OPTIONS=exitcode=0:report_signal_unsafe=0 " + at +
                    "check > " + log + " 2>&1";
  int status = std::system(run.c_str());
  std::string report = contents(log);
  check.message = report.substr(0, 2000);
  if (status != 0)
    return check;
  check.races = 0;
  const std::string mark = "WARNING: ThreadSanitizer: data race";
  for (size_t k = report.find(mark); k != std::string::npos;
       k = report.find(mark, k + 1))
    ++check.races;
  return check;
}

} // namespace pg::emulator
