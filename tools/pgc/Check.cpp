//===- Check.cpp - pgc check ----------------------------------------------------===//
#include "tools/pgc/Tool.h"

#include "passes/fuse/Report.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

namespace pg::tool {
namespace {

struct CheckOptions : BuildOptions {
  bool json = false;
};

int check(CheckOptions options) {
  options.stopAfter = "planned";
  Session session;
  Build build;
  if (int code = buildProgram(session, options, build))
    return code;
  Report report = buildReport(*build.module);
  if (options.json)
    llvm::outs() << llvm::formatv("{0:2}", report.json()) << "\n";
  else
    llvm::outs() << report.text();
  return kOk;
}

} // namespace

void addCheck(CLI::App &app, int &exitCode) {
  CLI::App *verb = app.add_subcommand(
      "check", "check a model and report parameters, cost, memory, kernels, artifact size");
  auto options = std::make_shared<CheckOptions>();
  addBuildFlags(*verb, *options);
  verb->add_flag("--json", options->json, "the report as JSON");
  verb->footer("Example: pgc check models/pr1693.model.yaml --json");
  verb->callback([options, &exitCode] { exitCode = check(*options); });
}

} // namespace pg::tool
