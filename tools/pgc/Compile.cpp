//===- Compile.cpp - pgc compile ---------------------------------------------===//
#include "tools/pgc/Targets.h"
#include "tools/pgc/Tool.h"

#include "passes/pipeline/Pipelines.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

namespace pg::tool {
namespace {

struct CompileOptions : BuildOptions {
  std::string output;
  std::vector<std::string> emit;
};

void printTimes(const Build &build) {
  double total = 0;
  for (const auto &[phase, seconds] : build.times)
    total += seconds;
  for (const auto &[phase, seconds] : build.times)
    llvm::errs() << llvm::format("  %-12s %7.3f s  %5.1f %%\n", phase.c_str(), seconds,
                                 100 * seconds / total);
  llvm::errs() << llvm::format("  %-12s %7.3f s\n", "total", total);
  if (build.compiled)
    llvm::errs() << "  " << build.compiled << " kernels, " << build.cached << " of them from the cache\n";
}

int compile(CompileOptions options) {
  bool stops = llvm::is_contained(pipelinePhases(), options.stopAfter);
  if (!stops && options.stopAfter != "packaged") {
    llvm::errs() << "pgc: unknown phase '" << options.stopAfter << "': expected one of "
                 << llvm::join(pipelinePhases(), ", ") << ", packaged\n";
    return kUsage;
  }
  if (!stops && options.output.empty() && options.emit.empty()) {
    llvm::errs() << "pgc: compile needs -o X.pgx (or --emit KIND, or --stop-after PHASE)\n";
    return kUsage;
  }
  if (!options.emit.empty()) {
    rt::StatusOr<Targets> targets = parseTargets(options.target);
    bool wantsPtx = llvm::is_contained(options.emit, "ptx");
    if (targets && (!targets->cuda || (wantsPtx && targets->cudaArchs.empty()))) {
      llvm::errs() << "pgc: --emit needs --target cuda"
                   << (wantsPtx ? " with an architecture" : " (cuda:source needs no NVRTC)") << "\n";
      return kUsage;
    }
  }
  Session session;
  Build build;
  if (int code = buildProgram(session, options, build))
    return code;
  if (stops) {
    mlir::OpPrintingFlags flags;
    flags.enableDebugInfo(false);
    build.module->print(llvm::outs(), flags);
    if (options.timing)
      printTimes(build);
    return kOk;
  }
  if (int code = lowerProgram(options, build))
    return code;
  if (int code = emitTexts(options.emit, options.output, build))
    return code;
  if (options.output.empty())
    return kOk;
  build.parts.compiler = versionText();
  mlir::FailureOr<rt::Package> package =
      buildPackage(*build.module, std::move(build.parts));
  if (mlir::failed(package))
    return kInternal;
  if (rt::Status status = rt::writePackage(*package, options.output); !status) {
    llvm::errs() << "pgc: " << status.message() << "\n";
    return static_cast<int>(status.code());
  }
  if (options.timing)
    printTimes(build);
  return kOk;
}

} // namespace

void addCompile(CLI::App &app, int &exitCode) {
  CLI::App *verb = app.add_subcommand("compile", "compile a model (and a recipe) into a package");
  auto options = std::make_shared<CompileOptions>();
  addBuildFlags(*verb, *options);
  verb->add_option("-o,--output", options->output, "package to write");
  verb->add_option("--emit", options->emit,
                   "write the text of the CUDA code, cuda (the source) or ptx: beside the package, without -o on "
                   "standard output")
      ->delimiter(',')
      ->check(CLI::IsMember({"cuda", "ptx"}));
  verb->add_flag("--no-cache", options->noCache,
                 "compile every kernel anew (PG_CACHE_DIR: another folder than ~/.cache/pgc, or off; PG_CACHE_MB: its "
                 "largest size, 2048)");
  verb->add_flag("--refuse-spills", options->cuda.refusesSpills,
                 "a CUDA kernel that spills registers to local memory is an error instead of a note");
  verb->add_flag("-v,--verbose", options->cuda.verbose, "registers, shared memory and spills of every CUDA kernel, on stderr");
  verb->add_option("--stop-after", options->stopAfter,
                   "print the IR after this phase: spec, inlined, derived, decomposed, fused, "
                   "outlined, planned");
  verb->add_option("--start-at", options->startAt, "the input is IR printed after this phase");
  verb->add_option("--dump-ir", options->dumpDirectory, "write the IR after every phase here");
  verb->add_flag("--timing", options->timing, "time by phase, on stderr");
  verb->footer("Example: pgc compile models/pr1693.model.yaml --set dims.D=256 -o small.pgx");
  verb->callback([options, &exitCode] { exitCode = compile(*options); });
}

} // namespace pg::tool
