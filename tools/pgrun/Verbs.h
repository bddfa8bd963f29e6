//===- Verbs.h - the verbs of pgrun -------------------------------------------===//
//
// A verb declares its options on a CLI11 subcommand and leaves a function that
// runs it. The function returns a Status; main maps it to the exit code.
//
//===----------------------------------------------------------------------===//
#ifndef PG_TOOLS_PGRUN_VERBS_H
#define PG_TOOLS_PGRUN_VERBS_H

#include "runtime/exec/Executor.h"
#include "runtime/train/Recipe.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

namespace pg::rt {

inline constexpr const char *kRunVersion = "0.1.0";

/// What a verb does after its options are parsed. `exitCode` may be set when it
/// is not given by the status (128 + signal).
using VerbFn = std::function<Status(int &exitCode)>;

VerbFn addScore(CLI::App &app);
VerbFn addGrad(CLI::App &app);
VerbFn addData(CLI::App &app);
VerbFn addTrain(CLI::App &app);
VerbFn addEval(CLI::App &app);
VerbFn addGenerate(CLI::App &app);
VerbFn addCalibrate(CLI::App &app);
VerbFn addAdapt(CLI::App &app);
VerbFn addInfo(CLI::App &app);
VerbFn addInit(CLI::App &app);
VerbFn addReport(CLI::App &app);
VerbFn addBench(CLI::App &app);
VerbFn addDoctor(CLI::App &app);

/// Options every verb that runs code shares.
struct CommonOptions {
  std::string package;
  std::string device = "auto", cublaslt = "off";
  int threads = 0;
  bool profile = false;
  bool poison = false;
  void add(CLI::App &app);
  /// Reads the package and makes the executor.
  StatusOr<std::unique_ptr<Executor>> open() const;
};

/// Prints a line on stdout; Io when it cannot be written.
Status print(const std::string &text);
/// The profile on stderr when it was asked for.
void showProfile(Executor &executor, bool wanted);

} // namespace pg::rt

#endif // PG_TOOLS_PGRUN_VERBS_H
