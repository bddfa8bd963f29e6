//===- Compiled.cpp - a derived module through the whole compiler
//----------===//
#include "test/numerics/Compiled.h"

#include "passes/cpu/StructuredKernels.h"
#include "passes/package/EmitPackage.h"
#include "passes/pipeline/Pipelines.h"

#include "mlir/Pass/PassManager.h"

using namespace pg;
using reference::Shape;
using reference::Tensor;

static mlir::LogicalResult prepare(mlir::ModuleOp module) {
  auto manager = mlir::PassManager::on<mlir::ModuleOp>(module.getContext());
  manager.addPass(createCpuPreparePass());
  return manager.run(module);
}

rt::StatusOr<rt::Package>
numerics::compilePackage(mlir::ModuleOp module, const std::string &precision,
                         LogitsRule logits) {
  auto failed = [](const char *what) {
    return rt::Status(rt::Code::Internal, what);
  };
  PipelineOptions options;
  options.precision = precision;
  options.prepareTarget = prepare;
  options.memory.inPlace = true;
  options.logits.rule = logits;
  if (mlir::failed(runPipeline(module, "derived", "planned", options,
                               [](llvm::StringRef) {})))
    return failed("the pipeline failed");
  PackageParts parts;
  parts.target = cpu::hostTarget();
  mlir::FailureOr<cpu::EmittedCode> code =
      cpu::emitCpu(module, parts.target, /*jobs=*/2, Cache(Cache::defaultFolder()));
  if (mlir::failed(code))
    return failed("code generation failed");
  parts.code = std::move(*code);
  mlir::FailureOr<rt::Package> package = buildPackage(module, std::move(parts));
  if (mlir::failed(package))
    return failed("the package cannot be built");
  return std::move(*package);
}

rt::StatusOr<std::unique_ptr<rt::Executor>>
numerics::compile(mlir::ModuleOp module, const std::string &precision,
                  LogitsRule logits) {
  auto package = compilePackage(module, precision, logits);
  if (!package)
    return package.status();
  // NaN in memory that no launch has written shows reads of it.
  return rt::Executor::create(std::move(*package),
                              {.threads = 2, .poison = true});
}

/// Elements between double and a stored type.
static void put(const Tensor &from, rt::DType dtype, void *to) {
  for (int64_t i = 0; i < from.size(); ++i)
    if (dtype == rt::DType::F64)
      static_cast<double *>(to)[i] = from[i];
    else if (dtype == rt::DType::F32)
      static_cast<float *>(to)[i] = static_cast<float>(from[i]);
    else if (dtype == rt::DType::I8)
      static_cast<int8_t *>(to)[i] = static_cast<int8_t>(from[i]);
    else
      static_cast<int32_t *>(to)[i] = static_cast<int32_t>(from[i]);
}

static Tensor get(Shape shape, rt::DType dtype, const void *from) {
  Tensor result(std::move(shape));
  for (int64_t i = 0; i < result.size(); ++i)
    result[i] = dtype == rt::DType::F64
                    ? static_cast<const double *>(from)[i]
                    : static_cast<double>(static_cast<const float *>(from)[i]);
  return result;
}

rt::Status numerics::run(rt::Executor &executor, const std::string &entryName,
                         const reference::PackedBatch &batch,
                         reference::Memory &memory) {
  int entry = executor.findEntry(entryName);
  if (entry < 0)
    return {rt::Code::Internal, "no entry " + entryName};
  const rt::Package &package = executor.package();
  for (size_t i = 0; i < package.parameters.size(); ++i) {
    auto value = memory.symbols.find(package.parameters[i].name);
    if (value == memory.symbols.end())
      return {rt::Code::Internal, "no value of " + package.parameters[i].name};
    put(value->second, package.parameters[i].dtype, executor.parameter(i));
  }
  for (const rt::Port &port : package.entries[entry].inputs)
    put(memory.inputs[port.name], port.dtype, executor.input(entry, port.name));
  for (const auto &[name, value] : memory.scalars)
    executor.setScalar(entry, name, value);
  executor.zeroGradients();
  rt::Batch view = batch.view();
  if (rt::Status status = executor.run(entry, &view); !status)
    return status;
  for (const rt::Port &port : package.entries[entry].outputs) {
    Shape shape = port.shape;
    if (port.perToken)
      shape.insert(shape.begin(), batch.tokens());
    memory.outputs[port.name] =
        get(shape, port.dtype, executor.output(entry, port.name));
  }
  for (size_t i = 0; i < package.states.size(); ++i)
    if (package.states[i].role == "gradient")
      memory.symbols[package.states[i].name] = get(
          package.states[i].shape, package.states[i].dtype, executor.state(i));
  return rt::Status::ok();
}
