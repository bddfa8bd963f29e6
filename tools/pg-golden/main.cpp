//===- main.cpp - pg-golden: reference cases through the whole tool chain
//--===//
#include "tools/pg-golden/Case.h"

#include "runtime/support/File.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fnmatch.h>
#include <map>
#include <unistd.h>

using namespace pg;
using namespace pg::golden;
namespace fs = std::filesystem;

//===----------------------------------------------------------------------===//
// The run
//===----------------------------------------------------------------------===//

/// The kinds this tool can run. A new kind is a function and a line here.
static const std::map<std::string,
                      Outcome (*)(const Case &, const Environment &)>
    kKinds = {{"loader", runLoaderCase},
              {"model", runModelCase},
              {"optimizer", runOptimizerCase},
              {"qat", runQatCase},
              {"quantisation", runQuantisationCase},
              {"calibration", runCalibrationCase},
              {"ttt-lora", runAdaptCase},
              {"schedule", runScheduleCase},
              {"training", runTrainingCase}};

/// Folders with a case.json at or below `root`, sorted by path.
static rt::StatusOr<std::vector<Case>> findCases(const std::string &root) {
  std::error_code error;
  std::vector<fs::path> folders;
  if (fs::exists(fs::path(root) / "case.json", error))
    folders.push_back(root);
  for (fs::recursive_directory_iterator it(root, error), end;
       !error && it != end; it.increment(error))
    if (it->is_directory(error) && fs::exists(it->path() / "case.json", error))
      folders.push_back(it->path());
  if (error)
    return rt::Status(rt::Code::Io, root + ": " + error.message());
  std::sort(folders.begin(), folders.end());

  std::vector<Case> cases;
  for (const fs::path &folder : folders) {
    Case found{fs::absolute(folder).lexically_normal().filename().string(),
               folder.string(),
               {}};
    rt::StatusOr<std::string> text = rt::readFile(found.file("case.json"));
    if (!text)
      return text.status();
    rt::StatusOr<rt::Json> spec = rt::parseJson(*text);
    if (!spec)
      return spec.status().with(found.file("case.json"));
    found.spec = *spec;
    cases.push_back(std::move(found));
  }
  return cases;
}

static Outcome runCase(const Case &golden, const Environment &environment) {
  auto kind = kKinds.find(golden.text("kind"));
  if (kind == kKinds.end()) {
    Outcome outcome;
    outcome.message = "kind not supported yet";
    return outcome;
  }
  auto start = std::chrono::steady_clock::now();
  Outcome outcome = kind->second(golden, environment);
  outcome.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  return outcome;
}

static const char *stateName(Outcome::State state) {
  switch (state) {
  case Outcome::State::Pass:
    return "pass";
  case Outcome::State::Fail:
    return "FAIL";
  case Outcome::State::Unsupported:
    return "skip";
  }
  return "";
}

static void print(const Case &golden, const Outcome &outcome) {
  std::printf("%s  %-22s %-12s", stateName(outcome.state), golden.id.c_str(),
              golden.text("kind").c_str());
  if (const Check *worst = outcome.worst())
    std::printf(" worst %s: %.2e, tolerance %.0e (%zu numbers, %.1f s)",
                worst->what.c_str(), worst->error, worst->tolerance,
                outcome.checks.size(), outcome.seconds);
  if (!outcome.message.empty())
    std::printf(" %s", outcome.message.c_str());
  std::printf("\n");
  std::fflush(stdout);
}

static rt::Json toJson(const Case &golden, const Outcome &outcome) {
  rt::Json checks = rt::Json::array();
  for (const Check &check : outcome.checks)
    checks.push_back({{"what", check.what},
                      {"error", rt::numberToJson(check.error)},
                      {"tolerance", check.tolerance},
                      {"pass", check.isPass()}});
  const char *states[] = {"pass", "fail", "unsupported"};
  return {{"case", golden.id},
          {"kind", golden.text("kind")},
          {"stack", golden.text("stack")},
          {"state", states[static_cast<int>(outcome.state)]},
          {"message", outcome.message},
          {"seconds", outcome.seconds},
          {"checks", checks}};
}

/// A private temporary folder that is removed at the end unless it was named.
namespace {
class Scratch {
public:
  explicit Scratch(std::string keep)
      : path(std::move(keep)), isKept(!path.empty()) {
    if (isKept)
      return;
    path = (fs::temp_directory_path() / "pg-golden-XXXXXX").string();
    if (!mkdtemp(path.data()))
      path.clear();
  }
  ~Scratch() {
    std::error_code ignored;
    if (!isKept && !path.empty())
      fs::remove_all(path, ignored);
  }
  std::string path;

private:
  bool isKept;
};
} // namespace

static int runAll(const std::string &root, const std::string &only,
                  const std::string &jsonPath, Environment environment,
                  const std::string &keep) {
  rt::StatusOr<std::vector<Case>> cases = findCases(root);
  if (!cases) {
    std::fprintf(stderr, "pg-golden: %s\n", cases.status().message().c_str());
    return static_cast<int>(cases.status().code());
  }
  Scratch scratch(keep);
  if (scratch.path.empty()) {
    std::fprintf(stderr, "pg-golden: no temporary folder can be made\n");
    return static_cast<int>(rt::Code::Io);
  }
  int counts[3] = {0, 0, 0};
  rt::Json report = rt::Json::array();
  for (const Case &golden : *cases) {
    if (!only.empty() && fnmatch(only.c_str(), golden.id.c_str(), 0) != 0)
      continue;
    environment.scratch = scratch.path + "/" + golden.id;
    if (rt::Status made = rt::makeFolder(environment.scratch); !made) {
      std::fprintf(stderr, "pg-golden: %s\n", made.message().c_str());
      return static_cast<int>(made.code());
    }
    Outcome outcome = runCase(golden, environment);
    ++counts[static_cast<int>(outcome.state)];
    print(golden, outcome);
    report.push_back(toJson(golden, outcome));
  }
  std::printf("%d passed, %d failed, %d not supported yet\n", counts[0],
              counts[1], counts[2]);
  if (!jsonPath.empty())
    if (rt::Status written =
            rt::writeFileAtomic(jsonPath, report.dump(1) + "\n");
        !written) {
      std::fprintf(stderr, "pg-golden: %s\n", written.message().c_str());
      return static_cast<int>(written.code());
    }
  if (counts[0] + counts[1] + counts[2] == 0) {
    std::fprintf(stderr, "pg-golden: no case below %s%s%s\n", root.c_str(),
                 only.empty() ? "" : " matches ", only.c_str());
    return static_cast<int>(rt::Code::Invalid);
  }
  return counts[1] > 0 ? static_cast<int>(rt::Code::Invalid) : 0;
}

int main(int argc, char **argv) {
  CLI::App app{"pg-golden compiles and runs reference cases and compares every "
               "number with the recorded ones"};
  std::string root, only, json, keep, target, device;
  Environment environment;
  environment.maps = PG_GOLDEN_MAPS;
  std::error_code error;
  environment.tools =
      fs::read_symlink("/proc/self/exe", error).parent_path().string();
  app.add_option("DIR", root, "folder of cases (case.json at any depth)")
      ->required();
  app.add_option("--only", only, "run only cases whose name matches this glob");
  app.add_option("--json", json, "write all numbers to this file");
  app.add_option("--maps", environment.maps, "folder of <stack>.map.yaml")
      ->capture_default_str();
  app.add_option("--tools", environment.tools, "folder of pgc and pgrun")
      ->capture_default_str();
  app.add_option("--precision", environment.precision,
                 "policy to compile with; under bf16 numbers are judged by the "
                 "bf16 program each case has on record")
      ->check(CLI::IsMember({"f32", "f64", "bf16"}))
      ->capture_default_str();
  app.add_option("--keep", keep, "keep packages, results and logs here");
  app.add_option("--target", target, "compile for this (pgc --target)");
  app.add_option("--device", device, "run on this (pgrun --device)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &success) {
    return app.exit(success);
  } catch (const CLI::ParseError &problem) {
    std::fprintf(stderr, "pg-golden: %s\npg-golden: see pg-golden --help\n",
                 problem.what());
    return static_cast<int>(rt::Code::Usage);
  }
  if (!target.empty())
    environment.compileFlags = {"--target", target};
  if (!device.empty())
    environment.runFlags = {"--device", device};
  return runAll(root, only, json, environment, keep);
}
