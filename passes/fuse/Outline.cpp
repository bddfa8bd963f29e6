//===- Outline.cpp - distinct kernels and their launches
//-------------------===//
//
//   1. Leading parts of a parameter or state become views outside the kernel: a
//      slice of an argument is a `pg.slice` of the read, a stored pad with zeros
//      a store of the part at an offset (kTargetOffsetsAttr). Layers that use
//      different rows of one stacked tensor share code, and only the rows move.
//   2. Float constants of a kernel body (pg.fill) become f64 arguments
//      (pg.splat), so that layers that differ in a number share code. Fills of
//      one value in one body share an argument only when they were one op.
//   3. The body is written out as text (types, attributes, operand numbers);
//      equal texts are one kernel_def. Locations take no part.
//   4. Kernels become launches. Names: role, main ops, number in order of first
//      launch. A def keeps the source lines of all its launches.
//
//===----------------------------------------------------------------------===//

#include "passes/fuse/Passes.h"
#include "passes/fuse/Tensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <map>
#include <set>

using namespace mlir;

namespace pg {

namespace {

/// Ops that say little about what a kernel does.
bool isPlain(Operation *op) {
  return isIndexOp(op) || isa<YieldOp, PartialSumOp, CastOp>(op);
}

/// "row_reduce_sum_mul": a role, then up to three distinct ops, the telling
/// ones first.
std::string kernelTitle(KernelDefOp def) {
  Operation *anchor = nullptr;
  bool isStatic = true, combines = false, casts = false;
  SmallVector<StringRef> telling, usual;
  auto note = [](SmallVectorImpl<StringRef> &names, StringRef name) {
    if (!llvm::is_contained(names, name))
      names.push_back(name);
  };
  for (Operation &op : def.getBody().front()) {
    if (isStructured(&op) && !isPlain(&op))
      anchor = &op;
    combines |= isa<CombineOp>(op);
    casts |= isa<CastOp>(op);
    if (!isa<YieldOp>(op))
      isStatic &= isStaticOp(&op);
    if (isPlain(&op) || &op == anchor || isa<CombineOp>(op))
      continue;
    bool isTelling = isTranscendental(&op) || !isElementwise(&op);
    note(isTelling ? telling : usual, shortName(&op));
  }
  for (Type type : def.getBody().front().getArgumentTypes())
    isStatic &= !isTokenTensor(type);
  if (combines)
    return "combine";
  telling.append(usual);
  std::string title = anchor     ? shortName(anchor).str()
                      : isStatic ? "static"
                                 : "row";
  if (telling.empty() && !anchor)
    return title + (casts ? "_cast" : "_copy");
  for (StringRef name : ArrayRef(telling).take_front(anchor ? 2 : 3))
    title += ("_" + name).str();
  return title;
}

class Outliner {
public:
  explicit Outliner(ModuleOp module)
      : module(module), builder(module.getContext()) {}

  int64_t run() {
    Operation *place = nullptr;
    for (func::FuncOp entry : entriesOf(module)) {
      if (!place)
        place = entry;
      for (KernelOp kernel :
           llvm::make_early_inc_range(entry.getOps<KernelOp>()))
        outline(kernel, place);
    }
    for (auto &[key, known] : defs) {
      SmallVector<Location> locations(known.locations.begin(),
                                      known.locations.end());
      known.def->setLoc(FusedLoc::get(module.getContext(), locations));
    }
    return count;
  }

private:
  struct Known {
    KernelDefOp def;
    SmallVector<Location> locations;
    /// Source lines already in `locations`.
    std::set<std::string> lines;
  };

  /// The view `slice` takes of `read`, one for each place and type.
  Value viewOf(Value read, SliceOp slice) {
    Value &view =
        views[{read, static_cast<int64_t>(slice.getStart()), slice.getType()}];
    if (!view) {
      builder.setInsertionPointAfterValue(read);
      view = SliceOp::create(builder, slice.getLoc(), slice.getType(), read,
                             slice.getAxis(), slice.getStart());
    }
    return view;
  }

  /// Leading slices of parameters and states to arguments of their own.
  SmallVector<Value> hoistSlices(Block &body, ValueRange operands) {
    SmallVector<Value> inputs(operands);
    for (unsigned index = 0, end = inputs.size(); index < end; ++index) {
      if (!isa_and_nonnull<ParamOp, ReadStateOp>(inputs[index].getDefiningOp()))
        continue;
      BlockArgument whole = body.getArgument(index);
      for (Operation *user : llvm::make_early_inc_range(whole.getUsers())) {
        auto slice = dyn_cast<SliceOp>(user);
        if (!slice || slice.getAxis() != 0)
          continue;
        Value view = viewOf(inputs[index], slice);
        const auto *known = llvm::find(inputs, view);
        Value part = known != inputs.end()
                         ? body.getArgument(known - inputs.begin())
                         : body.addArgument(slice.getType(), slice.getLoc());
        if (known == inputs.end())
          inputs.push_back(view);
        slice->replaceAllUsesWith(ValueRange(part));
        slice.erase();
      }
    }
    for (unsigned index = inputs.size(); index-- > 0;)
      if (body.getArgument(index).use_empty()) {
        body.eraseArgument(index);
        inputs.erase(inputs.begin() + index);
      }
    return inputs;
  }

  /// Sums into a symbol of a tensor that is zero but for a leading part: only
  /// the part is stored. Returns the element offset of every target.
  SmallVector<int64_t> narrowTargets(KernelOp kernel) {
    auto yield = cast<YieldOp>(kernel.getBody().front().back());
    SmallVector<int64_t> offsets;
    if (!kernel.getTargetsAttr())
      return offsets;
    unsigned index = kernel.getNumResults();
    for (auto target : kernel.getTargetsAttr().getAsRange<TargetAttr>()) {
      OpOperand &stored = yield->getOpOperand(index++);
      auto pad = stored.get().getDefiningOp<PadOp>();
      offsets.push_back(0);
      if (!pad || pad.getAxis() != 0 || !isStaticOp(pad) ||
          target.getMode() != StoreMode::accumulate)
        continue;
      auto part = cast<RankedTensorType>(pad.getX().getType());
      offsets.back() =
          pad.getLow() * (part.getNumElements() / part.getDimSize(0));
      stored.set(pad.getX());
      if (pad->use_empty())
        pad.erase();
    }
    return offsets;
  }

  /// Fills of floats to arguments; returns the launch's scalars.
  SmallVector<double> hoistConstants(Block &body) {
    SmallVector<double> scalars;
    for (FillOp fill : llvm::make_early_inc_range(body.getOps<FillOp>())) {
      if (!isa<FloatType>(fill.getType().getElementType()))
        continue;
      scalars.push_back(fill.getValue().convertToDouble());
      Value scalar = body.addArgument(builder.getF64Type(), fill.getLoc());
      builder.setInsertionPoint(fill);
      auto splat =
          SplatOp::create(builder, fill.getLoc(), fill.getType(), scalar);
      fill->replaceAllUsesWith(splat);
      fill.erase();
    }
    return scalars;
  }

  std::string describe(Block &body, ArrayRef<int64_t> modes) {
    std::string key;
    llvm::raw_string_ostream text(key);
    llvm::DenseMap<Value, int64_t> numbers;
    for (BlockArgument arg : body.getArguments()) {
      numbers[arg] = numbers.size();
      text << arg.getType() << ';';
    }
    for (Operation &op : body) {
      text << '\n' << op.getName() << op.getAttrDictionary();
      for (Value operand : op.getOperands())
        text << " %" << numbers.lookup(operand);
      for (Value result : op.getResults()) {
        int64_t number = numbers.size();
        numbers[result] = number;
        text << ' ' << result.getType();
      }
    }
    text << '\n';
    llvm::interleaveComma(modes, text);
    return key;
  }

  void outline(KernelOp kernel, Operation *place) {
    Block &body = kernel.getBody().front();
    SmallVector<Value> inputs = hoistSlices(body, kernel.getInputs());
    SmallVector<int64_t> offsets = narrowTargets(kernel);
    SmallVector<double> scalars = hoistConstants(body);
    SmallVector<int64_t> modes(kernel.getNumResults(), 0);
    if (ArrayAttr targets = kernel.getTargetsAttr())
      for (auto target : targets.getAsRange<TargetAttr>())
        modes.push_back(target.getMode() == StoreMode::accumulate ? 2 : 1);

    Known &known = defs[describe(body, modes)];
    if (!known.def) {
      builder.setInsertionPoint(place);
      known.def =
          KernelDefOp::create(builder, kernel.getLoc(), "kernel", modes);
      known.def.getBody().takeBody(kernel.getBody());
      std::string name =
          llvm::formatv("{0}_{1:2}", kernelTitle(known.def), count++);
      llvm::replace(name, ' ', '0');
      known.def.setSymName(name);
    }
    for (std::string &line : sourceLines(kernel.getLoc()))
      if (known.lines.insert(line).second) {
        auto [file, position] = StringRef(line).rsplit(':').first.rsplit(':');
        unsigned row = 0, column = 0;
        position.getAsInteger(10, row);
        StringRef(line).rsplit(':').second.getAsInteger(10, column);
        known.locations.push_back(
            FileLineColLoc::get(module.getContext(), file, row, column));
      }

    builder.setInsertionPoint(kernel);
    auto launch = LaunchOp::create(
        builder, kernel.getLoc(), kernel.getResultTypes(),
        FlatSymbolRefAttr::get(known.def.getSymNameAttr()), inputs,
        builder.getDenseF64ArrayAttr(scalars), kernel.getTargetsAttr(),
        DenseI64ArrayAttr());
    if (llvm::any_of(offsets, [](int64_t offset) { return offset != 0; }))
      launch->setAttr(kTargetOffsetsAttr, builder.getDenseI64ArrayAttr(offsets));
    kernel.replaceAllUsesWith(launch.getResults());
    kernel.erase();
  }

  ModuleOp module;
  OpBuilder builder;
  std::map<std::string, Known> defs;
  llvm::DenseMap<std::tuple<Value, int64_t, Type>, Value> views;
  int64_t count = 0;
};

} // namespace

FailureOr<int64_t> outlineKernels(ModuleOp module) {
  for (func::FuncOp entry : entriesOf(module))
    for (Operation &op : entry.getBody().front().without_terminator())
      if (!isReadOp(&op) && !isa<KernelOp, OutputOp, ReshapeOp>(op))
        return op.emitError("outlining expects fused entries, got '")
               << op.getName() << "' outside a kernel; run pg-fuse first";
  return Outliner(module).run();
}

#define GEN_PASS_DEF_OUTLINEPASS
#include "passes/fuse/Passes.h.inc"

namespace {
struct OutlinePass : impl::OutlinePassBase<OutlinePass> {
  using Base::Base;
  void runOnOperation() override {
    FailureOr<int64_t> count = outlineKernels(getOperation());
    if (failed(count))
      return signalPassFailure();
    numDefs = *count;
  }
};
} // namespace

} // namespace pg
