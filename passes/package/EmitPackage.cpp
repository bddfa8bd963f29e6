//===- EmitPackage.cpp - planned module and code to package structs ---------===//
//
// 1. Symbols become the parameter and state tables, kernel_defs the kernel
//    table, in module order.
// 2. Every entry function becomes a launch list; an SSA value becomes the place
//    it lives in: symbol, input, scalar slot, or arena offset of its launch.
//
//===----------------------------------------------------------------------===//
#include "passes/package/EmitPackage.h"

#include "dialect/Pg.h"
#include "passes/fuse/Tensors.h"
#include "runtime/package/PackageJson.h"
#include "runtime/support/Sha256.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace pg {
namespace {

rt::DType dtypeOf(Type type) {
  if (type.isF64())
    return rt::DType::F64;
  if (type.isBF16())
    return rt::DType::BF16;
  if (type.isInteger(32))
    return rt::DType::I32;
  if (type.isInteger(1))
    return rt::DType::I1;
  if (type.isInteger(8))
    return rt::DType::I8;
  return rt::DType::F32;
}

std::vector<int64_t> shapeOf(Type type, bool withoutFirst = false) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(type).getShape();
  if (withoutFirst)
    shape = shape.drop_front();
  return {shape.begin(), shape.end()};
}

/// "file:line:column" with the directory dropped, so that packages do not
/// depend on where the files lie.
std::string placeOf(Location loc) {
  if (auto file = loc->findInstanceOf<FileLineColLoc>())
    return (llvm::sys::path::filename(file.getFilename().getValue()) + ":" +
            Twine(file.getLine()) + ":" + Twine(file.getColumn()))
        .str();
  return "";
}

rt::InitSpec initOf(DictionaryAttr attributes) {
  rt::InitSpec init;
  for (NamedAttribute attribute : attributes) {
    StringRef name = attribute.getName();
    if (name == "kind")
      init.kind = cast<StringAttr>(attribute.getValue()).getValue().str();
    else if (auto number = dyn_cast<FloatAttr>(attribute.getValue()))
      init.numbers[name.str()] = number.getValueAsDouble();
    else if (auto integer = dyn_cast<IntegerAttr>(attribute.getValue()))
      init.numbers[name.str()] = static_cast<double>(integer.getInt());
    else if (auto list = dyn_cast<ArrayAttr>(attribute.getValue()))
      for (auto [i, entry] : llvm::enumerate(list))
        if (auto value = dyn_cast<FloatAttr>(entry))
          init.numbers[std::to_string(i)] = value.getValueAsDouble();
  }
  return init;
}

int64_t bitsOf(ParameterOp parameter) {
  auto bits = parameter->getAttrOfType<IntegerAttr>(kBitsAttr);
  return bits ? bits.getInt() : 0;
}

class Builder {
public:
  Builder(ModuleOp module, PackageParts parts)
      : module(module), parts(std::move(parts)) {}

  FailureOr<rt::Package> build() {
    header();
    if (failed(kernels()))
      return failure();
    for (auto entry : module.getOps<func::FuncOp>())
      if (failed(this->entry(entry)))
        return failure();
    return std::move(package);
  }

private:
  void header() {
    if (auto name = module->getAttrOfType<StringAttr>("pg.model"))
      package.model = name.getValue().str();
    if (auto precision = module->getAttrOfType<StringAttr>("pg.precision"))
      package.precision = precision.getValue().str();
    if (auto vocabulary = module->getAttrOfType<IntegerAttr>("pg.vocabulary"))
      package.vocabulary = vocabulary.getInt();
    if (auto phases = module->getAttrOfType<ArrayAttr>("pg.phases"))
      for (auto phase : phases.getAsRange<DictionaryAttr>())
        package.phases.push_back(
            {phase.getAs<StringAttr>("name").getValue().str(),
             phase.getAs<FloatAttr>("start").getValueAsDouble()});
    package.compiler = std::move(parts.compiler);
    package.spec = std::move(parts.spec);
    package.ir = std::move(parts.program);
    package.programHash = rt::sha256Hex(package.ir);
    package.recipe = std::move(parts.recipe);
    for (auto &[path, value] : package.recipe)
      value.location = llvm::sys::path::filename(value.location).str();
    package.codeCpu = std::move(parts.code.elf);
    if (package.hasCpuCode())
      package.targets.push_back({"cpu", parts.target.cpu, parts.target.level,
                                 parts.target.features});
    package.cuda = std::move(parts.cuda);
    if (package.hasCudaCode()) {
      std::string archs;
      for (const rt::CudaImage &image : package.cuda.images)
        archs += (archs.empty() ? "" : ",") + image.arch;
      package.targets.push_back({"cuda", parts.cudaCompiler, archs, {}});
    }

    for (auto op : module.getOps<ParameterOp>()) {
      parameterIndex[op.getSymName()] = package.parameters.size();
      package.parameters.push_back(
          {op.getSymName().str(),
           dtypeOf(cast<ShapedType>(op.getType()).getElementType()),
           shapeOf(op.getType()), initOf(op.getInit()), op.getGroup().str(),
           op.getQuant().str(), placeOf(op.getLoc()), bitsOf(op),
           op.getOptional()});
    }
    for (auto op : module.getOps<StateOp>()) {
      stateIndex[op.getSymName()] = package.states.size();
      package.states.push_back(
          {op.getSymName().str(), op.getRole().str(),
           op.getOf() ? op.getOf()->str() : std::string(),
           dtypeOf(cast<ShapedType>(op.getType()).getElementType()),
           shapeOf(op.getType()), op.getInit().convertToDouble(),
           op.getFromParameter(),
           op.getDraw() ? initOf(*op.getDraw()) : rt::InitSpec{"", {}}});
    }
  }

  /// What an op costs for every key, and where it stops to: its cost as a
  /// function of the number of keys rises evenly up to a limit.
  static void addKeys(rt::Kernel &kernel, Operation &op) {
    constexpr int64_t kMany = int64_t(1) << 24;
    double none = flopsOf(&op, 0).perToken;
    double one = flopsOf(&op, 1).perToken - none;
    if (one <= 0)
      return;
    double keys = (flopsOf(&op, kMany).perToken - none) / one;
    kernel.flopsPerKey += one;
    if (keys < double(kMany))
      kernel.keyLimit = int64_t(keys);
  }

  /// Of every argument and yield; none when one is per token.
  static std::vector<uint64_t> bufferBytes(KernelDefOp def) {
    std::vector<uint64_t> bytes;
    auto add = [&](Type given) {
      auto type = dyn_cast<RankedTensorType>(given);
      if (!type)
        return true;
      if (isTokenTensor(type) || isChunkTensor(type))
        return false;
      bytes.push_back(static_cast<uint64_t>(bytesOf(type).fixed));
      return true;
    };
    Block &body = def.getBody().front();
    if (llvm::all_of(body.getArgumentTypes(), add) &&
        llvm::all_of(body.getTerminator()->getOperandTypes(), add))
      return bytes;
    return {};
  }

  LogicalResult kernels() {
    for (auto def : module.getOps<KernelDefOp>()) {
      kernelIndex[def.getSymName()] = package.kernels.size();
      rt::Kernel kernel;
      kernel.symbol = def.getSymName().str();
      auto emitted = parts.code.kernels.find(kernel.symbol);
      if (emitted != parts.code.kernels.end()) {
        kernelItems.push_back({emitted->second.items, emitted->second.versionItems});
        kernel.scratchBytes = emitted->second.scratchBytes;
        kernel.category = emitted->second.category;
        kernel.multipliesPairs = emitted->second.multipliesPairs;
      } else if (package.hasCpuCode() || !package.hasCudaCode()) {
        return def.emitError() << "no code was emitted for this kernel";
      } else {
        kernelItems.emplace_back();
        kernel.category = parts.cudaCategories[kernel.symbol];
      }
      PerToken flops, bytes;
      llvm::raw_string_ostream summary(kernel.summary);
      bool first = true;
      for (Operation &op : def.getBody().front()) {
        if (isa<YieldOp>(op)) {
          for (auto [mode, value] : llvm::zip(def.getModes(), op.getOperands())) {
            bytes += bytesOf(value.getType());
            if (mode == 2) // adding reads what is there
              bytes += bytesOf(value.getType());
          }
          continue;
        }
        if (isIndexOp(&op))
          continue;
        flops += flopsOf(&op, /*context=*/0);
        addKeys(kernel, op);
        summary << (first ? "" : " ") << shortName(&op);
        first = false;
      }
      for (Value argument : def.getBody().getArguments())
        if (isa<RankedTensorType>(argument.getType()))
          bytes += bytesOf(argument.getType());
      kernel.flopsPerToken = flops.perToken;
      kernel.flopsFixed = flops.fixed;
      kernel.bytesPerToken = bytes.perToken;
      kernel.bytesFixed = bytes.fixed;
      if (package.hasCudaCode())
        package.cuda.kernels[package.kernels.size()].bufferBytes = bufferBytes(def);
      package.kernels.push_back(std::move(kernel));
    }
    return success();
  }

  LogicalResult entry(func::FuncOp function) {
    rt::Entry entry;
    entry.name = function.getSymName().str();
    auto [role, phase] = function.getSymName().split('@');
    entry.role = role.str();
    entry.phase = phase.str();
    if (auto bytes = function->getAttrOfType<IntegerAttr>("pg.arena_bytes"))
      entry.arenaBytes = bytes.getInt();
    places.clear();
    bool hasTokens = false;
    for (Operation &op : function.getBody().front()) {
      for (Type type : op.getResultTypes())
        hasTokens |= isTokenTensor(type) || isChunkTensor(type);
      if (auto param = dyn_cast<ParamOp>(op)) {
        places[param.getResult()] = {rt::BufferRef::Kind::Parameter,
                                     parameterIndex.lookup(param.getName()), 0};
      } else if (auto state = dyn_cast<ReadStateOp>(op)) {
        places[state.getResult()] = {rt::BufferRef::Kind::State,
                                     stateIndex.lookup(state.getName()), 0};
      } else if (auto input = dyn_cast<InputOp>(op)) {
        places[input.getResult()] = {rt::BufferRef::Kind::Input,
                                     static_cast<uint32_t>(entry.inputs.size()), 0};
        entry.inputs.push_back(port(input.getName(), input.getResult()));
      } else if (auto scalar = dyn_cast<ScalarOp>(op)) {
        places[scalar.getResult()] = {rt::BufferRef::Kind::Scalar,
                                      static_cast<uint32_t>(entry.scalars.size()), 0};
        entry.scalars.push_back(scalar.getName().str());
      } else if (auto launch = dyn_cast<LaunchOp>(op)) {
        if (failed(this->launch(launch, entry)))
          return failure();
      } else if (auto view = dyn_cast<ReshapeOp>(op)) {
        // Between kernels a reshape is a view of the same memory.
        rt::BufferRef ref;
        if (failed(place(view, view.getX(), ref)))
          return failure();
        places[view.getResult()] = ref;
      } else if (auto part = dyn_cast<SliceOp>(op)) {
        // A leading part of a parameter or state.
        rt::BufferRef ref;
        if (failed(place(part, part.getX(), ref)))
          return failure();
        auto type = cast<RankedTensorType>(part.getType());
        ref.offset += part.getStart() * bytesAt(type, 0) / type.getDimSize(0);
        places[part.getResult()] = ref;
      } else if (auto output = dyn_cast<OutputOp>(op)) {
        rt::Port result = port(output.getName(), output.getValue());
        if (failed(place(output.getOperation(), output.getValue(), result.buffer)))
          return failure();
        entry.outputs.push_back(std::move(result));
      } else if (!isa<func::ReturnOp>(op)) {
        return op.emitError() << "'" << op.getName()
                              << "' is not expected in a planned entry";
      }
    }
    auto maxTokens = module->getAttrOfType<IntegerAttr>("pg.max_tokens");
    entry.maxTokens = hasTokens && maxTokens ? maxTokens.getInt() : 0;
    largestValues(function, entry);
    package.entries.push_back(std::move(entry));
    return success();
  }

  /// Where a launch left `value` in the arena; -1 for what no launch made.
  static int64_t offsetOf(Value value) {
    auto launch = value.getDefiningOp<LaunchOp>();
    std::optional<ArrayRef<int64_t>> offsets =
        launch ? launch.getOffsets() : std::nullopt;
    return offsets ? (*offsets)[cast<OpResult>(value).getResultNumber()] : -1;
  }

  /// The arena values that a user short of memory wants to know. What was written
  /// over an operand needs no memory of its own.
  void largestValues(func::FuncOp function, rt::Entry &entry) {
    constexpr size_t kShown = 8;
    for (auto launch : function.getBody().front().getOps<LaunchOp>())
      for (Value result : launch.getResults()) {
        if (llvm::any_of(launch.getInputs(), [&](Value operand) {
              return offsetOf(operand) == offsetOf(result);
            }))
          continue;
        entry.largest.push_back(
            {static_cast<uint64_t>(bytesAt(result.getType(), entry.maxTokens)),
             launch.getKernel().str(), placeOf(launch.getLoc())});
      }
    llvm::stable_sort(entry.largest, [](auto &a, auto &b) { return a.bytes > b.bytes; });
    if (entry.largest.size() > kShown)
      entry.largest.resize(kShown);
  }

  static rt::Port port(StringRef name, Value value) {
    bool perToken = isTokenTensor(value.getType());
    return {name.str(),
            dtypeOf(cast<ShapedType>(value.getType()).getElementType()), perToken,
            shapeOf(value.getType(), /*withoutFirst=*/perToken), {}};
  }

  LogicalResult place(Operation *user, Value value, rt::BufferRef &ref) {
    auto found = places.find(value);
    if (found == places.end())
      return user->emitError() << "an argument has no place in memory";
    ref = found->second;
    return success();
  }

  static rt::Written written(size_t buffer, Type type) {
    int64_t tokensPerRow = 0;
    auto tensor = cast<RankedTensorType>(type);
    if (isChunkTensor(type))
      tokensPerRow = cast<ChunksAttr>(tensor.getEncoding()).getGrain();
    else if (isTokenTensor(type))
      tokensPerRow = 1;
    return {static_cast<uint32_t>(buffer), dtypeOf(tensor.getElementType()),
            tokensPerRow, elementsPerToken(type)};
  }

  LogicalResult launch(LaunchOp op, rt::Entry &entry) {
    auto kernel = kernelIndex.find(op.getKernel());
    if (kernel == kernelIndex.end())
      return op.emitError() << "launch of an unknown kernel '" << op.getKernel() << "'";
    rt::Launch launch;
    launch.kernel = kernel->second;
    std::tie(launch.items, launch.versionItems) = kernelItems[kernel->second];
    launch.location = placeOf(op.getLoc());
    for (Value input : op.getInputs())
      if (failed(place(op, input, launch.buffers.emplace_back())))
        return failure();
    std::optional<ArrayRef<int64_t>> offsets = op.getOffsets();
    if (op.getNumResults() && (!offsets || offsets->size() != op.getNumResults()))
      return op.emitError() << "the memory plan gives no offsets for this launch";
    for (auto [i, result] : llvm::enumerate(op.getResults())) {
      rt::BufferRef ref{rt::BufferRef::Kind::Arena, 0,
                        static_cast<uint64_t>((*offsets)[i])};
      places[result] = ref;
      launch.writes.push_back(written(launch.buffers.size(), result.getType()));
      launch.buffers.push_back(ref);
    }
    auto starts = op->getAttrOfType<DenseI64ArrayAttr>(kTargetOffsetsAttr);
    if (std::optional<ArrayAttr> targets = op.getTargets())
      for (auto [i, target] : llvm::enumerate(targets->getAsRange<TargetAttr>())) {
        StringRef symbol = target.getSymbol().getValue();
        rt::BufferRef ref{rt::BufferRef::Kind::State, 0, 0};
        rt::DType dtype;
        std::vector<int64_t> shape;
        if (auto found = parameterIndex.find(symbol); found != parameterIndex.end()) {
          ref = {rt::BufferRef::Kind::Parameter, found->second, 0};
          dtype = package.parameters[ref.index].dtype;
          shape = package.parameters[ref.index].shape;
        } else {
          ref.index = stateIndex.lookup(symbol);
          dtype = package.states[ref.index].dtype;
          shape = package.states[ref.index].shape;
        }
        int64_t start = starts ? starts[i] : 0;
        ref.offset = static_cast<uint64_t>(start * rt::dtypeBytes(dtype));
        // Where the part ends is the kernel's affair: what follows counts too.
        launch.writes.push_back({static_cast<uint32_t>(launch.buffers.size()), dtype, 0,
                                 rt::elementCount(shape) - start});
        launch.buffers.push_back(ref);
      }
    launch.scalars.assign(op.getScalars().begin(), op.getScalars().end());
    entry.launches.push_back(std::move(launch));
    return success();
  }

  ModuleOp module;
  PackageParts parts;
  rt::Package package;
  llvm::StringMap<uint32_t> parameterIndex, stateIndex, kernelIndex;
  /// Of both versions.
  std::vector<std::pair<rt::WorkItems, std::optional<rt::WorkItems>>> kernelItems;
  llvm::DenseMap<Value, rt::BufferRef> places;
};

} // namespace

FailureOr<rt::Package> buildPackage(ModuleOp module, PackageParts parts) {
  return Builder(module, std::move(parts)).build();
}

std::string canonicalText(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  OpPrintingFlags flags;
  flags.enableDebugInfo(false);
  module.print(stream, flags);
  return text;
}

} // namespace pg
