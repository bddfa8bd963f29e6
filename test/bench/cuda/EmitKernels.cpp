//===- EmitKernels.cpp - the kernels of a module as text and a table ----------===//
//
// pg-bench-cuda-emit OUTLINED.mlir OUT_DIR [PREFIX...]: takes the kernels whose
// names begin with one of the prefixes (none: all) and writes kernels.cu, pg_prelude.cuh and
// kernels.json (buffers, stages, work of every kernel), which is all that
// kernels.py needs on a machine with a GPU and no MLIR.
//
//===----------------------------------------------------------------------===//
#include "dialect/Pg.h"
#include "passes/cuda/CudaBackend.h"
#include "passes/fuse/Tensors.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace pg;

/// Keys a query sees on average: rows of 2,048 tokens, causal.
static constexpr int64_t kContext = 1024;

static llvm::json::Object bufferOf(Type given, int64_t mode) {
  auto type = cast<RankedTensorType>(given);
  Type element = type.getElementType();
  llvm::json::Object buffer;
  buffer["element"] = element.isBF16()        ? "bf16"
                      : element.isF64()       ? "f64"
                      : element.isInteger(32) ? "i32"
                      : element.isInteger(8)  ? "i8"
                      : element.isInteger(1)  ? "i1"
                                              : "f32";
  buffer["per_token"] = isTokenTensor(type);
  buffer["elements"] = elementsPerToken(type);
  buffer["mode"] = mode;
  return buffer;
}

static bool write(const std::string &path, llvm::StringRef text) {
  std::error_code error;
  llvm::raw_fd_ostream file(path, error);
  file << text;
  return !error;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    llvm::errs()
        << "usage: pg-bench-cuda-emit OUTLINED.mlir OUT_DIR [PREFIX...]\n";
    return 2;
  }
  MLIRContext context;
  context.loadDialect<PgDialect, func::FuncDialect>();
  auto module = parseSourceFile<ModuleOp>(argv[1], &context);
  if (!module)
    return 1;
  std::vector<llvm::StringRef> prefixes(argv + 3, argv + argc);
  for (Operation &op : llvm::make_early_inc_range(*module->getBody()))
    if (!isa<KernelDefOp>(op) && !prefixes.empty())
      op.erase();
  for (auto def : llvm::make_early_inc_range(module->getOps<KernelDefOp>()))
    if (!prefixes.empty() && llvm::none_of(prefixes, [&](llvm::StringRef p) {
          return def.getSymName().starts_with(p);
        }))
      def.erase();
  auto source = cuda::emitCuda(*module);
  if (failed(source))
    return 1;
  llvm::StringMap<KernelDefOp> defs;
  for (auto def : module->getOps<KernelDefOp>())
    defs[def.getSymName()] = def;
  llvm::json::Array kernels;
  for (const cuda::EmittedKernel &emitted : source->kernels) {
    KernelDefOp def = defs[emitted.symbol];
    llvm::json::Array buffers, stages, ops;
    int64_t scalars = 0;
    for (BlockArgument argument : def.getBody().front().getArguments())
      if (isa<RankedTensorType>(argument.getType()))
        buffers.push_back(bufferOf(argument.getType(), -1));
      else
        ++scalars;
    PerToken flops;
    for (Operation &op : def.getBody().front().without_terminator()) {
      flops += flopsOf(&op, kContext);
      if (!isIndexOp(&op))
        ops.push_back(op.getName().getStringRef().drop_front(3));
    }
    for (auto [mode, value] :
         llvm::zip(def.getModes(),
                   def.getBody().front().getTerminator()->getOperands()))
      buffers.push_back(bufferOf(value.getType(), mode));
    for (const cuda::Stage &stage : emitted.stages)
      stages.push_back(llvm::json::Object{
          {"symbol", stage.symbol},
          {"threads", stage.threads},
          {"shared", stage.sharedBytes},
          {"tokens_per_item", stage.blocks.tokensPerItem},
          {"multiplier", stage.blocks.multiplier}});
    kernels.push_back(llvm::json::Object{
        {"symbol", emitted.symbol},
        {"category", emitted.category},
        {"ops", std::move(ops)},
        {"flops_per_token", flops.perToken},
        {"flops_fixed", flops.fixed},
        {"workspace_fixed", emitted.workspaceFixed},
        {"workspace_per_token", emitted.workspacePerToken},
        {"scalars", scalars},
        {"buffers", std::move(buffers)},
        {"stages", std::move(stages)}});
  }
  std::string folder = argv[2];
  llvm::sys::fs::create_directories(folder);
  std::string table;
  llvm::raw_string_ostream(table)
      << llvm::formatv("{0:2}", llvm::json::Value(std::move(kernels))) << "\n";
  bool written = write(folder + "/kernels.cu", cuda::wholeText(*source)) &&
                 write(folder + "/pg_prelude.cuh", cuda::preludeText()) &&
                 write(folder + "/kernels.json", table);
  return written ? 0 : 1;
}
