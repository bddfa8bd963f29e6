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

std::vector<RaceCheck> checkRaces(const std::string &source,
                                  const std::vector<RaceLaunch> &launches) {
  std::vector<RaceCheck> checks(launches.size());
  Folder folder;
  std::string compiler = sanitizingCompiler(folder);
  if (compiler.empty()) {
    for (RaceCheck &check : checks) {
      check.isMissing = true;
      check.message = "no compiler with ThreadSanitizer's library";
    }
    return checks;
  }
  std::ofstream(folder.path + "/kernels.cu") << source;
  std::ofstream callers(folder.path + "/callers.cpp");
  callers << "#include \"kernels.cu\"\n";
  for (const RaceLaunch &launch : launches)
    callers << "extern \"C\" void pg_call_" << launch.symbol
            << "(void **params) { pg_call(" << launch.symbol << ", params); }\n";
  callers.close();
  // The program has the kernels itself: no loading, no handle.
  std::ofstream main(folder.path + "/main.cpp");
  main << "#include \"test/emulator/Emulator.h\"\n#include <cstdio>\n"
          "#include <cstdlib>\n#include <vector>\n"
          "int main(int, char **argv) {\nstd::string error;\n"
          "pg::emulator::Launch launch;\nswitch (std::atoi(argv[1])) {\n";
  for (size_t k = 0; k < launches.size(); ++k)
    main << "case " << k << ": {\n"
         << launches[k].setup << "\nlaunch.blocks = " << launches[k].blocks
         << ";\nlaunch.threads = " << launches[k].threads
         << ";\nlaunch.sharedBytes = " << launches[k].sharedBytes
         << ";\nlaunch.params = params;\n"
            "error = pg::emulator::runLinked(\""
         << launches[k].symbol << "\", launch, {});\nbreak;\n}\n";
  main << "}\nif (!error.empty()) "
          "std::fprintf(stderr, \"failed: %s\\n\", error.c_str());\n"
          "return error.empty() ? 0 : 3;\n}\n";
  main.close();
  std::string flags = " -std=c++20 -O0 -march=x86-64-v3 -w -fPIC -I" PG_SOURCE_DIR
                      "/test/emulator/include -I" PG_SOURCE_DIR " -I" +
                      folder.path;
  std::string log = folder.path + "/log", at = folder.path + "/";
  std::string build =
      "(" + compiler + flags + " -fsanitize=thread -c " + at + "callers.cpp -o " +
      at + "callers.o && " + compiler + flags + " -c " + at + "main.cpp -o " +
      at + "main.o && " + compiler + " -fsanitize=thread -rdynamic " + at +
      "callers.o " + at + "main.o '" PG_EMULATOR_ARCHIVE "' -ldl -o " + at +
      "check) > " + log + " 2>&1";
  if (std::system(build.c_str()) != 0) {
    for (RaceCheck &check : checks)
      check.message = contents(log);
    return checks;
  }
  for (size_t k = 0; k < launches.size(); ++k) {
    std::string run = "TSAN_OPTIONS=exitcode=0:report_signal_unsafe=0 " + at +
                      "check " + std::to_string(k) + " > " + log + " 2>&1";
    int status = std::system(run.c_str());
    std::string report = contents(log);
    checks[k].message = report.substr(0, 2000);
    if (status != 0)
      continue;
    checks[k].races = 0;
    const std::string mark = "WARNING: ThreadSanitizer: data race";
    for (size_t at = report.find(mark); at != std::string::npos;
         at = report.find(mark, at + 1))
      ++checks[k].races;
  }
  return checks;
}

} // namespace pg::emulator
