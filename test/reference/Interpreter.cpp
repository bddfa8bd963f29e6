//===- Interpreter.cpp - runs pg programs in double
//------------------------===//
#include "test/reference/Interpreter.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace pg;
using namespace pg::reference;
using llvm::failure;
using llvm::LogicalResult;
using llvm::StringRef;
using llvm::success;

//===----------------------------------------------------------------------===//
// Batch
//===----------------------------------------------------------------------===//

/// Begin and end of the range of `offsets` that holds each token.
static void spread(const std::vector<int32_t> &offsets,
                   std::vector<int32_t> &begin, std::vector<int32_t> &end) {
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    for (int32_t t = offsets[i]; t < offsets[i + 1]; ++t) {
      begin.push_back(offsets[i]);
      end.push_back(offsets[i + 1]);
    }
}

PackedBatch::PackedBatch(const std::vector<int32_t> &rows,
                         const std::vector<int32_t> &segments,
                         const std::vector<int32_t> &slots) {
  spread(rows, rowBegin, rowEnd);
  spread(segments, segmentBegin, segmentEnd);
  for (size_t i = 0; i + 1 < rows.size(); ++i)
    slot.insert(slot.end(), rows[i + 1] - rows[i],
                slots.empty() ? 0 : slots[i]);
}

rt::Batch PackedBatch::view() const {
  return {tokens(),          rowBegin.data(),
          rowEnd.data(),     segmentBegin.data(),
          segmentEnd.data(), slot.data()};
}

Tensor PackedBatch::position() const {
  Tensor result(Shape{tokens()});
  for (int64_t t = 0; t < tokens(); ++t)
    result[t] = static_cast<double>(t - rowBegin[t]);
  return result;
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

namespace {
class Evaluator {
public:
  Evaluator(mlir::ModuleOp module, const PackedBatch &batch, Memory &memory)
      : module(module), batch(batch.view()), memory(memory) {}
  LogicalResult runBlock(mlir::Block &block);

private:
  LogicalResult runOp(mlir::Operation *op);
  // Each of these computes the one result of an op of its family, or nothing
  // when the op belongs to another.
  std::optional<Tensor> pointwise(mlir::Operation *op);
  std::optional<Tensor> movement(mlir::Operation *op);
  std::optional<Tensor> reduction(mlir::Operation *op);
  std::optional<Tensor> loss(mlir::Operation *op);
  std::optional<Tensor> source(mlir::Operation *op);
  /// Ops with several results or with effects; false when unknown.
  bool effect(mlir::Operation *op, LogicalResult &status);

  LogicalResult runKernel(mlir::Operation *op, mlir::Block &body,
                          mlir::ValueRange inputs,
                          llvm::ArrayRef<double> scalars,
                          mlir::ArrayAttr targets);
  LogicalResult store(mlir::Operation *op, StringRef symbol, StoreMode mode,
                      const Tensor &value);
  /// Adds to the elements from `offset` on.
  LogicalResult addPart(mlir::Operation *op, StringRef symbol, int64_t offset,
                        const Tensor &part);
  /// The value of a parameter or state, which is created when it is a state.
  const Tensor *symbol(StringRef name);

  const Tensor &in(mlir::Operation *op, unsigned i) const {
    return values.find(op->getOperand(i))->second;
  }
  const Tensor &value(mlir::Value v) const { return values.find(v)->second; }
  Shape shapeOf(mlir::Type type) const;

  mlir::ModuleOp module;
  rt::Batch batch;
  Memory &memory;
  llvm::DenseMap<mlir::Value, Tensor> values;
  llvm::DenseMap<mlir::Value, double> scalars; ///< f64 arguments of kernels
};
} // namespace

/// Rounds to the nearest value of a narrower float type, ties to even.
static double roundTo(double value, mlir::Type type) {
  if (type.isInteger())
    return std::nearbyint(value); // ties to even, the default mode
  llvm::APFloat number(value);
  bool loses = false;
  number.convert(mlir::cast<mlir::FloatType>(type).getFloatSemantics(),
                 llvm::APFloat::rmNearestTiesToEven, &loses);
  number.convert(llvm::APFloat::IEEEdouble(),
                 llvm::APFloat::rmNearestTiesToEven, &loses);
  return number.convertToDouble();
}

static Shape list(llvm::ArrayRef<int64_t> values) {
  return Shape(values.begin(), values.end());
}

static mlir::Type elementType(mlir::Value v) {
  return mlir::getElementTypeOrSelf(v.getType());
}

static int32_t toInt(double value) {
  // Wraps like 32-bit arithmetic.
  return static_cast<int32_t>(static_cast<int64_t>(value));
}

Shape Evaluator::shapeOf(mlir::Type type) const {
  auto tensor = mlir::cast<mlir::RankedTensorType>(type);
  Shape shape = list(tensor.getShape());
  if (shape.empty() || !mlir::ShapedType::isDynamic(shape[0]))
    return shape;
  shape[0] = batch.numTokens;
  if (auto chunks = mlir::dyn_cast_or_null<ChunksAttr>(tensor.getEncoding()))
    shape[0] = (batch.numTokens + chunks.getGrain() - 1) / chunks.getGrain();
  return shape;
}

LogicalResult Evaluator::runBlock(mlir::Block &block) {
  for (mlir::Operation &op : block)
    if (llvm::failed(runOp(&op)))
      return failure();
  return success();
}

LogicalResult Evaluator::runOp(mlir::Operation *op) {
  if (mlir::isa<mlir::func::ReturnOp, YieldOp>(op))
    return success();
  for (auto family :
       {&Evaluator::source, &Evaluator::pointwise, &Evaluator::movement,
        &Evaluator::reduction, &Evaluator::loss})
    if (std::optional<Tensor> result = (this->*family)(op)) {
      mlir::Type type = op->getResult(0).getType();
      if (result->shape != shapeOf(type))
        return op->emitError("computes another shape than ") << type;
      values[op->getResult(0)] = std::move(*result);
      return success();
    }
  LogicalResult status = success();
  if (!effect(op, status))
    return op->emitError("the interpreter does not know this op");
  return status;
}

std::optional<Tensor> Evaluator::pointwise(mlir::Operation *op) {
  bool whole =
      op->getNumResults() == 1 && elementType(op->getResult(0)).isInteger(32);
  auto unary = [&](auto f) { return map(in(op, 0), f); };
  auto binary = [&](auto f) { return map(in(op, 0), in(op, 1), f); };
  auto arithmetic = [&](auto f) {
    return binary(
        [&](double a, double b) { return whole ? toInt(f(a, b)) : f(a, b); });
  };
  using Result = std::optional<Tensor>;
  return llvm::TypeSwitch<mlir::Operation *, Result>(op)
      .Case<AddOp>([&](auto) {
        return arithmetic([](double a, double b) { return a + b; });
      })
      .Case<SubOp>([&](auto) {
        return arithmetic([](double a, double b) { return a - b; });
      })
      .Case<MulOp>([&](auto) {
        // 32-bit products need all 64 bits before they wrap.
        return binary([&](double a, double b) {
          return whole ? static_cast<double>(static_cast<int32_t>(
                             static_cast<int64_t>(a) * static_cast<int64_t>(b)))
                       : a * b;
        });
      })
      .Case<DivOp>([&](auto) {
        return arithmetic([](double a, double b) { return a / b; });
      })
      .Case<MaxOp>([&](auto) {
        return binary([](double a, double b) { return a >= b ? a : b; });
      })
      .Case<MinOp>([&](auto) {
        return binary([](double a, double b) { return a <= b ? a : b; });
      })
      .Case<NegOp>([&](auto) { return unary([](double x) { return -x; }); })
      .Case<ExpOp>(
          [&](auto) { return unary([](double x) { return std::exp(x); }); })
      .Case<LogOp>(
          [&](auto) { return unary([](double x) { return std::log(x); }); })
      .Case<TanhOp>(
          [&](auto) { return unary([](double x) { return std::tanh(x); }); })
      .Case<SigmoidOp>([&](auto) {
        return unary([](double x) { return 1 / (1 + std::exp(-x)); });
      })
      .Case<SqrtOp>(
          [&](auto) { return unary([](double x) { return std::sqrt(x); }); })
      .Case<RsqrtOp>([&](auto) {
        return unary([](double x) { return 1 / std::sqrt(x); });
      })
      .Case<AbsOp>(
          [&](auto) { return unary([](double x) { return std::fabs(x); }); })
      .Case<SinOp>(
          [&](auto) { return unary([](double x) { return std::sin(x); }); })
      .Case<CosOp>(
          [&](auto) { return unary([](double x) { return std::cos(x); }); })
      .Case<ErfOp>(
          [&](auto) { return unary([](double x) { return std::erf(x); }); })
      .Case<XorOp>([&](auto) {
        return binary([](double a, double b) { return toInt(a) ^ toInt(b); });
      })
      .Case<AndOp>([&](auto) {
        return binary([](double a, double b) { return toInt(a) & toInt(b); });
      })
      .Case<RemOp>([&](auto) {
        return binary([](double a, double b) { return toInt(a) % toInt(b); });
      })
      .Case<CompareOp>([&](CompareOp compare) {
        return binary([p = compare.getPredicate()](double a, double b) {
          switch (p) {
          case Predicate::eq:
            return a == b;
          case Predicate::ne:
            return a != b;
          case Predicate::lt:
            return a < b;
          case Predicate::le:
            return a <= b;
          case Predicate::gt:
            return a > b;
          case Predicate::ge:
            return a >= b;
          }
          llvm_unreachable("covered switch");
        });
      })
      .Case<SelectOp>(
          [&](auto) { return select(in(op, 0), in(op, 1), in(op, 2)); })
      .Case<CastOp>([&](CastOp cast) {
        // Between f32 and f64 a cast says how a program stores, not what it
        // means; to bf16 or i32 it changes the value.
        mlir::Type to = elementType(cast.getResult());
        if (to.isInteger())
          return unary([](double x) { return std::trunc(x); });
        if (to.isBF16())
          return unary([&](double x) { return roundTo(x, to); });
        return in(op, 0);
      })
      .Case<RoundOp>([&](RoundOp round) {
        return unary([&](double x) { return roundTo(x, round.getTo()); });
      })
      .Case<StopGradientOp>([&](auto) { return in(op, 0); })
      .Default([](auto) { return Result(); });
}

std::optional<Tensor> Evaluator::movement(mlir::Operation *op) {
  using Result = std::optional<Tensor>;
  Shape result = op->getNumResults() == 1 && mlir::isa<mlir::RankedTensorType>(
                                                 op->getResult(0).getType())
                     ? shapeOf(op->getResult(0).getType())
                     : Shape();
  return llvm::TypeSwitch<mlir::Operation *, Result>(op)
      .Case<BroadcastOp>([&](BroadcastOp o) {
        return broadcast(in(op, 0), list(o.getDims()), result);
      })
      .Case<ReshapeOp>([&](auto) { return Tensor(result, in(op, 0).data); })
      .Case<TransposeOp>([&](TransposeOp o) {
        return transpose(in(op, 0), list(o.getPermutation()));
      })
      .Case<SliceOp>([&](SliceOp o) {
        return slice(in(op, 0), o.getAxis(), o.getStart(), result[o.getAxis()]);
      })
      .Case<PadOp>([&](PadOp o) {
        return pad(in(op, 0), o.getAxis(), o.getLow(), result[o.getAxis()]);
      })
      .Case<ConcatOp>([&](ConcatOp o) {
        std::vector<const Tensor *> parts;
        for (mlir::Value part : o.getXs())
          parts.push_back(&value(part));
        return concat(parts, o.getAxis());
      })
      .Case<TokenShiftOp>([&](TokenShiftOp o) {
        return tokenShift(in(op, 0), o.getDistance(),
                          o.getWithin() == Within::segment, batch);
      })
      .Case<GatherOp>([&](auto) { return gather(in(op, 0), in(op, 1)); })
      .Case<TakeRowsOp>([&](auto) { return gather(in(op, 0), in(op, 1)); })
      .Case<GatherGradOp>(
          [&](auto) { return gatherGrad(in(op, 0), in(op, 1), result); })
      .Case<PickOp>([&](auto) { return pick(in(op, 0), in(op, 1)); })
      .Default([](auto) { return Result(); });
}

std::optional<Tensor> Evaluator::reduction(mlir::Operation *op) {
  using Result = std::optional<Tensor>;
  return llvm::TypeSwitch<mlir::Operation *, Result>(op)
      .Case<ReduceSumOp>([&](ReduceSumOp o) {
        return reduceSum(in(op, 0), list(o.getAxes()));
      })
      .Case<ReduceMaxOp>([&](ReduceMaxOp o) {
        return reduceMax(in(op, 0), list(o.getAxes()));
      })
      .Case<RmsNormOp>([&](RmsNormOp o) {
        return rmsNorm(in(op, 0), o.getEps().convertToDouble());
      })
      .Case<PartialSumOp>([&](PartialSumOp o) {
        auto type = mlir::cast<mlir::RankedTensorType>(o.getType());
        return partialSum(
            in(op, 0), mlir::cast<ChunksAttr>(type.getEncoding()).getGrain());
      })
      .Case<CombineOp>([&](auto) { return reduceSum(in(op, 0), {0}); })
      .Case<MatmulOp>([&](MatmulOp o) {
        return matmul(in(op, 0), in(op, 1), o.getTransposeA(),
                      o.getTransposeB());
      })
      .Case<DequantiseOp>([&](DequantiseOp o) {
        return dequantise(in(op, 0), in(op, 1),
                          o.getLeft() ? matmul(in(op, 2), in(op, 3), false, false)
                                      : Tensor(in(op, 0).shape));
      })
      .Case<GroupedMatmulOp>([&](GroupedMatmulOp o) {
        return groupedMatmul(in(op, 0), in(op, 1), o.getTransposeW(), batch);
      })
      .Case<GroupedOuterOp>([&](GroupedOuterOp o) {
        return groupedOuter(in(op, 0), in(op, 1),
                            shapeOf(o.getType()).front(), batch);
      })
      .Case<SiteOp>([&](auto) { return in(op, 1); })
      .Case<RotateOp>(
          [&](auto) { return rotate(in(op, 0), in(op, 1), in(op, 2)); })
      .Default([](auto) { return Result(); });
}

std::optional<Tensor> Evaluator::loss(mlir::Operation *op) {
  using Result = std::optional<Tensor>;
  auto gradient = [&](auto o) {
    return linearCrossEntropyGradLogits(in(op, 0), in(op, 1), in(op, 2),
                                        in(op, 3), in(op, 4),
                                        o.getSoftcap().convertToDouble());
  };
  return llvm::TypeSwitch<mlir::Operation *, Result>(op)
      .Case<CrossEntropyOp>(
          [&](auto) { return crossEntropy(in(op, 0), in(op, 1)); })
      .Case<LinearCrossEntropyGradXOp>(
          [&](auto o) { return matmul(gradient(o), in(op, 1), false, false); })
      .Case<LinearCrossEntropyGradWOp>(
          [&](auto o) { return matmul(gradient(o), in(op, 0), true, false); })
      .Default([](auto) { return Result(); });
}

/// A dense constant as doubles.
static Tensor constant(mlir::DenseElementsAttr dense, Shape shape) {
  Tensor result(std::move(shape));
  int64_t i = 0;
  mlir::Type element = dense.getElementType();
  if (mlir::isa<mlir::FloatType>(element)) {
    for (llvm::APFloat v : dense.getValues<llvm::APFloat>())
      result[i++] = v.convertToDouble();
  } else {
    for (llvm::APInt v : dense.getValues<llvm::APInt>())
      result[i++] = element.isInteger(1)
                        ? static_cast<double>(v.getZExtValue())
                        : static_cast<double>(v.getSExtValue());
  }
  return result;
}

const Tensor *Evaluator::symbol(StringRef name) {
  auto it = memory.symbols.find(name.str());
  if (it != memory.symbols.end())
    return &it->second;
  auto state = mlir::dyn_cast_or_null<StateOp>(
      mlir::SymbolTable::lookupSymbolIn(module, name));
  if (!state)
    return nullptr;
  auto type = mlir::cast<mlir::RankedTensorType>(state.getType());
  return &(memory.symbols[name.str()] = Tensor(
               list(type.getShape()), state.getInit().convertToDouble()));
}

std::optional<Tensor> Evaluator::source(mlir::Operation *op) {
  using Result = std::optional<Tensor>;
  auto named = [](const Tensor *tensor) {
    return tensor ? Result(*tensor) : Result();
  };
  return llvm::TypeSwitch<mlir::Operation *, Result>(op)
      .Case<ConstantOp>([&](ConstantOp o) -> Result {
        auto dense = mlir::dyn_cast<mlir::DenseElementsAttr>(o.getValue());
        return dense ? Result(constant(dense, shapeOf(o.getType()))) : Result();
      })
      .Case<FillOp>([&](FillOp o) {
        return Tensor(shapeOf(o.getType()), o.getValue().convertToDouble());
      })
      .Case<SplatOp>([&](SplatOp o) {
        return Tensor(shapeOf(o.getType()), scalars.find(o.getValue())->second);
      })
      .Case<IotaOp>(
          [&](IotaOp o) { return iota(shapeOf(o.getType()), o.getAxis()); })
      .Case<ParamOp, ReadStateOp>(
          [&](auto o) { return named(symbol(o.getName())); })
      .Case<InputOp>([&](InputOp o) -> Result {
        auto it = memory.inputs.find(o.getName().str());
        return it == memory.inputs.end() ? Result() : Result(it->second);
      })
      .Case<ScalarOp>([&](ScalarOp o) -> Result {
        auto it = memory.scalars.find(o.getName().str());
        return it == memory.scalars.end() ? Result()
                                          : Result(Tensor(Shape(), it->second));
      })
      .Default([](auto) { return Result(); });
}

LogicalResult Evaluator::store(mlir::Operation *op, StringRef name,
                               StoreMode mode, const Tensor &value) {
  if (!symbol(name))
    return op->emitError("no value for '") << name << "'";
  Tensor &slot = memory.symbols[name.str()];
  if (slot.shape != value.shape)
    return op->emitError("stores another shape than '") << name << "' has";
  slot = mode == StoreMode::store
             ? value
             : map(slot, value, [](double a, double b) { return a + b; });
  return success();
}

LogicalResult Evaluator::addPart(mlir::Operation *op, StringRef name,
                                 int64_t offset, const Tensor &part) {
  if (!symbol(name))
    return op->emitError("no value for '") << name << "'";
  Tensor &slot = memory.symbols[name.str()];
  if (offset < 0 || offset + part.size() > slot.size())
    return op->emitError("adds beyond the end of '") << name << "'";
  for (int64_t i = 0; i < part.size(); ++i)
    slot[offset + i] += part[i];
  return success();
}

LogicalResult Evaluator::runKernel(mlir::Operation *op, mlir::Block &body,
                                   mlir::ValueRange inputs,
                                   llvm::ArrayRef<double> numbers,
                                   mlir::ArrayAttr targets) {
  unsigned tensor = 0, scalar = 0;
  for (mlir::BlockArgument argument : body.getArguments())
    if (mlir::isa<mlir::RankedTensorType>(argument.getType())) {
      Tensor copy = value(inputs[tensor++]);
      values[argument] = std::move(copy);
    } else if (tensor + scalar < inputs.size() && numbers.empty()) {
      scalars[argument] = scalars.find(inputs[tensor + scalar++])->second;
    } else {
      scalars[argument] = numbers[scalar++];
    }
  if (llvm::failed(runBlock(body)))
    return failure();
  auto yield = mlir::cast<YieldOp>(body.getTerminator());
  unsigned results = op->getNumResults();
  for (auto [i, yielded] : llvm::enumerate(yield.getValues())) {
    Tensor copy = value(yielded);
    if (i < results) {
      values[op->getResult(i)] = std::move(copy);
      continue;
    }
    auto target = mlir::cast<TargetAttr>(targets[i - results]);
    auto starts = op->getAttrOfType<mlir::DenseI64ArrayAttr>("pg.target_offsets");
    const Tensor *whole = symbol(target.getSymbol().getValue());
    if (target.getMode() == StoreMode::accumulate && whole &&
        whole->shape != copy.shape) {
      if (llvm::failed(addPart(op, target.getSymbol().getValue(),
                               starts ? starts[i - results] : 0, copy)))
        return failure();
      continue;
    }
    if (llvm::failed(
            store(op, target.getSymbol().getValue(), target.getMode(), copy)))
      return failure();
  }
  return success();
}

bool Evaluator::effect(mlir::Operation *op, LogicalResult &status) {
  return llvm::TypeSwitch<mlir::Operation *, bool>(op)
      .Case<AttentionOp>([&](AttentionOp o) {
        AttentionResult r = attention(in(op, 0), in(op, 1), in(op, 2),
                                      {o.getScale().convertToDouble(),
                                       static_cast<int64_t>(o.getWindow()),
                                       o.getWithin() == Within::segment},
                                      batch);
        values[o.getOut()] = std::move(r.out);
        values[o.getLse()] = std::move(r.lse);
        return true;
      })
      .Case<AttentionGradOp>([&](AttentionGradOp o) {
        AttentionGradient r = attentionGrad(
            in(op, 0), in(op, 1), in(op, 2), in(op, 3), in(op, 4), in(op, 5),
            {o.getScale().convertToDouble(),
             static_cast<int64_t>(o.getWindow()),
             o.getWithin() == Within::segment},
            batch);
        values[o.getDq()] = std::move(r.dq);
        values[o.getDk()] = std::move(r.dk);
        values[o.getDv()] = std::move(r.dv);
        return true;
      })
      .Case<LinearCrossEntropyOp>([&](LinearCrossEntropyOp o) {
        Tensor z = matmul(in(op, 0), in(op, 1), false, true);
        if (o.getScale())
          z = rescaled(z, value(o.getScale()),
                       o.getP() ? matmul(value(o.getP()), value(o.getQ()), false, true)
                                : Tensor(z.shape));
        LossResult r = cappedCrossEntropy(z, in(op, 2),
                                          o.getSoftcap().convertToDouble());
        values[o.getNll()] = std::move(r.nll);
        values[o.getLse()] = std::move(r.lse);
        return true;
      })
      .Case<OutputOp>([&](OutputOp o) {
        memory.outputs[o.getName().str()] = in(op, 0);
        return true;
      })
      .Case<StoreOp>([&](StoreOp o) {
        Tensor copy = in(op, 0);
        status = store(op, o.getName(), o.getMode(), copy);
        return true;
      })
      .Case<KernelOp>([&](KernelOp o) {
        status = runKernel(op, o.getBody().front(), o.getInputs(), {},
                           o.getTargetsAttr());
        return true;
      })
      .Case<LaunchOp>([&](LaunchOp o) {
        auto kernel = mlir::SymbolTable::lookupNearestSymbolFrom<KernelDefOp>(
            op, o.getKernelAttr());
        if (!kernel)
          return false;
        status = runKernel(op, kernel.getBody().front(), o.getInputs(),
                           o.getScalars(), o.getTargetsAttr());
        return true;
      })
      .Default([](auto) { return false; });
}

LogicalResult reference::run(mlir::ModuleOp module, StringRef entry,
                             const PackedBatch &batch, Memory &memory) {
  auto function = module.lookupSymbol<mlir::func::FuncOp>(entry);
  if (!function || function.isExternal())
    return module.emitError("no entry '") << entry << "'";
  return Evaluator(module, batch, memory).runBlock(function.getBody().front());
}
