//===- EmitObject.cpp - LLVM dialect to object code to a shared object ---------===//
#include "passes/cpu/CpuBackend.h"

#include "mlir/IR/BuiltinDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

#include <mutex>

namespace pg::cpu {
namespace {

using rt::Code;
using rt::Status;
using rt::StatusOr;

constexpr const char *kTriple = "x86_64-unknown-linux-gnu";

StatusOr<std::unique_ptr<llvm::TargetMachine>>
makeTargetMachine(const Target &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  std::string error;
  llvm::Triple triple(kTriple);
  const llvm::Target *registered =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!registered)
    return Status(Code::Environment, "this LLVM cannot emit x86-64: " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  std::unique_ptr<llvm::TargetMachine> machine(registered->createTargetMachine(
      triple, target.cpu, target.llvmFeatures, options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (!machine)
    return Status(Code::Environment,
                  "LLVM does not know the CPU " + target.cpu);
  return machine;
}

/// What LLVM's default pipeline does to the code of rows, without what finds
/// nothing in it: vectors are explicit, everything is inline, there is no global
/// and no call graph. 40 % of LLVM's time less, the kernels as fast (1.01). The
/// same for products and attention costs 5 to 40 % of their speed.
constexpr const char *kRowPipeline =
    "function(sroa,early-cse<memssa>,simplifycfg,"
    "instcombine<no-verify-fixpoint>,loop-mssa(loop-rotate,licm),simplifycfg,"
    "instcombine<no-verify-fixpoint>,loop(loop-idiom,indvars,loop-deletion),"
    "sroa,gvn,bdce,instcombine<no-verify-fixpoint>,dse,loop-mssa(licm),"
    "vector-combine,instcombine<no-verify-fixpoint>,simplifycfg)";

llvm::Error optimise(llvm::Module &module, llvm::TargetMachine &machine,
                     bool wholePipeline) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = false; // vectors are explicit already
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager cgscc;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cgscc);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cgscc, modules);
  llvm::ModulePassManager passes;
  if (wholePipeline)
    passes = builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2);
  else if (llvm::Error error = builder.parsePassPipeline(passes, kRowPipeline))
    return error;
  passes.run(module, modules);
  return llvm::Error::success();
}

/// A directory that goes away with the object.
class TemporaryDirectory {
public:
  TemporaryDirectory() {
    valid = !llvm::sys::fs::createUniqueDirectory("pg-link", path);
  }
  ~TemporaryDirectory() {
    if (valid)
      llvm::sys::fs::remove_directories(path);
  }
  bool isValid() const { return valid; }
  std::string file(const std::string &name) const {
    llvm::SmallString<128> full(path);
    llvm::sys::path::append(full, name);
    return full.str().str();
  }

private:
  llvm::SmallString<128> path;
  bool valid = false;
};

Status writeFile(const std::string &path, llvm::StringRef bytes) {
  std::error_code error;
  llvm::raw_fd_ostream out(path, error);
  if (!error) {
    out << bytes;
    out.close();
    error = out.error();
    out.clear_error();
  }
  if (error)
    return Status(Code::Io, "cannot write " + path + ": " + error.message());
  return Status::ok();
}

StatusOr<std::string> readFile(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return Status(Code::Io,
                  "cannot read " + path + ": " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

/// The linker found at configuration, else one on PATH.
StatusOr<std::string> findLinker() {
  if (llvm::sys::fs::can_execute(PG_LLD_PATH))
    return std::string(PG_LLD_PATH);
  for (const char *name : {"ld.lld-22", "ld.lld"})
    if (auto found = llvm::sys::findProgramByName(name))
      return *found;
  return Status(Code::Environment,
                "the linker ld.lld is missing: install the package lld-22 or "
                "put ld.lld on PATH");
}

Status runLinker(const std::string &linker, std::vector<std::string> arguments,
                 const TemporaryDirectory &directory) {
  // Many objects make a long command line: they go through a response file.
  std::string response;
  for (const std::string &argument : arguments)
    response += "\"" + argument + "\"\n";
  std::string responsePath = directory.file("arguments");
  if (Status status = writeFile(responsePath, response); !status)
    return status;
  std::string log = directory.file("log");
  std::string at = "@" + responsePath, error;
  llvm::StringRef argv[] = {"ld.lld", at};
  std::optional<llvm::StringRef> redirects[] = {
      std::nullopt, llvm::StringRef(log), llvm::StringRef(log)};
  int rc = llvm::sys::ExecuteAndWait(linker, argv, std::nullopt, redirects, 0,
                                     0, &error);
  if (rc == 0)
    return Status::ok();
  StatusOr<std::string> output = readFile(log);
  return Status(Code::Environment,
                linker + " failed" + (error.empty() ? "" : ": " + error) +
                    (output && !output->empty() ? "\n" + *output : ""));
}

/// Everything that decides the object: the module, the machine, LLVM, and what
/// this file makes of them (PG_EMIT_OBJECT_HASH, the hash of its text).
std::string cacheKeyOf(const llvm::Module &module, const Target &target, bool wholePipeline) {
  std::string bitcode;
  llvm::raw_string_ostream out(bitcode);
  llvm::WriteBitcodeToFile(module, out);
  return Cache::keyOf({"llvm", LLVM_VERSION_STRING, PG_EMIT_OBJECT_HASH, kTriple, target.cpu, target.llvmFeatures,
                       std::to_string(target.vectorBytes), wholePipeline ? "whole" : "row", bitcode});
}

} // namespace

StatusOr<ObjectCode> compileObject(mlir::ModuleOp lowered, const Target &target, bool wholePipeline,
                                   const Cache &cache) {
  mlir::registerBuiltinDialectTranslation(*lowered.getContext());
  mlir::registerLLVMDialectTranslation(*lowered.getContext());
  auto machine = makeTargetMachine(target);
  if (!machine)
    return machine.status();
  llvm::TargetMachine &tm = **machine;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module =
      mlir::translateModuleToLLVMIR(lowered, context, "kernels");
  if (!module)
    return Status(Code::Internal, "translation to LLVM IR failed");
  module->setTargetTriple(llvm::Triple(kTriple));
  module->setDataLayout(tm.createDataLayout());
  std::string width = std::to_string(target.vectorBytes * 8);
  for (llvm::Function &function : *module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("prefer-vector-width", width);
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  std::string key;
  if (cache.isOn()) {
    key = cacheKeyOf(*module, target, wholePipeline);
    if (auto known = cache.find(key); known && known->size() == 1)
      return ObjectCode{std::move(known->front()), true};
  }
  if (llvm::Error error = optimise(*module, tm, wholePipeline))
    return Status(Code::Internal, "LLVM does not know a pass: " +
                                      llvm::toString(std::move(error)));

  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager codegen;
  if (tm.addPassesToEmitFile(codegen, out, nullptr,
                             llvm::CodeGenFileType::ObjectFile))
    return Status(Code::Internal, "LLVM cannot write objects for this target");
  codegen.run(*module);
  ObjectCode object{std::string(bytes.data(), bytes.size())};
  if (cache.isOn())
    cache.put(key, {object.bytes});
  return object;
}

StatusOr<std::string> linkShared(const std::vector<std::string> &objects,
                                 const Target &target) {
  StatusOr<std::string> linker = findLinker();
  if (!linker)
    return linker.status();
  TemporaryDirectory directory;
  if (!directory.isValid())
    return Status(Code::Io, "cannot make a temporary directory");
  std::vector<std::string> files;
  for (auto [index, object] : llvm::enumerate(objects)) {
    files.push_back(directory.file("k" + std::to_string(index) + ".o"));
    if (Status status = writeFile(files.back(), object); !status)
      return status;
  }
  // A library that is nothing but its name stands for libm: the object then
  // names libm.so.6 as needed without this machine's development files.
  mlir::MLIRContext context;
  context.loadDialect<mlir::BuiltinDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> empty(
      mlir::ModuleOp::create(mlir::UnknownLoc::get(&context)));
  StatusOr<ObjectCode> nothing = compileObject(*empty, target, /*wholePipeline=*/false, Cache(""));
  if (!nothing)
    return nothing.status();
  std::string emptyPath = directory.file("empty.o");
  std::string importLibrary = directory.file("libm.so.6");
  if (Status status = writeFile(emptyPath, nothing->bytes); !status)
    return status;
  if (Status status = runLinker(
          *linker, {"-shared", "-soname", "libm.so.6", "-o", importLibrary, emptyPath},
          directory);
      !status)
    return status;

  std::string output = directory.file("code.so");
  std::vector<std::string> arguments = {"-shared",
                                        "--build-id=none",
                                        "--hash-style=gnu",
                                        "--strip-all",
                                        "--threads=1",
                                        "-z",
                                        "noexecstack",
                                        "--no-as-needed",
                                        "-soname",
                                        "pg-kernels",
                                        "-o",
                                        output};
  arguments.insert(arguments.end(), files.begin(), files.end());
  arguments.push_back(importLibrary);
  if (Status status = runLinker(*linker, std::move(arguments), directory);
      !status)
    return status;
  return readFile(output);
}

} // namespace pg::cpu
