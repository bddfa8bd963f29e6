//===- Build.cpp - from YAML (or a dump) through the phases -----------------===//
#include "tools/pgc/Targets.h"
#include "tools/pgc/Tool.h"

#include "dialect/Pg.h"
#include "passes/cpu/StructuredKernels.h"
#include "passes/pipeline/Pipelines.h"
#include "runtime/package/Precision.h"

#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <thread>

namespace pg::tool {
namespace {

class Stopwatch {
public:
  double lap() {
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - last).count();
    last = now;
    return seconds;
  }

private:
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
};

int fail(int code, const llvm::Twine &message) {
  llvm::errs() << "pgc: " << message << "\n";
  return code;
}

/// Writes NN-phase.mlir so that a listing shows the order.
int dumpPhase(const BuildOptions &options, mlir::ModuleOp module,
              llvm::StringRef phase, size_t number) {
  if (options.dumpDirectory.empty())
    return kOk;
  if (std::error_code error =
          llvm::sys::fs::create_directories(options.dumpDirectory))
    return fail(kIo, "cannot create '" + options.dumpDirectory + "': " + error.message());
  std::string path = (options.dumpDirectory + "/" +
                      (number < 10 ? "0" : "") + llvm::Twine(number) + "-" + phase + ".mlir")
                         .str();
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (error)
    return fail(kIo, "cannot write '" + path + "': " + error.message());
  mlir::OpPrintingFlags flags;
  flags.enableDebugInfo(true);
  module.print(stream, flags);
  return kOk;
}

mlir::LogicalResult prepareForCpu(mlir::ModuleOp module) {
  auto manager = mlir::PassManager::on<mlir::ModuleOp>(module.getContext());
  manager.addPass(createCpuPreparePass());
  return manager.run(module);
}

} // namespace

std::string versionText() {
  return std::string("pgc ") + PG_VERSION + " (LLVM " + LLVM_VERSION_STRING + ")";
}

void addBuildFlags(CLI::App &verb, BuildOptions &options) {
  verb.add_option("model", options.sources.modelPath, "model file (YAML), or IR with --start-at")
      ->required();
  verb.add_option("--recipe", options.sources.recipePath, "recipe file (YAML)");
  verb.add_option("--set", options.sources.sets,
                  "override a value: dims.D=256, options.softcap=15, recipe.schedule.steps=100")
      ->allow_extra_args(false);
  verb.add_option("--target", options.target,
                  "comma list: cpu, cpu:<level> (x86-64-v2, -v3, -v4, -v4-bf16: -v4, and avx512_bf16 where a "
                  "CPU has it; native), cuda, cuda:sm_80,sm_90a,... or cuda:source (default cpu)");
  verb.add_option("--max-tokens", options.sources.maxTokens,
                  "most packed tokens of one run (default: the recipe's batch)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  verb.add_option("--memory-limit", options.memoryLimit,
                  "arena bytes the plan may use; more is recomputed, results stay the same (but for rounding, "
                  "where logits are no longer kept; see --logits)")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--logits", options.logits,
                  "between a loss and its gradients: keep the logits (tokens x vocabulary numbers), rebuild them "
                  "for each gradient, or auto: keep them on CPUs where they add little to what is kept anyway")
      ->check(CLI::IsMember({"auto", "keep", "rebuild"}));
  verb.add_option("--programs", options.sources.programs,
                  "programs to derive, a comma between them: score, logits, accumulate, apply, "
                  "calibrate, adapt (default: the first three and those the recipe asks for)")
      ->delimiter(',')
      ->check(CLI::IsMember(frontend::programNames()));
  std::vector<std::string> policies;
  for (const rt::PrecisionPolicy &policy : rt::precisionPolicies())
    policies.push_back(policy.name);
  verb.add_option("--precision", options.sources.precision,
                  rt::precisionNames() + " (default: the recipe's, else f32)")
      ->check(CLI::IsMember(policies));
  verb.add_option("--jobs", options.jobs, "code generation threads (default: all cores)")
      ->check(CLI::NonNegativeNumber);
}

Session::Session() {
  // A message is about the user's file; the operation would be a page of IR.
  mlirContext.printOpOnDiagnostic(false);
  mlir::DialectRegistry registry;
  registry.insert<PgDialect, mlir::func::FuncDialect>();
  mlir::func::registerInlinerExtension(registry);
  mlirContext.appendDialectRegistry(registry);
  mlirContext.loadAllAvailableDialects();
  handler = std::make_unique<mlir::SourceMgrDiagnosticHandler>(sources, &mlirContext);
}
Session::~Session() = default;

int buildProgram(Session &session, const BuildOptions &options, Build &build) {
  Stopwatch watch;
  size_t number = 0;
  std::string phase = options.startAt.empty() ? "spec" : options.startAt;
  for (const std::string &path : {options.sources.modelPath, options.sources.recipePath})
    if (std::error_code error; !path.empty() && (error = llvm::sys::fs::access(
                                                     path, llvm::sys::fs::AccessMode::Exist)))
      return fail(kIo, "cannot open '" + path + "': " + error.message());
  if (options.startAt.empty()) {
    mlir::FailureOr<frontend::Built> built =
        frontend::build(session.context(), options.sources);
    if (mlir::failed(built))
      return kInvalid;
    build.module = std::move(built->module);
    build.parts.spec = std::move(built->spec);
    build.parts.recipe = std::move(built->recipe);
  } else {
    if (!llvm::is_contained(pipelinePhases(), phase))
      return fail(kUsage, "unknown phase '" + phase + "': expected one of " +
                              llvm::join(pipelinePhases(), ", "));
    build.module = mlir::parseSourceFile<mlir::ModuleOp>(options.sources.modelPath,
                                                         &session.context());
    if (!build.module)
      return kInvalid;
    if (phase == "decomposed")
      build.parts.program = canonicalText(*build.module);
  }
  build.times.emplace_back(phase, watch.lap());
  if (int code = dumpPhase(options, *build.module, phase, number++))
    return code;
  if (options.stopAfter == phase)
    return kOk;

  rt::StatusOr<Targets> targets = parseTargets(options.target);
  if (!targets)
    return fail(kUsage, targets.status().message());
  build.parts.target = targets->cpu ? *targets->cpu : cpu::hostTarget();
  PipelineOptions pipeline;
  if (auto precision = (*build.module)->getAttrOfType<mlir::StringAttr>("pg.precision"))
    pipeline.precision = precision.getValue().str();
  pipeline.memoryLimit = options.memoryLimit;
  pipeline.prepareTarget = prepareForCpu;
  pipeline.memory.spreads = targets->cuda;
  pipeline.memory.inPlace = !targets->cuda;
  pipeline.memory.keepsOperands = !targets->cuda;
  pipeline.logits.rule = *parseLogitsRule(options.logits);
  if (targets->cuda && pipeline.logits.rule == LogitsRule::Automatic) {
    pipeline.logits.rule = LogitsRule::Rebuild;
    pipeline.logits.reason = "CUDA kernels make them at the speed of a product";
  }
  // Where products of bf16 numbers are faster than those of f32.
  pipeline.storesRounded = targets->cuda || (targets->cpu && targets->cpu->pairDot != PairDot::None);
  std::string last =
      llvm::is_contained(pipelinePhases(), options.stopAfter) ? options.stopAfter : "planned";
  int dumped = kOk;
  mlir::LogicalResult ran = runPipeline(
      *build.module, phase, last, pipeline, [&](llvm::StringRef finished) {
        build.times.emplace_back(finished.str(), watch.lap());
        if (finished == "decomposed")
          build.parts.program = canonicalText(*build.module);
        if (!dumped)
          dumped = dumpPhase(options, *build.module, finished, number++);
        watch.lap();
      });
  if (mlir::failed(ran))
    return kInvalid;
  return dumped;
}

int lowerProgram(const BuildOptions &options, Build &build) {
  Stopwatch watch;
  int jobs = options.jobs ? options.jobs
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  rt::StatusOr<Targets> targets = parseTargets(options.target);
  if (!targets)
    return fail(kUsage, targets.status().message());
  Cache cache(options.noCache ? "" : Cache::defaultFolder());
  if (targets->cpu) {
    mlir::FailureOr<cpu::EmittedCode> code = cpu::emitCpu(*build.module, *targets->cpu, jobs, cache);
    if (mlir::failed(code))
      return kInternal;
    build.compiled += code->kernels.size();
    build.cached += code->cached;
    build.parts.code = std::move(*code);
    build.times.emplace_back("lowered", watch.lap());
  }
  if (targets->cuda)
    if (int code = lowerCuda(options.cuda, targets->cudaArchs, jobs, cache, build))
      return code;
  if (build.cached < build.compiled)
    cache.trim();
  return kOk;
}

} // namespace pg::tool
