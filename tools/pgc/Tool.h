//===- Tool.h - what the verbs of pgc share ----------------------------------===//
#ifndef PG_TOOLS_PGC_TOOL_H
#define PG_TOOLS_PGC_TOOL_H

#include "frontend/Frontend.h"
#include "passes/cpu/CpuBackend.h"
#include "passes/nvrtc/CudaImages.h"
#include "passes/package/EmitPackage.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/SourceMgr.h"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace pg::tool {

/// Exit codes, docs/exit-codes.md.
enum ExitCode { kOk = 0, kInvalid = 1, kUsage = 2, kEnvironment = 3, kIo = 4, kCorrupt = 5, kInternal = 70 };

/// Options of the CUDA target.
struct CudaOptions {
  bool refusesSpills = false;
  bool verbose = false;        ///< resources of every kernel on stderr
};

/// Options of every verb that builds a program from YAML.
struct BuildOptions {
  frontend::Sources sources;
  std::string target = "cpu";  ///< parseTargets
  CudaOptions cuda;
  std::string startAt;         ///< phase whose dump `sources.modelPath` is; "" = YAML
  std::string stopAfter = "packaged";
  std::string dumpDirectory;   ///< IR after every phase goes here
  int64_t memoryLimit = 0;
  std::string logits = "auto"; ///< parseLogitsRule
  int jobs = 0;                ///< 0 = all cores
  bool noCache = false;        ///< compile every kernel anew
  bool timing = false;
};

/// Adds the flags of BuildOptions to a verb.
void addBuildFlags(CLI::App &verb, BuildOptions &options);

/// A context with the dialects, whose diagnostics go to stderr as
/// file:line:column: error: text, source line, caret.
class Session {
public:
  Session();
  ~Session();
  mlir::MLIRContext &context() { return mlirContext; }

private:
  mlir::MLIRContext mlirContext;
  llvm::SourceMgr sources;
  std::unique_ptr<mlir::ScopedDiagnosticHandler> handler;
};

/// Seconds spent in each phase, in order.
using PhaseTimes = std::vector<std::pair<std::string, double>>;

/// A program on its way from YAML to a package.
struct Build {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  PackageParts parts;   ///< spec, program, recipe, target; code after "lowered"
  PhaseTimes times;
  nvrtc::CudaImages cuda; ///< what NVRTC said; the code itself is in `parts`
  size_t compiled = 0;    ///< kernels, once for every machine
  size_t cached = 0;      ///< of them from the cache
};

/// Runs the phases up to `options.stopAfter` (at most "planned"). Returns an
/// exit code; diagnostics have been printed when it is not kOk.
int buildProgram(Session &session, const BuildOptions &options, Build &build);
/// Emits code for a planned or outlined build (phase "lowered"), for every
/// target asked for.
int lowerProgram(const BuildOptions &options, Build &build);
/// The CUDA part of it; `archs` may be empty.
int lowerCuda(const CudaOptions &options, const std::vector<std::string> &archs, int jobs, const Cache &cache,
              Build &build);
/// The text of kinds "cuda" and "ptx": beside the package, or on standard output
/// when there is no path.
int emitTexts(const std::vector<std::string> &kinds, const std::string &packagePath, const Build &build);

/// "pgc 0.1.0 (LLVM 22.1.8)".
std::string versionText();

void addCompile(CLI::App &app, int &exitCode);
void addCheck(CLI::App &app, int &exitCode);
void addDiff(CLI::App &app, int &exitCode);
void addDump(CLI::App &app, int &exitCode);
void addExplain(CLI::App &app, int &exitCode);
void addGraph(CLI::App &app, int &exitCode);
void addSchema(CLI::App &app, int &exitCode);

} // namespace pg::tool

#endif // PG_TOOLS_PGC_TOOL_H
