//===- CpuBackend.cpp - kernel_defs to code, on several threads -------------===//
//
// Every kernel is an object of its own, so neither the number of threads nor
// the order in which they finish can change a byte. A thread has its own MLIR
// context, into which it parses the printed kernel.
//
//===----------------------------------------------------------------------===//
#include "passes/cpu/CpuBackend.h"

#include "passes/cpu/AttentionStrips.h"
#include "passes/cpu/MicroKernel.h"
#include "passes/cpu/RowKernel.h"
#include "passes/cpu/StructuredKernels.h"
#include "runtime/package/KernelAbi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <atomic>
#include <set>
#include <thread>

using namespace mlir;

namespace pg::cpu {
namespace {

/// One kernel on its way.
struct Job {
  KernelDefOp def;
  bool isVersion = false; ///< the second version of the kernel
  bool multipliesPairs = false;
  std::string text;
  std::string object;
  EmittedKernel kernel;
  std::vector<std::string> shared; ///< shared functions that it calls
  bool cached = false;
  std::string error; ///< empty when compiled
};

/// Loads what emission creates; a pass loads them as dependent dialects.
void loadDialects(MLIRContext &context) {
  context.loadDialect<PgDialect, arith::ArithDialect, cf::ControlFlowDialect,
                      func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                      scf::SCFDialect, vector::VectorDialect>();
}

void compileJob(Job &job, MLIRContext &context, const Target &target,
                const Cache &cache) {
  std::string messages;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (!messages.empty())
      messages += "; ";
    messages += diagnostic.str();
    return success();
  });
  auto fail = [&](llvm::StringRef what) {
    job.error = messages.empty() ? what.str() : messages;
  };
  OwningOpRef<ModuleOp> source =
      parseSourceString<ModuleOp>(job.text, &context);
  if (!source)
    return fail("the printed kernel does not parse");
  OwningOpRef<ModuleOp> module(ModuleOp::create(source->getLoc()));
  KernelDefOp def = *source->getOps<KernelDefOp>().begin();
  if (job.isVersion)
    def.setSymName((def.getSymName() + "." + rt::kVersionFlag).str());
  FailureOr<KernelShape> shape = emitKernel(def, *module, target.emission());
  if (failed(shape))
    return fail("emission failed");
  job.kernel = {.scratchBytes = shape->scratchBytes,
                .items = shape->items,
                .versionItems = std::nullopt,
                .category = shape->category,
                .multipliesPairs = job.multipliesPairs};
  if (failed(lowerToLLVM(*module)))
    return fail("lowering failed");
  job.shared = sharedFunctionsOf(*module);
  rt::StatusOr<ObjectCode> object =
      compileObject(*module, target, shape->wholePipeline, cache);
  if (!object)
    return fail(object.status().message());
  job.object = std::move(object->bytes);
  job.cached = object->cached;
}

/// An object with this function, or the reason why not.
rt::StatusOr<ObjectCode> compileShared(const std::string &symbol,
                                       const Target &target,
                                       const Cache &cache) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  loadDialects(context);
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(&context)));
  if (!defineMicroKernel(*module, symbol, target.emission()) &&
      !defineAttentionStrips(*module, symbol, target.emission()))
    return rt::Status(rt::Code::Internal, "no shared function " + symbol);
  if (failed(lowerToLLVM(*module)))
    return rt::Status(rt::Code::Internal, "lowering of " + symbol + " failed");
  return compileObject(*module, target, /*wholePipeline=*/true, cache);
}

/// Calls `work` on so many threads; each takes numbers below `count` from `next`.
void onThreads(int threadCount, size_t count,
               llvm::function_ref<void(std::atomic<size_t> &next)> work) {
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (size_t k = 1; k < std::min<size_t>(std::max(threadCount, 1), count); ++k)
    threads.emplace_back([&] { work(next); });
  work(next);
  for (std::thread &thread : threads)
    thread.join();
}

/// Scratch suffices for both versions; each cuts its work as it likes.
void mergeVersion(EmittedKernel &kernel, const EmittedKernel &version) {
  kernel.scratchBytes = std::max(kernel.scratchBytes, version.scratchBytes);
  if (version.items != kernel.items)
    kernel.versionItems = version.items;
}

} // namespace

FailureOr<EmittedCode> emitCpu(ModuleOp outlined, const Target &target,
                               int jobCount, const Cache &cache) {
  Target plain = target, version = target;
  if (target.pairDotIsVersion) {
    plain.pairDot = PairDot::None;
    if (target.pairDot == PairDot::Instruction)
      version.llvmFeatures += (version.llvmFeatures.empty() ? "+" : ",+") +
                              std::string(kPairDotFeature);
  }
  std::vector<Job> jobs;
  for (bool isVersion : {false, true})
    for (KernelDefOp def : outlined.getOps<KernelDefOp>()) {
      Operation *op = findStructuredOp(def);
      bool multipliesPairs = target.pairDot != PairDot::None && op && hasBf16Factors(op);
      if (isVersion && !(target.pairDotIsVersion && multipliesPairs))
        continue;
      Job &job = jobs.emplace_back();
      job.multipliesPairs = multipliesPairs;
      job.def = def;
      job.isVersion = isVersion;
      llvm::raw_string_ostream out(job.text);
      def->print(out, OpPrintingFlags().useLocalScope());
    }

  onThreads(jobCount, jobs.size(), [&](std::atomic<size_t> &next) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    loadDialects(context);
    for (size_t index = next++; index < jobs.size(); index = next++)
      compileJob(jobs[index], context, jobs[index].isVersion ? version : plain,
                 cache);
  });

  EmittedCode code;
  std::vector<std::string> objects;
  std::set<std::string> names;
  bool complete = true;
  for (Job &job : jobs) {
    std::string symbol = job.def.getSymName().str();
    if (!job.error.empty()) {
      job.def.emitError() << "kernel @" << symbol << ": " << job.error;
      complete = false;
    }
    if (job.isVersion) {
      mergeVersion(code.kernels[symbol], job.kernel);
    } else {
      code.kernels[symbol] = job.kernel;
      code.cached += job.cached;
    }
    objects.push_back(std::move(job.object));
    names.insert(job.shared.begin(), job.shared.end());
  }
  if (!complete)
    return failure();
  std::vector<std::string> shared(names.begin(), names.end());
  std::vector<rt::StatusOr<ObjectCode>> compiled(
      shared.size(), rt::Status(rt::Code::Internal, "not compiled"));
  onThreads(jobCount, shared.size(), [&](std::atomic<size_t> &next) {
    for (size_t k = next++; k < shared.size(); k = next++)
      compiled[k] =
          compileShared(shared[k], isPairFunction(shared[k]) ? version : plain, cache);
  });
  for (rt::StatusOr<ObjectCode> &object : compiled) {
    if (!object)
      return outlined.emitError() << object.status().message();
    objects.push_back(std::move(object->bytes));
  }
  rt::StatusOr<std::string> elf = linkShared(objects, target);
  if (!elf)
    return outlined.emitError() << elf.status().message();
  code.elf = std::move(*elf);
  return code;
}

} // namespace pg::cpu
