//===- Check.cpp - pgc check ----------------------------------------------------===//
#include "tools/pgc/Targets.h"
#include "tools/pgc/Tool.h"

#include "passes/cuda/CudaBackend.h"
#include "passes/fuse/Report.h"
#include "passes/report/Roofline.h"

#include "llvm/ADT/StringMap.h"
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
  rt::StatusOr<Targets> targets = parseTargets(options.target);
  std::vector<RooflineEntry> estimate;
  if (targets && targets->cuda) {
    mlir::FailureOr<cuda::EmittedSource> emitted = cuda::emitCuda(*build.module);
    if (mlir::failed(emitted))
      return kInternal;
    llvm::StringMap<int64_t> stages;
    for (const cuda::EmittedKernel &kernel : emitted->kernels)
      stages[kernel.symbol] = static_cast<int64_t>(kernel.stages.size());
    estimate = roofline(*build.module, [&](llvm::StringRef symbol) { return stages.lookup(symbol); });
    if (auto tokens = build.parts.recipe.find("batch.step_tokens"); tokens != build.parts.recipe.end())
      addSteps(estimate, tokens->second.i);
  }
  if (options.json) {
    llvm::json::Value json = report.json();
    if (!estimate.empty())
      json.getAsObject()->try_emplace("cuda", rooflineJson(estimate));
    llvm::outs() << llvm::formatv("{0:2}", json) << "\n";
  } else {
    llvm::outs() << report.text() << (estimate.empty() ? "" : rooflineText(estimate));
  }
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
